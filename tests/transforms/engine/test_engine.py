from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from heatbeam.transforms.engine import engine, explained, specs
from heatbeam.transforms.methods import targets as method_targets
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs, keras_models, paths

REFERENCE = np.load(keras_models.GOLDEN / "methods_public.npz")
IMAGES = REFERENCE["images_u8/64x64"]
M = engine_specs.method


def labels(name: str) -> list[tuple[int, ...]]:
    return [tuple(int(i) for i in row) for row in REFERENCE[f"{name}/indices"]]


def map_of(one: explained.ImageExplanation, label: str, class_id: int) -> np.ndarray:
    (maps,) = (values for name, _, values in one.maps if name == label)
    return maps[one.class_ids.tolist().index(class_id)]


@pytest.mark.parametrize(
    ("model", "name", "key"),
    [
        ("tiny_gap", "cam", "cam"),
        ("tiny_gap", "grad_cam", "gradcam"),
        ("tiny_flat", "grad_cam", "gradcam"),
        ("tiny_gap", "grad_cam_plus_plus", "gradcampp"),
        ("tiny_flat", "grad_cam_plus_plus", "gradcampp"),
        ("tiny_gap", "score_cam", "scorecam"),
        ("tiny_flat", "score_cam", "scorecam"),
    ],
)
def test_maps_equal_those_of_keras_explainable(model, name, key):
    options = {"variant": "keras_explainable"} if name == "score_cam" else {}
    spec = engine_specs.spec(engine_specs.file(keras_models.golden(model)), M(name, **options), targets=("labels",))
    results = engine.Engine(spec).explain(IMAGES, labels(model), {})
    expected = REFERENCE[f"{model}/seed/raw/{key}/idx"]
    for b in range(len(expected)):  # the file keeps fewer images of maps at input size
        for column, class_id in enumerate(labels(model)[b]):
            want, got = expected[b, ..., column], map_of(results[b], name, class_id)
            if name == "grad_cam_plus_plus":  # the seed keeps the factor exp(score), which is left out here
                place = results[b].class_ids.tolist().index(class_id)
                got = got * np.exp(results[b].logits[place].astype(np.float64))
            if name == "score_cam":  # the seed sums the enlarged masks; enlarging the sum is the same
                got = cv2.resize(got, want.shape, interpolation=cv2.INTER_LINEAR)
            assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_explains_each_class_once_with_every_reason():
    spec = engine_specs.spec(
        engine_specs.file(keras_models.GAP), targets=("label", 3, "predicted", "runner_up", "top_3")
    )
    logits = REFERENCE["tiny_gap/keras3/logits"]
    order = np.argsort(-logits, axis=1)
    results = engine.Engine(spec).explain(IMAGES, [(int(order[0, 1]),), (), (3,), (9, 1)], {})
    for one, row, first in zip(results, logits, order, strict=True):
        assert len(set(one.class_ids.tolist())) == len(one.class_ids)
        assert one.predicted_class_id == first[0]
        np.testing.assert_allclose(one.logits, row[one.class_ids], atol=1e-5)
        np.testing.assert_allclose(one.probabilities, (np.exp(row) / np.exp(row).sum())[one.class_ids], atol=1e-5)
        assert one.ranks.tolist() == [1 + int((row > row[c]).sum()) for c in one.class_ids]
    reasons = dict(zip(results[0].class_ids.tolist(), results[0].targets, strict=True))
    assert reasons[int(order[0, 1])] == ("label", "runner_up", "top_3")
    assert reasons[int(order[0, 0])] == ("predicted", "top_3")
    assert dict(zip(results[2].class_ids.tolist(), results[2].targets, strict=True))[3][:2] == ("label", "class_3")
    assert 9 in results[3].class_ids and 1 not in results[3].class_ids.tolist()[:1]  # label is the first of several


