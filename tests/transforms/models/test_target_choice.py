"""Which tensor is mapped: everything runs through it, its cells lie as in the image, and its Grad-CAM is the tape's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import cam
from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading

SIZE = (32, 32, 3)
IMAGES = np.random.default_rng(3).uniform(-1, 1, (2, *SIZE)).astype(np.float32)


def _conv(name: str, filters: int = 8, **settings: object) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name, **settings)


def _scores(x: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Dense(3, name="scores")(keras.layers.GlobalAveragePooling2D(name="pool")(x))


def _summed() -> keras.Model:
    """The sum is an operation and no layer."""
    inputs = keras.Input(SIZE)
    stem = _conv("stem", strides=4)(inputs)
    return keras.Model(inputs, _scores(keras.ops.relu(stem + _conv("branch")(stem) - 0.1)))


class Summing(keras.Model):
    """The sum is neither layer nor Keras operation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = _conv("stem", strides=4), _conv("branch")
        self.pool, self.scores = keras.layers.GlobalAveragePooling2D(name="pool"), keras.layers.Dense(3)

    def features(self, inputs: tf.Tensor) -> tf.Tensor:
        stem = self.stem(inputs)
        return tf.nn.relu(stem + self.branch(stem) - 0.1)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.scores(self.pool(self.features(inputs)))


def _columns() -> keras.Model:
    """A sequence of columns, as where text is read: their number is a square, and they are no grid."""
    inputs = keras.Input(SIZE)
    x = keras.layers.MaxPooling2D(2, name="last_pool")(_conv("features")(inputs))
    x = keras.layers.Reshape((16, 16 * 8), name="columns")(keras.layers.Permute((2, 1, 3), name="turned")(x))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.LSTM(4)(x)))


def _vector() -> keras.Model:
    """A vector cut into rows and columns."""
    inputs = keras.Input(SIZE)
    x = keras.layers.Flatten()(_conv("features", strides=4)(inputs))
    x = keras.layers.Reshape((4, 4, 8), name="vector")(keras.layers.Dense(128)(x))
    return keras.Model(inputs, _scores(_conv("after")(x)))


def _windows() -> keras.Model:
    """Windows are folded into the first axis after the last map of whole images, and back after it."""
    inputs = keras.Input(SIZE)
    x = _conv("features", strides=4)(inputs)
    x = keras.ops.reshape(
        keras.ops.transpose(keras.ops.reshape(x, (-1, 2, 4, 2, 4, 8)), (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 8)
    )
    x = keras.ops.mean(keras.ops.reshape(_conv("in_window")(x), (-1, 4, 16, 8)), axis=(1, 2))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


class Placed(keras.layers.Layer):
    """Adds what was learned for each place, which it looks up by numbers that are made before the trace."""

    def build(self, shape: tuple[int | None, int, int]) -> None:
        self.places = tf.range(shape[1])[None]
        self.table = keras.layers.Embedding(shape[1], shape[2], name="table")
        self.table.build((1, shape[1]))

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        return tokens + self.table(self.places)


def _placed_tokens() -> keras.Model:
    inputs = keras.Input(SIZE)
    x = Placed(name="placed")(keras.layers.Reshape((64, 8))(_conv("features", strides=4)(inputs)))
    x = keras.layers.LayerNormalization(name="normalized")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))


def _channels_first() -> keras.Model:
    inputs = keras.Input(SIZE)
    x = keras.layers.Permute((3, 1, 2))(_conv("features", 5, strides=4)(inputs))
    x = keras.layers.Activation("tanh", name="first")(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.ops.mean(x, axis=(2, 3))))


def _backbone(name: str) -> keras.Model:
    inputs = keras.Input(SIZE)
    return keras.Model(inputs, _conv("features", strides=4)(inputs), name=name)


def _joined(*parts: Callable[[keras.KerasTensor], keras.KerasTensor]) -> keras.Model:
    inputs = keras.Input(SIZE)
    pooled = [keras.layers.GlobalAveragePooling2D()(part(inputs)) for part in parts]
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Concatenate()(pooled)))


def _two_backbones() -> keras.Model:
    return _joined(_backbone("one"), _backbone("other"))


