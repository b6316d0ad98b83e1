"""Load a SavedModel: a folder with ``saved_model.pb``, of Keras' export or TensorFlow's own."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2

from heatbeam.transforms.models.files import load_failures, saved_networks
from heatbeam.transforms.models.graphs import flat_functions

FILE = "saved_model.pb"
_USUAL = "serving_default"
_UNSAFE = {"EagerPyFunc", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile"}
"""Operations that reach past the model: Python code, files."""

_AGAIN = "Copy the folder again, with saved_model.pb and variables/ in it"


def is_saved_model(path: pathlib.Path) -> bool:
    """Whether there is the folder of a SavedModel at `path`."""
    return (path / FILE).is_file()


def load(folder: pathlib.Path, path: str, signature: str | None, *, safe_mode: bool) -> keras.Model:
    """The SavedModel in a folder, as a Keras model.

    Args:
        folder: where it lies.
        path: where it is from, for messages.
        signature: which of its signatures; None for ``serving_default``, or the only one.
        safe_mode: refuse graphs that run Python code or reach for files.

    Raises:
        load_failures.ModelError: it is damaged, or not whole, or has no signature of images; or is not safe.
    """
    _check(folder, path, safe_mode)
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:
        raise load_failures.ModelError(
            f"TensorFlow cannot load the SavedModel {path}: {load_failures.cause(error)}"
        ) from error
    function = _signature(getattr(loaded, "signatures", {}), path, signature)
    flat = flat_functions.flattened(function)
    saved_networks.check_gradients(function, flat, f"SavedModel {path}")
    return saved_networks.SavedNetwork(flat, folder.name)


def _check(folder: pathlib.Path, path: str, safe_mode: bool) -> None:
    """Refuse what TensorFlow would not load, or load without its weights."""
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / FILE).read_bytes())
    except message.DecodeError as error:
        raise load_failures.ModelError(f"{path}: {FILE} is cut off or damaged. {_AGAIN}") from error
    if not saved.meta_graphs:
        raise load_failures.ModelError(f"{path}: {FILE} is empty or damaged, it holds no graph. {_AGAIN}")
    nodes = [
        node
        for graph in saved.meta_graphs
        for nodes in (graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function))
        for node in nodes
    ]
    kinds = {node.op for node in nodes}
    if kinds & {"VarHandleOp", "VariableV2"}:
        variables = folder / "variables"
        if not (variables / "variables.index").is_file() or not any(variables.glob("variables.data-*")):
            missing = "variables/variables.index" if variables.is_dir() else "its folder variables/"
            missing = missing if not (variables / "variables.index").is_file() else "variables/variables.data-*"
            raise load_failures.ModelError(f"SavedModel {path} has no weights: {missing} is missing. {_AGAIN}")
    if safe_mode and kinds & _UNSAFE:
        raise load_failures.ModelError(
            f"SavedModel {path} runs code or reaches for files ({', '.join(sorted(kinds & _UNSAFE))}), which safe mode "
            "does not allow. If you trust it, set model.safe_mode: false"
        )


def _signature(signatures: Mapping[str, Any], path: str, wanted: str | None) -> Any:
    """The signature to explain.

    Raises:
        load_failures.ModelError: there is none, or not the wanted one, or it takes no images.
    """
    if not signatures:
        raise load_failures.ModelError(
            f"SavedModel {path} has no signatures. Save it with tf.saved_model.save(model, folder, signatures=...), or "
            "a Keras model with model.export(folder)"
        )
    name = wanted or (_USUAL if _USUAL in signatures else next(iter(signatures)))
    if (wanted is None and name != _USUAL and len(signatures) > 1) or name not in signatures:
        raise load_failures.ModelError(
            f"SavedModel {path} has the signatures {', '.join(sorted(signatures))}; set model.signature to one of them "
            f"(it is {wanted!r})"
        )
    function = signatures[name]
    takes = function.structured_input_signature[1]
    if any(spec.dtype == tf.string for spec in takes.values()):
        others = sorted(other for other in signatures if _takes_images(signatures[other]))
        advice = (
            f"Set model.signature: {others[0]}, which takes images"
            if others
            else "Save the model with a signature that takes images, float32 (None, height, width, channels)"
        )
        raise load_failures.ModelError(
            f"signature {name} of SavedModel {path} takes strings, encoded images or records perhaps, through which no "
            f"gradient runs. {advice}"
        )
    return function


def _takes_images(function: Any) -> bool:
    takes = function.structured_input_signature[1].values()
    return any(spec.shape.rank == 4 for spec in takes) and all(spec.dtype != tf.string for spec in takes)
