"""Load a Keras model from a file, a Keras Applications name or a factory, with its preprocessing.

A model file is code: Keras' ``safe_mode`` stays on unless the configuration says otherwise, and a factory is imported
only because the configuration names it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import pathlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms import errors
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import (
    file_kinds,
    input_constants,
    keras2_arguments,
    load_failures,
    saved_models,
    saved_networks,
    user_modules,
)

ModelError = load_failures.ModelError


def load_keras_model(source: model_source.ModelSource, seed: int = 0) -> keras.Model:
    """The Keras model of `source`.

    Args:
        source: of the model.
        seed: of the weights of an application that are drawn at random; each seed gives the same ones each time.

    Raises:
        ModelError: the file does not exist, is not a Keras model, or the name or factory does not resolve; or its
            weights are not finite; or it has several inputs, and what the others are is not said.
    """
    return input_constants.one_input(load_whole(source, seed), source.input, dict(source.constants))


def load_whole(source: model_source.ModelSource, seed: int = 0) -> keras.Model:
    """The Keras model of `source` with all the inputs that it has; else as `load_keras_model`."""
    model = _loaded(source, seed)
    saved_networks.open_layers(model)
    check_finite(model)
    return model


def check_finite(model: keras.Model) -> None:
    """Refuse weights that are no numbers, which a compiled graph may hide: it folds them to finite ones.

    Raises:
        ModelError: some are NaN or infinite; it names the first.
    """
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue
        value = np.asarray(keras.ops.convert_to_numpy(weight), np.float64 if weight.dtype == "float64" else np.float32)
        if not np.isfinite(value).all():
            wrong = int(np.count_nonzero(~np.isfinite(value)))
            raise ModelError(
                f"model {model.name} has weights that are NaN or infinite: {wrong} of {value.size} of {weight.path}. "
                "Its training diverged, or the file is damaged; name weights of before that"
            )


def _loaded(source: model_source.ModelSource, seed: int) -> keras.Model:
    custom = user_modules.custom_objects(source.imports, source.search_path)
    if source.path is not None:
        return _load_file(source.path, source, custom)
    if source.application is not None:
        with _drawn_by(seed):
            model = _made_by_name(source.application, source)
    else:
        assert source.factory is not None
        model = _call(
            user_modules.function(source.factory, source.search_path, "model.factory"),
            dict(source.arguments),
            source.factory,
        )
    if not isinstance(model, keras.Model):
        raise ModelError(f"{source.factory} returned {load_failures.of_kind(model)}, expected a keras.Model")
    if source.weights is not None:
        _load_weights(model, source.weights)
    return model


@contextlib.contextmanager
def _drawn_by(seed: int) -> Iterator[None]:
    """What Keras draws inside follows from a seed: initializers without one of their own take Python's numbers."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def _made_by_name(name: str, source: model_source.ModelSource) -> Any:
    application = _application(name)
    arguments = dict(source.arguments)
    if source.weights is None and "weights" not in arguments:
        raise ModelError(
            f"model.application {name} alone has random weights, of which maps say nothing. Set model.weights to a "
            "file, or model.arguments: {weights: imagenet} for Keras' own; {weights: null} asks for random ones"
        )
    return _call(application, {"weights": None, **arguments}, name)


def _load_weights(model: keras.Model, path: str) -> None:
    file = pathlib.Path(path)
    if not file.is_file():
        raise ModelError(f"model.weights {path} does not exist")
    with errors.about(path, "read"):
        unusable = file_kinds.unusable_weights(file)
    if unusable is not None:
        raise ModelError(f"model.weights {path} {unusable}")
    try:
        with file_kinds.named(file, file_kinds.weights_suffix(file)) as name, warnings.catch_warnings():
            # Keras only warns of layers that keep random weights.
            warnings.filterwarnings("error", ".*freshly-initialized weights")
            model.load_weights(name)
    except Exception as error:
        raise ModelError(f"model.weights {path} do not load into {model.name}: {load_failures.cause(error)}") from error


