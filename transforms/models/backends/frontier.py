"""Where a traced graph is cut in two: what can be computed elsewhere, before the layers that are mapped, and the head.

The *frontier* is the tensors that lead from one part to the other: the mapped layers' own, and what by-passes them:
skip connections, tokens, shapes. Nothing before it follows from a mapped layer, so no gradient is asked for there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf


def frontier(inputs: Sequence[tf.Tensor], mapped: Sequence[tf.Tensor], wanted: tf.Tensor) -> list[tf.Tensor]:
    """The tensors from which `mapped` and `wanted` follow by what depends on a mapped tensor, in order of computation.

    A mapped tensor that follows from another one is not among them. Nor is what does not follow from the inputs, such
    as weights: it costs nothing.

    Args:
        inputs: of the graph.
        mapped: tensors that are exposed.
        wanted: a tensor that follows from them, the scores.
    """
    operations = list(inputs[0].graph.get_operations())
    from_inputs = _followers(operations, inputs)
    dependent = _followers(operations, mapped)
    order = {operation: place for place, operation in enumerate(operations)}
    found: dict[str, tf.Tensor] = {}
    seen: set[str] = set()
    pending = [wanted, *mapped]
    given = {tensor.name for tensor in inputs}
    while pending:
        tensor = pending.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        if tensor.op in dependent:
            pending += tensor.op.inputs
        elif tensor.op in from_inputs and tensor.name not in given:
            found[tensor.name] = tensor
    return sorted(found.values(), key=lambda tensor: (order[tensor.op], tensor.value_index))


def _followers(operations: Iterable[tf.Operation], tensors: Sequence[tf.Tensor]) -> set[tf.Operation]:
    """The operations that compute with some of `tensors` or with what follows from them."""
    names = {tensor.name for tensor in tensors}
    found: set[tf.Operation] = set()
    for operation in operations:  # in order: what is computed with comes before
        if any(given.name in names or given.op in found for given in operation.inputs):
            found.add(operation)
    return found
