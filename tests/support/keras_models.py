"""Small Keras models of every kind that heatbeam must see into; also model factories for configurations."""

from __future__ import annotations

import inspect
import json
import pathlib
import tempfile
import time
import zipfile

import keras
import numpy as np
import tensorflow as tf

from tests.support import paths

GOLDEN = paths.GOLDEN / "methods_public"
_KNOWN = "input_axes" in inspect.signature(keras.initializers.GlorotUniform).parameters
_COPIES = None if _KNOWN else tempfile.TemporaryDirectory(prefix="heatbeam-golden-")
# Arguments of layers and initializers that the golden models name, at their defaults, and that earlier Keras refuses.
_NEWER = {"input_axes", "output_axes", "quantization_config", "renorm", "renorm_clipping", "renorm_momentum"}


def golden(name: str) -> str:
    """A golden model's file; on Keras before 3.15, as on Python 3.10, a copy of it that names no newer argument."""
    original = GOLDEN / f"{name}.keras"
    if _COPIES is None:
        return str(original)
    copy = pathlib.Path(_COPIES.name) / original.name
    if not copy.exists():
        with zipfile.ZipFile(original) as read, zipfile.ZipFile(copy, "w") as written:
            for member in read.namelist():
                data = read.read(member)
                if member == "config.json":
                    config = json.loads(data, object_hook=lambda d: {k: v for k, v in d.items() if k not in _NEWER})
                    data = json.dumps(config).encode()
                written.writestr(member, data)
    return str(copy)


GAP = golden("tiny_gap")
FLAT = golden("tiny_flat")


def _trunk(inputs: keras.KerasTensor, channels: int = 6) -> keras.KerasTensor:
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    return keras.layers.Conv2D(channels, 3, padding="same", activation="relu", name="features")(x)


def classifier(
    classes: int = 3, activation: str | None = None, size: int = 16, seed: int = 1, dtype: str | None = None
) -> keras.Model:
    """Functional: two convolutions, global average pooling, one dense layer."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3))
    x = keras.layers.GlobalAveragePooling2D()(_trunk(inputs))
    return keras.Model(
        inputs, keras.layers.Dense(classes, activation=activation, name="scores", dtype=dtype)(x), name="plain"
    )


def small_factory() -> keras.Model:
    """A model for configurations that name a factory."""
    return classifier()


def nested(activation: str | None = "softmax") -> keras.Model:
    """Sequential of a Sequential of a functional backbone."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, _trunk(inputs), name="backbone")
    inner = keras.Sequential([keras.Input((16, 16, 3)), backbone, keras.layers.Dropout(0.5, name="drop")], name="inner")
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation=activation)]
    return keras.Sequential([keras.Input((16, 16, 3)), inner, *head], name="outer")


class Subclassed(keras.Model):
    """Subclassed, with a softmax that is no layer."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        keras.utils.set_random_seed(3)
        self.features = keras.layers.Conv2D(5, 3, activation="relu", name="features")
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.dense = keras.layers.Dense(3)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.nn.softmax(self.dense(self.pool(self.features(inputs))))


def squeezed() -> keras.Model:
    """MobileNetV3's shape: a 1x1 convolution after the pooling, then Flatten: a 1x1 map after a larger one."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(_trunk(inputs))
    x = keras.layers.Conv2D(8, 1, activation="relu", name="after_pool")(x)
    x = keras.layers.Conv2D(3, 1, name="scores")(x)
    x = keras.layers.Activation("softmax")(keras.layers.Flatten()(x))
    return keras.Model(inputs, x, name="squeezed")


@keras.saving.register_keras_serializable("heatbeam_tests")
class ClassToken(keras.layers.Layer):
    """Put learned tokens before the others: a class token, and registers after it."""

    def __init__(self, count: int = 1, **settings: object) -> None:
        super().__init__(**settings)
        self.count = count

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.token = self.add_weight(shape=(1, self.count, shape[-1]), initializer="random_normal", name="token")

    def get_config(self) -> dict[str, object]:
        return super().get_config() | {"count": self.count}

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        first = keras.ops.broadcast_to(self.token, (keras.ops.shape(tokens)[0], self.count, tokens.shape[-1]))
        return keras.ops.concatenate([first, tokens], axis=1)


def _norm(name: str) -> keras.layers.Layer:
    """Layer normalization that moves values, as a trained one does."""
    return keras.layers.LayerNormalization(
        name=name, gamma_initializer=keras.initializers.RandomUniform(0.5, 1.5), beta_initializer="random_normal"
    )


