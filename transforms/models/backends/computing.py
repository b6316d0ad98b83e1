"""Parts of a traced graph computed by another engine, from within TensorFlow's graphs."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.backends import few_images, onnx_form, packages, parts, precisions, sessions
from heatbeam.transforms.models.files import load_failures
from heatbeam.transforms.models.graphs import traced_graph


class Computed:
    """What another engine computes of a traced graph. Each part is converted when it is first asked for, and kept.

    The weights are those of that moment. Results of an image do not depend on what else is in its batch but by the
    rounding of float32, as in TensorFlow: engines choose how they multiply by the number of rows.
    """

    def __init__(
        self,
        backend: packages.Backend,
        graph: traced_graph.TracedGraph,
        fed: Sequence[tf.Tensor] = (),
        threads: int | None = None,
        precision: precisions.Precision = "float32",
    ) -> None:
        """Prepare for a traced graph.

        Args:
            backend: the engine.
            graph: the traced graph.
            fed: its tensors that are inputs beside the images, where their rows are given.
            threads, precision: as of `sessions.session`.
        """
        self._backend, self._graph, self._fed = backend, graph, tuple(fed)
        self._threads, self._precision = threads, precision
        self._sessions: dict[tuple[str, ...], sessions.Session] = {}
        self._lock = threading.Lock()

    def get(self, wanted: Sequence[tf.Tensor], inputs: tf.Tensor, rows: Sequence[tf.Tensor] = ()) -> list[tf.Tensor]:
        """Tensors of the traced graph, in the graph that is being traced; no gradient goes through them.

        Args:
            wanted: which.
            inputs: float32 ``(B, *positions, C)``.
            rows: for each of the fed tensors; none where the constants of the trace stand.

        Raises:
            load_failures.ModelError: the engine can't be given what computes them. What it raises when it computes is
                TensorFlow's ``ResourceExhaustedError`` where there was no memory, and else ``UnknownError``.
        """
        if not wanted:
            return []
        session = self._session(wanted, fed=bool(rows))
        kinds = [tensor.dtype.as_numpy_dtype for tensor in wanted]

        def run(*arrays: np.ndarray) -> list[np.ndarray]:
            try:
                found = session.run(arrays)
            except Exception as error:  # each engine has its own
                raise sessions.failure(self._backend, error) from error
            return [np.asarray(array, kind) for array, kind in zip(found, kinds, strict=True)]

        # Stateless: what nobody looks at is not computed.
        found = tf.numpy_function(run, [inputs, *rows], [tensor.dtype for tensor in wanted], stateful=False)
        for tensor, here in zip(wanted, found, strict=True):
            here.set_shape(tensor.shape)
        return list(found)

    def _session(self, wanted: Sequence[tf.Tensor], *, fed: bool) -> sessions.Session:
        key = (str(fed), *(tensor.name for tensor in wanted))
        with self._lock:
            if key not in self._sessions:
                try:
                    with tf.init_scope():  # outside of the graph that is being traced
                        model, inputs = onnx_form.converted(
                            (self._graph, key), lambda: parts.part(self._graph, self._fed if fed else (), wanted)
                        )
                    made = sessions.session(self._backend, model, inputs, self._threads, self._precision)
                except load_failures.ModelError as error:
                    raise load_failures.ModelError(
                        f"{self._backend} can't compute this model ({error}); set explain.compute: tensorflow"
                    ) from error
                given = (self._graph.inputs, *(self._fed if fed else ()))
                few = few_images.pays_off(len(model), self._threads, given, wanted)
                self._sessions[key] = few_images.FewImages(made) if few else made
            return self._sessions[key]
