from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms import heatmaps, records, sampling
from heatbeam.transforms.engine import assess, engine
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.metrics.faithfulness import batch
from tests.support import engine_specs, keras_models, small_runs

REFERENCE = np.load(keras_models.GOLDEN / "methods_public.npz")
IMAGES = REFERENCE["images_u8/64x64"]
SETTINGS = batch.Settings(
    mask_baseline=0.0,
    steps=4,
    deletion_baseline=0.0,
    insertion_baseline="blur",
    road_percentiles=(50.0,),
    road_noise=0.0,
    sensitivity_radius=0.02,
    sensitivity_samples=2,
    seed=0,
    batch_size=3,
)
WANTED = assess.Assessment(
    metrics=tuple(registry.FAITHFULNESS),
    sample=1.0,
    protocol=protocols.get("default"),
    randomized_share=1.0,
    settings=SETTINGS,
)


@pytest.fixture(scope="module")
def explained() -> tuple[engine.Engine, list[records.Explanation]]:
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("labels",), pass_batch_size=3)
    explainer = engine.Engine(spec)
    labels = [tuple(int(i) for i in row) for row in REFERENCE["tiny_gap/indices"]]
    found = []
    for number, one in enumerate(explainer.explain(IMAGES, labels, {})):
        source = records.Source(f"image{number}", "s", number, "", (64, 64), (0, 0, 64, 64), labels[number])
        maps = tuple(records.MethodMaps(label, layer, values) for label, layer, values in one.maps)
        found.append(
            records.Explanation(
                source,
                records.GroundTruth(),
                one.class_ids,
                one.targets,
                one.logits,
                one.probabilities,
                one.ranks,
                one.predicted_class_id,
                maps,
            )
        )
    return explainer, found


def scores(explanation: records.Explanation) -> dict[str, np.ndarray]:
    return dict(explanation.methods[0].scores)


def probability(explainer: engine.Engine, inputs: np.ndarray, class_id: int) -> float:
    return float(explainer.predict(inputs[None].astype(np.float32))[0, class_id])


def test_numbers_are_those_of_the_definitions(explained):
    explainer, found = explained
    results = assess.assess(explainer, IMAGES, found, WANTED)
    for number, one in enumerate(results[:2]):
        x = IMAGES[number].astype(np.float32) / 127.5 - 1
        for place, class_id in enumerate(one.class_ids.tolist()):
            shown = heatmaps.heatmap(one.methods[0].maps[place], (64, 64), rectify=True)
            before, after = (probability(explainer, i, class_id) for i in (x, x * shown[..., None]))
            mine = {name: values[place] for name, values in scores(one).items()}
            assert mine["confidence_drop"] == pytest.approx(max(0, before - after) / before, abs=1e-5)
            assert mine["confidence_increase"] == float(after > before)
            assert mine["complexity"] == pytest.approx(shown.mean(), abs=1e-6)
            order = np.argsort(-shown.ravel(), kind="stable")
            curve = []
            for step in range(5):
                left = x.reshape(-1, 3).copy()
                left[order[: step * 1024]] = 0
                curve.append(probability(explainer, left.reshape(64, 64, 3), class_id))
            np.testing.assert_allclose(dict(one.methods[0].curves)["deletion"][place], curve, atol=1e-5)
            assert mine["deletion_auc"] == pytest.approx((sum(curve) - (curve[0] + curve[-1]) / 2) / 4, abs=1e-5)
            twin = mine["randomization_spearman"]  # missing where the twin's map is blank
            assert np.isnan(twin) or abs(twin) < 0.999
            assert mine["max_sensitivity"] >= mine["average_sensitivity"] > 0


def test_the_other_class_is_the_one_the_hash_names(explained):
    explainer, found = explained
    one = assess.assess(explainer, IMAGES[:1], found[:1], dataclasses.replace(WANTED, metrics=("class_independence",)))[
        0
    ]
    for place, class_id in enumerate(one.class_ids.tolist()):
        other = sampling.other_class("image0", class_id, 10, 0)
        x = explainer.preprocess(IMAGES[:1])
        shown = [
            heatmaps.heatmap(m, (64, 64), rectify=True).ravel()
            for m in (one.methods[0].maps[place], explainer.explain_inputs("grad_cam", x, np.array([other]))[0])
        ]
        if min(s.std() for s in shown) == 0:
            continue
        from scipy import stats

        expected = stats.spearmanr(*shown).statistic
        assert scores(one)["other_class_spearman"][place] == pytest.approx(expected, abs=1e-3)


def test_nothing_depends_on_the_batch(explained):
    explainer, found = explained
    whole = assess.assess(explainer, IMAGES, found, WANTED)
    for number in range(4):
        (alone,) = assess.assess(explainer, IMAGES[number : number + 1], found[number : number + 1], WANTED)
        for name, values in scores(whole[number]).items():
            np.testing.assert_allclose(scores(alone)[name], values, rtol=2e-3, atol=1e-4, err_msg=name)


def test_only_the_sample_is_measured(explained):
    explainer, found = explained
    wanted = dataclasses.replace(WANTED, metrics=("drop",), sample=0.5, settings=dataclasses.replace(SETTINGS, seed=1))
    results = assess.assess(explainer, IMAGES, found, wanted)
    measured = [bool(np.isfinite(scores(one)["confidence_drop"]).all()) for one in results]
    assert measured == [sampling.in_sample(f"image{i}", 0.5, 1) for i in range(4)]
    assert 0 < sum(measured) < 4


def test_a_run_writes_the_columns_and_the_summary(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(8)], 2)
    overrides = (
        "explain.methods=[grad_cam]",
        "evaluate.faithfulness={metrics: [drop, deletion, road], sample: 1.0, steps: 4, road_percentiles: [50]}",
    )
    directory = small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", *overrides))
    table = small_runs.rows(directory)
    of_label = table.filter([t == "label" for t in table["target"].to_pylist()])
    numbers = small_runs.numbers(directory)
    drop = np.array(of_label["confidence_drop"].to_pylist(), float)
    assert numbers["grad_cam", "all", "all", "average_drop"]["value"] == pytest.approx(drop.mean(), rel=1e-4)
    curves = directory.open_table("curves").to_table().to_pylist()
    assert len([r for r in curves if r["curve"] == "deletion" and r["slice_name"] == "all"]) == 5
