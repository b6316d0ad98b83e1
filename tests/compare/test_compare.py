"""Two runs of a few images, every number worked out by hand."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from heatbeam.compare import compare
from heatbeam.runs import run_directory, settings_diff
from tests.report import signal_runs
from tests.support import manifests
from tests.support.audit_runs import Row, summary_row, write_run

MAP, TURNED = ((4, 3), (2, 1)), ((1, 2), (3, 4))


def differences(found: compare.Comparison, **wanted: str) -> list[compare.Difference]:
    return [row for row in found.differences if all(getattr(row, name) == value for name, value in wanted.items())]


def one(found: compare.Comparison, metric: str, slice_name: str = "all", slice_value: str = "", method: str = "cam"):
    (row,) = differences(found, metric=metric, slice_name=slice_name, slice_value=slice_value, method=method)
    return row


def agreement(found: compare.Comparison, measure: str, slice_name: str = "all", slice_value: str = "", method="cam"):
    (row,) = (
        row for row in found.agreements
        if (row.measure, row.slice_name, row.slice_value, row.method) == (measure, slice_name, slice_value, method)
    )  # fmt: skip
    return row


@pytest.fixture
def runs(tmp_path):
    """Three images in both runs, one in each alone."""
    baseline = write_run(tmp_path / "a", [
        Row("i1", energy_share=0.5, slice="day", targets=("label", "predicted")),
        Row("i2", energy_share=0.25, slice="night", labels=(1,), class_id=1, predicted=1,
            targets=("label", "predicted")),
        Row("i3", energy_share=0.75, slice="day", box_hit=0.0, targets=("label", "predicted")),
        Row("gone"),
    ])  # fmt: skip
    candidate = write_run(tmp_path / "b", [
        Row("new"),
        Row("i3", energy_share=0.75, slice="day", map=TURNED, targets=("label", "predicted"), sha256="cd"),
        Row("i2", energy_share=0.5, slice="night", labels=(1,), class_id=1, predicted=2, rank=2),
        Row("i2", class_id=2, labels=(1,), predicted=2, targets=("predicted",), slice="night"),
        Row("i1", energy_share=0.125, slice="day", targets=("label", "predicted")),
    ])  # fmt: skip
    return baseline, candidate


def test_images_and_rows_are_accounted_for(runs):
    found = compare.compare(*runs)
    assert found.only_baseline == ("gone",) and found.only_candidate == ("new",)
    assert found.counts == {
        "images_in_both": 3, "images_only_baseline": 1, "images_only_candidate": 1, "images_changed": 1,
        "images_repeated": 0, "images_marked": 0, "decision_flips_marked": 0,
        "rows_paired": 3, "rows_unpaired": 1, "rows_repeated": 0,
        "decision_flips": 1, "decisions_fixed": 0, "decisions_broken": 1, "decisions_other": 0,
        "maps_compared": 3, "map_flips": 1, "map_flips_same_decision": 1,
    }  # fmt: skip


def test_differences_are_means_over_the_pairs(runs):
    found = compare.compare(*runs)
    row = one(found, "energy_pointing_game")
    # i1 0.5 -> 0.125, i2 0.25 -> 0.5, i3 0.75 -> 0.75: differences -0.375, 0.25, 0.
    assert (row.baseline, row.candidate) == pytest.approx((1.5 / 3, 1.375 / 3))
    mean, squares = -0.125 / 3, 0.375**2 + 0.25**2
    half = 4.302652729911275 * math.sqrt((squares - 3 * mean**2) / 2 / 3)
    assert row[6:] == pytest.approx((mean, mean - half, mean + half, 3, "student", "higher"))


@pytest.mark.parametrize(
    ("slice_name", "slice_value", "expected", "n"),
    [("class", "cat", -0.375 / 2, 2), ("class", "dog", 0.25, 1), ("weather", "day", -0.375 / 2, 2),
     ("weather", "night", 0.25, 1), ("target", "predicted", -0.375 / 2, 2)],
)  # fmt: skip
def test_slices_are_those_of_the_summary(runs, slice_name, slice_value, expected, n):
    row = one(compare.compare(*runs), "energy_pointing_game", slice_name, slice_value)
    assert (row.difference, row.n) == pytest.approx((expected, n))


def test_derived_hits_ask_for_the_class_too(runs):
    found = compare.compare(*runs)
    # Box right: i1, i2 -> i1, i2, i3. Right and rank 1: i1, i2 -> i1, i3. Right and rank > 1: none -> i2.
    for metric, was, now in (("gt_known_loc", 2, 3), ("top1_loc", 2, 2), ("top5_loc", 2, 3), ("top1_gap", 0, 1)):
        row = one(found, metric)
        assert (row.baseline, row.candidate) == pytest.approx((was / 3, now / 3)), metric


def test_the_model_is_compared_once_per_image_and_class(tmp_path):
    first = [Row("i1", method=m) for m in ("cam", "grad_cam")]
    second = [Row("i1", method=m, rank=2, predicted=1, probability=0.25) for m in ("cam", "grad_cam")]
    found = compare.compare(write_run(tmp_path / "a", first), write_run(tmp_path / "b", second))
    row = one(found, "top1_accuracy", method="model")
    assert (row.baseline, row.candidate, row.n) == (1, 0, 1)
    assert one(found, "mean_label_probability", method="model").difference == -0.5
    assert agreement(found, "decision_flip", method="model")[4:] == pytest.approx(
        (1, math.nan, math.nan, 1), nan_ok=True
    )


def test_similarity_of_maps(runs):
    found = compare.compare(*runs)
    # Ranks of i3 are reversed; the others are equal.
    assert agreement(found, "map_spearman").value == pytest.approx((1 + 1 - 1) / 3)
    assert agreement(found, "map_spearman", "class", "dog").value == pytest.approx(1)
    assert agreement(found, "map_flip").value == pytest.approx(1 / 3)
    # Centroid of 4 3 / 2 1: x = (6 * .25 + 4 * .75) / 10 = .45, y = (7 * .25 + 3 * .75) / 10 = .4; turned: .55, .6.
    assert agreement(found, "map_centroid_shift").value == pytest.approx(math.hypot(0.1, 0.2) / 3, rel=1e-4)
    assert found.histograms["cam"]["map_spearman"] == [1] + [0] * 18 + [2]


def test_maps_of_other_sizes_and_views_are_compared_where_both_see(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1", map=((1, 2, 3, 4),)), Row("i2"), Row("i3", view=(0, 0, 100, 100))])
    second = write_run(tmp_path / "b", [
        Row("i1", map=((1, 2), (1, 2)), view=(100, 0, 200, 100)), Row("i2"), Row("i3", view=(100, 0, 200, 100)),
    ])  # fmt: skip
    found = compare.compare(first, second)
    # i1: right half 2.75 3.25 3.75 4 against 1 1.25 1.75 2, both in each of two rows: ranks agree. i3: nothing shared.
    assert agreement(found, "map_spearman")[4::3] == pytest.approx((1, 2))
    assert found.counts["rows_paired"] == 3 and found.counts["maps_compared"] == 2


def test_blank_maps_have_no_similarity(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1", map=((0, 0), (0, 0))), Row("i2")])
    found = compare.compare(first, write_run(tmp_path / "b", [Row("i1"), Row("i2")]))
    assert found.counts["maps_compared"] == 1 and agreement(found, "map_spearman").n == 1


def test_most_changed_maps_come_first(runs):
    found = compare.compare(*runs, options=compare.Options(examples=2))
    assert [example.image_id for example in found.examples] == ["i3", "i1"]
    example = found.examples[0]
    np.testing.assert_allclose(example.maps[0], MAP, rtol=1e-4)
    np.testing.assert_allclose(example.maps[1], TURNED, rtol=1e-4)
    assert (example.image_size, example.views[0]) == ((200, 100), (0, 0, 200, 100))


def test_a_metric_that_is_no_mean_is_taken_from_the_summaries(tmp_path):
    first = write_run(
        tmp_path / "a", [Row("i1")], [summary_row("max_box_acc", 0.6, 0.5, 0.7, n=90), summary_row("x", 1)]
    )
    second = write_run(tmp_path / "b", [Row("i1")], [summary_row("max_box_acc", 0.9, 0.8, 0.95, n=80)])
    row = one(compare.compare(first, second), "max_box_acc")
    lower, upper = 0.3 - math.hypot(0.1, 0.1), 0.3 + math.hypot(0.05, 0.1)
    assert row[4:] == pytest.approx((0.6, 0.9, 0.3, lower, upper, 80, "unpaired", "higher"))
    assert row.noticed


def test_other_protocols_are_not_subtracted(tmp_path):
    protocol = {"protocol": {"name": "wsolevaluation", "box_threshold": 0.3}, "primary_target": "label"}
    rows = [summary_row("max_box_acc", 0.5, 0.4, 0.6)]
    first = write_run(tmp_path / "a", [Row("i1")], rows)
    found = compare.compare(first, write_run(tmp_path / "b", [Row("i1")], rows, conventions=protocol))
    assert found.differences == ()
    assert found.incomparable == ("conventions.protocol.box_threshold is 0.2 in the baseline and 0.3 in the candidate",)
    assert agreement(found, "map_spearman").value == pytest.approx(1)


def test_the_name_of_an_equal_protocol_does_not_matter(tmp_path):
    protocol = {"protocol": {"name": "torchray", "box_threshold": 0.2}, "primary_target": "label"}
    first = write_run(tmp_path / "a", [Row("i1")])
    found = compare.compare(first, write_run(tmp_path / "b", [Row("i1")], conventions=protocol))
    assert found.incomparable == () and one(found, "energy_pointing_game").difference == 0


def test_settings_that_matter_come_first(tmp_path):
    first = manifests.manifest()
    second = manifests.manifest(
        versions={"keras": "3.6"},
        config={"explain": {"batch_size": 8}, "output": {"directory": "x"}},
        model={"digest": "d2"},
    )
    found = settings_diff.differences(first, second)
    assert [tuple(setting) for setting in found] == [
        ("model.digest", "d1", "d2", "the model"),
        ("config.explain.batch_size", 32, 8, "methods and targets"),
        ("versions.keras", "3.5", "3.6", "versions of libraries"),
    ]


def test_classes_are_matched_by_name(tmp_path):
    names = ("owl", "cat", "fox")
    first = write_run(tmp_path / "a", [Row("i1", class_id=2, labels=(2,), predicted=2, energy_share=0.5)])
    second = write_run(
        tmp_path / "b", [Row("i1", class_id=0, labels=(0,), predicted=2, energy_share=0.25)], class_names=names
    )
    found = compare.compare(first, second)
    assert one(found, "energy_pointing_game", "class", "owl").difference == -0.25
    assert found.counts["decisions_broken"] == 1
    assert compare.class_ids(["cat", "owl"], names).tolist() == [1, 0, 4]


def test_class_names_that_occur_twice_cannot_be_matched(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1")])
    second = write_run(tmp_path / "b", [Row("i1")], class_names=("cat", "crane", "crane"))
    with pytest.raises(compare.ComparisonError, match="candidate has 1 names twice"):
        compare.compare(first, second)


def test_an_id_of_two_records_is_left_out_and_named(tmp_path):
    """Three pairs, of which two share an id in the baseline: one pair is left, not four."""
    twice = [Row("i1", energy_share=0.25), Row("i2", energy_share=0.5, record=1), Row("i2", energy_share=1, record=2)]
    once = [Row("i1", energy_share=0.75), Row("i2", energy_share=0.5, record=1)]
    found = compare.compare(write_run(tmp_path / "a", twice), write_run(tmp_path / "b", once))
    names = ("images_in_both", "images_repeated", "rows_paired", "rows_unpaired")
    counts = {name: found.counts[name] for name in names}
    assert counts == {"images_in_both": 1, "images_repeated": 1, "rows_paired": 1, "rows_unpaired": 0}
    assert found.repeated == ("i2",) and found.only_baseline == found.only_candidate == ()
    assert one(found, "energy_pointing_game").difference == 0.5
    # Split into parts, the same.
    options = compare.Options(part_bytes=200)
    again = compare.compare(str(tmp_path / "b"), str(tmp_path / "a"), options=options)
    assert again.repeated == ("i2",) and one(again, "energy_pointing_game").difference == -0.5


def test_an_id_of_two_records_that_show_other_classes_is_left_out_too(tmp_path):
    """No row stands twice, but which record the id means cannot be told."""
    rows = [Row("i1"), Row("i1", class_id=1, labels=(1,), predicted=1, record=1)]
    found = compare.compare(write_run(tmp_path / "a", rows), write_run(tmp_path / "b", rows))
    assert (found.counts["images_repeated"], found.counts["rows_paired"], found.counts["images_in_both"]) == (1, 0, 0)


def test_repeated_rows_are_left_out_and_counted(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1"), Row("i1"), Row("i2")])
    found = compare.compare(first, write_run(tmp_path / "b", [Row("i1"), Row("i2")]))
    assert (found.counts["rows_paired"], found.counts["rows_repeated"]) == (1, 2)


def test_runs_without_a_common_image(tmp_path):
    rows = [summary_row("pxap", 0.5, 0.4, 0.6)]
    found = compare.compare(write_run(tmp_path / "a", [Row("i1")], rows), write_run(tmp_path / "b", [Row("i2")], rows))
    assert found.counts["images_in_both"] == 0
    assert [row.metric for row in found.differences] == ["pxap"]


def many(shift: float, count: int = 300) -> list[Row]:
    return [
        Row(f"image {i}", class_id=i % 3, predicted=(i + i // 200) % 3 if shift else i % 3, labels=(i % 3,),
            energy_share=(i % 7) / 8 + shift * (i % 2), map=((i % 5, 3), (2, shift * 4)), slice="ab"[i % 2])
        for i in range(count)
    ]  # fmt: skip


def test_parts_and_files_change_no_number(tmp_path):
    first, second = many(0), many(0.125)[::-1]
    one_part = compare.compare(write_run(tmp_path / "a", first), write_run(tmp_path / "b", second))
    split = compare.compare(
        write_run(tmp_path / "c", first, files=4), write_run(tmp_path / "d", second, files=3),
        tmp_path / "pairs.parquet", compare.Options(part_bytes=5000),
    )  # fmt: skip
    assert split.counts == one_part.counts and split.histograms == one_part.histograms
    assert split.counts["decision_flips"] == 100
    assert [row[:4] for row in split.differences] == [row[:4] for row in one_part.differences]
    for mine, other in zip(
        split.differences + split.agreements, one_part.differences + one_part.agreements, strict=True
    ):
        np.testing.assert_allclose(
            [v for v in mine if isinstance(v, float)], [v for v in other if isinstance(v, float)], rtol=1e-5, atol=1e-7
        )
    assert [e.image_id for e in split.examples] == [e.image_id for e in one_part.examples]
    assert pq.read_metadata(tmp_path / "pairs.parquet").num_rows == 300


def test_a_change_of_every_second_image_is_noticed(tmp_path):
    found = compare.compare(write_run(tmp_path / "a", many(0)), write_run(tmp_path / "b", many(0.125)))
    row = one(found, "energy_pointing_game")
    # Half of the images rise by 1/8: sd of the difference 1/16, standard error 1/16 / sqrt(300).
    assert row.difference == pytest.approx(1 / 16) and row.interval == "bootstrap" and row.noticed
    assert row.upper - row.lower == pytest.approx(2 * 1.96 / 16 / math.sqrt(300), rel=0.15)


def test_pairs_are_written_with_their_flips(runs, tmp_path):
    compare.compare(*runs, tmp_path / "out" / "pairs.parquet")
    rows = {row["image_id"]: row for row in pq.read_table(tmp_path / "out" / "pairs.parquet").to_pylist()}
    assert {key: (row["map_flip"], row["decision_flip"]) for key, row in rows.items()} == {
        "i1": (False, False), "i2": (False, True), "i3": (True, False),
    }  # fmt: skip


def test_an_unfinished_run_is_refused(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1")])
    run_directory.RunDirectory(str(tmp_path / "b")).create(manifests.manifest(), overwrite=False)
    with pytest.raises(run_directory.RunDirectoryError, match="not a finished run"):
        compare.compare(first, str(tmp_path / "b"))


def test_runs_of_other_axes_are_refused(tmp_path):
    series, volume = (signal_runs.write(tmp_path / kind, kind, images=2) for kind in ("series", "volume"))
    with pytest.raises(
        compare.ComparisonError, match=r"series/run have 1, those of .*volume/run have 3; compare runs on"
    ):
        compare.compare(series, volume)


@pytest.mark.parametrize("kind", ["series", "volume"])
def test_signals_are_like_themselves(tmp_path, kind):
    same = signal_runs.write(tmp_path, kind, images=2)
    found = compare.compare(same, same)
    values = {row.measure: row.value for row in found.agreements if (row.method, row.slice_name) == ("cam", "all")}
    assert (values["map_spearman"], values["map_top20_overlap"], values["map_centroid_shift"]) == (1, 1, 0)
    assert [len(example.image_size) for example in found.examples] == [len(signal_runs.SHAPES[kind])] * 4


def test_comparing_needs_neither_beam_nor_tensorflow():
    code = "import sys, heatbeam.compare.compare\n"
    code += "print([m for m in ('apache_beam', 'tensorflow', 'numba') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("max_box_acc_v2_iou30", "higher"), ("top1_gap", "lower"), ("best_mask_iou_threshold", "none"),
     ("map_flip", "lower"), ("entropy", "none"), ("top1_accuracy", "higher"), ("unheard_of", "none")],
)  # fmt: skip
def test_direction_of_a_metric(metric, expected):
    assert compare.better(metric) == expected
