"""What other engines compute of a model is what TensorFlow computes, to rounding, in maps of every kind."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import channel_maps, engine, specs
from heatbeam.transforms.engine.compute import choice
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.backends import computing, onnx_form, packages, parts
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(bool(packages.missing(name)), reason=str(packages.missing(name))))
    for name in ("onnxruntime", "openvino")
]
METHODS = (
    specs.MethodSpec("grad_cam"),
    specs.MethodSpec("grad_cam", "several", layers=("early", "late"), fusion="mean"),
    specs.MethodSpec("score_cam"),
    specs.MethodSpec("rise", options=(("cells", 2), ("masks", 4))),
    specs.MethodSpec("ablation_cam"),
    specs.MethodSpec("gradients"),
    specs.MethodSpec("grad_cam", wrapper="smooth", wrapper_options=(("repetitions", 2),)),
)
FED = ("gated", "beside")
RNG = np.random.default_rng(3)


def with_weights(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(np.float32) - 0.4 for w in model.get_weights()])
    return model


def by_passed() -> keras.Model:
    """A skip connection around the target layer, a depthwise convolution as Keras gives it to XLA, and a GELU."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(image)
    skip = keras.layers.Conv2D(4, 3, padding="same", groups=4)(x)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="gelu", name="late")(skip)
    x = keras.layers.Activation("relu")(keras.layers.Add()([x, skip]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return with_weights(keras.Model(image, keras.layers.Dense(3)(x)))


def gated() -> keras.Model:
    """A second input closes channels before and after the target layer."""
    image, meta = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="meta")
    gate = keras.layers.Dense(4, activation="sigmoid")(meta)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(image)
    x = x * keras.layers.Reshape((1, 1, 4))(gate)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="late")(x)
    x = keras.layers.GlobalAveragePooling2D()(x) * gate
    return with_weights(keras.Model([image, meta], keras.layers.Dense(3)(x)))


def beside() -> keras.Model:
    """A second input that only the head takes: nothing before the target layer needs it."""
    image, meta = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="meta")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="late")(x)
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(x), meta])
    return with_weights(keras.Model([image, meta], keras.layers.Dense(3)(x)))


def series() -> keras.Model:
    given = keras.Input((16, 2))
    x = keras.layers.Conv1D(4, 3, padding="same", activation="relu", name="early")(given)
    x = keras.layers.Conv1D(4, 3, padding="same", activation="relu", name="late")(x)
    return with_weights(keras.Model(given, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x))))


