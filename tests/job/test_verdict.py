"""What of a damaged data set is counted, and when a run must not be used for it."""

from __future__ import annotations

import io
import json
import re

import pytest

from heatbeam import config
from heatbeam.job import held_features, run, verdict
from heatbeam.job.check import dry_run
from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import account
from heatbeam.transforms.sources import losses
from tests.support import manifests as written_manifests
from tests.support import small_runs

RECORDS = 40
SHARDS = 4


def shards(folder) -> str:
    """Forty records in four shards; the pattern."""
    return small_runs.write(folder / "data", [small_runs.record(i) for i in range(RECORDS)], SHARDS)


def quick(pattern, folder, *overrides):
    return small_runs.settings(pattern, folder / "run", "explain.methods=[cam]", *overrides)


def shard_path(folder, number: int):
    return folder / "data" / f"data-{number:05d}-of-{SHARDS:05d}.tfrecord"


def flip(path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_in_the_data_costs_its_record_alone(tmp_path):
    pattern = shards(tmp_path)
    for number in (1, 2, 3):
        flip(shard_path(tmp_path, number), 200)
    manifest = small_runs.run_quietly(quick(pattern, tmp_path, "output.max_dead_letter_ratio=0.08")).read_manifest()
    counts = manifest.counts
    assert (counts.records_read, counts.images_explained, counts.dead_letters, counts.lost) == (40, 37, 3, 0)


def test_what_is_lost_of_a_part_counts_for_the_whole(tmp_path):
    """Two of twenty that were decoded, and one record that cannot be read of all hundred: 1 + 99 / 20 x 2, about."""

    def checked(ratio: float, bad: int = 2) -> None:
        good = 20 - bad
        counted = account.Counted(
            {"parsed": 20, "dead_letters_read": 1, "not_needed": 79, "decoded": good, "dead_letters_decode": bad,
             "explained": good, "skipped": 0, "dead_letters_explain": 0, "localized": good},
            {"a": losses.ShardRead("a", 1000, 100, 0)},
        )  # fmt: skip
        verdict.check(counted, quick("data-*", tmp_path, f"output.max_dead_letter_ratio={ratio}"),
                      run_directory.RunDirectory(str(tmp_path / "run")))  # fmt: skip

    with pytest.raises(run.RunFailed, match=r"about 11 of 100 records were lost \(11.0%\)"):
        checked(0.105)
    checked(0.115)
    checked(0.02, bad=1)  # one alone is one, and no twentieth of all
    with pytest.raises(run.RunFailed, match=r"about 2 of 100 records were lost"):
        checked(0.015, bad=1)


def test_what_records_hold_is_judged_by_all_that_were_read_not_by_a_part(tmp_path):
    settings = quick("data-*", tmp_path, "evaluate.slices=[camera]", "input.features.instance_masks=masks")
    counted = account.Counted(
        {"parsed": 30, "dead_letters_read": 0, "not_needed": 570, "decoded": 30, "dead_letters_decode": 0,
         "explained": 30, "skipped": 0, "dead_letters_explain": 0, "localized": 30,
         "with camera": 6, "with masks": 0},
        {"a": losses.ShardRead("a", 1000, 600, 0)},
    )  # fmt: skip
    warnings = verdict.manifest_parts(counted, written_manifests.manifest(config=settings.as_dict()))["warnings"]
    assert warnings == ("only 6 of 600 records (1.0%) have the feature camera (evaluate.slices)",)
    with pytest.raises(run.RunFailed, match=r"^none of 600 records has the feature masks"):
        verdict.check(counted, settings, run_directory.RunDirectory(str(tmp_path / "run")))


def test_losses_behind_damage_fail_the_run_and_are_in_its_manifest(tmp_path):
    pattern = shards(tmp_path)
    for number in (1, 2, 3):
        flip(shard_path(tmp_path, number), 0)
    with pytest.raises(run.RunFailed) as caught:
        small_runs.run_quietly(quick(pattern, tmp_path))
    message = str(caught.value)
    manifest = run_directory.RunDirectory(str(tmp_path / "run")).read_any_manifest()
    counts = manifest.counts
    assert manifest.status == "failed"
    assert (counts.records_read, counts.images_explained, counts.dead_letters) == (13, 10, 3)
    assert counts.lost_is_estimate and 25 <= counts.lost <= 29
    lost, in_all = counts.lost + 3, counts.lost + 13
    assert message.startswith(
        f"about {lost} of {in_all} records were lost ({lost / in_all:.1%}): 3 dead letters and about {counts.lost} "
        "more behind damage in their shards, more than output.max_dead_letter_ratio = 5.0%; "
    )
    assert sum(shard.lost for shard in manifest.shards) == counts.lost
    assert [shard.damage for shard in manifest.shards] == [None, *["corrupt_shard"] * 3]
    assert len(manifest.warnings) == 3


def test_losses_are_told_where_they_are_allowed(tmp_path):
    pattern = shards(tmp_path)
    flip(shard_path(tmp_path, 1), 0)
    settings = quick(pattern, tmp_path, "output.max_dead_letter_ratio=0.5")
    result = run.run(settings, (), io.StringIO())
    stream = io.StringIO()
    run.print_result(result, stream)
    lost = result.manifest.counts.lost
    assert f"30 images explained, 0 skipped (no target), 1 dead letters, about {lost} more behind damage" in (
        stream.getvalue()
    )
    name = shard_path(tmp_path, 1).name
    expected = f"{name} could not be read to its end (corrupt_shard): 0 records came before, about {lost + 1} are lost"
    assert result.manifest.warnings == (expected,)
    assert f"warning: {expected}\n" in stream.getvalue()


def test_many_shards_keep_the_manifest_small(tmp_path):
    """Four hundred shards of one record: what the manifest says of each is below 200 bytes."""
    count = 400
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i % 10) for i in range(count)], count)
    directory = small_runs.run_quietly(quick(pattern, tmp_path))
    document = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [shard["records_read"] for shard in document["shards"]] == [1] * count
    assert directory.read_manifest().counts.images_explained == count
    indented = json.dumps(document["shards"], indent=2)
    assert len(indented) < 200 * count


