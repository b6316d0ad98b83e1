"""Every explanation method and wrapper: what it computes, what it costs, what it needs, which options it takes.

The command line, the README's table, the validation of configurations and the contract tests are read from here. This
module does not import TensorFlow; a method's code is imported when `Method.function` is first asked for. Defaults of a
method's options are here and nowhere else.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import importlib
import math
import types
from typing import Any, NamedTuple

ONE_PASS = "one_pass"
"""``function(activations, gradients, **options)``: arithmetic on one forward pass and one head gradient (`cam`)."""

FUSED_LAYERS = "fused_layers"
"""``function(activations, gradients, **options)`` with a tuple of each, one per layer, the finest first."""

MANY_PASS = "many_pass"
"""``function(model, inputs, class_ids, activations, logits, *, batch_size, **options)`` (`perturbation`)."""

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
        type: ``int``, ``float``, ``str``, ``floats`` (a list of numbers), ``bool`` or ``size`` (``[height, width]``
            or null).
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
            fits = value is None or (_is_list(value) and len(value) == 2 and all(_is_int(v) and v >= 1 for v in value))
            return None if fits else f"expected [height, width], two integers from 1, or null; got {value!r}"
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


CostFunction = collections.abc.Callable[[int, int, collections.abc.Mapping[str, Any]], Cost]


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        name: as configured and as stored in every row of the results; also the function's name.
        kind: one of `KINDS`, which fixes the function's signature.
        module: the module of `transforms.methods` that holds the function.
        passes: what it costs, in words, beyond the pass all methods share.
        cost: the same as numbers: ``cost(channels, classes, options) -> Cost`` for one image.
        formula: one line.
        summary: one sentence.
        paper: where the formula comes from.
        options: its options by name.
        needs: keys of `NEEDS`.
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

    @property
    def function(self) -> collections.abc.Callable[..., Any]:
        """The code; imports TensorFlow."""
        return getattr(importlib.import_module(f"transforms.methods.{self.module}"), self.name)


@dataclasses.dataclass(frozen=True)
class Wrapper(Method):
    """A method over another method: ``function(explain, inputs, **options)``, with ``explain(inputs) -> maps``.

    Its cost is in passes of the method it wraps, one of which is the method's own: `Cost.forward` times that method's.
    """


def _free(channels: int, classes: int, options: collections.abc.Mapping[str, Any]) -> Cost:
    return Cost(0.0, 0.0)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


_SEED = Option("int", 0, "seed of the random numbers", minimum=0, maximum=2**31 - 1)
_GRADIENTS = ("gradients",)

_ONE_PASS = (
    Method(
        name="cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k W[k,c] A[k]",
        summary="Activations weighted by the classifier's weights.",
        paper="Zhou et al., CVPR 2016, arXiv:1512.04150",
        needs=("gradients", "linear_gap_head"),
    ),
    Method(
        name="grad_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k mean_hw(g[k]) A[k]",
        summary="Activations weighted by the mean of their gradients.",
        paper="Selvaraju et al., ICCV 2017, arXiv:1610.02391",
        needs=_GRADIENTS,
    ),
    Method(
        name="grad_cam_plus_plus",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k sum_hw(alpha relu(g[k])) A[k], alpha = g^2 / (2 g^2 + g^3 sum_hw A[k])",
        summary="Activations weighted by their positive gradients, scaled so that every instance of the object counts.",
        paper="Chattopadhyay et al., WACV 2018, arXiv:1710.11063",
        needs=_GRADIENTS,
    ),
    Method(
        name="hires_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k g[k] A[k]",
        summary="Gradient times activation at each position.",
        paper="Draelos and Carin 2020, arXiv:2011.08891",
        needs=_GRADIENTS,
    ),
    Method(
        name="element_wise_grad_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k relu(g[k] A[k])",
        summary="The positive part of gradient times activation at each position and channel.",
        paper="Pillai and Pirsiavash, AAAI 2021",
        needs=_GRADIENTS,
    ),
    Method(
        name="layer_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k relu(g[k]) A[k]",
        summary="Activations weighted by their positive gradients at each position; works on shallow layers too.",
        paper="Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943",
        needs=_GRADIENTS,
    ),
    Method(
        name="x_grad_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k (sum_hw(g[k] A[k]) / sum_hw A[k]) A[k]",
        summary="Activations weighted by their gradients, averaged where the channel is active.",
        paper="Fu et al., BMVC 2020, arXiv:2008.02312",
        needs=_GRADIENTS,
    ),
    Method(
        name="eigen_cam",
        kind=ONE_PASS,
        module="eigen",
        passes="none",
        cost=_free,
        formula="first principal component of A over positions, signed to agree with sum_k A[k]",
        summary="What the layer responds to most, whatever the class.",
        paper="Muhammad and Yeasin, IJCNN 2020, arXiv:2008.00299",
    ),
    Method(
        name="eigen_grad_cam",
        kind=ONE_PASS,
        module="eigen",
        passes="none",
        cost=_free,
        formula="first principal component of g A over positions, signed to agree with sum_k g[k] A[k]",
        summary="Eigen-CAM of gradient times activation, which depends on the class.",
        paper="pytorch-grad-cam, EigenGradCAM",
        needs=_GRADIENTS,
    ),
    Method(
        name="fem",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k share_hw(A[k] > mean + k std) A[k]",
        summary="Activations weighted by how often they are exceptionally high, whatever the class.",
        paper="Fuad et al., IPTA 2020, as in pytorch-grad-cam",
        options={"k": Option("float", 2.0, "standard deviations above the mean that count as high", minimum=0.0)},
    ),
    Method(
        name="random_cam",
        kind=ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k w[k] A[k], w uniform in [-1, 1)",
        summary="A baseline: random channel weights, the same for every image and class.",
        paper="pytorch-grad-cam, RandomCAM",
        options={"seed": _SEED},
    ),
    Method(
        name="layer_cam_fused",
        kind=FUSED_LAYERS,
        module="cam",
        passes="none; the gradient goes back to the first layer",
        cost=_free,
        formula="max over layers of tanh(gamma relu(M) / max M), M = layer_cam",
        summary="LayerCAM of several layers, scaled alike and fused by their maximum.",
        paper="Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943",
        options={"gamma": Option("float", 2.0, "strength of the squashing", minimum=0.0)},
        needs=("gradients", "layers"),
    ),
)

_MANY_PASS = (
    Method(
        name="score_cam",
        kind=MANY_PASS,
        module="perturbation",
        passes="channels",
        cost=lambda channels, classes, options: Cost(channels, 0.0),
        formula="sum_k w[k] A[k], w[k] from the score of x N(U(A[k]))",
        summary="Channels weighted by the score of the image seen through them.",
        paper="Wang et al., CVPRW 2020, arXiv:1910.01279",
        options={
            "variant": Option(
                "str",
                "paper",
                "whose reading: they differ in mask, score and weight",
                choices=("keras_explainable", "official", "paper", "pytorch_grad_cam", "tf_keras_vis"),
            )
        },
    ),
    Method(
        name="faster_score_cam",
        kind=MANY_PASS,
        module="perturbation",
        passes="channels used",
        cost=lambda channels, classes, options: Cost(min(channels, options["channels"]), 0.0),
        formula="score_cam (tf_keras_vis) over the channels with the largest standard deviation",
        summary="Score-CAM over the few channels that vary most.",
        paper="tabayashi0117/Score-CAM; tf-keras-vis, Scorecam(max_N)",
        options={"channels": Option("int", 10, "channels used for each image", minimum=1)},
    ),
    Method(
        name="ss_cam",
        kind=MANY_PASS,
        module="perturbation",
        passes="channels x repetitions",
        cost=lambda channels, classes, options: Cost(channels * options["repetitions"], 0.0),
        formula="sum_k softmax_k(mean_r logit((U(N(A[k])) + e_r) x)) A[k]",
        summary="Score-CAM with the score averaged over noisy masks.",
        paper="Wang et al. 2020, arXiv:2006.14255",
        options={
            "repetitions": Option("int", 35, "noise masks", minimum=1),
            "sigma": Option("float", 2.0, "standard deviation of the noise; the mask spans 0 to 1", minimum=0.0),
            "seed": _SEED,
        },
    ),
    Method(
        name="is_cam",
        kind=MANY_PASS,
        module="perturbation",
        passes="channels x steps",
        cost=lambda channels, classes, options: Cost(channels * options["steps"], 0.0),
        formula="sum_k softmax_k(mean_i logit(c_i U(N(A[k])) x)) A[k]",
        summary="Score-CAM with the score averaged over masks of growing strength.",
        paper="Naidu et al. 2020, arXiv:2010.03023",
        options={
            "steps": Option("int", 10, "strengths", minimum=1),
            "schedule": Option(
                "str", "cumulative", "how the strength grows: as printed, or up to 1", choices=("cumulative", "linear")
            ),
        },
    ),
    Method(
        name="ablation_cam",
        kind=MANY_PASS,
        module="ablation",
        passes="channels, head only",
        cost=lambda channels, classes, options: Cost(0.0, channels),
        formula="sum_k ((y - y_k) / y) A[k], y_k the logit without channel k",
        summary="Channels weighted by the relative drop of the score without them.",
        paper="Desai and Ramaswamy, WACV 2020",
        needs=("head",),
    ),
)


def _rows(per_row: float) -> CostFunction:
    """`per_row` passes for each explained class."""
    return lambda channels, classes, options: Cost(per_row * classes, 0.0)


def _reduce(default: str) -> Option:
    return Option(
        "str",
        default,
        "how the channels of a pixel become one number",
        choices=("mean_abs", "max_abs", "sum"),
    )


_DOWNSAMPLE = Option("size", None, "[height, width] of the grid the map is averaged to; null keeps the input's size")
_SIGMA = Option("float", 0.1, "standard deviation of the noise, as a fraction of the image's range", minimum=0.0)

_MORE_PASSES = (
    Method(
        name="shapley_cam",
        kind=MANY_PASS,
        module="shapley",
        passes="5 per class, head only",
        cost=lambda channels, classes, options: Cost(0.0, 5.0 * classes),
        formula="sum_k mean_hw(g - 1/2 H A)[k] A[k], H the Hessian of the score",
        summary="Grad-CAM with the curvature of the score taken into account.",
        paper="Cai 2025, arXiv:2501.06261",
        options={
            "score": Option(
                "str",
                "rest",
                "the score that is explained; the paper's is rest",
                choices=("logit", "probability", "log_probability", "rest"),
            )
        },
        needs=("gradients", "head", "second_gradient"),
    ),
    Method(
        name="smooth_grad_cam_plus_plus",
        kind=MANY_PASS,
        module="smoothing",
        passes="repetitions, each with a head gradient per class",
        cost=lambda channels, classes, options: Cost(options["repetitions"], 2.0 * classes * options["repetitions"]),
        formula="grad_cam_plus_plus with g, g^2 and g^3 averaged over noisy inputs",
        summary="Grad-CAM++ with gradients averaged over noisy copies of the image.",
        paper="Omeiza et al. 2019, arXiv:1908.01224",
        options={
            "repetitions": Option("int", 5, "noisy copies", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
        },
        needs=_GRADIENTS,
    ),
    Method(
        name="rise",
        kind=MANY_PASS,
        module="rise",
        passes="masks",
        cost=lambda channels, classes, options: Cost(options["masks"], 0.0),
        formula="1 / (N keep) sum_i p(class | x M_i) M_i",
        summary="Random masks weighted by the probability of the class on what they show.",
        paper="Petsiuk et al., BMVC 2018, arXiv:1806.07421",
        options={
            "masks": Option("int", 4000, "random masks; error falls with their square root", minimum=1),
            "cells": Option("int", 7, "cells per side of a mask", minimum=1),
            "keep": Option("float", 0.5, "probability that a cell is seen", minimum=0.01, maximum=1.0),
            "seed": _SEED,
            "downsample": _DOWNSAMPLE,
        },
    ),
)

_INPUT_GRADIENTS = (
    Method(
        name="gradients",
        kind=INPUT_GRADIENT,
        module="gradient",
        passes="3 per class",
        cost=_rows(3.0),
        formula="reduce_c d logit / d x",
        summary="How the logit changes with each pixel.",
        paper="Simonyan et al. 2014, arXiv:1312.6034",
        options={"reduce": _reduce("mean_abs"), "downsample": _DOWNSAMPLE},
        needs=("input_gradient",),
    ),
    Method(
        name="gradient_x_input",
        kind=INPUT_GRADIENT,
        module="gradient",
        passes="3 per class",
        cost=_rows(3.0),
        formula="reduce_c x d logit / d x",
        summary="Input gradient times preprocessed input.",
        paper="Shrikumar et al. 2016, arXiv:1605.01713",
        options={"reduce": _reduce("sum"), "downsample": _DOWNSAMPLE},
        needs=("input_gradient",),
    ),
    Method(
        name="smooth_grad",
        kind=INPUT_GRADIENT,
        module="gradient",
        passes="3 per class x repetitions",
        cost=lambda channels, classes, options: Cost(3.0 * classes * options["repetitions"], 0.0),
        formula="reduce_c mean_r d logit / d x at x + e_r",
        summary="Input gradient averaged over noisy copies of the image.",
        paper="Smilkov et al. 2017, arXiv:1706.03825",
        options={
            "repetitions": Option("int", 20, "noisy copies", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
            "reduce": _reduce("mean_abs"),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_gradient",),
    ),
    Method(
        name="integrated_gradients",
        kind=INPUT_GRADIENT,
        module="gradient",
        passes="3 per class x steps",
        cost=lambda channels, classes, options: Cost(3.0 * classes * options["steps"], 0.0),
        formula="reduce_c (x - x') mean_i d logit / d x at x' + (i + 1/2) / n (x - x')",
        summary="Input gradient averaged along the line from a constant image; adds up to the change of the logit.",
        paper="Sundararajan et al., ICML 2017, arXiv:1703.01365",
        options={
            "steps": Option("int", 32, "points on the line", minimum=1),
            "baseline": Option("float", 0.0, "value of the constant image, in preprocessed units"),
            "reduce": _reduce("sum"),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_gradient",),
    ),
    Method(
        name="full_grad",
        kind=INPUT_GRADIENT,
        module="full_grad",
        passes="about 5 per class",
        cost=_rows(5.0),
        formula="psi(x d logit / d x) + sum over layers and channels of psi(bias d logit / d output)",
        summary="The logit split over the input and the bias of every layer.",
        paper="Srinivas and Fleuret, NeurIPS 2019, arXiv:1905.00780",
        options={
            "variant": Option(
                "str",
                "paper",
                "psi: absolute, rescaled channels, or signed terms that add up to the logit",
                choices=("paper", "complete"),
            ),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_gradient", "keras_model"),
    ),
)

METHODS: collections.abc.Mapping[str, Method] = types.MappingProxyType(
    {method.name: method for method in (*_ONE_PASS, *_MANY_PASS, *_MORE_PASSES, *_INPUT_GRADIENTS)}
)
"""Every method by name, in the order in which they are listed."""

_WRAPPERS = (
    Wrapper(
        name="smooth",
        kind=WRAPPER,
        module="smoothing",
        passes="repetitions x the method's",
        cost=lambda channels, classes, options: Cost(options["repetitions"], 0.0),
        formula="mean of the maps of x and of x + e_r, r = 1..repetitions - 1",
        summary="A method averaged over the image and noisy copies of it.",
        paper="Smilkov et al. 2017, arXiv:1706.03825; keras-explainable, smooth",
        options={
            "repetitions": Option("int", 20, "passes, the clean one included", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
        },
    ),
    Wrapper(
        name="tta",
        kind=WRAPPER,
        module="smoothing",
        passes="(1 + scales) x (2 with flip) x the method's",
        cost=lambda channels, classes, options: Cost(
            sum(scale * scale for scale in (1.0, *options["scales"])) * (2 if options["flip"] else 1), 0.0
        ),
        formula="mean over scales and mirror images of the maps, brought back to the image's frame",
        summary="A method averaged over scaled and mirrored copies of the image.",
        paper="keras-explainable, tta",
        options={
            "scales": Option("floats", (), "sizes of further copies, relative to the image", minimum=0.05, maximum=8.0),
            "flip": Option("bool", True, "whether each copy is also mirrored"),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_sizes",),
    ),
)

WRAPPERS: collections.abc.Mapping[str, Wrapper] = types.MappingProxyType(
    {wrapper.name: wrapper for wrapper in _WRAPPERS}
)
"""Every wrapper by name."""


def get(name: str) -> Method:
    """The method of that name. Raises ValueError, with the known names and the nearest one, for any other."""
    return _lookup(name, METHODS, "method")


def get_wrapper(name: str) -> Wrapper:
    """The wrapper of that name. Raises ValueError as `get` does."""
    return _lookup(name, WRAPPERS, "wrapper")


def validate_options(name: str, options: collections.abc.Mapping[str, Any]) -> list[str]:
    """Everything wrong with the `options` of a method or wrapper, each as ``option: problem``; empty if all is well."""
    known = (WRAPPERS[name] if name in WRAPPERS else get(name)).options
    problems = []
    for key, value in options.items():
        if key not in known:
            allowed = f"known: {', '.join(known)}" if known else f"{name} takes no options"
            problems.append(f"{key}: unknown option of {name}{_did_you_mean(key, known)}; {allowed}")
        elif (problem := known[key].problem(value)) is not None:
            problems.append(f"{key}: {problem}")
    return problems


def resolve_options(name: str, options: collections.abc.Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a method or wrapper: those given, and the defaults of the others. ValueError if any is bad."""
    problems = validate_options(name, options)
    if problems:
        raise ValueError(f"bad options of {name}: " + "; ".join(problems))
    known = (WRAPPERS[name] if name in WRAPPERS else METHODS[name]).options
    return {key: options.get(key, option.default) for key, option in known.items()}


def _lookup(name: str, table: collections.abc.Mapping[str, Any], noun: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {noun} {name!r}{_did_you_mean(name, table)}; known: {', '.join(table)}")
    return table[name]


def _did_you_mean(name: str, known: collections.abc.Iterable[str]) -> str:
    squeezed = {_squeeze(candidate): candidate for candidate in known}
    nearest = difflib.get_close_matches(_squeeze(name), squeezed, n=1, cutoff=0.6)
    return f", did you mean {squeezed[nearest[0]]!r}?" if nearest else ""


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace("++", "plusplus")