def test_every_label_is_explained_however_many_there_are():
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("labels", "predicted"))
    explainer = engine.Engine(spec)
    many = [(0, 1, 2, 3, 4, 5, 6), (7,), (), (8, 9)]
    results = explainer.explain(IMAGES, many, {})
    for one, ids in zip(results, many, strict=True):
        assert set(one.class_ids.tolist()) == {*ids, one.predicted_class_id}
        alone = engine.Engine(
            engine_specs.spec(engine_specs.file(keras_models.GAP), targets=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
        )
        break
    everything = alone.explain(IMAGES, [()] * 4, {})
    for one, reference in zip(results, everything, strict=True):
        for class_id in one.class_ids.tolist():
            np.testing.assert_allclose(
                map_of(one, "grad_cam", class_id), map_of(reference, "grad_cam", class_id), rtol=1e-4, atol=1e-7
            )


def test_many_classes_take_passes_of_a_bounded_number_of_classes(monkeypatch):
    """The memory of head gradients does not grow with the classes; classes, reasons and maps are as in one pass."""
    targets = ("top_8", "labels", 7, "predicted")
    spec = engine_specs.spec(
        engine_specs.file(keras_models.GAP), M("grad_cam"), M("smooth_grad_cam_plus_plus"), targets=targets
    )
    many = [(0, 1, 2, 3), (7,), (), (8, 9)]
    once = engine.Engine(spec).explain(IMAGES, many, {})
    widths = []
    original = method_targets.score_gradients

    def noting(scores, sources):
        widths.append(scores.shape[1])
        return original(scores, sources)

    monkeypatch.setattr(explained, "WIDEST", 3)
    monkeypatch.setattr(method_targets, "score_gradients", noting)
    parts = engine.Engine(spec).explain(IMAGES, many, {})
    assert set(widths) == {3}
    for one, other in zip(once, parts, strict=True):
        assert dict(zip(other.class_ids.tolist(), other.targets, strict=True)) == dict(
            zip(one.class_ids.tolist(), one.targets, strict=True)
        )
        assert other.predicted_class_id == one.predicted_class_id
        for class_id, rank in zip(one.class_ids.tolist(), one.ranks.tolist(), strict=True):
            assert other.ranks[other.class_ids == class_id] == rank
            for name in ("grad_cam", "smooth_grad_cam_plus_plus"):
                found, expected = map_of(other, name, class_id), map_of(one, name, class_id)
                np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_reasons_do_not_depend_on_how_many_classes_the_neighbours_have():
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), targets=("predicted", "labels"))
    explainer = engine.Engine(spec)
    first = explainer.explain(IMAGES[:1], [()], {})[0].predicted_class_id
    alone = explainer.explain(IMAGES[:1], [(first,)], {})[0]
    beside = explainer.explain(IMAGES[:2], [(first,), (0, 1, 2, 3)], {})[0]
    assert alone.targets == beside.targets == (("predicted", "labels"),)


def test_results_do_not_depend_on_the_batch_and_nothing_is_traced_again():
    methods = (M("grad_cam"), M("layer_cam"), M("score_cam"), M("eigen_cam"))
    explainer = engine.Engine(engine_specs.spec(engine_specs.file(keras_models.FLAT), *methods))
    ids = labels("tiny_flat")
    whole = explainer.explain(IMAGES, ids, {})
    traces = explainer.shared.traces
    single = [explainer.explain(IMAGES[i : i + 1], ids[i : i + 1], {})[0] for i in range(4)]
    assert explainer.shared.traces == traces
    for one, other in zip(whole, single, strict=True):
        assert one.class_ids.tolist() == other.class_ids.tolist()
        for (_, _, maps), (_, _, alone) in zip(one.maps, other.maps, strict=True):
            np.testing.assert_allclose(maps, alone, atol=1e-5 * np.abs(maps).max())


def test_methods_can_map_other_layers_and_other_targets():
    methods = (
        M("grad_cam", "early", layers=("act1",)),
        M("grad_cam", "finer", target="finer_cam"),
        M("grad_cam", "smooth", wrapper="smooth", wrapper_options={"repetitions": 2}),
        M("grad_cam"),
    )
    model = engine_specs.file(keras_models.GAP)
    layers = [o.name for o in engine.Engine(engine_specs.spec(model)).description.layers]
    methods = (M("grad_cam", "early", layers=(layers[2],)), *methods[1:])
    one = engine.Engine(engine_specs.spec(model, *methods)).explain(IMAGES, labels("tiny_gap"), {})[0]
    by_label = {label: (layer, maps) for label, layer, maps in one.maps}
    assert by_label["early"][0] == layers[2] and by_label["early"][1].shape[1:] != (8, 8)
    plain = by_label["grad_cam"][1]
    assert not np.allclose(by_label["finer"][1], plain, rtol=1e-2)
    difference = np.abs(by_label["smooth"][1] - plain).max() / np.abs(plain).max()
    assert 0 < difference < 0.8


def test_a_method_that_explains_a_sample_leaves_the_others_out():
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), M("grad_cam"), M("score_cam", sample=0.5))
    explainer = engine.Engine(spec)
    chosen = {"score_cam": np.array([False, True, True, False])}
    some = explainer.explain(IMAGES, labels("tiny_gap"), chosen)
    every = explainer.explain(IMAGES, labels("tiny_gap"), {})
    assert [[label for label, _, _ in one.maps] for one in some] == [
        ["grad_cam"], ["grad_cam", "score_cam"], ["grad_cam", "score_cam"], ["grad_cam"]
    ]  # fmt: skip
    np.testing.assert_allclose(some[2].maps[1][2], every[2].maps[1][2], rtol=1e-4, atol=1e-6)


