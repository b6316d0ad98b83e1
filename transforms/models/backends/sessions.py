"""An engine that holds a part of a model and computes it, from any number of threads at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from heatbeam.transforms.models import processors
from heatbeam.transforms.models.backends import packages, precisions
from heatbeam.transforms.models.files import load_failures

_NO_MEMORY = re.compile(r"bad.?alloc|allocate|out of memory", re.IGNORECASE)


class Session(Protocol):
    """A part that can be run."""

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Its outputs for its inputs, in order; what is returned belongs to the caller."""


def session(
    backend: packages.Backend,
    model: bytes,
    inputs: Sequence[str],
    threads: int | None,
    precision: precisions.Precision = "float32",
) -> Session:
    """An engine with a part of a model.

    Args:
        backend: which.
        model: a message of ONNX.
        inputs: names of its inputs, in order.
        threads: of one run; 1 where several threads run at once, None for the engine's choice.
        precision: what it computes in; its inputs and outputs are float32 in any case. ONNX Runtime has float32 alone.

    Raises:
        load_failures.ModelError: the engine does not take it, or this processor has not the precision.
    """
    try:
        if backend == "onnxruntime":
            return _OnnxRuntime(model, inputs, threads)
        return _OpenVino(model, inputs, threads, precision)
    except load_failures.ModelError:
        raise
    except Exception as error:  # each engine has its own
        raise load_failures.ModelError(f"{backend} does not take it: {load_failures.cause(error)}") from error


def failure(backend: packages.Backend, error: Exception) -> Exception:
    r"""What to raise where an engine failed to compute: a MemoryError if it had no memory, whatever its own kind.

    >>> failure("onnxruntime", RuntimeError("Failed to allocate memory\nfor a buffer"))
    MemoryError('onnxruntime: Failed to allocate memory for a buffer')
    """
    said = f"{backend}: {load_failures.cause(error)}"
    no_memory = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None
    return MemoryError(said) if no_memory else RuntimeError(said)


def _check_taken(precision: precisions.Precision, taken: str) -> None:
    """See that what OpenVINO computes in is what was asked for.

    Args:
        precision: that was asked for.
        taken: the type that it says it took.

    Raises:
        load_failures.ModelError: it is another one.
    """
    if taken != precisions.TYPES[precision]:
        raise load_failures.ModelError(
            f"on this processor it computes in {taken}, and explain.precision: {precision} asks for "
            f"{precisions.TYPES[precision]}"
        )


class _OnnxRuntime:
    def __init__(self, model: bytes, inputs: Sequence[str], threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the core
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        taken = {given.name for given in self._session.get_inputs()}
        self._inputs = [(place, name) for place, name in enumerate(inputs) if name in taken]

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = self._session.run(None, {name: arrays[place] for place, name in self._inputs})
        return found


class _OpenVino:
    def __init__(
        self, model: bytes, inputs: Sequence[str], threads: int | None, precision: precisions.Precision
    ) -> None:
        import openvino

        streams = processors.count()
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precisions.TYPES[precision],  # none: bfloat16 where the processor has it
            "ENABLE_CPU_PINNING": False,
        }
        if threads == 1:
            settings |= {"INFERENCE_NUM_THREADS": streams, "NUM_STREAMS": streams}
        else:
            settings |= {"NUM_STREAMS": 1} | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
        core = openvino.Core()
        self._model = core.compile_model(core.read_model(model), "CPU", settings)
        # A hint that can't be followed is passed over without a word.
        _check_taken(precision, self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        names = [port.get_names() for port in self._model.inputs]
        self._inputs = [
            (place, number) for place, name in enumerate(inputs) for number, known in enumerate(names) if name in known
        ]
        self._outputs = len(self._model.outputs)
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            request = self._idle.pop() if self._idle else self._model.create_infer_request()
        try:
            given = {number: arrays[place] for place, number in self._inputs}
            # The results are copied: the request's own memory is the next run's.
            found = request.infer(given, share_inputs=True, share_outputs=False)
            return [found[number] for number in range(self._outputs)]
        finally:
            with self._lock:
                self._idle.append(request)
