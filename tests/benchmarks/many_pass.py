"""What the many-pass methods cost over the forward passes they are made of, and over keras-explainable's loop."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from heatbeam.bench import user_job
from heatbeam.transforms.engine import engine
from heatbeam.transforms.models import model_source
from tests.benchmarks import figures, models, settings

PASSES_GOAL = figures.Goal(high=1.1)
LOOP_GOAL = figures.Goal(low=5.0)

# Little work: the ratios do not depend on the amount, and the whole group stays near a minute on two cores.
_BATCH = 4
_HEAD_IMAGES = 2
_INNER_LAYERS = {"ResNet50V2": "conv5_block3_2_relu", "MobileNetV2": "block_15_add"}  # whose heads are not affine
_PASS_BATCH = 16
_HEAD_BATCH = 128
_CHANNELS = 8
_COMPILED_CHANNELS = 4  # each is a copy of the model in the graph


def measure(options: settings.Options) -> list[figures.Figure]:
    """Score-CAM and Ablation-CAM over their forward passes, and Score-CAM over one channel at a time."""
    rounds = 2 if options.quick else 5
    found = []
    for name in models.APPLICATIONS[1:] if options.quick else models.APPLICATIONS:
        source = models.application(name)
        found.append(_score_cam(name, source, rounds))
        found += [_ablation_cam(name, source, layer, rounds) for layer in ("auto", _INNER_LAYERS[name])]
    return found + _against_loop(rounds)


def _images(size: tuple[int, int, int], count: int) -> tuple[np.ndarray, tf.Tensor]:
    """Seeded noise, and what the applications' preprocessing makes of it."""
    images = np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8)
    return images, tf.constant(images / 127.5 - 1, tf.float32)