def test_an_empty_run_of_junk_says_that_nothing_was_read(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "data-a").write_bytes(b"<html>not found</html>" * 10)
    with pytest.raises(run.RunFailed, match="about 1 of 1 records were lost"):
        small_runs.run_quietly(quick(str(folder / "data-*"), tmp_path))


def test_bad_boxes_cost_themselves_and_are_counted(tmp_path):
    def record(number, xmin, xmax):
        boxes = {"xmin": xmin, "xmax": xmax, "ymin": [0.25] * len(xmin), "ymax": [0.75] * len(xmin)}
        classes = {"image/object/class/label": [number % 10] * len(xmin), "image/object/mask": None}
        return small_runs.record(
            number, **classes, **{f"image/object/bbox/{side}": value for side, value in boxes.items()}
        )

    records = [
        record(0, [0.25, 0.5], [0.75, 0.5]),  # of no area
        record(1, [-1 / 24, 0.5], [0.75, 1.1]),  # a pixel out, and more than two
        record(2, [2.0], [3.0]),  # none that is left
        record(3, [0.25], [0.75]),
    ]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    directory = small_runs.run_quietly(quick(pattern, tmp_path, "explain.targets=[label]"))
    manifest = directory.read_manifest()
    assert (manifest.counts.images_explained, manifest.counts.dead_letters, manifest.counts.dropped_boxes) == (4, 0, 3)
    assert any(warning.startswith("3 of 6 boxes were left out") for warning in manifest.warnings)
    rows = {row["image_id"]: row for row in small_runs.rows(directory).to_pylist()}
    assert rows["image0000"]["true_boxes"] == [6.0, 5.0, 18.0, 15.0]
    assert rows["image0001"]["true_boxes"] == [0.0, 5.0, 18.0, 15.0]
    assert rows["image0002"]["true_boxes"] is None
    assert rows["image0002"]["pointing_hit"] is None and rows["image0002"]["box_iou"] is None
    numbers = small_runs.numbers(directory)
    assert numbers["cam", "all", "all", "max_box_acc"]["n"] == 3


def test_empty_files_and_missing_members_are_named(tmp_path):
    pattern = shards(tmp_path)
    shard_path(tmp_path, 1).unlink()
    shard_path(tmp_path, 2).write_bytes(b"")
    warnings = small_runs.run_quietly(quick(pattern, tmp_path)).read_manifest().warnings
    assert warnings == (
        f"1 of 3 shards is empty or not there: {shard_path(tmp_path, 2).name}",
        f"1 of the 4 shards of data-*-of-00004.tfrecord are not among the files: {shard_path(tmp_path, 1).name}",
    )


def failed(settings) -> tuple[str, manifests.Manifest]:
    """What a run that must not succeed says, and its manifest."""
    with pytest.raises(run.RunFailed) as caught:
        small_runs.run_quietly(settings)
    manifest = run_directory.RunDirectory(settings.output.directory).read_any_manifest()
    assert manifest.status == "failed" and str(caught.value) in manifest.error
    return str(caught.value), manifest


