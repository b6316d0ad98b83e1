"""The methods on vision transformers, against NumPy on tokens and gradients of the model split by hand.

The splitting, the gradients (a plain `tf.GradientTape`) and the formulas here share no code with the package.
"""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine
from heatbeam.transforms.models import exposure, token_grids
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs, keras_models

SIDE, PATCH, GRID = 16, 4, 4
CLASSES = (0, 1, 2)
IMAGES = np.random.default_rng(7).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
INPUTS = IMAGES.astype(np.float32) / np.float32(127.5) - np.float32(1)
MODELS = {
    "class_token": "vision_transformer",
    "registers": "registered_transformer",
    "averaged": "averaging_transformer",
}
LAYERS = {"class_token": "norm1a", "registers": "norm1a", "averaged": "last_norm"}
"""What `auto` chooses: the last normalization whose patch tokens the scores depend on."""


@functools.cache
def _model(kind: str) -> keras.Model:
    return getattr(keras_models, MODELS[kind])()


def _block(model: keras.Model, number: int, stream: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
    """What a block makes of the residual stream and of the tokens that its attention is given."""
    stream = stream + model.get_layer(f"attention{number}")(normal, normal)
    hidden = model.get_layer(f"mlp{number}a")(model.get_layer(f"norm{number}b")(stream))
    return stream + model.get_layer(f"mlp{number}b")(hidden)


def _stem(kind: str, inputs: np.ndarray, layer: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The residual stream beside `layer` and the tokens that come out of it."""
    model = _model(kind)
    stream = model.get_layer("patches")(model.get_layer("embed")(inputs))
    if kind != "averaged":
        stream = model.get_layer("class_token")(stream)
    stream = _block(model, 0, stream, model.get_layer("norm0a")(stream))
    if layer == "last_norm":
        stream = _block(model, 1, stream, model.get_layer("norm1a")(stream))
    return stream, model.get_layer(layer)(stream)


def _head(kind: str, stream: tf.Tensor, tokens: tf.Tensor, layer: str) -> tf.Tensor:
    """Logits from what `_stem` returns."""
    model = _model(kind)
    if layer == "norm1a":
        tokens = model.get_layer("last_norm")(_block(model, 1, stream, tokens))
    return model.get_layer("scores")(tokens[:, 0] if kind != "averaged" else tf.reduce_mean(tokens, axis=1))


def _grid(tokens: np.ndarray) -> np.ndarray:
    """Patch tokens ``(..., 4 x 4 and those before them, K)`` as a grid ``(..., 4, 4, K)``, row by row."""
    patches = tokens[..., tokens.shape[-2] - GRID * GRID :, :]
    return patches.reshape(*patches.shape[:-2], GRID, GRID, patches.shape[-1]).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Split:
    """A model taken apart: logits (B, C), activations (B, h, w, K) and their gradients (B, C, h, w, K)."""

    logits: np.ndarray
    activations: np.ndarray
    gradients: np.ndarray


@functools.cache
def _split(kind: str) -> Split:
    layer = LAYERS[kind]
    stream, tokens = _stem(kind, INPUTS, layer)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(tokens)
        logits = _head(kind, stream, tokens, layer)
        columns = [logits[:, c] for c in CLASSES]
    slopes = np.stack([tape.gradient(column, tokens).numpy() for column in columns], axis=1)
    return Split(logits.numpy(), _grid(tokens.numpy()), _grid(slopes))


@functools.cache
def _explained(kind: str) -> dict[str, np.ndarray]:
    """The maps (B, C, h, w) of every method below, from one engine."""
    names = [*ONE_PASS, *MANY_PASS]
    methods = [engine_specs.method(name, **OPTIONS.get(name, {})) for name in names]
    spec = engine_specs.spec(engine_specs.factory(MODELS[kind]), *methods, targets=CLASSES)
    results = engine.Engine(spec).explain(IMAGES, [()] * len(IMAGES), {})
    found: dict[str, np.ndarray] = {}
    for place, name in enumerate(names):
        label, layer, _ = results[0].maps[place]
        assert (label, layer) == (name, LAYERS[kind])
        found[name] = np.stack([one.maps[place][2] for one in results])
    return found


OPTIONS = {"rise": {"masks": 6, "cells": 3, "keep": 0.4, "seed": 2}}


def _weighted(a: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("hwk,k->hw", a, weights)


def _grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return _weighted(a, g.mean(axis=(0, 1)))


def _grad_cam_plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    alpha = g**2 / (2 * g**2 + a.sum(axis=(0, 1)) * g**3)
    return _weighted(a, (alpha * np.maximum(g, 0)).sum(axis=(0, 1)))


def _x_grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return _weighted(a, (g * a).sum(axis=(0, 1)) / a.sum(axis=(0, 1)))


def _principal(values: np.ndarray) -> np.ndarray:
    """The projection on the first principal direction, turned to agree with the sum over the channels."""
    matrix = values.reshape(GRID * GRID, -1)
    left, singular, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    assert singular[0] > 1.005 * singular[1]  # else the direction is not defined well enough to compare
    projection = left[:, 0] * singular[0]
    plain = matrix.sum(axis=1)
    return projection.reshape(GRID, GRID) * np.sign(np.dot(projection, plain - plain.mean()))


ONE_PASS = {
    "grad_cam": _grad_cam,
    "grad_cam_plus_plus": _grad_cam_plus_plus,
    "hires_cam": lambda a, g: (g * a).sum(axis=-1),
    "element_wise_grad_cam": lambda a, g: np.maximum(g * a, 0).sum(axis=-1),
    "layer_cam": lambda a, g: (np.maximum(g, 0) * a).sum(axis=-1),
    "x_grad_cam": _x_grad_cam,
    "eigen_cam": lambda a, g: _principal(a),
    "eigen_grad_cam": lambda a, g: _principal(g * a),
}


def _assert_close(found: np.ndarray, expected: np.ndarray, limit: float) -> None:
    """Each map within `limit` of its own largest value."""
    scale = np.abs(expected).max(axis=(-2, -1), keepdims=True)
    assert (scale > 0).all()
    worst = (np.abs(found - expected) / scale).max()
    assert worst <= limit, f"worst error {worst:.3g} of the map's largest value"


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ONE_PASS)
def test_one_pass_methods_are_their_formula_on_the_patch_tokens(kind: str, name: str) -> None:
    split = _split(kind)
    expected = [
        [ONE_PASS[name](a, g) for g in slopes] for a, slopes in zip(split.activations, split.gradients, strict=True)
    ]
    # XGrad-CAM divides by sums of signed values that nearly cancel, and the weights, which differ between versions of
    # Keras, may leave the first direction little before the second: float32 keeps fewer digits.
    _assert_close(
        _explained(kind)[name], np.array(expected), 1e-3 if name in ("x_grad_cam", "eigen_grad_cam") else 1e-4
    )


def _enlarged(cells: np.ndarray) -> np.ndarray:
    """Bilinear with half-pixel centres, one axis after the other."""
    places = (np.arange(SIDE) + 0.5) / PATCH - 0.5
    across = np.stack([np.interp(places, np.arange(GRID), row) for row in cells])
    return np.stack([np.interp(places, np.arange(GRID), column) for column in across.T]).T


def _score_cam(kind: str, image: int) -> np.ndarray:
    """Weights are the softmax over the channels of the logits of the masked image (the paper's reading)."""
    activations = _split(kind).activations[image]
    masks = np.stack([_enlarged(activations[..., k]) for k in range(activations.shape[-1])])
    low, high = masks.min(axis=(1, 2), keepdims=True), masks.max(axis=(1, 2), keepdims=True)
    masked = INPUTS[image] * ((masks - low) / (high - low))[..., None]
    scores = np.exp(_model(kind)(masked.astype(np.float32)).numpy().astype(np.float64))
    return np.einsum("hwk,kc->chw", activations, scores / scores.sum(axis=0))


def _ablation_cam(kind: str, image: int) -> np.ndarray:
    """Weights are the share of the logit that is lost without the channel; the class token keeps it."""
    split, layer = _split(kind), LAYERS[kind]
    stream, tokens = (value.numpy() for value in _stem(kind, INPUTS[image : image + 1], layer))
    patches = tokens.shape[1] - GRID * GRID
    weights = []
    for channel in range(tokens.shape[-1]):
        without = tokens.copy()
        without[:, patches:, channel] = 0
        lost = split.logits[image] - _head(kind, stream, without, layer).numpy()[0]
        weights.append(lost / split.logits[image])
    return np.einsum("hwk,kc->chw", split.activations[image], np.array(weights))


def _rise_masks(masks: int, cells: int, keep: float, seed: int) -> np.ndarray:
    """Cells of 0 and 1 enlarged to one cell more than the image, of which a random cut is the mask."""
    grids = tf.random.stateless_uniform((masks, cells, cells), (seed, 0), alg="philox").numpy() < keep
    cuts = tf.random.stateless_uniform((masks, 2), (seed, 1), alg="philox").numpy()
    cell = -(-SIDE // cells)
    places = (np.arange((cells + 1) * cell) + 0.5) * cells / ((cells + 1) * cell) - 0.5
    found = []
    for grid, cut in zip(grids.astype(np.float64), cuts, strict=True):
        across = np.stack([np.interp(places, np.arange(cells), row) for row in grid])
        whole = np.stack([np.interp(places, np.arange(cells), column) for column in across.T]).T
        top, left = int(cut[0] * cell), int(cut[1] * cell)
        found.append(whole[top : top + SIDE, left : left + SIDE])
    return np.stack(found)


def _rise(kind: str, image: int) -> np.ndarray:
    """The masks times the probability that each leaves, of the whole image's size: no layer is looked at."""
    masks = _rise_masks(**OPTIONS["rise"])
    logits = _model(kind)((INPUTS[image] * masks[..., None]).astype(np.float32)).numpy().astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.einsum("nc,nyx->cyx", shares, masks) / (OPTIONS["rise"]["masks"] * OPTIONS["rise"]["keep"])


MANY_PASS = {"score_cam": _score_cam, "ablation_cam": _ablation_cam, "rise": _rise}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", MANY_PASS)
def test_many_pass_methods_are_a_loop_over_channels_or_masks(kind: str, name: str) -> None:
    # The first two compare logits that differ little, in float32.
    expected = np.array([MANY_PASS[name](kind, image) for image in range(len(IMAGES))])
    _assert_close(_explained(kind)[name], expected, 1e-3)


@pytest.mark.parametrize("kind", MODELS)
def test_the_model_split_by_hand_is_the_model(kind: str) -> None:
    np.testing.assert_allclose(_split(kind).logits, _model(kind)(INPUTS).numpy(), atol=1e-5)


def test_averaged_tokens_and_one_linear_layer_are_a_head_for_cam() -> None:
    spec = engine_specs.spec(
        engine_specs.factory(MODELS["averaged"]), engine_specs.method("cam"), engine_specs.method("hires_cam"),
        targets=CLASSES,
    )  # fmt: skip
    explain = engine.Engine(spec)
    explain.warm_up()
    split = _split("averaged")
    kernel, bias = (weight.numpy() for weight in _model("averaged").get_layer("scores").weights)
    for image, one in enumerate(explain.explain(IMAGES, [()] * len(IMAGES), {})):
        expected = np.einsum("hwk,kc->chw", split.activations[image], kernel)
        _assert_close(one.maps[0][2], expected, 1e-4)
        # The map holds the whole logit but the bias.
        np.testing.assert_allclose(one.maps[0][2].mean(axis=(1, 2)) + bias, split.logits[image], atol=1e-4)
        np.testing.assert_allclose(one.maps[1][2].sum(axis=(1, 2)) + bias, split.logits[image], atol=1e-4)


def test_cam_is_refused_where_the_class_token_is_read() -> None:
    spec = engine_specs.spec(engine_specs.factory(MODELS["class_token"]), engine_specs.method("cam"))
    with pytest.raises(loading.ModelError, match=r"cam needs a head of global average pooling .* after norm1a"):
        engine.Engine(spec).warm_up()


def test_patch_tokens_that_nothing_reads_are_no_target_layer() -> None:
    """After the last attention only the class token counts: their maps would be zeros."""
    with pytest.raises(loading.ModelError, match=r"no layer 'last_norm'.* that reaches the class scores.* norm1a"):
        exposure.ExposedModel(_model("class_token"), layer="last_norm", scores="auto", output=None, size=None)


@pytest.mark.parametrize(("kind", "layer"), [("class_token", "class_token"), ("averaged", "patches")])
def test_a_cell_of_the_grid_is_the_patch_at_its_place_in_the_image(kind: str, layer: str) -> None:
    model = exposure.ExposedModel(_model(kind), layer=layer, scores="auto", output=None, size=None)
    expose = tf.function(lambda inputs: model.expose(inputs)[1][0], autograph=False)
    row, column = 1, 3
    changed = INPUTS[:1].copy()
    changed[0, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] += 1
    difference = np.abs(expose(tf.constant(changed)) - expose(tf.constant(INPUTS[:1]))).max(axis=(0, 3))
    assert np.argwhere(difference > 1e-6).tolist() == [[row, column]]


def _shapley_cam(kind: str, class_id: int) -> np.ndarray:
    """Gradient less half the Hessian times the patch tokens, of logit plus log probability."""
    stream, tokens = _stem(kind, INPUTS, LAYERS[kind])
    patches = tokens.shape[1] - GRID * GRID
    with tf.GradientTape() as outer:
        outer.watch(tokens)
        with tf.GradientTape() as inner:
            inner.watch(tokens)
            logits = _head(kind, stream, tokens, LAYERS[kind])
            score = logits[:, class_id] + tf.nn.log_softmax(logits)[:, class_id]
        slope = inner.gradient(score, tokens)
        product = tf.reduce_sum((slope * tf.stop_gradient(tokens))[:, patches:])
    curvature = outer.gradient(product, tokens)
    weights = _grid((slope - 0.5 * curvature).numpy()).mean(axis=(1, 2))
    return np.einsum("bhwk,bk->bhw", _split(kind).activations, weights)


def _input_gradient(kind: str, class_id: int) -> np.ndarray:
    inputs = tf.constant(INPUTS)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        score = _model(kind)(inputs)[:, class_id]
    return tape.gradient(score, inputs).numpy().astype(np.float64).sum(axis=-1)


@pytest.mark.parametrize("kind", ["class_token", "averaged"])
def test_second_and_input_gradients_are_those_of_the_tape(kind: str) -> None:
    methods = (engine_specs.method("shapley_cam"), engine_specs.method("gradients", reduce="sum"))
    spec = engine_specs.spec(engine_specs.factory(MODELS[kind]), *methods, targets=(2, 0))
    results = engine.Engine(spec).explain(IMAGES, [()] * len(IMAGES), {})
    for place, expected in enumerate((_shapley_cam, _input_gradient)):
        found = np.stack([one.maps[place][2] for one in results])
        _assert_close(found, np.stack([expected(kind, 2), expected(kind, 0)], axis=1), 1e-4)


@pytest.mark.parametrize(
    ("build", "layer", "from_images"),
    [
        (keras_models.vision_transformer, "norm1a", False),
        (keras_models.vision_transformer, "add0b", False),  # its own class token by-passes its grid
        (keras_models.vision_transformer, "norm0a", False),
        (keras_models.averaging_transformer, "norm1a", False),
        (keras_models.averaging_transformer, "last_norm", True),  # nothing by-passes it
        (keras_models.classifier, "stem", True),
    ],
)
def test_what_bypasses_the_layer_is_computed_once(build, layer: str, from_images: bool) -> None:
    model = exposure.ExposedModel(build(), layer=layer, scores="auto", output=None, size=None)

    @tf.function(autograph=False)
    def run(inputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits, (activations,) = model.expose(inputs)
        beside = model.bypass(inputs)
        assert (beside is None) == from_images
        changed = tf.reverse(activations, axis=(1,)) * 0.5
        blank = tf.zeros_like(inputs)
        computed = model.head(inputs, changed)
        # Given what by-passes the layer, or where nothing does, the images are not looked at.
        return logits, model.head(blank, activations, beside), computed, model.head(blank, changed, beside)

    logits, same, computed, given = (value.numpy() for value in run(tf.constant(INPUTS)))
    np.testing.assert_allclose(same, logits, atol=1e-6)
    np.testing.assert_allclose(given, computed, atol=1e-6)
    assert np.abs(given - logits).max() > 1e-3


def test_patches_of_a_wide_image_lie_as_in_the_image() -> None:
    """18 tokens of a 12 x 24 image are 3 rows of 6, and not the 4 x 4 grid with two tokens before it."""
    model = exposure.ExposedModel(
        keras_models.transformer(0, (12, 24)), layer="patches", scores="auto", output=None, size=None
    )
    assert model.grid("patches") == (3, 6, 12)
    expose = tf.function(lambda inputs: model.expose(inputs)[1][0], autograph=False)
    plain, changed = np.zeros((2, 1, 12, 24, 3), np.float32)
    changed[0, 4:8, 16:20] = 1
    difference = np.abs(expose(tf.constant(changed)) - expose(tf.constant(plain))).max(axis=(0, 3))
    assert np.argwhere(difference > 1e-6).tolist() == [[1, 4]]


@pytest.mark.parametrize(
    ("tokens", "image", "grid"),
    [
        (196, (224, 224), (14, 14)),
        (197, (224, 224), (14, 14)),  # class token
        (261, (224, 224), (16, 16)),  # class token and four registers
        (18, (12, 24), (3, 6)),
        (18, (16, 16), (4, 4)),
        (25, (12, 32), (3, 8)),  # class token; as 5 x 5 it would have none, but not these proportions
        (53, (70, 220), (4, 13)),  # 16-pixel patches; the last of each row and column is not whole
        (240, (224, 224), None),
        (3, (224, 224), None),
    ],
)
def test_tokens_have_the_proportions_of_the_image(
    tokens: int, image: tuple[int, int], grid: tuple[int, int] | None
) -> None:
    assert token_grids.token_grid(tokens, image) == grid


@pytest.mark.parametrize("layer", ["auto", "norm1a"])
def test_tokens_that_are_no_grid_are_said_to_be_none(layer: str) -> None:
    """Six tokens before a grid of 4 x 4 are too many to guess that they are no part of it."""
    with pytest.raises(loading.ModelError, match=r"22 tokens, which are no grid .* of a 16x16 image"):
        exposure.ExposedModel(keras_models.transformer(6), layer=layer, scores="auto", output=None, size=None)