def _score_cam(name: str, source: model_source.ModelSource, rounds: int) -> figures.Figure:
    """Score-CAM over a fixed number of channels, none of them dead, so that the passes can be counted."""
    method = models.method("faster_score_cam", channels=_CHANNELS)
    ours = engine.Engine(models.engine_spec(source, (method,), ("predicted",), pass_batch_size=_PASS_BATCH))
    images, inputs = _images(ours.description.input_size, _BATCH)
    forward = user_job.bare_forward(ours.model.keras_model, ours.model.constant_weights)
    masked = tf.concat([inputs] * (_PASS_BATCH // _BATCH), axis=0)

    def reference() -> None:
        forward(inputs).numpy()
        for _ in range(_BATCH * _CHANNELS // _PASS_BATCH):
            forward(masked).numpy()

    return figures.cost(
        f"Score-CAM over its passes, {name}",
        figures.alternate(lambda: ours.explain(images, [()] * _BATCH, {}), reference, rounds),
        PASSES_GOAL,
        f"{_BATCH} images by {_CHANNELS} channels and the shared pass, over as many bare passes in batches of "
        f"{_PASS_BATCH}; {user_job.device()}",
        work=_BATCH * (_CHANNELS + 1),
        unit="passes",
    )


def _ablation_cam(name: str, source: model_source.ModelSource, layer: str, rounds: int) -> figures.Figure:
    """Ablation-CAM over a pass of the head for each channel, also where arithmetic on one pass gives its numbers."""
    method = models.method("ablation_cam")
    spec = models.engine_spec(source, (method,), ("predicted",), pass_batch_size=_HEAD_BATCH, target_layer=layer)
    ours = engine.Engine(spec)
    count = _HEAD_IMAGES if layer == "auto" else 1
    images, inputs = _images(ours.description.input_size, count)
    forward = user_job.bare_forward(ours.model.keras_model, ours.model.constant_weights)
    activations = tf.function(lambda x: ours.model.expose(x)[1][0], autograph=False)(inputs)
    head = tf.function(ours.model.head, autograph=False)
    passes = int(np.any(activations.numpy() != 0, axis=(1, 2)).sum())
    steps = -(-passes // _HEAD_BATCH)
    rows = -(-passes // steps)  # batches as equal as ours
    inputs_of_head = tf.concat([inputs] * rows, axis=0)[:rows]
    ablated = tf.concat([activations] * rows, axis=0)[:rows]
    bypass = tf.function(ours.model.bypass, autograph=False)(inputs_of_head)

    def reference() -> None:
        forward(inputs).numpy()
        for _ in range(steps):
            head(inputs_of_head, ablated, bypass).numpy()

    return figures.cost(
        f"Ablation-CAM over a pass for each channel, {name}, {ours.model.layer}",
        figures.alternate(lambda: ours.explain(images, [()] * count, {}), reference, rounds),
        PASSES_GOAL,
        f"{count} images, {passes} channels and the shared pass, over as many bare passes of the head in {steps} "
        f"batches of {rows}; ours {'by arithmetic' if ours.model.head_is_affine else 'as many'}; {user_job.device()}",
        work=passes,
        unit="head_passes",
    )


def channel_loop(
    model: keras.Model, inputs: tf.Tensor, class_ids: tf.Tensor, channels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Score-CAM as keras-explainable has it: one pass of the whole batch for each channel, maps added at input size.

    Args:
        model: returns logits (B, classes) and activations (B, h, w, K).
        inputs: float32 (B, H, W, 3).
        class_ids: int (B, L).
        channels: how many of the K channels to go through.

    Returns:
        logits of the classes (B, L) and maps (B, H, W, L).
    """
    logits, activations = model(inputs, training=False)
    size = inputs.shape[1:3]
    maps = tf.zeros((inputs.shape[0], *size, class_ids.shape[1]))
    for channel in range(channels):
        mask = activations[..., channel : channel + 1]
        low = tf.reduce_min(mask, axis=(1, 2), keepdims=True)
        high = tf.reduce_max(mask, axis=(1, 2), keepdims=True)
        mask = tf.image.resize(tf.math.divide_no_nan(mask - low, high - low), size)
        scores = tf.gather(model(inputs * mask, training=False)[0], class_ids, batch_dims=1)
        maps += mask * scores[:, None, None, :]
    return tf.gather(logits, class_ids, batch_dims=1), maps


def _against_loop(rounds: int) -> list[figures.Figure]:
    """One image by Score-CAM on MobileNetV2, per forward pass: ours over channels that are not dead, the loop over any.

    The loop is run as the function is called in keras-explainable's documentation, operation by operation, and once
    more compiled whole.
    """
    name = "MobileNetV2"
    method = models.method("faster_score_cam", channels=4 * _CHANNELS)
    spec = models.engine_spec(models.application(name), (method,), ("predicted",), pass_batch_size=_PASS_BATCH)
    ours = engine.Engine(spec)
    images, inputs = _images(ours.description.input_size, 1)
    model = ours.model.keras_model
    layer = next(one for one in model.layers if one.name == ours.model.layer)
    both = keras.Model(model.inputs, [model.outputs[0], layer.output])
    ids = tf.constant([[0]])
    compiled = tf.function(lambda x: channel_loop(both, x, ids, _COMPILED_CHANNELS), autograph=False)
    return [
        _loop_figure(
            f"Score-CAM over keras-explainable's loop, {name}",
            figures.alternate(
                lambda: ours.explain(images, [()], {}), lambda: channel_loop(both, inputs, ids, _CHANNELS), rounds
            ),
            (4 * _CHANNELS + 1, _CHANNELS + 1),
            LOOP_GOAL,
            "the loop run operation by operation",
        ),
        _loop_figure(
            f"Score-CAM over keras-explainable's loop compiled, {name}",
            figures.alternate(lambda: ours.explain(images, [()], {}), lambda: compiled(inputs), rounds),
            (4 * _CHANNELS + 1, _COMPILED_CHANNELS + 1),
            None,
            "the loop inside a tf.function",
        ),
    ]


def _loop_figure(
    name: str, pairs: list[figures.Pair], passes: tuple[int, int], goal: figures.Goal | None, how: str
) -> figures.Figure:
    """Seconds of runs of different numbers of passes, compared per pass."""
    return figures.speedup(
        name,
        [(ours / passes[0], loop / passes[1]) for ours, loop in pairs],
        goal,
        f"one image, time per channel: one channel per forward pass, {how}, over ours; no channel is dead; "
        f"{user_job.device()}",
        unit="passes",
    )