def test_a_run_that_explained_nothing_fails(tmp_path):
    message, manifest = failed(
        quick(shards(tmp_path), tmp_path, "explain.targets=[label]", "input.features.label=image/class/lable")
    )
    assert manifest.counts.images_skipped == RECORDS
    assert message == (
        "nothing was explained: of 40 records 40 have no target (explain.targets is label) and 0 are dead letters; "
        "none of 40 records has the feature image/class/lable (input.features.label)"
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("input.features.label=lable", r"the feature lable \(input.features.label\)"),
        ("input.features.instance_masks=masks", r"the feature masks \(input.features.instance_masks\)"),
        ("evaluate.slices=[camera, weather]", r"the feature weather \(evaluate.slices\)"),
        ("input.features.image_id=id", r"the feature id \(input.features.image_id\)"),
        (
            "input.features={box_xmin: x0, box_xmax: x1, box_ymin: y0, box_ymax: y1}",
            r"the feature x0 \(input.features.box_xmin\); .*feature y1 \(input.features.box_ymax\)",
        ),
    ],
)
def test_a_feature_that_is_named_and_that_no_record_has_fails_the_run(tmp_path, override, words):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(4)], 2)
    message, _ = failed(quick(pattern, tmp_path, override))
    assert re.search(f"none of 4 records has {words}", message), message


def test_usual_names_that_no_record_has_are_no_failure_and_few_are_a_warning(tmp_path):
    no_boxes = {f"image/object/{name}": None for name in ("bbox/xmin", "bbox/ymin", "bbox/xmax", "bbox/ymax", "mask")}
    records = [small_runs.record(i, **no_boxes, **{"image/object/class/label": None}) for i in range(1, 20)]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    assert small_runs.run_quietly(quick(pattern, tmp_path)).read_manifest().warnings == ()
    few = small_runs.write(tmp_path / "few", [small_runs.record(0), *records], 1)
    warnings = small_runs.run_quietly(quick(few, tmp_path / "other")).read_manifest().warnings
    assert len(warnings) == 6
    assert "only 1 of 20 records (5.0%) have the feature image/object/mask (input.features.instance_masks)" in warnings


def test_a_named_feature_that_the_run_does_not_read_is_not_judged(tmp_path):
    settings = quick("x", tmp_path, "input.features.label=lable")
    assert held_features.findings(settings, 4, {"camera": 4, "size": 4}).problems == ()
    (problem,) = held_features.findings(settings, 4, {"camera": 4, "size": 4, "lable": 0}).problems
    assert problem == "none of 4 records has the feature lable (input.features.label)"


def test_boxes_in_pixels_fail_the_run(tmp_path):
    sides = {f"image/object/bbox/{side}": [value] for side, value in
             {"xmin": 2.0, "ymin": 3.0, "xmax": 12.0, "ymax": 11.0}.items()}  # fmt: skip
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i, **sides) for i in range(4)], 1)
    message, _ = failed(quick(pattern, tmp_path))
    assert message.startswith("4 of 4 boxes were left out: ")
    assert (
        "see input.box_units, box_order, box_origin and box_end for what their numbers are; to do without boxes, "
        in message
    )


def test_what_the_configuration_named_is_remembered_by_the_manifest(tmp_path):
    pattern = shards(tmp_path)
    settings = quick(pattern, tmp_path, "input.features.label=image/class/label", "input.features.boxes=null")
    assert settings.input.features_given == ("label",)
    assert settings.input.features.instance_masks == "image/object/mask"
    manifest = small_runs.run_quietly(settings).read_manifest()
    assert manifest.config.input.features_given == ("label",)
    assert manifest.config == settings
    assert config.RunConfig.model_validate(settings.as_dict()) == settings


def test_check_says_what_the_records_do_not_hold(tmp_path):
    records = [small_runs.record(i, **{"image/object/mask": None}) for i in range(8)]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    stream = io.StringIO()
    assert dry_run.check(quick(pattern, tmp_path), 4, stream)
    assert "not in 8 records, and not asked for: image/object/difficult, image/object/mask\n" in stream.getvalue()
    stream = io.StringIO()
    assert not dry_run.check(quick(pattern, tmp_path, "input.features.instance_masks=image/object/mask"), 4, stream)
    named = "PROBLEM  none of 8 records has the feature image/object/mask (input.features.instance_masks)\n"
    assert named in stream.getvalue()