def kinds() -> keras.Model:
    """Weights of every other kind: transposed, dilated and separable convolutions, and those of attention."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2, activation="relu", name="early")(image)
    x = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = keras.layers.SeparableConv2D(4, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization(epsilon=1.0)(x)  # `with_weights` makes variances that are below 0
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="late")(x)
    x = keras.layers.Reshape((64, 4))(x)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.MultiHeadAttention(2, 2)(x, x))
    return with_weights(keras.Model(image, keras.layers.Dense(3)(x)))


def volume() -> keras.Model:
    given = keras.Input((4, 5, 6, 2))
    x = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="early")(given)
    x = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="late")(x)
    return with_weights(keras.Model(given, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling3D()(x))))


class Gamma(keras.layers.Layer):
    """An operation that ONNX does not have."""

    def call(self, inputs):
        return tf.math.lgamma(2 + tf.abs(inputs))


class Mapped(keras.layers.Layer):
    """A loop over the images."""

    def call(self, inputs):
        return tf.map_fn(lambda one: 2 * one, inputs)


def looped() -> keras.Model:
    return odd(Mapped())


def odd(layer: keras.layers.Layer | None = None) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = (layer or Gamma())(keras.layers.Conv2D(4, 3, padding="same", name="early")(image))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="late")(x))
    return with_weights(keras.Model(image, keras.layers.Dense(3)(x)))


def spec_of(name: str, *methods: specs.MethodSpec, **changes) -> specs.EngineSpec:
    source = model_source.ModelSource(factory=f"{__name__}:{name}")
    if name in FED:
        constants = (("meta", model_source.StandIn()),)
        source = dataclasses.replace(source, input="image", constants=constants)
        changes["fed"] = ("meta",)
    return engine_specs.spec(source, *methods, target_layer="late", intra_op_threads=1, scores="softmax", **changes)


def explained(made: engine.Engine, images: np.ndarray, inputs: dict[str, np.ndarray] | None):
    found = made.explain(images, [(0,)] * len(images), {}, inputs)
    names = [label for label, _, _ in found[0].maps]
    maps = {name: np.stack([one.maps[i][2] for one in found]) for i, name in enumerate(names)}
    return maps | {"logits": np.stack([one.logits for one in found])}


@functools.cache
def by_tensorflow(name: str):
    """An engine of a model, three images and what comes with them, and the maps."""
    methods = METHODS if name == "by_passed" else METHODS[1:3]
    own = engine.Engine(spec_of(name, *methods, targets=("top_2",), evidence=False))
    images = RNG.uniform(0, 255, (3, *own.description.input_size)).astype(np.float32)
    inputs = {"meta": RNG.normal(size=(3, 4)).astype(np.float32)} if name in FED else None
    return own, images, inputs, explained(own, images, inputs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weights", ["in the graph", "beside it"])
@pytest.mark.parametrize("name", ["by_passed", "gated", "beside", "series", "kinds", "volume"])
def test_maps_are_those_of_tensorflow(name, weights, backend, monkeypatch):
    monkeypatch.setattr(parts, "_LARGE", 1 if weights == "beside it" else parts._LARGE)
    own, images, inputs, expected = by_tensorflow(name)
    other = engine.Engine(dataclasses.replace(own.spec, compute=backend), own.model)

    found = explained(other, images, inputs)

    assert {key: choice.agreement([expected[key]], [found[key]]) for key in expected} == pytest.approx(
        dict.fromkeys(expected, 0.0), abs=1e-5
    )
    assert other.predict(own.preprocess(images), inputs) == pytest.approx(
        own.predict(own.preprocess(images), inputs), abs=1e-6
    )
    operations = [op.type for op in other._score.graphs[tf.float32].get_concrete_function().graph.get_operations()]
    assert [kind for kind in operations if "PyFunc" in kind], "whole passes stay in TensorFlow"
    assert not {"Conv2D", "DepthwiseConv2dNative"} & set(operations)
    # What an image gets does not follow from how many come with it.
    alone = explained(other, images[1:2], None if inputs is None else {"meta": inputs["meta"][1:2]})
    assert choice.agreement([found["several"][1:2]], [alone["several"]]) <= 1e-6


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_a_twin_with_other_weights_is_computed_with_those(backend):
    spec = spec_of("by_passed", specs.MethodSpec("grad_cam"))
    images = RNG.uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    own, other = (engine.Engine(dataclasses.replace(spec, compute=c)) for c in ("tensorflow", backend))
    before = explained(other, images, None)

    expected, found = (explained(one.randomized(1.0, 5), images, None)["logits"] for one in (own, other))

    assert choice.agreement([expected], [found]) <= 1e-5
    assert choice.agreement([before["logits"]], [found]) > 0.01


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_gradients_reach_the_input_whatever_computes_the_model(backend):
    own, images, _, _ = by_tensorflow("by_passed")
    other = engine.Engine(dataclasses.replace(own.spec, compute=backend), own.model)
    inputs = own.preprocess(images)

    (_, expected), (_, found) = (channel_maps.ChannelMaps(one).maps(inputs, 1, (), ()) for one in (own, other))

    assert np.abs(expected).max() > 0
    assert found == pytest.approx(expected, abs=1e-6 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (RuntimeError("Exception from a.cpp:12:\nno\nkernel"), engine.BatchError, "Exception from a.cpp:12: no kernel"),
        (RuntimeError("Failed to allocate memory for requested buffer"), engine.OutOfMemory, "Failed to allocate"),
        (MemoryError("std::bad_alloc"), engine.OutOfMemory, "std::bad_alloc"),
    ],
)
def test_an_engine_that_fails_on_a_batch_says_so_in_a_line(error, kind, said, monkeypatch):
    class Failing:
        def run(self, _arrays):
            raise error

    monkeypatch.setattr(computing.Computed, "_session", lambda *_args, **_how: Failing())
    monkeypatch.setattr(packages, "missing", lambda _backend: None)
    own, images, _, _ = by_tensorflow("series")
    other = engine.Engine(dataclasses.replace(own.spec, compute="openvino"), own.model)

    with pytest.raises(kind, match=said) as e:
        explained(other, images, None)

    assert str(e.value).count("openvino: ") == 1
    assert "Traceback" not in str(e.value)


@pytest.mark.parametrize(("name", "why"), [("odd", "Lgamma"), ("looped", "While call functions")])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_can_not_be_converted_is_refused_in_a_line(backend, name, why):
    made = engine.Engine(spec_of(name, specs.MethodSpec("grad_cam"), compute=backend))

    with pytest.raises(loading.ModelError, match=rf"{backend} can't compute this model \(.*set explain\.compute") as e:
        made.warm_up()

    assert why in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_half_precision_stays_in_tensorflow(backend):
    spec = spec_of("by_passed", specs.MethodSpec("grad_cam"), compute=backend, precision="mixed_bfloat16")

    with pytest.raises(loading.ModelError, match="computes in float32, and explain"):
        engine.Engine(spec)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_choice_tries_real_engines(backend, monkeypatch):
    monkeypatch.setattr(choice, "_ORDER", (backend,))  # XLA compiles for seconds

    found = choice.choose(spec_of("by_passed", specs.MethodSpec("grad_cam")), seconds=30)

    assert [trial.backend for trial in found.trials] == ["tensorflow", backend]
    assert [trial.why_not for trial in found.trials] == ["", ""]
    assert 0 <= found.trials[1].agreement <= choice.AGREEMENT
    assert all(trial.images_per_second > 0 for trial in found.trials)


@pytest.mark.skipif(bool(packages.missing("onnxruntime") or packages.missing("openvino")), reason="needs both engines")
def test_a_trial_converts_each_part_once_for_all_engines_and_then_forgets_it(monkeypatch):
    monkeypatch.setattr(choice, "_ORDER", ("onnxruntime", "openvino"))
    converted, convert = [], onnx_form.onnx_model
    monkeypatch.setattr(onnx_form, "onnx_model", lambda part: converted.append(part.outputs) or convert(part))
    spec = spec_of("by_passed", specs.MethodSpec("grad_cam"))

    found = choice.choose(spec, seconds=30)

    assert [trial.why_not for trial in found.trials] == ["", "", ""]
    assert all(0 <= trial.agreement <= choice.AGREEMENT for trial in found.trials)
    assert len(converted) == len(set(converted)) > 0
    before = len(converted)
    engine.Engine(dataclasses.replace(spec, compute="onnxruntime")).warm_up()
    assert len(converted) > before