def _one_backbone_twice() -> keras.Model:
    backbone = _backbone("one")
    return _joined(backbone, lambda images: backbone(1 - images))


def _mirrored_too() -> keras.Model:
    """Of the two calls the first one sees the image mirrored."""
    backbone = _backbone("one")
    return _joined(backbone, lambda images: backbone(images[:, :, ::-1]))


def _exposed(build: Callable[[], keras.Model], layer: str | Sequence[str] = "auto") -> exposure.ExposedModel:
    keras.utils.set_random_seed(4)
    return exposure.ExposedModel(build(), layer=layer, scores="auto", output=None, size=SIZE)


def _maps(model: exposure.ExposedModel, class_id: int) -> np.ndarray:
    """Grad-CAM of one class, as the engine takes it."""

    @tf.function(autograph=False)
    def run(inputs: tf.Tensor) -> tf.Tensor:
        logits, (activations,) = model.expose(inputs)
        return cam.grad_cam(activations, tf.gradients(logits[:, class_id], activations)[0][:, None])

    return run(tf.constant(IMAGES)).numpy()[..., 0]


def _tape(stem: Callable[[tf.Tensor], tf.Tensor], head: Callable[[tf.Tensor], tf.Tensor], class_id: int) -> np.ndarray:
    """Grad-CAM of one class with a plain gradient tape, channels last."""
    with tf.GradientTape() as tape:
        activations = stem(tf.constant(IMAGES))
        tape.watch(activations)
        score = head(activations)[:, class_id]
    return np.einsum("bhwk,bk->bhw", activations, tf.reduce_mean(tape.gradient(score, activations), (1, 2)))


def _assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


@pytest.mark.parametrize(
    ("build", "layer", "grid"),
    [
        (_columns, "last_pool", (16, 16, 8)),
        (_vector, "features", (8, 8, 8)),
        (_windows, "features", (8, 8, 8)),
        (_channels_first, "first", (8, 8, 5)),
        (_placed_tokens, "normalized", (8, 8, 8)),
    ],
)
def test_only_cells_that_lie_as_in_the_image_are_chosen(build, layer, grid) -> None:
    about = _exposed(build).description
    assert (about.layer.name, about.layer.grid, about.warnings) == (layer, grid, ())


def test_the_sum_of_a_functional_model_is_mapped() -> None:
    model = _exposed(_summed)
    whole = model.keras_model
    assert (model.description.layer.kind, model.description.warnings) == ("Relu", ())
    pool = whole.get_layer("pool")
    stem = keras.Model(whole.input, pool.input)
    _assert_same(_maps(model, 1), _tape(stem, lambda a: whole.get_layer("scores")(pool(a)), 1))
    add = next(name.name for name in model.description.layers if name.kind == "Add")
    assert _exposed(lambda: whole, add).description.layer.kind == "Add"


def test_the_sum_in_the_code_of_a_model_is_mapped() -> None:
    model = _exposed(Summing)
    whole = model.keras_model
    assert model.layer == "input of pool"
    assert _exposed(lambda: whole, "input of pool").layer == "input of pool"
    _assert_same(_maps(model, 2), _tape(whole.features, lambda a: whole.scores(whole.pool(a)), 2))


def test_channels_that_come_first_are_mapped_last() -> None:
    model = _exposed(_channels_first)
    whole = model.keras_model
    features, scores = whole.get_layer("features"), whole.layers[-1]
    expected = _tape(lambda images: tf.tanh(features(images)), lambda a: scores(tf.reduce_mean(a, (1, 2))), 0)
    _assert_same(_maps(model, 0), expected)


TWO_WAYS = pytest.mark.parametrize(
    ("build", "layers"),
    [(_two_backbones, ("one/features", "other/features")), (_one_backbone_twice, ("one/features", "one/features#1"))],
)


@TWO_WAYS
def test_what_by_passes_the_layer_is_said(build, layers) -> None:
    model = _exposed(build)
    (warning,) = model.description.warnings
    assert model.layer == layers[0] and f"by-passes layer {layers[0]} " in warning
    assert warning.endswith(f"To map every way, set model.target_layer: [{', '.join(layers)}]")
    assert [other.name for other in model.description.next_best] == [layers[1]]


