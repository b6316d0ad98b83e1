"""Which operations of a traced model everything must pass through on the way from the images to the class scores."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import tensorflow as tf

_BROADCASTING = {"Add", "AddV2", "Mul", "Sub"}
VALUELESS = {"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"}
"""What they give does not depend on values."""


def ancestors(tensor: tf.Tensor) -> set[tf.Operation]:
    """Every operation that `tensor` is computed from, its own included."""
    return inside((), tensor)


def bottlenecks(source: tf.Tensor, target: tf.Tensor, *, values_only: bool = False) -> dict[tf.Operation, bool]:
    """The operations between two tensors of one graph, in the order of computation: is each a bottleneck?

    A bottleneck has one output that is used, and `target` follows from that output alone: nothing computed from
    `source` before it is used after it. In other words it lies on every path: it dominates `target`. (What is before a
    dominator is computed before it in every order, and what is after it after it.)

    Args:
        source: a tensor.
        target: another, of the same graph.
        values_only: leave out paths that carry the shape of a tensor and none of its values.
    """
    needed = ancestors(target)
    between: dict[tf.Operation, int] = {}
    last_use: dict[tf.Operation, int] = {}
    for op in source.graph.get_operations():
        if values_only and op.type in VALUELESS:
            continue
        used = [i.op for i in op.inputs if i.op in between]
        if op in needed and (op is source.op or used):
            between[op] = len(between)
            last_use.update(dict.fromkeys(used, between[op]))
    found, furthest = {}, 0
    for op, place in between.items():
        found[op] = furthest <= place and not any(other.consumers() for other in op.outputs[1:])
        furthest = max(furthest, last_use.get(op, place))
    return found


def meet_in_sums(aside: tf.Tensor, layer: tf.Tensor, target: tf.Tensor) -> bool:
    """Whether what follows from `aside` meets what follows from `layer` only in sums, differences and products.

    Then one row of `aside` serves any number of rows of `layer`: such operations repeat it without a copy. What is used
    of `aside` on its way to `layer` does not count. True is certain.
    """
    if aside is layer:
        return False
    needed = ancestors(target)
    from_layer, from_aside = {layer.ref()}, {aside.ref()}
    for op in aside.graph.get_operations():
        if op not in needed or op is layer.op or op is aside.op:
            continue
        after_layer = any(i.ref() in from_layer for i in op.inputs)
        after_aside = any(i.ref() in from_aside for i in op.inputs)
        if after_layer and after_aside and op.type not in _BROADCASTING:
            return False
        if after_layer:
            from_layer.update(output.ref() for output in op.outputs)
        elif after_aside:
            from_aside.update(output.ref() for output in op.outputs)
    return True


def inside(inputs: Iterable[tf.Tensor], output: tf.Tensor) -> set[tf.Operation]:
    """Every operation from some tensors, which are not inside, to what follows from them, its own included."""
    outside = {tensor.op for tensor in inputs}
    seen: set[tf.Operation] = set()
    pending = [output.op]
    while pending:
        op = pending.pop()
        if op not in seen and op not in outside:
            seen.add(op)
            pending.extend(i.op for i in op.inputs)
    return seen


def around(source: tf.Tensor, target: tf.Tensor, blocked: Collection[tf.Operation]) -> set[tf.Operation]:
    """The operations on the paths from one tensor to another that avoid the blocked operations; values only."""
    needed: set[tf.Operation] = set()
    pending = [target.op]
    while pending:
        op = pending.pop()
        if op not in needed and op not in blocked and op.type not in VALUELESS:
            needed.add(op)
            pending.extend(i.op for i in op.inputs)
    found: set[tf.Operation] = set()
    for op in source.graph.get_operations():
        if op in needed and (op is source.op or any(i.op in found for i in op.inputs)):
            found.add(op)
    return found