def _call(function: Callable[..., Any], arguments: dict[str, Any], name: str) -> Any:
    """What the function called `name` in messages returns for `arguments`."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ModelError(f"model.arguments do not fit {name}: {error}") from error
    try:
        return function(**arguments)
    except errors.UserError:
        raise
    except Exception as error:
        home = inspect.getmodule(function)
        own = None if home is None or home.__name__.startswith("keras.") else home.__file__
        said = load_failures.of_code(error, lambda file: file == own)
        raise ModelError(f"{name} does not give a model: {said}") from error


def _load_file(path: str, source: model_source.ModelSource, custom: dict[str, Any]) -> keras.Model:
    file = pathlib.Path(path)
    if not file.exists():
        raise ModelError(f"model file {path} does not exist")
    with errors.about(path, "read"):
        unusable = file_kinds.unusable(file)
    if unusable is not None:
        raise ModelError(f"model.path {path} {unusable}")
    if saved_models.is_saved_model(file):
        return saved_models.load(file, path, source.signature, safe_mode=source.safe_mode)
    if source.signature is not None:
        raise ModelError(f"model.signature is of SavedModels, and {path} is a Keras model file; leave it out")
    classes = {**keras2_arguments.renamed_classes(), **custom}
    try:
        with file_kinds.named(file, file_kinds.model_suffix(file)) as name, keras2_arguments.understood():
            return keras.models.load_model(name, classes, compile=False, safe_mode=source.safe_mode)
    except Exception as error:
        raise ModelError(f"Keras cannot load {path}: {load_failures.of_file(error, file)}") from error


def _application(name: str) -> Callable[..., Any]:
    function = getattr(keras.applications, name, None)
    if function is None or not inspect.isfunction(function):
        known = sorted(n for n, f in vars(keras.applications).items() if inspect.isfunction(f))
        raise ModelError(f"keras.applications has no model {name!r}; it has {', '.join(known)}")
    return function


def preprocessing_function(
    preprocessing: model_source.Preprocessing, source: model_source.ModelSource | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A traceable function from uint8 or float pixels 0..255 ``(B, *positions, C)`` to the model's float32 input.

    Args:
        preprocessing: as configured.
        source: of the model; None where `preprocessing` says all.

    Raises:
        ModelError: ``auto`` for a model that is not made by application name, an unknown mode, or a function that
            cannot be imported; from the returned function, when a function of the user's, a mode or the numbers do not
            fit the channels.
    """
    if preprocessing.numbers:
        return lambda images: _by_numbers(preprocessing.numbers, tf.cast(images, tf.float32))
    mode = preprocessing.mode
    if mode == "none":
        return lambda images: tf.cast(images, tf.float32)
    if mode in ("tf", "caffe", "torch"):
        of_mode = functools.partial(keras.applications.imagenet_utils.preprocess_input, mode=mode)
        return lambda images: _of_three_channels(of_mode, mode, tf.cast(images, tf.float32))
    if ":" in mode:
        own = user_modules.function(mode, source.search_path if source else None, "model.preprocessing")
        return lambda images: _preprocessed(own, mode, images)
    if mode == "auto":
        application = source.application if source is not None else None
        if application is None:
            raise ModelError(
                "model.preprocessing is 'auto', which is known only for a model made by model.application. Say "
                "what the model was trained with: a mode (none, tf, caffe, torch), an application's name, scale and "
                "offset, mean and std, or a function of your own (module:function)."
            )
        if dict(source.arguments if source is not None else ()).get("include_preprocessing") is False:
            raise ModelError(
                f"model.preprocessing is 'auto', and {application} is made without its preprocessing "
                "(include_preprocessing: false). Say what stands for it: tf for -1..1, or scale and offset"
            )
        mode = application
    module = inspect.getmodule(_application(mode))
    # keras.applications.X is defined in keras.src.applications.x; its preprocess_input stands beside it.
    assert module is not None
    preprocess_input = module.preprocess_input
    return lambda images: _of_three_channels(preprocess_input, mode, tf.cast(images, tf.float32))


def _by_numbers(numbers: Mapping[str, Sequence[float]], pixels: tf.Tensor) -> tf.Tensor:
    """``(x * scale + offset - mean) / std``, each one number or one for each channel."""
    channels = pixels.shape[-1]
    for name, given in numbers.items():
        if len(given) not in (1, channels):
            raise ModelError(
                f"model.preprocessing.{name} has {len(given)} numbers, and the model's input {channels} channels; "
                "give one for each, or one for all"
            )
    constant = {name: tf.constant(given, tf.float32) for name, given in numbers.items()}
    if "scale" in constant or "offset" in constant:
        pixels = pixels * constant.get("scale", tf.constant((1.0,))) + constant.get("offset", tf.constant((0.0,)))
    if "mean" in constant:
        pixels -= constant["mean"]
    return pixels / constant["std"] if "std" in constant else pixels