def _second_pass(model: exposure.ExposedModel) -> tuple[keras.Model, keras.Model, keras.layers.Layer]:
    """What gives the last features, what gives the first ones, and what reads both."""
    whole = model.keras_model
    inner = [layer for layer in whole.layers if isinstance(layer, keras.Model)]
    return inner[0], inner[-1], whole.layers[-1]


def _tapes_of_two(model: exposure.ExposedModel, class_id: int, changed: tf.Tensor) -> list[np.ndarray]:
    """Grad-CAM of both features that are averaged and concatenated, on the images and on `changed`."""
    first, second, scores = _second_pass(model)
    with tf.GradientTape() as tape:
        features = [first(tf.constant(IMAGES)), second(changed)]
        tape.watch(features)
        pooled = tf.concat([tf.reduce_mean(f, (1, 2)) for f in features], axis=1)
        score = scores(pooled)[:, class_id]
    return [
        np.einsum("bhwk,bk->bhw", f, tf.reduce_mean(g, (1, 2)))
        for f, g in zip(features, tape.gradient(score, features), strict=True)
    ]


@TWO_WAYS
def test_several_layers_are_mapped_each(build, layers) -> None:
    model = _exposed(build, layers)
    assert model.description.warnings == ()
    assert model.description.evidence.startswith(f"every path runs through one of them; {layers[0]}: positions")
    twice = build is _one_backbone_twice
    expected = _tapes_of_two(model, 1, tf.constant(1 - IMAGES if twice else IMAGES))
    found = [_maps(model.at(layer), 1) for layer in layers]
    if twice and not np.allclose(found[0], expected[0], atol=1e-4):  # calls are named in the order of the trace
        expected = expected[::-1]
    for one, other in zip(found, expected, strict=True):
        _assert_same(one, other)


def test_mirrored_features_are_not_trusted() -> None:
    assert _exposed(_mirrored_too).layer == "one/features"
    _, warning = _exposed(_mirrored_too, "one/features#1").description.warnings
    assert warning.startswith("it is not sure that the cells of layer one/features#1 lie as in the image")


def test_a_layer_before_the_last_one_is_told_what_everything_runs_through() -> None:
    (warning,) = _exposed(_summed, "branch").description.warnings
    assert "by-passes layer branch " in warning and "Everything runs through " in warning


def test_the_next_best_are_the_last_tensors_of_larger_grids() -> None:
    def build() -> keras.Model:
        inputs = keras.Input(SIZE)
        x = _conv("block1_conv2")(_conv("block1_conv1")(inputs))
        x = _conv("block2_conv")(keras.layers.MaxPooling2D(name="block1_pool")(x))
        return keras.Model(inputs, _scores(keras.layers.MaxPooling2D(name="block2_pool")(x)))

    about = _exposed(build).description
    assert about.layer.name == "block2_pool"
    assert [other.name for other in about.next_best] == ["block2_conv", "block1_conv2"]


def test_the_share_that_by_passes_a_layer_is_what_it_gives_to_the_scores() -> None:
    """Scores are the sum of two branches, one three times the other's: three quarters by-pass the smaller."""

    def build() -> keras.Model:
        inputs = keras.Input(SIZE)
        small, large = (
            keras.layers.AveragePooling2D(4, name=n)(
                keras.layers.DepthwiseConv2D(1, depthwise_initializer=keras.initializers.Constant(k), use_bias=False)(
                    inputs
                )
            )
            for n, k in (("s", 1), ("l", 3))
        )
        pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in (small, large)]
        return keras.Model(inputs, keras.ops.add(*pooled))

    (warning,) = _exposed(build, "s").description.warnings
    assert warning.startswith("75% of the class scores by-passes layer s")


def test_images_without_weights_before_them_are_no_target() -> None:
    def build() -> keras.Model:
        inputs = keras.Input(SIZE)
        scaled = keras.layers.Rescaling(0.5)(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(scaled)))

    with pytest.raises(loading.ModelError, match="nothing to map"):
        _exposed(build)
