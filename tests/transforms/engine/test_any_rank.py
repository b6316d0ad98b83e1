"""Series, images and volumes by the same code: an axis of one position changes no map, and a tape gives the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs
from tests.support.families import ranked as ranked_models

NONE = model_source.Preprocessing("none")
FEW = {
    "rise": {"masks": 12},
    "ss_cam": {"repetitions": 3},
    "is_cam": {"steps": 3},
    "smooth_grad": {"repetitions": 3},
    "integrated_gradients": {"steps": 4},
    "smooth_grad_cam_plus_plus": {"repetitions": 3},
}
DRAWS_GRIDS = ("rise",)
"""Of a grid with an axis more other masks are drawn."""


def saved(model: keras.Model, folder, name: str) -> model_source.ModelSource:
    model.save(folder / f"{name}.keras")
    return model_source.ModelSource(str(folder / f"{name}.keras"))


def methods(*, flip: str) -> list[specs.MethodSpec]:
    """Every method of the catalogue and Grad-CAM within every wrapper."""
    found = []
    for name, row in registry.METHODS.items():
        if name not in DRAWS_GRIDS:
            layers = ("first", "last") if "layers" in row.needs else ()
            found.append(engine_specs.method(name, layers=layers, **FEW.get(name, {})))
    options = {"smooth": {"repetitions": 3}, "tta": {"flip_axes": flip}}
    found += [
        engine_specs.method("grad_cam", f"{name}_grad_cam", wrapper=name, wrapper_options=options.get(name, {}))
        for name in registry.WRAPPERS
    ]
    return found


def explained(source: model_source.ModelSource, inputs: np.ndarray, *wanted: specs.MethodSpec):
    spec = engine_specs.spec(source, *wanted, preprocessing=NONE, targets=(0, 2), float_pixels=True, intra_op_threads=1)
    return engine.Engine(spec).explain(inputs, [()] * len(inputs), {})


def inputs_of(size: tuple[int, ...], count: int = 2) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(count, *size)).astype(np.float32)


PAIRS = {
    "a series and an image of one column": (
        ranked_models.series, ranked_models.series_as_image, ranked_models.SERIES, 2, "auto", "x"
    ),
    "an image and a volume of one slice": (
        ranked_models.image, ranked_models.image_as_volume, ranked_models.IMAGE, 1, "x", "x"
    ),
}  # fmt: skip


LONG = ("an image and a volume of one slice",)


@pytest.mark.parametrize("pair", [pytest.param(pair, marks=[pytest.mark.long] * (pair in LONG)) for pair in PAIRS])
def test_an_axis_of_one_position_changes_no_map(tmp_path, pair):
    plain, other, size, axis, flip, flip_other = PAIRS[pair]
    inputs = inputs_of(size)
    first = explained(saved(plain(), tmp_path, "plain"), inputs, *methods(flip=flip))
    second = explained(saved(other(), tmp_path, "other"), np.expand_dims(inputs, axis), *methods(flip=flip_other))
    for one, same in zip(first, second, strict=True):
        np.testing.assert_allclose(same.logits, one.logits, rtol=1e-5)
        assert [label for label, _, _ in one.maps] == [label for label, _, _ in same.maps]
        for (label, layer, maps), (_, same_layer, same_maps) in zip(one.maps, same.maps, strict=True):
            assert np.abs(maps).max() > 0 and layer == same_layer
            narrow = np.squeeze(same_maps, axis=axis)
            np.testing.assert_allclose(narrow, maps, rtol=0, atol=1e-5 * np.abs(maps).max(), err_msg=label)


def plain_maps(model: keras.Model, inputs: np.ndarray, classes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """CAM, Grad-CAM, Grad-CAM++ and Score-CAM (keras-explainable's reading), each ``(B, L, *grid)``, written out."""
    last, head = model.get_layer("last"), keras.Sequential(model.layers[-2:])
    trunk = keras.Model(model.input, last.output)
    axes = tuple(range(1, inputs.ndim - 1))
    with tf.GradientTape(persistent=True) as tape:
        activations = trunk(inputs)
        tape.watch(activations)
        scores = [head(activations)[:, c] for c in classes]
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("cam", "grad_cam", "grad_cam_plus_plus", "score_cam")}
    maps = activations.numpy()
    for c, score in zip(classes, scores, strict=True):
        gradient = tape.gradient(score, activations).numpy()
        weights = {
            "cam": np.tile(model.get_layer("logits").get_weights()[0][:, c], (len(inputs), 1)),
            "grad_cam": gradient.mean(axis=axes),
            "grad_cam_plus_plus": plus_plus(gradient, maps, axes),
        }
        for name, weight in weights.items():
            found[name].append(np.einsum("b...k,bk->b...", maps, weight))
        found["score_cam"].append(np.stack([score_cam(model, x, a, c) for x, a in zip(inputs, maps, strict=True)]))
    return {name: np.stack(values, axis=1) for name, values in found.items()}


