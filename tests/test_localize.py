from __future__ import annotations

import numpy as np
import pytest

from tests import beam_runs
from transforms import aggregate, localize, records
from transforms.metrics import localization, protocols

PROTOCOL = protocols.get("default")
GROUPS = tuple(localization.GROUPS)


def explanation(number: int, hit: bool, label: int = 1, predicted: int = 1) -> records.Explanation:
    """A 100 x 100 image with an object in its left upper quarter; the map's peak is there, or in the opposite one."""
    maps = np.zeros((1 if label == predicted else 2, 4, 4), np.float32)
    maps[:, :2, :2] = 1.0 if hit else 0.0
    maps[:, 2:, 2:] = 0.0 if hit else 1.0
    classes = [label] if label == predicted else [label, predicted]
    return records.Explanation(
        source=records.Source(f"i{number}", "s", number, "", 100, 100, (0, 0, 100, 100), (label,), (("side", "left"),)),
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
        row, evidence = localize.localize(explanation(0, hit), PROTOCOL, GROUPS, with_baselines=True)
        values = dict(row.scores[0].values)
        assert values["pointing_hit"].tolist() == [float(hit)]
        # bilinear enlargement spreads a little energy over the edge of the box
        assert (values["energy_share"][0] > 0.8) == hit
        by_method = {one.method: one.evidence.values for one in evidence.maps}
        assert by_method["grad_cam"]["pointing_hit"] == float(hit) and by_method["grad_cam"]["road"] == 0.25
        assert by_method["model"] == {"label_top1": 1.0, "label_top5": 1.0, "label_probability": 0.5}
        assert by_method["baseline_uniform"]["energy_share"] == pytest.approx(0.25, abs=1e-6)  # the box's share


def test_another_class_has_no_ground_truth_and_no_row_is_lost():
    row, evidence = localize.localize(explanation(0, True, label=1, predicted=2), PROTOCOL, GROUPS, False)
    assert np.isnan(dict(row.scores[0].values)["pointing_hit"]).tolist() == [False, True]
    assert [one.targets for one in evidence.maps if one.method == "grad_cam"] == [("label",), ("predicted",)]


def summarise(
    explanations: list[records.Explanation], split: int
) -> dict[tuple[str, str, str, str], tuple[float, int]]:
    """The summary of explanations that come in `split` parts."""
    parts = [localize.localize(one, PROTOCOL, GROUPS, True)[1] for one in explanations]
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
        out = lists | beam_runs.beam.FlatMap(lambda x: x).with_output_types(localize.ImageEvidence) | self._transform
        return {"main": out[aggregate.SUMMARY_TAG], records.DEAD_LETTER_TAG: out[aggregate.CURVES_TAG]}


def test_numbers_are_those_of_arithmetic_whatever_the_split():
    images = [explanation(i, hit=i < 3, label=1 if i % 2 else 0, predicted=1) for i in range(5)]
    one = summarise(images, 1)
    assert one["grad_cam", "all", "all", "pointing_game"] == (3 / 5, 5)
    assert one["grad_cam", "side", "left", "pointing_game"] == (3 / 5, 5)
    assert one["grad_cam", "class", "one", "pointing_game"] == (1 / 2, 2)  # images 1 (hit) and 3 (miss)
    assert one["grad_cam", "class", "zero", "pointing_game"] == (2 / 3, 3)  # images 0 and 2 hit, 4 misses
    assert one["model", "all", "all", "top1_accuracy"] == (2 / 5, 5)
    assert one["grad_cam", "target", "predicted", "pointing_game"] == (1 / 2, 2)  # where predicted is the label
    assert ("grad_cam", "class", "two", "pointing_game") not in one  # no example: missing, not 0
    split = summarise(images, 5)
    assert split.keys() == one.keys()
    for key, (value, n) in one.items():
        assert split[key][1] == n
        np.testing.assert_allclose(split[key][0], value, rtol=1e-12, err_msg=str(key))


def test_class_names_that_occur_twice_get_their_id():
    assert aggregate.distinct_names(["crane", "dog", "crane"]) == ("crane (0)", "dog", "crane (2)")