def _of_three_channels(function: Callable[[tf.Tensor], tf.Tensor], mode: str, pixels: tf.Tensor) -> tf.Tensor:
    """What a function of Keras makes of pixels; of any number of channels where it only scales."""
    if pixels.shape[-1] == _RGB:
        return function(pixels)
    try:
        return tf.ensure_shape(function(pixels), pixels.shape)
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise ModelError(
            f"model.preprocessing {mode} is for the three channels of RGB, and the model's input has "
            f"{pixels.shape[-1]}; give the statistics of its channels, {{mean: [...], std: [...]}} or "
            "{statistics: FILE}, or {scale, offset}"
        ) from error


def _preprocessed(function: Callable[..., Any], name: str, images: tf.Tensor) -> tf.Tensor:
    """What a user's own function makes of images."""
    pixels = tf.cast(images, tf.float32)
    try:
        return tf.ensure_shape(tf.cast(function(pixels), tf.float32), pixels.shape)
    except Exception as error:
        said = load_failures.of_code(error, lambda file: not _is_library(file))
        raise ModelError(
            f"model.preprocessing {name} does not turn float32 pixels of shape {tuple(pixels.shape)} into inputs of "
            f"that shape by TensorFlow or Keras operations: {said}"
        ) from error


def _is_library(file: str) -> bool:
    return "site-packages" in file or file in (__file__, "<frozen importlib._bootstrap>")


def model_digest(model: keras.Model) -> str:
    """Hex sha256 of the model's architecture names and weights: equal models have equal digests, wherever they lie.

    The layer names are left out on purpose (Keras numbers them per process); weight values, shapes and order count.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def set_precision(model: keras.Model, policy: str) -> None:
    """Make a loaded model compute in `policy`, ``mixed_float16`` or ``mixed_bfloat16``; its weights stay float32.

    Raises:
        ModelError: it is a SavedModel, or one is in it.
    """
    if saved_networks.is_closed(model):
        raise ModelError(
            f"model {model.name} is a SavedModel, or has one inside, which computes in the precision that it was saved "
            "in; leave explain.precision at float32, or name a .keras file"
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            set_precision(layer, policy)
        layer.dtype_policy = keras.DTypePolicy(policy)
    model.dtype_policy = keras.DTypePolicy(policy)


_RGB = 3
_AXES = {
    2: ("steps", "channels"),
    3: ("height", "width", "channels"),
    4: ("depth", "height", "width", "channels"),
}
"""Names of the axes of an input, by their number."""


def input_size(model: keras.Model, configured: Sequence[int] | None) -> tuple[int, ...]:
    """Positions along each axis and channels of the model's input, from the model or from the configuration.

    Raises:
        ModelError: an input without one to three axes of positions, or a size neither the model nor the configuration
            fixes, or that the two contradict.
    """
    inputs = input_constants.declared_inputs(model)
    if not inputs:
        if configured is None:
            raise ModelError(
                f"model {model.name} does not say its input size; set model.input_size: [height, width, channels]"
            )
        return tuple(configured)
    shape = tuple(inputs[0].shape[1:])
    if len(shape) not in _AXES:
        raise ModelError(
            f"model {model.name} takes an input of shape {shape}, expected an image (height, width, channels), a "
            "series (steps, channels) or a volume (depth, height, width, channels)"
        )
    if configured is not None and len(configured) != len(shape):
        raise ModelError(
            f"model.input_size gives {len(configured)} numbers, {tuple(configured)}, and model {model.name} takes an "
            f"input of shape {shape}"
        )
    size: list[int] = []
    for declared, wanted, axis in zip(shape, configured or (None,) * len(shape), _AXES[len(shape)], strict=True):
        known = declared if declared is not None else wanted
        if known is None:
            names = ", ".join(_AXES[len(shape)])
            raise ModelError(f"the input {axis} of model {model.name} is open; set model.input_size: [{names}]")
        if wanted is not None and wanted != known:
            raise ModelError(f"model.input_size gives {axis} {wanted}, the model takes {known}")
        size.append(known)
    return tuple(size)


def output_names(model: keras.Model) -> tuple[str, ...]:
    """Names of the layers that a functional model's outputs come from, in order; empty for other models."""
    return tuple(str(name) for name in getattr(model, "output_names", ()))