def test_where_each_core_has_a_batch_of_its_own_a_pass_takes_few_images(monkeypatch):
    model, ids = engine_specs.file(keras_models.GAP), [(i % 3,) for i in range(20)]
    images = np.random.default_rng(4).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    methods = (M("grad_cam"), M("score_cam"))
    whole = engine.Engine(engine_specs.spec(model, *methods, batch_size=20))
    split = engine.Engine(engine_specs.spec(model, *methods, batch_size=20, intra_op_threads=1))
    assert (whole.pass_size, split.pass_size) == (20, 8)
    passed, shared = [], split.shared.function
    monkeypatch.setattr(
        split.shared, "function", lambda images, given: passed.append(len(images)) or shared(images, given)
    )
    for one, other in zip(split.explain(images, ids, {}), whole.explain(images, ids, {}), strict=True):
        np.testing.assert_array_equal(one.class_ids, other.class_ids)
        for (_, _, found), (_, _, expected) in zip(one.maps, other.maps, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert passed == [8, 8, 4]


def test_passes_of_whole_images_are_small_on_a_core_and_passes_of_the_head_are_not(monkeypatch):
    seen = {}

    def noting(name, function):
        def run(given, **options):
            seen[name] = given.batch_size
            return function(given, **options)

        return run

    names, changes = ("score_cam", "ablation_cam"), {"pass_batch_size": 32, "intra_op_threads": 1}
    explainer = engine.Engine(engine_specs.spec(engine_specs.file(keras_models.GAP), *map(M, names), **changes))
    for planned in explainer._methods:
        object.__setattr__(planned, "function", noting(planned.label, planned.function))
    explainer.explain(np.zeros((2, 64, 64, 3), np.uint8), [(0,), (1,)], {})
    assert seen == {"score_cam": 8, "ablation_cam": 32}


def test_xla_gives_the_same_maps():
    ids = labels("tiny_gap")
    model = engine_specs.file(keras_models.GAP)
    plain = engine.Engine(engine_specs.spec(model)).explain(IMAGES[:3], ids[:3], {})
    compiled = engine.Engine(engine_specs.spec(model, xla=True)).explain(IMAGES[:3], ids[:3], {})
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one.maps[0][2], other.maps[0][2], atol=1e-5 * np.abs(one.maps[0][2]).max())


def test_predict_gives_probabilities_in_chunks():
    explainer = engine.Engine(engine_specs.spec(engine_specs.file(keras_models.GAP), pass_batch_size=3))
    inputs = IMAGES.astype(np.float32) / 127.5 - 1
    logits = REFERENCE["tiny_gap/keras3/logits"].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(explainer.predict(inputs), expected, atol=1e-5)


def test_a_poisoned_image_fails_its_batch_with_the_models_words():
    explainer = engine.Engine(
        engine_specs.spec(engine_specs.factory("fragile_factory"), preprocessing=model_source.Preprocessing("none"))
    )
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[1, 0, 0] = (255, 0, 255)
    with pytest.raises(engine.BatchError, match="poisoned image"):
        explainer.explain(images, [(0,)] * 3, {})
    assert len(explainer.explain(images[[0, 2]], [(0,)] * 2, {})) == 2


def test_scores_that_are_no_numbers_are_flagged_for_their_image_only():
    none = model_source.Preprocessing("none")
    explainer = engine.Engine(engine_specs.spec(engine_specs.factory("undefined_factory"), preprocessing=none))
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[1, 0, 0] = (255, 0, 255)
    assert [one.finite for one in explainer.explain(images, [(0,)] * 3, {})] == [True, False, True]


def test_activations_that_are_no_numbers_are_flagged_though_the_scores_are_some():
    none = model_source.Preprocessing("none")
    model = engine_specs.factory("capped_factory")
    explainer = engine.Engine(engine_specs.spec(model, preprocessing=none, target_layer="infinite"))
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[1, 0, 0] = (255, 0, 255)
    explained = explainer.explain(images, [(0,)] * 3, {})
    assert np.isfinite(explained[1].logits).all()
    assert [one.finite for one in explained] == [True, False, True]


