"""Which tensor is mapped: everything runs through it, its cells lie as in the image, and its Grad-CAM is the tape's."""

from __future__ import annotations

from collections.abc import Callable

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
    return _joined(backbone, lambda images: backbone(images[:, :, ::-1]))


def _exposed(build: Callable[[], keras.Model], layer: str = "auto") -> exposure.ExposedModel:
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


@pytest.mark.parametrize(
    ("build", "layer", "other"),
    [
        (_two_backbones, "one/features", "other/features"),
        (_one_backbone_twice, "one/features", "one/features#1"),
    ],
)
def test_what_by_passes_the_layer_is_said(build, layer, other) -> None:
    model = _exposed(build)
    (warning,) = model.description.warnings
    assert model.layer == layer and f"by-passes layer {layer}" in warning and warning.endswith(other)


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
