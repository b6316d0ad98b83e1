"""SavedModels are explained as the network that they were made of: the same layer, the same maps, or a plain no."""

from __future__ import annotations

import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading

_SIZE = (24, 24, 3)
_PIXELS = np.random.default_rng(0).integers(0, 256, (3, *_SIZE)).astype(np.uint8)
_LAYER_FREE = tuple(
    name
    for name, method in registry.METHODS.items()
    if not {"keras_model", "layers", "linear_gap_head"} & set(method.needs)
)


def _network(dtype: str = "float32", batch: int | None = None) -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input(_SIZE, batch_size=batch, name="image", dtype=dtype)
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(6, 3, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = x + layers.Conv2D(6, 3, padding="same", activation="silu", name="branch")(x)
    x = layers.MaxPooling2D(4, name="pool")(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="out")(x), name="net")


def _engine(path: pathlib.Path, *methods: str, **given) -> engine.Engine:
    source = {name: given.pop(name) for name in ("signature", "safe_mode") if name in given}
    spec = specs.EngineSpec(
        model=model_source.ModelSource(path=str(path), **source),
        preprocessing=model_source.Preprocessing("none"),
        methods=tuple(specs.MethodSpec(name) for name in methods or ("grad_cam", "gradients")),
        targets=("predicted",),
        **given,
    )
    return engine.Engine(spec)


def _maps(path: pathlib.Path, *methods: str, **given) -> list[tuple[str, np.ndarray]]:
    explained = _engine(path, *methods, **given).explain(_PIXELS, [(0,)] * len(_PIXELS), {})
    return [(f"{label} of {layer}", maps) for one in explained for label, layer, maps in one.maps]


def _same(first: list[tuple[str, np.ndarray]], second: list[tuple[str, np.ndarray]], inside: str = "") -> None:
    for (name, one), (other_name, other) in zip(first, second, strict=True):
        assert other_name.replace(inside, "") == name
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5 * np.abs(one).max(), err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """``net.keras``, and the same network as SavedModel: ``exported`` by Keras, ``saved`` by TensorFlow."""
    where = tmp_path_factory.mktemp("saved_models")
    model = _network()
    model.save(where / "net.keras")
    model.export(where / "exported", verbose=False)
    tf.saved_model.save(model, str(where / "saved"))
    return where


@pytest.fixture(scope="module")
def maps_of_the_network(folder):
    """By every method that a SavedModel has."""
    return _maps(folder / "net.keras", *_LAYER_FREE)


@pytest.mark.parametrize("form", ["exported", "saved"])
def test_a_saved_model_gives_the_maps_of_the_network_by_every_method(folder, maps_of_the_network, form):
    _same(maps_of_the_network, _maps(folder / form, *_LAYER_FREE))


def test_layers_have_the_names_that_they_had(folder):
    saved, model = _engine(folder / "exported"), _engine(folder / "net.keras")
    names = [[layer.name for layer in one.description.layers] for one in (saved, model)]
    # A sum is no layer, and what has no weights may have lost its number.
    wanted = [name for name in names[1] if name.partition("_")[0] != "add"]
    assert [name.partition("_")[0] for name in names[0]] == [name.partition("_")[0] for name in wanted]
    assert {"branch", "pool"} <= set(names[0]) and names[0][1:3] == wanted[1:3]
    assert saved.description.scores == model.description.scores == "logits: the model's final softmax was taken off"
    _same(
        _maps(folder / "net.keras", "grad_cam", target_layer="branch"),
        _maps(folder / "exported", "grad_cam", target_layer="branch"),
    )


def test_a_saved_model_inside_a_layer_is_seen_into(folder, tmp_path):
    image = keras.Input(_SIZE)
    model = keras.Model(image, layers.TFSMLayer(str(folder / "exported"), name="saved")(image))
    model.save(tmp_path / "around.keras")
    with pytest.raises(loading.ModelError, match=r"set model\.safe_mode: false"):
        _engine(tmp_path / "around.keras")
    _same(_maps(folder / "net.keras"), _maps(tmp_path / "around.keras", safe_mode=False), "saved/")
    twin = _engine(tmp_path / "around.keras", safe_mode=False).randomized(1.0, 0)
    shuffled = twin.explain(_PIXELS, [(0,)] * 3, {})[0].maps[0][2]
    assert not np.allclose(shuffled, _maps(folder / "net.keras")[0][1])


