"""The rows of the table of methods and of wrappers. Defaults of a method's options are here and nowhere else.

Symbols in the formulas: A[k] the activation map of channel k, g its gradient, x the preprocessed input, U linear
upsampling to the input's size, N rescaling to [0, 1], e_r Gaussian noise.
"""

from __future__ import annotations

import collections.abc
import types
from typing import Any

from heatbeam.transforms.methods import method


def _free(channels: int, classes: int, options: collections.abc.Mapping[str, Any]) -> method.Cost:
    return method.Cost(0.0, 0.0)


_SEED = method.Option("int", 0, "seed of the random numbers", minimum=0, maximum=2**31 - 1)
_GRADIENTS = ("gradients",)

_ONE_PASS = (
    method.Method(
        name="cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k W[k,c] A[k]",
        summary="Activations weighted by the classifier's weights.",
        paper="Zhou et al., CVPR 2016, arXiv:1512.04150",
        needs=("gradients", "linear_gap_head"),
    ),
    method.Method(
        name="grad_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k mean_hw(g[k]) A[k]",
        summary="Activations weighted by the mean of their gradients.",
        paper="Selvaraju et al., ICCV 2017, arXiv:1610.02391",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="grad_cam_plus_plus",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k sum_hw(alpha relu(g[k])) A[k], alpha = g^2 / (2 g^2 + g^3 sum_hw A[k])",
        summary="Activations weighted by their positive gradients, scaled so that every instance of the object counts.",
        paper="Chattopadhyay et al., WACV 2018, arXiv:1710.11063",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="hires_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k g[k] A[k]",
        summary="Gradient times activation at each position.",
        paper="Draelos and Carin 2020, arXiv:2011.08891",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="element_wise_grad_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k relu(g[k] A[k])",
        summary="The positive part of gradient times activation at each position and channel.",
        paper="Pillai and Pirsiavash, AAAI 2021",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="layer_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k relu(g[k]) A[k]",
        summary="Activations weighted by their positive gradients at each position; works on shallow layers too.",
        paper="Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="x_grad_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k (sum_hw(g[k] A[k]) / sum_hw A[k]) A[k]",
        summary="Activations weighted by their gradients, averaged where the channel is active.",
        paper="Fu et al., BMVC 2020, arXiv:2008.02312",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="eigen_cam",
        kind=method.ONE_PASS,
        module="eigen",
        passes="none",
        cost=_free,
        formula="first principal component of A over positions, signed to agree with sum_k A[k]",
        summary="What the layer responds to most, whatever the class.",
        paper="Muhammad and Yeasin, IJCNN 2020, arXiv:2008.00299",
    ),
    method.Method(
        name="eigen_grad_cam",
        kind=method.ONE_PASS,
        module="eigen",
        passes="none",
        cost=_free,
        formula="first principal component of g A over positions, signed to agree with sum_k g[k] A[k]",
        summary="Eigen-CAM of gradient times activation, which depends on the class.",
        paper="pytorch-grad-cam, EigenGradCAM",
        needs=_GRADIENTS,
    ),
    method.Method(
        name="fem",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k share_hw(A[k] > mean + k std) A[k]",
        summary="Activations weighted by how often they are exceptionally high, whatever the class.",
        paper="Fuad et al., IPTA 2020, as in pytorch-grad-cam",
        options={
            "k": method.Option("float", 2.0, "standard deviations above the mean that count as high", minimum=0.0)
        },
    ),
    method.Method(
        name="random_cam",
        kind=method.ONE_PASS,
        module="cam",
        passes="none",
        cost=_free,
        formula="sum_k w[k] A[k], w uniform in [-1, 1)",
        summary="A baseline: random channel weights, the same for every image and class.",
        paper="pytorch-grad-cam, RandomCAM",
        options={"seed": _SEED},
    ),
    method.Method(
        name="layer_cam_fused",
        kind=method.FUSED_LAYERS,
        module="cam",
        passes="none; the gradient goes back to the first layer",
        cost=_free,
        formula="max over layers of tanh(gamma relu(M) / max M), M = layer_cam",
        summary="LayerCAM of several layers, scaled alike and fused by their maximum.",
        paper="Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943",
        options={"gamma": method.Option("float", 2.0, "strength of the squashing", minimum=0.0)},
        needs=("gradients", "layers"),
    ),
)