def plus_plus(gradient: np.ndarray, maps: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    below = 2 * gradient**2 + maps.sum(axis=axes, keepdims=True) * gradient**3
    alpha = np.divide(gradient**2, below, out=np.zeros_like(gradient), where=below != 0)
    return (alpha * np.maximum(gradient, 0)).sum(axis=axes)


def score_cam(model: keras.Model, image: np.ndarray, activations: np.ndarray, class_id: int) -> np.ndarray:
    """One image, channel after channel."""
    total = np.zeros(activations.shape[:-1])
    for channel in np.moveaxis(activations, -1, 0):
        if channel.max() == channel.min():
            continue
        scaled = (channel - channel.min()) / (channel.max() - channel.min())
        masked = image * linear(scaled, image.shape[:-1])[..., None]
        total += model(masked[None].astype(np.float32)).numpy()[0, class_id] * scaled
    return total


def linear(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Half-pixel linear upsampling along each axis in turn."""
    for axis, length in enumerate(size):
        cells = values.shape[axis]
        places = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
        low = np.floor(places).astype(int)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        high = np.minimum(low + 1, cells - 1)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


@pytest.mark.parametrize(
    ("model", "size", "cells"),
    [(ranked_models.series, ranked_models.SERIES, (16,)), (ranked_models.volume, (6, 8, 8, 1), (3, 4, 4))],
)
def test_maps_of_series_and_volumes_are_those_of_a_tape_and_a_loop(tmp_path, model, size, cells):
    inputs, built = inputs_of(size), model()
    expected = plain_maps(built, inputs, (0, 2))
    options = {"score_cam": {"variant": "keras_explainable"}}
    wanted = [engine_specs.method(name, **options.get(name, {})) for name in expected]
    found = explained(saved(built, tmp_path, "model"), inputs, *wanted)
    for number, one in enumerate(found):
        for label, layer, maps in one.maps:
            assert layer == "last" and maps.shape == (2, *cells)
            by_hand = expected[label][number]
            np.testing.assert_allclose(maps, by_hand, rtol=0, atol=1e-5 * np.abs(by_hand).max(), err_msg=label)


@pytest.mark.parametrize(("model", "rank"), [(ranked_models.series, 1), (ranked_models.volume, 3)])
def test_rise_of_any_rank_is_the_mean_of_its_masks(tmp_path, model, rank):
    built, masks, cells = model(), 5, 2
    size = built.input_shape[1:]
    inputs = inputs_of(size, 1)
    (one,) = explained(
        saved(built, tmp_path, "m"), inputs, engine_specs.method("rise", masks=masks, cells=cells, seed=3)
    )
    grids = tf.random.stateless_uniform((masks, *[cells] * rank), (3, 0), alg="philox").numpy() < 0.5
    offsets = tf.random.stateless_uniform((masks, rank), (3, 1), alg="philox").numpy()
    expected = np.zeros((2, *size[:-1]))
    for grid, offset in zip(grids.astype(float), offsets, strict=True):
        steps = [-(-length // cells) for length in size[:-1]]
        wide = linear(grid, tuple((cells + 1) * step for step in steps))
        starts = [int(share * step) for share, step in zip(offset, steps, strict=True)]
        mask = wide[tuple(slice(s, s + n) for s, n in zip(starts, size[:-1], strict=True))]
        masked = (inputs[0] * mask[..., None]).astype(np.float32)
        probabilities = tf.nn.softmax(built(masked[None])).numpy()[0]
        expected += mask * probabilities[[0, 2]].reshape(-1, *[1] * rank) / (masks * 0.5)
    np.testing.assert_allclose(one.maps[0][2], expected, atol=1e-5)


def test_flips_run_along_the_named_axes(tmp_path):
    """The mean over a volume and itself mirrored from front to back, mirrored back."""
    built = ranked_models.volume()
    source, inputs = saved(built, tmp_path, "m"), inputs_of((6, 8, 8, 1), 1)
    plain = engine_specs.method("grad_cam")
    flipped = engine_specs.method("grad_cam", "tta", wrapper="tta", wrapper_options={"flip_axes": "z"})
    (once,), (there,) = (explained(source, x, plain) for x in (inputs, inputs[:, ::-1]))
    (found,) = explained(source, inputs, flipped)
    maps, back = once.maps[0][2], there.maps[0][2][:, ::-1]
    expected = np.stack([(linear(a, (6, 8, 8)) + linear(b, (6, 8, 8))) / 2 for a, b in zip(maps, back, strict=True)])
    np.testing.assert_allclose(found.maps[0][2], expected, atol=1e-5 * np.abs(expected).max())


def test_test_time_augmentation_takes_other_sizes(tmp_path):
    inputs = keras.Input((None, 2))
    x = keras.layers.Conv1D(4, 3, padding="same", activation="relu", name="last")(inputs)
    built = ranked_models.with_weights(
        keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    )
    source, series = saved(built, tmp_path, "m"), inputs_of((16, 2), 1)

    def maps(method, size):
        spec = engine_specs.spec(source, method, preprocessing=NONE, targets=(0,), input_size=(size, 2))
        return lambda x: engine.Engine(spec).explain(x, [()], {})[0].maps[0][2]

    wrapped = engine_specs.method("grad_cam", "tta", wrapper="tta", wrapper_options={"scales": (0.5,)})
    small = np.stack([linear(channel, (8,)) for channel in series[0].T], axis=-1)[None].astype(np.float32)
    plain = engine_specs.method("grad_cam")
    expected = (maps(plain, 16)(series)[0] + linear(maps(plain, 8)(small)[0], (16,))) / 2
    np.testing.assert_allclose(maps(wrapped, 16)(series)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (engine_specs.method("gradients", downsample=(4, 4)), r"downsample \[4, 4\], 2 sides, and .* has 1 axes"),
        (
            engine_specs.method("grad_cam", wrapper="tta", wrapper_options={"flip_axes": "xy"}),
            "flip_axes is xy, and the input has the axes x",
        ),
    ],
)
def test_options_of_other_axes_are_refused(tmp_path, method, said):
    with pytest.raises(loading.ModelError, match=said):
        explained(saved(ranked_models.series(), tmp_path, "m"), inputs_of(ranked_models.SERIES), method)
