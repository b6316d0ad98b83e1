"""Operations that other engines do not have, or are slow at, replaced by what gives the same numbers.

* A convolution of as many groups as channels is a depthwise one (`grouped_convolutions`).
* erfc(x) = 1 - erf(x). What erfc is for, tails, does not matter in a GELU: x erfc(-x / sqrt 2) / 2 is next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.graphs import grouped_convolutions


def rewritten(definition: Any, shapes: dict[str, tf.TensorShape]) -> Any:
    """A flat graph with what is said above replaced; names of tensors stay.

    Args:
        definition: the graph as a message; it is not changed.
        shapes: of its tensors, by name.
    """
    made = tf.compat.v1.GraphDef()
    made.CopyFrom(definition)
    added: list[Any] = []
    for node in made.node:
        if node.op == "Conv2D":
            added += grouped_convolutions.depthwise(
                node, shapes[_tensor(node.input[0])], shapes[_tensor(node.input[1])]
            )
        elif node.op == "Erfc":
            added += _one_minus_erf(node)
    made.node.extend(added)
    return made


def _one_minus_erf(node: Any) -> list[Any]:
    """Make an ``Erfc`` the difference of one and what is returned."""
    dtype = node.attr["T"].type
    one = grouped_convolutions.constant(f"{node.name}/one", np.ones((), tf.as_dtype(dtype).as_numpy_dtype))
    erf = tf.compat.v1.NodeDef(name=f"{node.name}/erf", op="Erf")
    erf.input.append(node.input[0])
    erf.attr["T"].type = dtype
    node.op = "Sub"
    del node.input[:]
    node.input.extend([f"{one.name}:0", f"{erf.name}:0"])
    return [one, erf]


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"