_MANY_PASS = (
    method.Method(
        name="score_cam",
        kind=method.MANY_PASS,
        module="perturbation",
        passes="channels",
        cost=lambda channels, classes, options: method.Cost(channels, 0.0),
        formula="sum_k w[k] A[k], w[k] from the score of x N(U(A[k]))",
        summary="Channels weighted by the score of the image seen through them.",
        paper="Wang et al., CVPRW 2020, arXiv:1910.01279",
        options={
            "variant": method.Option(
                "str",
                "paper",
                "whose reading: they differ in mask, score and weight",
                choices=("keras_explainable", "official", "paper", "pytorch_grad_cam", "tf_keras_vis"),
            )
        },
    ),
    method.Method(
        name="faster_score_cam",
        kind=method.MANY_PASS,
        module="perturbation",
        passes="channels used",
        cost=lambda channels, classes, options: method.Cost(min(channels, options["channels"]), 0.0),
        formula="score_cam (tf_keras_vis) over the channels with the largest standard deviation",
        summary="Score-CAM over the few channels that vary most.",
        paper="tabayashi0117/Score-CAM; tf-keras-vis, Scorecam(max_N)",
        options={"channels": method.Option("int", 10, "channels used for each image", minimum=1)},
    ),
    method.Method(
        name="ss_cam",
        kind=method.MANY_PASS,
        module="perturbation",
        passes="channels x repetitions",
        cost=lambda channels, classes, options: method.Cost(channels * options["repetitions"], 0.0),
        formula="sum_k softmax_k(mean_r logit((U(N(A[k])) + e_r) x)) A[k]",
        summary="Score-CAM with the score averaged over noisy masks.",
        paper="Wang et al. 2020, arXiv:2006.14255",
        options={
            "repetitions": method.Option("int", 35, "noise masks", minimum=1),
            "sigma": method.Option("float", 2.0, "standard deviation of the noise; the mask spans 0 to 1", minimum=0.0),
            "seed": _SEED,
        },
    ),
    method.Method(
        name="is_cam",
        kind=method.MANY_PASS,
        module="perturbation",
        passes="channels x steps",
        cost=lambda channels, classes, options: method.Cost(channels * options["steps"], 0.0),
        formula="sum_k softmax_k(mean_i logit(c_i U(N(A[k])) x)) A[k]",
        summary="Score-CAM with the score averaged over masks of growing strength.",
        paper="Naidu et al. 2020, arXiv:2010.03023",
        options={
            "steps": method.Option("int", 10, "strengths", minimum=1),
            "schedule": method.Option(
                "str", "cumulative", "how the strength grows: as printed, or up to 1", choices=("cumulative", "linear")
            ),
        },
    ),
    method.Method(
        name="ablation_cam",
        kind=method.MANY_PASS,
        module="ablation",
        passes="channels, head only; one where the head is linear",
        cost=lambda channels, classes, options: method.Cost(0.0, channels),
        formula="sum_k ((y - y_k) / y) A[k], y_k the logit without channel k",
        summary="Channels weighted by the relative drop of the score without them.",
        paper="Desai and Ramaswamy, WACV 2020",
        needs=("head",),
        affine_cost=method.Cost(0.0, 3.0),
    ),
)


def _rows(per_row: float) -> method.CostFunction:
    """`per_row` passes for each explained class."""
    return lambda channels, classes, options: method.Cost(per_row * classes, 0.0)


