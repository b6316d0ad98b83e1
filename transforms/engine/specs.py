"""What an engine is made from: a model, methods, targets, and how to run them. Does not import TensorFlow.

Defaults of what a user can set stand here, once: the configuration reads them from these classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from heatbeam.transforms.engine import gpu_shares
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.backends import packages, precisions

Pairs = tuple[tuple[str, Any], ...]
"""Names and values that can be hashed, sorted by name."""

Target = str | int
"""``label``, ``labels``, ``predicted``, ``runner_up``, ``top_N`` or a class id."""

Scores = Literal["auto", "softmax", "sigmoid", "probabilities", "one_vs_rest", "as_is", "regression", "similarity"]

VALUES: frozenset[Scores] = frozenset({"regression", "similarity"})
"""The readings without classes: the outputs of the model are values, and there are no probabilities."""
LayerFusion = Literal["mean", "max"]
GradientOf = Literal["logit", "finer_cam"]
Precision = precisions.Precision
Compute = packages.Backend


def pairs(values: Mapping[str, Any]) -> Pairs:
    """Sorted pairs, lists as tuples, so that a specification can be a key.

    >>> pairs({"scales": [0.5, 2.0], "flip": True})
    (('flip', True), ('scales', (0.5, 2.0)))
    """
    return tuple((name, _hashable(value)) for name, value in sorted(values.items()))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def complete_options(name: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Every option of a method or wrapper: those given, and the defaults of the others.

    Args:
        name: of the method or wrapper.
        options: those given.
        seed: of the run, for a method that draws random numbers and is given no seed of its own.

    Raises:
        ValueError: an option does not exist or has a bad value.
    """
    complete = registry.resolve_options(name, options)
    return complete | {"seed": seed} if "seed" in complete and "seed" not in options else complete


def default_label(method: str, wrapper: str | None) -> str:
    """The name in the tables of a method that is given none.

    >>> default_label("grad_cam", "smooth")
    'smooth_grad_cam'
    """
    return f"{wrapper}_{method}" if wrapper else method


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """One configured method.

    Attributes:
        method: its name in the registry.
        label: its name in the tables; `default_label` where none is given.
        options: sorted ``(name, value)`` pairs; what is left out has its default.
        layers: names of the layers it maps; empty for the model's target layer.
        fusion: how the maps of several layers become one (`tensor_maps.fused`), for a method that maps one.
        target: whose gradient is taken (`targets.target_scores`).
        wrapper: name of a wrapper in the registry, or None.
        wrapper_options: its options, as `options`.
        sample: share of the images it explains, in [0, 1].
    """

    method: str
    label: str = ""
    options: Pairs = ()
    layers: tuple[str, ...] = ()
    fusion: LayerFusion | None = None
    target: GradientOf = "logit"
    wrapper: str | None = None
    wrapper_options: Pairs = ()
    sample: float = 1.0

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", default_label(self.method, self.wrapper))


@dataclasses.dataclass(frozen=True)
class EngineSpec:
    """Everything an engine needs, hashable and picklable: equal specs share one loaded model per process.

    Attributes:
        model: where the model comes from.
        preprocessing: from pixels to the model's input.
        target_layer, scores, output: as `layer`, `scores` and `output` of `exposure.ExposedModel`.
        reference: what a similarity is to: one or more embeddings; None without one.
        input_size: positions along each axis (height and width of an image) and channels, where the model leaves them
            open.
        fed: names of the model's other inputs that come with each image; their constants (`model_source.ModelSource`)
            stand in while the model is looked into.
        float_pixels: whether images come as float32 and not as uint8 (`ImageOptions.gives_fractions`); those of the
            other type are explained too, after the time that another graph takes.
        methods: the configured methods.
        targets: the classes of an image that are explained.
        evidence: whether to say what the strongest channels put into each class score.
        batch_size: largest batch that will come.
        pass_batch_size: images per forward pass of many-pass methods, at most.
        precision: what the model computes in (`precisions`).
        xla: compile the shared pass with XLA; batches are padded to `batch_size`.
        seed: of every random choice for which a method's own options name none.
        intra_op_threads: threads inside a TensorFlow operation; None is TensorFlow's choice.
        gpu_memory: what this process may take of the GPU.
        constant_weights: compile the weights into the graphs; None does so where it pays off
            (`weight_constants.pays_off`).
        tune_batch: measure how many images to explain at once (`engine.Engine.batch_size`).
        compute: what computes that which needs no gradients; gradients of the head are always TensorFlow's. ``xla`` is
            as `xla`. Which is the fastest is for `compute.choice` to say.
    """

    model: model_source.ModelSource
    preprocessing: model_source.Preprocessing = model_source.Preprocessing()
    target_layer: str | tuple[str, ...] = "auto"
    scores: Scores = "auto"
    output: str | None = None
    reference: tuple[tuple[float, ...], ...] | None = None
    input_size: tuple[int, ...] | None = None
    fed: tuple[str, ...] = ()
    float_pixels: bool = True
    methods: tuple[MethodSpec, ...] = (MethodSpec("grad_cam"),)
    targets: tuple[Target, ...] = ("label", "predicted")
    evidence: bool = True
    batch_size: int = 32
    pass_batch_size: int = 32
    precision: Precision = "float32"
    xla: bool = False
    seed: int = 0
    intra_op_threads: int | None = None
    gpu_memory: gpu_shares.GpuMemory = gpu_shares.ALONE
    constant_weights: bool | None = None
    tune_batch: bool = False
    compute: Compute = "tensorflow"
