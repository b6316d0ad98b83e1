"""The layers of a network of which only the graph is left, by the scopes in the names of its operations.

Keras and TensorFlow name an operation after the layer that it was made in: ``net_1/conv2d_1/Relu``. What leaves such a
scope by one tensor is a layer's output.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import tensorflow as tf

from heatbeam.transforms.models.graphs import bottlenecks, flat_functions

_NUMBERS = re.compile(r"(_\d+)+$")
_FUNCTIONS = {
    "Gelu",
    "LeakyRelu",
    "Softmax",
    "Tensordot",
    "batchnorm",
    "convolution",
    "depthwise",
    "dropout",
    "einsum",
    "gelu",
    "l2_normalize",
    "matmul",
    "moments",
    "normalize",
    "resize",
    "separable_conv2d",
    "silu",
    "softmax",
    "stack",
    "strided_slice",
    "swish",
}
"""Scopes that functions of TensorFlow and Keras open inside a layer."""

_PRODUCTS = {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
_NORMALIZING = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Rsqrt"}
_LEARNING = {"Conv2D", "DepthwiseConv2dNative", "MatMul", *_PRODUCTS}


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """A layer, as the names show it.

    Attributes:
        path: names from the network down, without the network's own.
        kind: type of the operation that makes its output, or ``Normalization``.
        inputs: tensors that go in.
        output: the tensor that leaves it.
        is_leaf: whether no other layer is inside.
        is_attention: whether it weighs values by a softmax of products.
        in_attention: whether it is inside such a layer.
    """

    path: str
    kind: str
    inputs: tuple[tf.Tensor, ...]
    output: tf.Tensor
    is_leaf: bool
    is_attention: bool
    in_attention: bool


def scopes(placed: flat_functions.Placed) -> list[Scope]:
    """The layers of a network, in the order of computation, inner ones before those around them."""
    operations = placed.operations
    flow = _Flow(operations, placed.inputs, placed.outputs)
    names = _layer_names(operations, flow.names)
    around = [flow.attention_around(name, names) for name in flow.names]
    attention = {name for name in around if name is not None}
    root = _root(flow.names, names)
    shown = _shown(names, root, placed.reads)
    found: list[tuple[tuple[int, int], Scope]] = []
    for name in names - _with_parents(root):
        leaving = flow.leaving(name)
        if len(leaving) != 1:
            continue
        (output,) = leaving
        is_attention = name in attention
        inner = any(other.startswith(f"{name}/") for other in names)
        scope = Scope(
            path=shown[name],
            kind=_kind(output.op, [op for n, op in operations.items() if n.startswith(f"{name}/")]),
            inputs=flow.entering(name),
            output=output,
            is_leaf=is_attention or not inner,
            is_attention=is_attention,
            in_attention=any(name.startswith(f"{other}/") for other in attention),
        )
        found.append(((flow.order[output.op], -name.count("/")), scope))
    return [scope for _, scope in sorted(found, key=lambda one: one[0])]


class _Flow:
    """What follows from the inputs of a network."""

    def __init__(
        self, operations: Mapping[str, tf.Operation], inputs: Iterable[tf.Tensor], outputs: Collection[tf.Tensor]
    ) -> None:
        self._operations = operations
        self._given = {tensor.ref() for tensor in inputs}
        self._returned = {tensor.ref() for tensor in outputs}
        self._name_of = {op: name for name, op in operations.items()}
        graph = next(iter(operations.values())).graph
        self.order = {op: place for place, op in enumerate(graph.get_operations())}
        carried, self.names = set(self._given), list[str]()
        for op in sorted(operations.values(), key=self.order.__getitem__):
            if op.type not in bottlenecks.VALUELESS and any(i.ref() in carried for i in op.inputs):
                carried.update(output.ref() for output in op.outputs)
                self.names.append(self._name_of[op])
        self._carried = carried
        self._inside: dict[str, list[tf.Operation]] = {}
        for name in self.names:
            scope = name.rpartition("/")[0]
            while scope:
                self._inside.setdefault(scope, []).append(operations[name])
                scope = scope.rpartition("/")[0]

    def leaving(self, scope: str) -> list[tf.Tensor]:
        """The tensors made in a scope that are used outside of it."""
        return [
            output
            for op in self._inside.get(scope, ())
            for output in op.outputs
            if output.ref() in self._returned or any(self._uses(reader, scope) for reader in output.consumers())
        ]

    def _uses(self, reader: tf.Operation, scope: str) -> bool:
        name = self._name_of.get(reader)
        return name is not None and reader.type not in bottlenecks.VALUELESS and not name.startswith(f"{scope}/")

    def entering(self, scope: str) -> tuple[tf.Tensor, ...]:
        """The tensors from outside of a scope that follow from the inputs and are used in it."""
        inside = set(self._inside[scope])
        given = [i for op in self._inside[scope] for i in op.inputs if i.op not in inside]
        return tuple({i.ref(): i for i in given if i.ref() in self._carried}.values())

    def attention_around(self, name: str, layers: Collection[str]) -> str | None:
        """The innermost layer around a softmax that makes products before and after it; None for other operations."""
        op = self._operations[name]
        if op.type != "Softmax":
            return None
        scope = name.rpartition("/")[0]
        while scope:
            if scope in layers:
                inside = set(self._inside[scope])
                if _meets(op, inside, backwards=True) and _meets(op, inside, backwards=False):
                    return scope
            scope = scope.rpartition("/")[0]
        return None


def _meets(op: tf.Operation, inside: Collection[tf.Operation], *, backwards: bool) -> bool:
    """Whether products are made from which `op` follows, or that follow from it."""
    seen, pending = {op}, [op]
    while pending:
        one = pending.pop()
        if one.type in _PRODUCTS:
            return True
        if backwards:
            beside = [i.op for i in one.inputs]
        else:
            beside = [reader for output in one.outputs for reader in output.consumers()]
        pending += [other for other in beside if other in inside and other not in seen]
        seen.update(beside)
    return False


def _layer_names(operations: Collection[str], names: Sequence[str]) -> set[str]:
    """The scopes that are layers or hold layers: not those of operations, and of functions inside layers."""
    found: set[str] = set()
    for name in names:
        scope, parts = "", name.split("/")[:-1]
        for part in parts:
            scope = f"{scope}/{part}" if scope else part
            if scope in operations or (found and _NUMBERS.sub("", part) in _FUNCTIONS):
                break
            found.add(scope)
    return found


def _with_parents(root: str) -> set[str]:
    """The scopes around the whole network, which are no layers of it."""
    parts = root.split("/") if root else []
    return {"/".join(parts[: place + 1]) for place in range(len(parts))}


def _root(names: Sequence[str], layers: Collection[str]) -> str:
    """The longest scope around every operation that has one."""
    common: list[str] | None = None
    for name in names:
        parts = name.split("/")[:-1]
        if not parts:
            continue
        common = parts if common is None else _common(common, parts)
    while common and "/".join(common) in layers and not any(n.startswith("/".join(common) + "/") for n in layers):
        common = common[:-1]  # one layer is a network's layer, not the network
    return "/".join(common or ())


def _common(first: Sequence[str], second: Sequence[str]) -> list[str]:
    found = []
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        found.append(one)
    return found


def _shown(layers: Collection[str], root: str, reads: Mapping[str, str]) -> dict[str, str]:
    """Paths of layers as Keras has them: without the network, and with the names that the layers had.

    A graph in which a network is traced once more has other numbers at the end of its scopes. Variables keep the names
    of their layers, and what has none is one more than it was.

    Args:
        layers: scopes.
        root: scope of the network.
        reads: names of variables, by the operation that reads each.
    """
    named = {scope: own for scope, own in _names_of_variables(layers, reads).items() if _fits(scope, own)}
    beside: dict[str, list[str]] = {}
    for scope in sorted(layers, key=lambda scope: (scope not in named, scope)):
        beside.setdefault(scope.rpartition("/")[0], []).append(scope)
    last: dict[str, str] = {}
    for scopes_beside in beside.values():
        own = {scope: scope.rpartition("/")[2] for scope in scopes_beside}
        again = any(scope in named and named[scope] != own[scope] for scope in scopes_beside) or all(
            name.endswith("_1") for name in own.values()
        )
        taken: set[str] = set()
        for scope in scopes_beside:
            wished = named.get(scope) or (own[scope].removesuffix("_1") if again else own[scope])
            last[scope] = next(name for name in (wished, own[scope], scope) if name not in taken)
            taken.add(last[scope])
    found = {}
    for scope in layers:
        parts = scope.split("/")
        start = root.count("/") + 1 if root and scope.startswith(f"{root}/") else 0
        found[scope] = "/".join(last.get("/".join(parts[: n + 1]), parts[n]) for n in range(start, len(parts)))
    return found


def _names_of_variables(layers: Collection[str], reads: Mapping[str, str]) -> dict[str, str]:
    """The names of layers as those of the variables that each reads itself have them."""
    found: dict[str, set[str]] = {}
    for reader, variable in reads.items():
        scope = reader.rpartition("/")[0]
        while scope and scope not in layers:
            scope = scope.rpartition("/")[0]
        owner = variable.rpartition("/")[0].rpartition("/")[2]
        found.setdefault(scope, set()).add(owner)
    return {scope: owners.pop() for scope, owners in found.items() if scope and len(owners) == 1}


def _fits(scope: str, name: str) -> bool:
    """Whether they differ by numbers at the end at most."""
    return bool(name) and _NUMBERS.sub("", scope.rpartition("/")[2]) == _NUMBERS.sub("", name)


def _kind(output: tf.Operation, inside: Sequence[tf.Operation]) -> str:
    types = {op.type for op in inside}
    return "Normalization" if types & _NORMALIZING and not types & _LEARNING else str(output.type)
