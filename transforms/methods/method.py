"""What a row of the table of methods is: kinds, options, costs. Does not import TensorFlow."""

from __future__ import annotations

import collections.abc
import dataclasses
import importlib
import math
import types
from typing import Any, NamedTuple

ONE_PASS = "one_pass"
"""``function(activations, gradients, **options)``: arithmetic on one forward pass and one head gradient (`cam`)."""

FUSED_LAYERS = "fused_layers"
"""``function(activations, gradients, **options)`` with a tuple of each, one per layer, the finest first."""

MANY_PASS = "many_pass"
"""``function(given, *, **options)``: a forward pass that was made, and the model to make more (`passes.Pass`)."""

INPUT_GRADIENT = "input_gradient"
"""As `MANY_PASS`; maps have the size of the input unless the option ``downsample`` is set."""

WRAPPER = "wrapper"
"""``function(explain, inputs, **options)`` with ``explain(inputs) -> maps`` of any method (`smoothing`)."""

KINDS = (ONE_PASS, FUSED_LAYERS, MANY_PASS, INPUT_GRADIENT, WRAPPER)

NEEDS = types.MappingProxyType(
    {
        "gradients": "a gradient of the score with respect to the target layer",
        "linear_gap_head": "a head of global average pooling and one linear layer (`cam.has_linear_gap_head`)",
        "layers": "several target layers, the finest first",
        "head": "the head alone, from the target layer on",
        "second_gradient": "a head that can be differentiated twice",
        "input_gradient": "a gradient of the score with respect to the input",
        "keras_model": "the Keras model itself, to see each layer's input and output",
        "input_sizes": "a model that takes inputs of other sizes, for scales other than 1",
    }
)
"""What a method may need of the model, in words."""


class Cost(NamedTuple):
    """Work for one image beyond the forward pass and head gradient that all methods share.

    Attributes:
        forward: passes through the whole model; a backward pass through it counts as two.
        head: passes through the head alone; a backward pass through it counts as two.
    """

    forward: float
    head: float


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a method.

    Attributes:
        type: ``int``, ``float``, ``str``, ``floats`` (a list of numbers), ``bool`` or ``size`` (``[height, width]``,
            one for each axis, or null).
        default: used where the configuration says nothing.
        help: one sentence; units and what a larger value does.
        minimum, maximum: inclusive limits of numbers, or None.
        choices: the allowed values of a ``str``.
    """

    type: str
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, or None."""
        if self.type == "bool":
            return None if isinstance(value, bool) else f"expected true or false, got {value!r}"
        if self.type == "str":
            return None if value in self.choices else f"expected one of {', '.join(self.choices)}; got {value!r}"
        if self.type == "size":
            sides = _is_list(value) and 1 <= len(value) <= _MOST_AXES and all(_is_int(v) and v >= 1 for v in value)
            said = f"expected [height, width], integers from 1, one for each axis, or null; got {value!r}"
            return None if value is None or sides else said
        if self.type == "floats":
            if not _is_list(value) or not all(_is_number(v) for v in value):
                return f"expected a list of numbers, got {value!r}"
            return next((text for text in map(self._out_of_range, value) if text), None)
        if not (_is_int(value) if self.type == "int" else _is_number(value)):
            return f"expected {'an integer' if self.type == 'int' else 'a number'}, got {value!r}"
        return self._out_of_range(value)

    def _out_of_range(self, value: float) -> str | None:
        low = self.minimum is not None and value < self.minimum
        high = self.maximum is not None and value > self.maximum
        if not (low or high):
            return None
        return f"expected {self.range_text}, got {value!r}"

    @property
    def range_text(self) -> str:
        """The allowed values in words, such as ``0 to 1`` or ``at least 1``; empty if any value of the type will do."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return f"at most {self.maximum:g}" if self.maximum is not None else ""


_MOST_AXES = 3  # of the positions of an input

_MOST_AXES = 3  # of the positions of an input

CostFunction = collections.abc.Callable[[int, int, collections.abc.Mapping[str, Any]], Cost]


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        name: as configured and as stored in every row of the results; also the function's name.
        kind: one of `KINDS`, which fixes the function's signature.
        module: the module of `heatbeam.transforms.methods` that holds the function.
        passes: what it costs, in words, beyond the pass all methods share.
        cost: the same as numbers: ``cost(channels, classes, options) -> Cost`` for one image.
        formula: one line.
        summary: one sentence.
        paper: where the formula comes from.
        options: its options by name.
        needs: keys of `NEEDS`.
        affine_cost: of one image where the head is an affine function of the target layer, if that is less.
        maps_layer: whether its maps are of the target layer, and not of the input or of masks.
    """

    name: str
    kind: str
    module: str
    passes: str
    cost: CostFunction
    formula: str
    summary: str
    paper: str
    options: collections.abc.Mapping[str, Option] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    affine_cost: Cost | None = None
    maps_layer: bool = True

    @property
    def function(self) -> collections.abc.Callable[..., Any]:
        """The code; imports TensorFlow."""
        function: collections.abc.Callable[..., Any] = getattr(
            importlib.import_module(f"heatbeam.transforms.methods.{self.module}"), self.name
        )
        return function


@dataclasses.dataclass(frozen=True)
class Wrapper(Method):
    """A method over another method: ``function(explain, inputs, **options)``, with ``explain(inputs) -> maps``.

    Its cost is in passes of the method it wraps, one of which is the method's own: `Cost.forward` times that method's.
    """


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
