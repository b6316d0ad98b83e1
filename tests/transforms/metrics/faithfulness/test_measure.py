"""All metrics that need the model, measured together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms import sampling
from heatbeam.transforms.metrics import registry
from heatbeam.transforms.metrics.faithfulness import batch, insertion_deletion, measure, road, stability

CLASSES = 3
SETTINGS = batch.Settings(
    mask_baseline=0.0,
    steps=4,
    deletion_baseline="mean",
    insertion_baseline="blur",
    road_percentiles=(30.0, 70.0),
    road_noise=0.01,
    sensitivity_radius=0.02,
    sensitivity_samples=3,
    seed=5,
    batch_size=4,
)


def predict(inputs: np.ndarray) -> np.ndarray:
    """Probability of class c: the mean of channel c."""
    return inputs.mean(axis=(1, 2))


def explain(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """The map of class c: channel c."""
    return np.clip(np.stack([one[..., c] for one, c in zip(inputs, class_ids, strict=True)]), 0, 1)


def explain_twin(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    return explain(inputs[:, ::-1], class_ids)


def of_images(count: int = 3) -> batch.Batch:
    inputs = np.random.default_rng(0).random((count, 12, 12, CLASSES)).astype(np.float32)
    ids = np.arange(count) % CLASSES
    names = [f"image-{number}" for number in range(count)]
    return batch.Batch(predict, explain, explain_twin, inputs, explain(inputs, ids), ids, names, CLASSES, SETTINGS)


def counted(one: batch.Batch) -> tuple[batch.Batch, dict[str, int]]:
    counts = {"predictions": 0, "explanations": 0}

    def predicts(inputs: np.ndarray) -> np.ndarray:
        counts["predictions"] += len(inputs)
        return predict(inputs)

    def explains(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        counts["explanations"] += len(inputs)
        return explain(inputs, class_ids)

    return dataclasses.replace(one, predict=predicts, explain=explains, explain_twin=explains), counts


@pytest.mark.parametrize("name", registry.FAITHFULNESS)
def test_a_name_writes_its_columns_and_costs_what_is_said(name: str) -> None:
    given, counts = counted(of_images())
    columns, curves = measure.measure([name], given)
    assert tuple(columns) == registry.columns([registry.FAITHFULNESS[name]])
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in columns.values())
    predictions, explanations = registry.passes(registry.faithfulness([name]), SETTINGS)
    assert counts == {"predictions": 3 * predictions, "explanations": 3 * explanations}
    points = {"insertion": [5], "deletion": [5], "road": [2, 2]}.get(name, [])
    assert [curve.shape for curve in curves.values()] == [(3, length) for length in points]


def test_all_together_share_the_masked_scores() -> None:
    given, counts = counted(of_images())
    columns, _ = measure.measure(tuple(registry.FAITHFULNESS), given)
    assert registry.passes(registry.FAITHFULNESS.values(), SETTINGS) == (2 + 5 + 5 + 5, 1 + 3 + 1 + 1)
    assert counts == {"predictions": 3 * 17, "explanations": 3 * 6}
    assert set(columns) == set(registry.columns(registry.FAITHFULNESS.values()))


def test_the_numbers_are_those_of_the_functions() -> None:
    one = of_images()
    columns, curves = measure.measure(tuple(registry.FAITHFULNESS), one)
    mean = one.heatmaps.mean(axis=(1, 2))
    after = (one.heatmaps.astype(float) ** 2).mean(axis=(1, 2))
    # The map is the channel of the class, so the masked score is the mean of its square.
    assert columns["confidence_drop"] == pytest.approx((mean - after) / mean, rel=1e-5)
    assert columns["complexity"] == pytest.approx(mean, rel=1e-6)
    assert columns["confidence_increase"].tolist() == [0, 0, 0]
    seeds = [sampling.image_seed(image_id, 5) for image_id in one.image_ids]
    given = (predict, one.inputs, one.heatmaps, one.class_ids)
    roads = road.road(*given, percentiles=(30, 70), noise=0.01, seeds=seeds, batch_size=9)
    np.testing.assert_array_equal(columns["road"], roads.combined)
    assert columns["road_morf"] == pytest.approx(roads.morf.mean(axis=1))
    assert columns["road"] == pytest.approx((columns["road_lerf"] - columns["road_morf"]) / 2)
    np.testing.assert_array_equal(curves["road_lerf"], roads.lerf)
    deleted = insertion_deletion.deletion(*given, steps=4, baseline="mean", batch_size=9)
    np.testing.assert_array_equal(columns["deletion_auc"], deleted.auc)
    np.testing.assert_array_equal(curves["deletion"], deleted.scores)
    blurred = insertion_deletion.insertion(*given, steps=4, baseline="blur", batch_size=9)
    np.testing.assert_array_equal(columns["insertion_auc"], blurred.auc)
    flipped = stability.agreement(one.heatmaps, one.heatmaps[:, ::-1])
    assert columns["randomization_spearman"] == pytest.approx(flipped.spearman)
    other = [sampling.other_class(i, c, CLASSES, 5) for i, c in zip(one.image_ids, one.class_ids.tolist(), strict=True)]
    apart = stability.agreement(one.heatmaps, explain(one.inputs, other))
    assert columns["other_class_overlap"] == pytest.approx(apart.top_overlap)


def test_a_batch_equals_its_images_alone_to_the_bit() -> None:
    whole = of_images(5)
    names = tuple(registry.FAITHFULNESS)
    together, curves = measure.measure(names, whole)
    for i in range(5):
        rows = slice(i, i + 1)
        cut = {n: getattr(whole, n)[rows] for n in ("inputs", "heatmaps", "class_ids", "image_ids")}
        alone, alone_curves = measure.measure(names, dataclasses.replace(whole, **cut))
        for name, values in (together | {f"{n} curve": c for n, c in curves.items()}).items():
            other = alone_curves[name.removesuffix(" curve")] if name.endswith(" curve") else alone[name]
            np.testing.assert_array_equal(values[rows], other)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="unknown metric 'inertion', did you mean insertion"):
        measure.measure(["inertion"], of_images())
    with pytest.raises(ValueError, match="needs explain_twin"):
        measure.measure(["randomization"], dataclasses.replace(of_images(), explain_twin=None))
    with pytest.raises(ValueError, match="2 image ids for 3 inputs"):
        measure.measure(["drop"], dataclasses.replace(of_images(), image_ids=["a", "b"]))
