"""Which operations of a traced model everything must pass through on the way from the images to the class scores."""

from __future__ import annotations

import tensorflow as tf

_BROADCASTING = {"Add", "AddV2", "Mul", "Sub"}


def ancestors(tensor: tf.Tensor) -> set[tf.Operation]:
    """Every operation that `tensor` is computed from, its own included."""
    seen: set[tf.Operation] = set()
    pending = [tensor.op]
    while pending:
        op = pending.pop()
        if op not in seen:
            seen.add(op)
            pending.extend(i.op for i in op.inputs)
    return seen


def bottlenecks(source: tf.Tensor, target: tf.Tensor) -> dict[tf.Operation, bool]:
    """The operations between two tensors of one graph, in the order of computation: is each a bottleneck?

    A bottleneck has one output that is used, and `target` follows from that output alone: nothing computed from
    `source` before it is used after it. The order is the one in which the operations were made; in another order more
    of them might be bottlenecks, so True is certain and False is not.
    """
    needed = ancestors(target)
    between: dict[tf.Operation, int] = {}
    last_use: dict[tf.Operation, int] = {}
    for op in source.graph.get_operations():
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
