"""A part of a model in the form of ONNX, which OpenVINO and ONNX Runtime both read.

OpenVINO reads TensorFlow's graphs too, but leaves a transposition around every mean over the positions: EfficientNets
take twice the time then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from heatbeam.transforms.models.backends import parts
from heatbeam.transforms.models.files import load_failures

_OPERATIONS = 18  # the version of ONNX's operations
_LARGEST = 2**31 - 2**20  # bytes of a message
_CATCH = "TF2ONNX_CATCH_ERRORS"  # any value: no copy of the graph is kept before each of its optimizers
_CONVERTING = threading.Lock()
_Converted = tuple[bytes, tuple[str, ...]]
_KEPT: ContextVar[dict[Hashable, _Converted] | None] = ContextVar("_KEPT", default=None)


def onnx_model(part: parts.Part) -> bytes:
    """The part as a message of ONNX.

    Raises:
        load_failures.ModelError: it can't be said in ONNX. Where ONNX lacks an operation it is left as it is, and the
            engine will not know it.
    """
    if part.size > _LARGEST:
        raise load_failures.ModelError(f"{part.size / 2**30:.1f} GiB of weights; ONNX takes 2 GiB")
    from tf2onnx import convert

    there = {node.name for node in part.definition.node}
    inputs = [name for name in part.inputs if name.partition(":")[0] in there]
    with _CONVERTING, _quiet():
        try:
            model, _ = convert.from_graph_def(
                part.definition,
                input_names=[*inputs, *part.weights],
                output_names=list(part.outputs),
                opset=_OPERATIONS,
            )
        except Exception as error:  # whatever its optimizers raise
            raise load_failures.ModelError(f"no ONNX of it: {load_failures.cause(error)}") from error
    _put_in(part.weights, model.graph)
    message: bytes = model.SerializeToString()
    return message


def _put_in(weights: Mapping[str, np.ndarray], graph: Any) -> None:
    """Make weights in place of inputs constants; what engines can compute from those alone they compute once."""
    from onnx import numpy_helper

    left = [given for given in graph.input if given.name not in weights]
    graph.initializer.extend(
        numpy_helper.from_array(weights[given.name], given.name) for given in graph.input if given.name in weights
    )
    del graph.input[:]
    graph.input.extend(left)


@contextlib.contextmanager
def conversions_kept() -> Iterator[None]:
    """Convert each part once in here, whatever engines ask for it: a large model takes longer to convert than to try.

    The weights have to stay as they are meanwhile. Counts for this thread.
    """
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def converted(key: Hashable, make: Callable[[], parts.Part]) -> _Converted:
    """`onnx_model` of a part, or what was made of it before in the same `conversions_kept`; and its inputs' names.

    Args:
        key: what says which part it is; it is kept too, and with it a graph that it names.
        make: makes the part.

    Raises:
        load_failures.ModelError: as of `onnx_model`, or by `make`.
    """
    kept = _KEPT.get()
    if kept is not None and key in kept:
        return kept[key]
    part = make()
    found = onnx_model(part), part.inputs
    if kept is not None:
        kept[key] = found
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What is converted is nobody's to mend: a refusal is an exception."""
    levels = {name: logging.getLogger(name).level for name in ("tf2onnx", "tensorflow")}
    before = os.environ.get(_CATCH)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ[_CATCH] = "false"
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if before is None:
            del os.environ[_CATCH]
        else:
            os.environ[_CATCH] = before
