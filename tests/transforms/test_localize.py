from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms import aggregate, records
from heatbeam.transforms.metrics import image_evidence, protocols, slicing
from heatbeam.transforms.metrics.localization import localization
from tests.support import beam_runs

PROTOCOL = protocols.get("default")
GROUPS = tuple(localization.GROUPS)


def explanation(number: int, hit: bool, label: int = 1, predicted: int = 1) -> records.Explanation:
    """A 100 x 100 image with an object in its left upper quarter; the map's peak is there, or in the opposite one."""
    maps = np.zeros((1 if label == predicted else 2, 4, 4), np.float32)
    maps[:, :2, :2] = 1.0 if hit else 0.0
    maps[:, 2:, 2:] = 0.0 if hit else 1.0
    classes = [label] if label == predicted else [label, predicted]
    return records.Explanation(
        source=records.Source(
            f"i{number}", "s", number, "", (100, 100), (0, 0, 100, 100), (label,), (("side", "left"),)
        ),
        ground_truth=records.GroundTruth(
            np.array([[0.0, 0, 50, 50]]), np.array([label]), np.array([False]), None, None, None
        ),
        class_ids=np.array(classes),
        targets=(("label", "predicted"),) if label == predicted else (("label",), ("predicted",)),
        logits=np.ones(len(classes), np.float32),
        probabilities=np.full(len(classes), 0.5, np.float32),
        ranks=np.array([1] if label == predicted else [2, 1]),
        predicted_class_id=predicted,
        methods=(records.MethodMaps("grad_cam", "conv", maps, (("road", np.full(len(classes), 0.25)),)),),
    )


def test_a_hit_and_a_miss_are_told_apart():
    for hit in (True, False):
        row, evidence = image_evidence.localize(explanation(0, hit), PROTOCOL, GROUPS, with_baselines=True)
        values = dict(row.scores[0].values)
        assert values["pointing_hit"].tolist() == [float(hit)]
        # bilinear enlargement spreads a little energy over the edge of the box
        assert (values["energy_share"][0] > 0.8) == hit
        by_method = {one.method: one.evidence.values for one in evidence.maps}
        assert by_method["grad_cam"]["pointing_hit"] == float(hit) and by_method["grad_cam"]["road"] == 0.25
        assert by_method["model"] == {"label_top1": 1.0, "label_top5": 1.0, "label_probability": 0.5}
        assert by_method["baseline_uniform"]["energy_share"] == pytest.approx(0.25, abs=1e-6)  # the box's share


def test_another_class_has_no_ground_truth_and_no_row_is_lost():
    row, evidence = image_evidence.localize(explanation(0, True, label=1, predicted=2), PROTOCOL, GROUPS, False)
    assert np.isnan(dict(row.scores[0].values)["pointing_hit"]).tolist() == [False, True]
    assert [one.targets for one in evidence.maps if one.method == "grad_cam"] == [("label",), ("predicted",)]


def summarize(
    explanations: list[records.Explanation], split: int
) -> dict[tuple[str, str, str, str], tuple[float, int]]:
    """The summary of explanations that come in `split` parts."""
    parts = [image_evidence.localize(one, PROTOCOL, GROUPS, True)[1] for one in explanations]
    transform = aggregate.Aggregate(PROTOCOL, "label", ("zero", "one", "two"), True, 10)
    main, _, _ = beam_runs.collect(_Tables(transform), [parts[i::split] for i in range(split)])
    found = {}
    for table in main:
        for row in table.to_pylist():
            found[row["method"], row["slice_name"], row["slice_value"], row["metric"]] = (row["value"], row["n"])
    return found


class _Tables(beam_runs.beam.PTransform):
    """The summary tables, under the tags `beam_runs.collect` knows."""

    def __init__(self, transform: aggregate.Aggregate) -> None:
        super().__init__()
        self._transform = transform

    def expand(self, lists):
        out = (
            lists
            | beam_runs.beam.FlatMap(lambda x: x).with_output_types(image_evidence.ImageEvidence)
            | self._transform
        )
        return {"main": out[aggregate.SUMMARY_TAG], records.DEAD_LETTER_TAG: out[aggregate.CURVES_TAG]}