def _reduce(default: str) -> method.Option:
    return method.Option(
        "str",
        default,
        "how the channels of a pixel become one number",
        choices=("mean_abs", "max_abs", "sum"),
    )


_DOWNSAMPLE = method.Option(
    "size",
    None,
    "[height, width] of the grid the map is averaged to, or as many sides as the input has; null keeps its size",
)
_SIGMA = method.Option("float", 0.1, "standard deviation of the noise, as a fraction of the image's range", minimum=0.0)

_MORE_PASSES = (
    method.Method(
        name="shapley_cam",
        kind=method.MANY_PASS,
        module="shapley",
        passes="5 per class, head only",
        cost=lambda channels, classes, options: method.Cost(0.0, 5.0 * classes),
        formula="sum_k mean_hw(g - 1/2 H A)[k] A[k], H the Hessian of the score",
        summary="Grad-CAM with the curvature of the score taken into account.",
        paper="Cai 2025, arXiv:2501.06261",
        options={
            "score": method.Option(
                "str",
                "rest",
                "the score that is explained; the paper's is rest",
                choices=("logit", "probability", "log_probability", "rest"),
            )
        },
        needs=("gradients", "head", "second_gradient"),
    ),
    method.Method(
        name="smooth_grad_cam_plus_plus",
        kind=method.MANY_PASS,
        module="smoothing",
        passes="repetitions, each with a head gradient per class",
        cost=lambda channels, classes, options: method.Cost(
            options["repetitions"], 2.0 * classes * options["repetitions"]
        ),
        formula="grad_cam_plus_plus with g, g^2 and g^3 averaged over noisy inputs",
        summary="Grad-CAM++ with gradients averaged over noisy copies of the image.",
        paper="Omeiza et al. 2019, arXiv:1908.01224",
        options={
            "repetitions": method.Option("int", 5, "noisy copies", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
        },
        needs=_GRADIENTS,
    ),
    method.Method(
        name="rise",
        kind=method.MANY_PASS,
        maps_layer=False,
        module="rise",
        passes="masks",
        cost=lambda channels, classes, options: method.Cost(options["masks"], 0.0),
        formula="1 / (N keep) sum_i p(class | x M_i) M_i",
        summary="Random masks weighted by the probability of the class on what they show.",
        paper="Petsiuk et al., BMVC 2018, arXiv:1806.07421",
        options={
            "masks": method.Option("int", 4000, "random masks; error falls with their square root", minimum=1),
            "cells": method.Option("int", 7, "cells per side of a mask", minimum=1),
            "keep": method.Option("float", 0.5, "probability that a cell is seen", minimum=0.01, maximum=1.0),
            "seed": _SEED,
            "downsample": _DOWNSAMPLE,
        },
    ),
)

_INPUT_GRADIENTS = (
    method.Method(
        name="gradients",
        kind=method.INPUT_GRADIENT,
        maps_layer=False,
        module="gradient",
        passes="3 per class",
        cost=_rows(3.0),
        formula="reduce_c d logit / d x",
        summary="How the logit changes with each pixel.",
        paper="Simonyan et al. 2014, arXiv:1312.6034",
        options={"reduce": _reduce("mean_abs"), "downsample": _DOWNSAMPLE},
        needs=("input_gradient",),
    ),
    method.Method(
        name="gradient_x_input",
        kind=method.INPUT_GRADIENT,
        maps_layer=False,
        module="gradient",
        passes="3 per class",
        cost=_rows(3.0),
        formula="reduce_c x d logit / d x",
        summary="Input gradient times preprocessed input.",
        paper="Shrikumar et al. 2016, arXiv:1605.01713",
        options={"reduce": _reduce("sum"), "downsample": _DOWNSAMPLE},
        needs=("input_gradient",),
    ),
    method.Method(
        name="smooth_grad",
        kind=method.INPUT_GRADIENT,
        maps_layer=False,
        module="gradient",
        passes="3 per class x repetitions",
        cost=lambda channels, classes, options: method.Cost(3.0 * classes * options["repetitions"], 0.0),
        formula="reduce_c mean_r d logit / d x at x + e_r",
        summary="Input gradient averaged over noisy copies of the image.",
        paper="Smilkov et al. 2017, arXiv:1706.03825",
        options={
            "repetitions": method.Option("int", 20, "noisy copies", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
            "reduce": _reduce("mean_abs"),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_gradient",),
    ),
    method.Method(
        name="integrated_gradients",
        kind=method.INPUT_GRADIENT,
        maps_layer=False,
        module="gradient",
        passes="3 per class x steps",
        cost=lambda channels, classes, options: method.Cost(3.0 * classes * options["steps"], 0.0),
        formula="reduce_c (x - x') mean_i d logit / d x at x' + (i + 1/2) / n (x - x')",
        summary="Input gradient averaged along the line from a constant image; adds up to the change of the logit.",
        paper="Sundararajan et al., ICML 2017, arXiv:1703.01365",
        options={
            "steps": method.Option("int", 32, "points on the line", minimum=1),
            "baseline": method.Option("float", 0.0, "value of the constant image, in preprocessed units"),
            "reduce": _reduce("sum"),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_gradient",),
    ),
    method.Method(
        name="full_grad",
        kind=method.INPUT_GRADIENT,
        maps_layer=False,
        module="full_grad",
        passes="about 5 per class",
        cost=_rows(5.0),
        formula="psi(x d logit / d x) + sum over layers and channels of psi(bias d logit / d output)",
        summary="The logit split over the input and the bias of every layer.",
        paper="Srinivas and Fleuret, NeurIPS 2019, arXiv:1905.00780",
        options={
            "variant": method.Option(
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

METHODS: collections.abc.Mapping[str, method.Method] = types.MappingProxyType(
    {row.name: row for row in (*_ONE_PASS, *_MANY_PASS, *_MORE_PASSES, *_INPUT_GRADIENTS)}
)
"""Every method by name, in the order in which they are listed."""

_WRAPPERS = (
    method.Wrapper(
        name="smooth",
        kind=method.WRAPPER,
        module="smoothing",
        passes="repetitions x the method's",
        cost=lambda channels, classes, options: method.Cost(options["repetitions"], 0.0),
        formula="mean of the maps of x and of x + e_r, r = 1..repetitions - 1",
        summary="A method averaged over the image and noisy copies of it.",
        paper="Smilkov et al. 2017, arXiv:1706.03825; keras-explainable, smooth",
        options={
            "repetitions": method.Option("int", 20, "passes, the clean one included", minimum=1),
            "sigma": _SIGMA,
            "seed": _SEED,
        },
    ),
    method.Wrapper(
        name="tta",
        kind=method.WRAPPER,
        module="smoothing",
        passes="(1 + scales) x (2 with flip) x the method's",
        cost=lambda channels, classes, options: method.Cost(
            sum(scale * scale for scale in (1.0, *options["scales"])) * (2 if options["flip"] else 1), 0.0
        ),
        formula="mean over scales and mirror images of the maps, brought back to the image's frame",
        summary="A method averaged over scaled and mirrored copies of the image.",
        paper="keras-explainable, tta",
        options={
            "scales": method.Option(
                "floats", (), "sizes of further copies, relative to the image", minimum=0.05, maximum=8.0
            ),
            "flip": method.Option("bool", True, "whether each copy is also mirrored"),
            "flip_axes": method.Option(
                "str",
                "auto",
                "along which axes at once, x the last axis; auto: x of images, none of series and volumes",
                choices=("auto", "x", "y", "z", "xy", "xz", "yz", "xyz"),
            ),
            "downsample": _DOWNSAMPLE,
        },
        needs=("input_sizes",),
    ),
)

WRAPPERS: collections.abc.Mapping[str, method.Wrapper] = types.MappingProxyType({row.name: row for row in _WRAPPERS})
"""Every wrapper by name."""