@pytest.mark.parametrize("batch", [1, 4])
def test_a_saved_model_of_fixed_batches_takes_any(folder, tmp_path, batch):
    _network(batch=batch).export(tmp_path / "fixed", verbose=False)
    _same(_maps(folder / "net.keras"), _maps(tmp_path / "fixed"))


def test_a_graph_that_holds_the_batch_size_is_refused(tmp_path):
    class Fixed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((2, *_SIZE))])
        def serve(self, image):
            return tf.reduce_mean(image, [1, 2]) + tf.ones((2, 3))

    tf.saved_model.save(Fixed(), str(tmp_path / "fixed"))
    with pytest.raises(loading.ModelError, match=r"for batches of 2 images.*Save it again with .*\(None"):
        _engine(tmp_path / "fixed")


def test_integer_pixels_have_gradients(tmp_path):
    model = _network("uint8")
    model.save(tmp_path / "net.keras")
    model.export(tmp_path / "exported", verbose=False)
    _same(_maps(tmp_path / "net.keras", *_LAYER_FREE), _maps(tmp_path / "exported", *_LAYER_FREE))


class _Plain(tf.Module):
    """A network without Keras, with signatures of images and of strings."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 8), [0, 1]), name="kernel")
        self.dense = tf.Variable(tf.random.stateless_normal((8, 5), [0, 2]), name="dense")

    @tf.function
    def features(self, pixels):
        with tf.name_scope("features"):
            return tf.nn.relu(tf.nn.conv2d(pixels / 255, self.kernel, 1, "SAME"))

    @tf.function(input_signature=[tf.TensorSpec((None, *_SIZE), tf.float32, name="pixels")])
    def images(self, pixels):
        pooled = tf.reduce_mean(self.features(pixels), [1, 2])
        return {"scores": pooled @ self.dense, "embedding": pooled}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="encoded")])
    def strings(self, encoded):
        return self.images(
            tf.map_fn(
                lambda one: tf.ensure_shape(tf.cast(tf.io.decode_png(one, 3), tf.float32), _SIZE),
                encoded,
                fn_output_signature=tf.float32,
            )
        )


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> pathlib.Path:
    where = tmp_path_factory.mktemp("plain") / "model"
    module = _Plain()
    signatures = {"serving_default": module.strings, "images": module.images}
    tf.saved_model.save(module, str(where), signatures=signatures)
    return where


def test_grad_cam_of_a_plain_module_is_that_of_a_tape(plain):
    module = _Plain()
    with tf.GradientTape() as tape:
        features = module.features(tf.constant(_PIXELS, tf.float32))
        tape.watch(features)
        score = tf.reduce_max(tf.reduce_mean(features, [1, 2]) @ module.dense, axis=1)
    weights = tf.reduce_mean(tape.gradient(score, features), [1, 2])
    wanted = tf.einsum("bhwk,bk->bhw", features, weights).numpy()
    found = _maps(plain, "grad_cam", signature="images", output="scores")
    assert {name for name, _ in found} == {"grad_cam of features"}
    np.testing.assert_allclose(np.stack([maps[0] for _, maps in found]), wanted, atol=1e-5 * np.abs(wanted).max())


def test_signatures_and_outputs_are_asked_for_by_name(plain):
    with pytest.raises(loading.ModelError, match=r"takes strings.* Set model\.signature: images, which takes images"):
        _engine(plain)
    with pytest.raises(loading.ModelError, match=r"has the signatures images, serving_default; set model\.signature"):
        _engine(plain, signature="image")
    with pytest.raises(loading.ModelError, match=r"outputs embedding \(index 0, \(8,\)\), scores \(index 1"):
        _engine(plain, signature="images")


def test_signature_is_only_for_saved_models(folder):
    with pytest.raises(loading.ModelError, match=r"model\.signature is of SavedModels"):
        _engine(folder / "net.keras", signature="serving_default")


def test_methods_and_precisions_that_need_keras_layers_are_refused(folder):
    with pytest.raises(loading.ModelError, match="method full_grad needs the Keras layers of the model"):
        _engine(folder / "exported", "full_grad")
    with pytest.raises(loading.ModelError, match="computes in the precision that it was saved in"):
        _engine(folder / "exported", precision="mixed_bfloat16")


def test_gradients_of_their_own_are_refused_where_they_differ(tmp_path):
    @tf.custom_gradient
    def reversed_gradient(x):
        return tf.identity(x), lambda upstream: -upstream

    class Reversing(_Plain):
        @tf.function(input_signature=[tf.TensorSpec((None, *_SIZE), tf.float32)])
        def serve(self, pixels):
            return tf.reduce_mean(reversed_gradient(self.features(pixels)), [1, 2]) @ self.dense

    module = Reversing()
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve, options=options)
    with pytest.raises(loading.ModelError, match="gradients of their own"):
        _engine(tmp_path / "model")


def test_what_is_missing_or_damaged_is_named(folder, tmp_path):
    def copy(name: str) -> pathlib.Path:
        return pathlib.Path(shutil.copytree(folder / "exported", tmp_path / name))

    shutil.rmtree(copy("a") / "variables")
    with pytest.raises(loading.ModelError, match="has no weights: its folder variables/ is missing"):
        _engine(tmp_path / "a")
    next((copy("b") / "variables").glob("variables.data-*")).unlink()
    with pytest.raises(loading.ModelError, match=r"has no weights: variables/variables\.data-\* is missing"):
        _engine(tmp_path / "b")
    data = next((copy("c") / "variables").glob("variables.data-*"))
    data.write_bytes(data.read_bytes()[:50])
    with pytest.raises(loading.ModelError, match="TensorFlow cannot load the SavedModel"):
        _engine(tmp_path / "c")
    graph = copy("d") / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-500])
    with pytest.raises(loading.ModelError, match="is cut off or damaged"):
        _engine(tmp_path / "d")
    (copy("e") / "saved_model.pb").write_bytes(b"")
    with pytest.raises(loading.ModelError, match="holds no graph"):
        _engine(tmp_path / "e")
    with pytest.raises(loading.ModelError, match="name the folder that it lies in"):
        _engine(folder / "exported" / "saved_model.pb")


def test_a_graph_that_reaches_for_files_is_not_loaded_in_safe_mode(tmp_path):
    class Reading(_Plain):
        @tf.function(input_signature=[tf.TensorSpec((None, *_SIZE), tf.float32)])
        def serve(self, pixels):
            factor = tf.strings.to_number(tf.io.read_file(str(tmp_path / "factor")))
            return tf.reduce_mean(self.features(pixels), [1, 2]) @ self.dense * factor

    (tmp_path / "factor").write_text("1")
    module = Reading()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.serve)
    with pytest.raises(loading.ModelError, match=r"reaches for files \(ReadFile\)"):
        _engine(tmp_path / "model")
    assert _engine(tmp_path / "model", safe_mode=False).description.classes == 5


def test_a_graph_of_tensorflow_1_is_explained_too(tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        pixels = v1.placeholder(tf.float32, (None, *_SIZE), name="pixels")
        kernel = v1.get_variable("kernel", (3, 3, 3, 8), use_resource=False)
        features = tf.nn.relu(tf.nn.conv2d(pixels, kernel, 1, "SAME"), name="features")
        dense = v1.get_variable("dense", (8, 4), use_resource=False)
        scores = tf.matmul(tf.reduce_mean(features, [1, 2]), dense)
        session.run(v1.global_variables_initializer())
        slopes = tf.gradients(tf.reduce_max(scores, axis=1), features)[0]
        maps = tf.einsum("bhwk,bk->bhw", features, tf.reduce_mean(slopes, [1, 2]))
        wanted = session.run(maps, {pixels: _PIXELS.astype(np.float32)})
        v1.saved_model.simple_save(session, str(tmp_path / "v1"), {"pixels": pixels}, {"scores": scores})
    found = _maps(tmp_path / "v1", "grad_cam")
    assert {name for name, _ in found} == {"grad_cam of features"}
    np.testing.assert_allclose(np.stack([maps[0] for _, maps in found]), wanted, atol=1e-5 * np.abs(wanted).max())


def test_digests_tell_networks_apart(folder, plain):
    model = loading.load_keras_model(model_source.ModelSource(str(folder / "exported")))
    again = loading.load_keras_model(model_source.ModelSource(str(folder / "exported")))
    saved = loading.load_keras_model(model_source.ModelSource(str(folder / "saved")))
    assert model.to_json() == again.to_json() and loading.model_digest(model) == loading.model_digest(again)
    assert loading.model_digest(model) == loading.model_digest(saved)
    other = loading.load_keras_model(model_source.ModelSource(str(plain), signature="images"))
    assert other.to_json() != model.to_json()