def test_numbers_are_those_of_arithmetic_whatever_the_split():
    images = [explanation(i, hit=i < 3, label=1 if i % 2 else 0, predicted=1) for i in range(5)]
    one = summarize(images, 1)
    assert one["grad_cam", "all", "all", "pointing_game"] == (3 / 5, 5)
    assert one["grad_cam", "side", "left", "pointing_game"] == (3 / 5, 5)
    assert one["grad_cam", "class", "one", "pointing_game"] == (1 / 2, 2)  # images 1 (hit) and 3 (miss)
    assert one["grad_cam", "class", "zero", "pointing_game"] == (2 / 3, 3)  # images 0 and 2 hit, 4 misses
    assert one["model", "all", "all", "top1_accuracy"] == (2 / 5, 5)
    assert one["grad_cam", "target", "predicted", "pointing_game"] == (1 / 2, 2)  # where predicted is the label
    assert ("grad_cam", "class", "two", "pointing_game") not in one  # no example: missing, not 0
    split = summarize(images, 5)
    assert split.keys() == one.keys()
    for key, (value, n) in one.items():
        assert split[key][1] == n
        np.testing.assert_allclose(split[key][0], value, rtol=1e-12, err_msg=str(key))


def _narrow(image_id: str, start: int, stop: int) -> image_evidence.ImageEvidence:
    """An image of class 1 that is right at thresholds number `start` to `stop` alone."""
    hits = np.zeros((2, 3, 1000), bool)
    hits[:, :, start:stop] = True
    pixels = np.zeros((2, 1001), np.int64)
    pixels[0, 507], pixels[1, 506] = 10, 90
    evidence = localization.Evidence(1, {}, hits, pixels)
    return image_evidence.ImageEvidence(image_id, (), (image_evidence.MapEvidence("cam", ("label",), evidence),))


def test_the_best_over_thresholds_is_of_all_of_them_though_a_class_keeps_every_20th_point_of_its_curve():
    transform = aggregate.Aggregate(PROTOCOL, "label", ("zero", "one"), True, 0)
    images = [[_narrow("a", 501, 508), _narrow("b", 507, 519)]]
    tables, curves, _ = beam_runs.collect(_Tables(transform), images)
    numbers = {(r["slice_name"], r["metric"]): r["value"] for table in tables for r in table.to_pylist()}
    for slice_name in ("all", "class"):
        assert numbers[slice_name, "max_box_acc"] == numbers[slice_name, "max_box_acc_v2"] == 1
        assert numbers[slice_name, "best_box_threshold_single_50"] == 0.507
        assert numbers[slice_name, "best_mask_iou"] == 1 and numbers[slice_name, "best_mask_iou_threshold"] == 0.507
    points = [r for table in curves for r in table.to_pylist()]
    places = {
        name: [(r["threshold"], r["value"]) for r in points if (r["slice_name"], r["curve"]) == (name, "box_acc_iou50")]
        for name in ("all", "class")
    }
    assert len(places["all"]) == 1000 and (0.507, 1.0) in places["all"]
    assert [x for x, _ in places["class"]] == pytest.approx(np.arange(0, 1, 0.02)) and {
        y for _, y in places["class"]
    } == {0}


def test_sums_are_handed_on_before_they_take_more_memory_than_a_worker_has(monkeypatch):
    images = [explanation(i, hit=i < 3, label=1 if i % 2 else 0, predicted=1) for i in range(5)]
    whole = summarize(images, 1)
    monkeypatch.setattr(aggregate, "_MAX_BYTES", 10_000)
    handed_on = []
    clear = aggregate._PreAggregateFn._clear
    monkeypatch.setattr(aggregate._PreAggregateFn, "_clear", lambda self: (handed_on.append(1), clear(self))[1])
    again = summarize(images, 1)
    assert again.keys() == whole.keys()
    np.testing.assert_allclose([again[key] for key in whole], list(whole.values()), rtol=1e-12)
    assert len(handed_on) >= 2 + len(images)


def test_class_names_that_occur_twice_get_their_id():
    assert slicing.distinct_names(["crane", "dog", "crane"]) == ("crane (0)", "dog", "crane (2)")
