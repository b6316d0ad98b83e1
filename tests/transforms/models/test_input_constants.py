"""Models of several inputs: the image is explained, the others are constants, as if the network had them built in."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import input_constants, loading

_SIZE = (16, 16, 3)
_PIXELS = np.random.default_rng(0).integers(0, 256, (3, *_SIZE)).astype(np.uint8)
_MASK = np.random.default_rng(1).uniform(0.5, 1.5, (14, 14, 1)).astype(np.float32)
_METHODS = tuple(
    name for name, method in registry.METHODS.items() if not {"layers", "linear_gap_head"} & set(method.needs)
)


@keras.saving.register_keras_serializable("tests")
class _Fixed(layers.Layer):
    """What stands for an input: a value, repeated for each image."""

    def __init__(self, value, kind, **given):
        super().__init__(**given)
        self.value, self.kind = value, kind

    def get_config(self):
        return {**super().get_config(), "value": self.value, "kind": self.kind}

    def call(self, image):
        value = ops.convert_to_tensor(np.asarray(self.value, self.kind))
        return ops.broadcast_to(value[None], (ops.shape(image)[0], *value.shape))


def _network(fixed: bool, dtype: str = "float32") -> keras.Model:
    """An image, a mask over its map, an age and the number of a place; as inputs or fixed."""
    keras.utils.set_random_seed(5)
    image = keras.Input(_SIZE, name="image", dtype=dtype)
    if fixed:
        mask, age, place = (
            _Fixed(value, kind)(image)
            for value, kind in ((_MASK.tolist(), "float32"), ([40], "float32"), ([2], "int32"))
        )
    else:
        mask = keras.Input((14, 14, 1), name="mask")
        age = keras.Input((1,), name="age")
        place = keras.Input((1,), dtype="int32", name="place")
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="masked")(layers.Multiply()([x, mask]))
    x = layers.GlobalAveragePooling2D()(x)
    near = layers.Flatten()(layers.Embedding(4, 3, name="places")(place))
    x = layers.Concatenate()([x, layers.Dense(2, name="years")(age), near])
    x = layers.Dense(5, activation="tanh", name="joined")(x)
    outputs = layers.Dense(4, name="out")(x)
    return keras.Model(image if fixed else {"image": image, "mask": mask, "age": age, "place": place}, outputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """``several.keras``, the same as SavedModel ``exported``, and ``fixed.keras``; ``mask.npy``."""
    where = tmp_path_factory.mktemp("inputs")
    several, fixed = _network(fixed=False), _network(fixed=True)
    for name in ("conv", "masked", "places", "years", "joined", "out"):
        fixed.get_layer(name).set_weights(several.get_layer(name).get_weights())
    several.save(where / "several.keras")
    several.export(where / "exported", verbose=False)
    fixed.save(where / "fixed.keras")
    np.save(where / "mask.npy", _MASK)
    return where


def _constants(folder: pathlib.Path, **others) -> dict:
    return {"age": 40, "mask": str(folder / "mask.npy"), "place": [2], **others}


def _engine(path: pathlib.Path, *methods: str, constants: dict | None = None, **source) -> engine.Engine:
    spec = specs.EngineSpec(
        model=model_source.ModelSource(path=str(path), constants=specs.pairs(constants or {}), **source),
        preprocessing=model_source.Preprocessing("none"),
        methods=tuple(specs.MethodSpec(name) for name in methods or ("grad_cam",)),
        targets=("predicted",),
        scores="softmax",
    )
    return engine.Engine(spec)


def _maps(engine: engine.Engine) -> list[tuple[str, str, np.ndarray]]:
    return [each for one in engine.explain(_PIXELS, [(0,)] * len(_PIXELS), {}) for each in one.maps]


@pytest.fixture(scope="module")
def built_in(folder) -> list[tuple[str, str, np.ndarray]]:
    """The maps of the model with the constants built in, by every method."""
    return _maps(_engine(folder / "fixed.keras", *_METHODS))


@pytest.mark.parametrize("form", ["several.keras", "exported"])
def test_every_method_explains_as_if_the_constants_were_built_in(folder, built_in, form):
    methods = [name for name in _METHODS if form != "exported" or name != "full_grad"]
    found = _engine(folder / form, *methods, constants=_constants(folder))
    assert found.description.layer.name == "masked"
    expected = [one for one in built_in if one[0] in methods]
    for one, other in zip(expected, _maps(found), strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(other[2], one[2], rtol=0, atol=1e-5 * np.abs(one[2]).max(), err_msg=one[0])


def test_another_constant_gives_other_scores_and_another_digest(folder):
    one, other = (_engine(folder / "several.keras", constants=_constants(folder, age=age)) for age in (40, 4))
    assert not np.allclose(one.predict(_PIXELS.astype(np.float32)), other.predict(_PIXELS.astype(np.float32)))
    assert one.model.keras_model.to_json() != other.model.keras_model.to_json()
    assert one.description.digest == other.description.digest


def test_integer_pixels_beside_other_inputs_have_gradients(tmp_path, folder):
    model = _network(fixed=False, dtype="uint8")
    model.save(tmp_path / "integers.keras")
    maps = _maps(_engine(tmp_path / "integers.keras", "gradients", constants=_constants(folder)))
    assert all(np.abs(values).max() > 0 for _, _, values in maps)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, r"4 inputs: .*age \(float32 \(1,\)\).*here for all but the image"),
        ({"input": "image"}, r"here for (?=.*mask)(?=.*age)(?=.*place)"),
        ({"input": "picture"}, r"model\.input names 'picture', and model \w+ has the inputs"),
        ({"constants": {"year": 3}}, r"model\.constants names 'year'"),
        ({"input": "age", "constants": {"age": 1, "mask": 1, "place": 1}}, "age, which is the input to explain"),
        ({"constants": {"age": [1, 2], "mask": 1, "place": 1}}, r"no value for input age, expected \(float32 \(1,\)\)"),
        ({"constants": {"age": "old", "mask": 1, "place": 1}}, r"model\.constants\.age holds"),
        ({"constants": {"age": 1, "mask": 1, "place": 1.5}}, r"place holds float64 values that int32 can't"),
        ({"constants": {"age": 1, "mask": "none.npy", "place": 1}}, r"names none\.npy, which does not exist"),
        ({"constants": {"age": float("nan"), "mask": 1, "place": 1}}, r"age holds float64 values"),
    ],
)
def test_what_does_not_fit_is_named(folder, given, said):
    with pytest.raises(loading.ModelError, match=said):
        _engine(folder / "several.keras", **given)


def test_a_model_of_one_input_needs_neither(folder):
    source = model_source.ModelSource(path=str(folder / "fixed.keras"), input="image")
    assert not isinstance(loading.load_keras_model(source), input_constants.OneInput)
    with pytest.raises(loading.ModelError, match="has 1 inputs"):
        _engine(folder / "fixed.keras", constants={"image": 1})