@pytest.mark.parametrize(
    ("methods", "changes", "said"),
    [
        ((M("cam"),), {"model": keras_models.FLAT}, "needs a head of global average pooling"),
        ((M("grad_cam"),), {"targets": (10,)}, "names class 10, the model has classes 0 to 9"),
        ((M("layer_cam_fused"),), {}, "fuses several layers; name them"),
        ((M("grad_cam", layers=("nowhere",)),), {}, "no layer 'nowhere'"),
    ],
    ids=["cam-head", "class-id", "one-layer", "layer"],
)
def test_a_method_that_does_not_fit_the_model_is_refused(methods, changes, said):
    model = engine_specs.file(changes.pop("model", keras_models.GAP))
    with pytest.raises(loading.ModelError, match=said):
        engine.Engine(engine_specs.spec(model, *methods, **changes)).warm_up()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", (10, 128, 255)),
        ("tf", (10 / 127.5 - 1, 128 / 127.5 - 1, 1)),
        ("torch", ((10 / 255 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225)),
        ("caffe", (255 - 103.939, 128 - 116.779, 10 - 123.68)),
        ("MobileNetV2", (10 / 127.5 - 1, 128 / 127.5 - 1, 1)),
    ],
)
def test_preprocessing_modes(mode, expected):
    function = loading.preprocessing_function(model_source.Preprocessing(mode), None)
    pixel = np.array([10, 128, 255], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(function(pixel).numpy().ravel(), expected, rtol=1e-5, atol=1e-6)


def test_preprocessing_by_scale_and_offset():
    function = loading.preprocessing_function(model_source.Preprocessing("auto", (0.5,), (1.0, 2.0, 3.0)), None)
    pixel = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    assert function(pixel).numpy().ravel().tolist() == [6.0, 12.0, 18.0]


def test_equal_models_have_equal_digests():
    one, other = keras_models.classifier(), keras_models.classifier()
    assert loading.model_digest(one) == loading.model_digest(other)
    assert loading.model_digest(one) != loading.model_digest(keras_models.classifier(seed=9))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (engine_specs.file("/nowhere/model.keras"), "does not exist"),
        (model_source.ModelSource(application="MobileNetV9"), "has no model 'MobileNetV9'; it has"),
        (model_source.ModelSource(factory="tests.support.keras_models"), "expected module:function"),
        (model_source.ModelSource(factory="tests.support.keras_models:nothing"), "cannot be imported"),
        (model_source.ModelSource(factory="tests.support.keras_models:images"), "cannot be imported"),
    ],
)
def test_a_model_that_cannot_be_had_says_why(source, said):
    with pytest.raises(loading.ModelError, match=said):
        loading.load_keras_model(source)


def test_a_file_with_code_is_refused_in_safe_mode(tmp_path):
    import keras

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs))
    path = str(tmp_path / "lambda.keras")
    model.save(path)
    with pytest.raises(loading.ModelError, match=r"set model.safe_mode: false"):
        loading.load_keras_model(engine_specs.file(path))


def test_h5_files_and_applications_with_weights_load(tmp_path):
    import keras

    plain = keras_models.classifier()
    path = str(tmp_path / "model.h5")
    plain.save(path)
    loaded = loading.load_keras_model(engine_specs.file(path))
    assert loading.model_digest(loaded) == loading.model_digest(plain)
    arguments = {"alpha": 0.35, "input_shape": (32, 32, 3), "classes": 4}
    made = keras.applications.MobileNetV2(weights=None, **arguments)
    weights = str(tmp_path / "net.weights.h5")
    made.save_weights(weights)
    source = model_source.ModelSource(application="MobileNetV2", weights=weights, arguments=specs.pairs(arguments))
    assert loading.model_digest(loading.load_keras_model(source)) == loading.model_digest(made)
    with pytest.raises(loading.ModelError, match="do not load into"):
        loading.load_keras_model(dataclasses.replace(source, weights=path))


_COUNT_FAULTS = """
import resource
import numpy as np
from heatbeam.transforms.engine import engine
from tests.support import engine_specs

which = engine.Engine(engine_specs.spec(engine_specs.factory("wide"), targets=("predicted",), batch_size=16))
images = np.zeros((16, 128, 128, 3), np.uint8)
for _ in range(3):
    which.explain(images, [()] * 16, {})
counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
for _ in range(4):
    which.explain(images, [()] * 16, {})
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
# The least: a system short of memory takes pages back meanwhile.
print(min(after - before for before, after in zip(counts, counts[1:])) * resource.getpagesize())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults as Linux does")
def test_the_memory_of_a_pass_serves_the_next():
    """A pass fills 64 MiB; were they asked of the system each time, it would make that many bytes of pages anew."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPU_ALLOCATOR_USE_BFC"}
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_FAULTS],
        capture_output=True,
        text=True,
        env=environment,
        cwd=paths.ROOT,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < 16 * 2**20