def transformer(prefix_tokens: int, size: tuple[int, int] = (16, 16)) -> keras.Model:
    """Patches of 4, two blocks of attention and MLP; reads the first token before the patches, else their mean."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((*size, 3))
    embedded = keras.layers.Conv2D(12, 4, strides=4, name="embed")(inputs)
    x = keras.layers.Reshape((size[0] * size[1] // 16, 12), name="patches")(embedded)
    if prefix_tokens:
        x = ClassToken(prefix_tokens, name="class_token")(x)
    for block in range(2):
        y = _norm(f"norm{block}a")(x)
        x = keras.layers.Add(name=f"add{block}a")(
            [x, keras.layers.MultiHeadAttention(2, 6, name=f"attention{block}")(y, y)]
        )
        y = _norm(f"norm{block}b")(x)
        y = keras.layers.Dense(12, name=f"mlp{block}b")(
            keras.layers.Dense(24, activation="gelu", name=f"mlp{block}a")(y)
        )
        x = keras.layers.Add(name=f"add{block}b")([x, y])
    x = _norm("last_norm")(x)
    read = x[:, 0] if prefix_tokens else keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="scores", bias_initializer="random_normal")(read), name="vit")


def vision_transformer() -> keras.Model:
    """With a class token; only that token is read."""
    return transformer(prefix_tokens=1)


def averaging_transformer() -> keras.Model:
    """Without a class token; the mean of the tokens is read."""
    return transformer(prefix_tokens=0)


def registered_transformer() -> keras.Model:
    """With a class token and two registers."""
    return transformer(prefix_tokens=3)


@keras.saving.register_keras_serializable("heatbeam_tests")
class FailsOn(keras.layers.Layer):
    """Passes images on; fails for a batch that holds an image whose first pixel is `poison` (255, 0, 255)."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        poisoned = tf.reduce_any(tf.reduce_all(inputs[:, 0, 0] == [255.0, 0.0, 255.0], axis=-1))
        with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(poisoned), ["poisoned image"])]):
            return tf.identity(inputs)


def fragile_factory() -> keras.Model:
    """A model that fails on one kind of image."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(_trunk(FailsOn()(inputs)))
    return keras.Model(inputs, keras.layers.Dense(3)(x), name="fragile")


@keras.saving.register_keras_serializable("heatbeam_tests")
class NotANumberOn(keras.layers.Layer):
    """Makes the scores of an image NaN if its first pixel is (255, 0, 255)."""

    def call(self, scores: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        poisoned = tf.reduce_all(inputs[:, 0, 0] == [255.0, 0.0, 255.0], axis=-1, keepdims=True)
        return tf.where(poisoned, np.float32("nan"), scores)


def undefined_factory() -> keras.Model:
    """A model whose scores are NaN for one kind of image."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(_trunk(inputs)))
    return keras.Model(inputs, NotANumberOn()(x, inputs), name="undefined")


@keras.saving.register_keras_serializable("heatbeam_tests")
class InfiniteOn(keras.layers.Layer):
    """Makes the maps of an image infinite if its first pixel is (255, 0, 255)."""

    def call(self, maps: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
        poisoned = tf.reduce_all(inputs[:, :1, :1] == [255.0, 0.0, 255.0], axis=-1, keepdims=True)
        return tf.where(poisoned, np.float32("inf"), maps)


def capped_factory() -> keras.Model:
    """A model whose scores are numbers, though the maps ``infinite`` of one kind of image are not."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    maps = keras.layers.ReLU(6.0)(InfiniteOn(name="infinite")(_trunk(inputs), inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps)), name="capped")


@keras.saving.register_keras_serializable("heatbeam_tests")
class Slow(keras.layers.Layer):
    """Passes images on, a while later."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def wait(values: np.ndarray) -> np.ndarray:
            time.sleep(0.02 * len(values))
            return values

        outputs = tf.numpy_function(wait, [inputs], tf.float32)
        return tf.ensure_shape(outputs, inputs.shape)


def slow_factory() -> keras.Model:
    """A model that takes 20 ms an image."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(_trunk(Slow()(inputs)))
    return keras.Model(inputs, keras.layers.Dense(3)(x), name="slow")


def blank_factory() -> keras.Model:
    """A model whose last feature map is zero everywhere: its bias holds the ReLU shut."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(_trunk(inputs))))
    kernel, bias = model.get_layer("features").get_weights()
    model.get_layer("features").set_weights([kernel * 0, bias - 1])
    return model


def wide() -> keras.Model:
    """A convolution whose output for 16 images takes 64 MiB."""
    return keras.Sequential(
        [
            keras.Input((128, 128, 3)),
            keras.layers.Conv2D(64, 1, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
