"""The section ``explain``: which methods explain which classes, and how the model runs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic

from heatbeam.config import section
from heatbeam.transforms.engine import specs


class MethodConfig(section.Section):
    """One method of the run: a name, or a mapping with options."""

    method: str = pydantic.Field(description="one of those that `heatbeam methods` lists")
    name: str | None = pydantic.Field(None, description="name in the tables; the method's own by default")
    options: dict[str, Any] = pydantic.Field({}, description="of the method; `heatbeam methods` lists them")
    layer: str | None = pydantic.Field(None, description="another target layer for this method")
    layers: tuple[str, ...] | None = pydantic.Field(
        None, description="layers to fuse, for methods that do, or with fusion"
    )
    fusion: specs.LayerFusion | None = pydantic.Field(
        specs.MethodSpec.fusion,
        description="how the maps of several layers become one, for methods without passes of their own",
    )
    target: specs.GradientOf = pydantic.Field(specs.MethodSpec.target, description="whose gradient is taken")
    wrapper: Literal["smooth", "tta"] | None = pydantic.Field(
        None, description="average the method over noisy copies of the image, or over scaled and mirrored ones"
    )
    wrapper_options: dict[str, Any] = pydantic.Field({}, description="of the wrapper")
    sample: section.Fraction = pydantic.Field(
        specs.MethodSpec.sample, description="share of the images, chosen by hash of the image id"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"method": value} if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """The name under which the method stands in the tables."""
        return self.name if self.name is not None else specs.default_label(self.method, self.wrapper)


class ExplainConfig(section.Section):
    """Which methods explain which classes, and how the model runs."""

    methods: Annotated[tuple[MethodConfig, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        tuple(MethodConfig(method=one.method) for one in specs.EngineSpec.methods),
        description="a name each, or a mapping with options",
    )
    targets: Annotated[tuple[specs.Target, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        specs.EngineSpec.targets,
        description="which classes of an image are explained: label, labels, predicted, runner_up, top_N or a class id",
    )
    evidence: bool = pydantic.Field(
        specs.EngineSpec.evidence,
        description="keep what the strongest channels of the target layer put into each class score; the search for "
        "shortcuts and the test for drift read it",
    )
    unfit: Literal["error", "skip"] = pydantic.Field(
        "error",
        description="what a method that does not fit the model does: end the run, or be left out with a warning",
    )
    batch_size: int | Literal["auto"] = pydantic.Field(
        specs.EngineSpec.batch_size,
        description="images explained at once, in several passes where each core has a batch of its own; auto: each "
        "worker measures which size is fastest",
    )
    pass_batch_size: section.Positive | None = pydantic.Field(
        None,
        description="images per forward pass of many-pass methods; bounds their memory (default: batch_size, or "
        f"{specs.EngineSpec.pass_batch_size})",
    )
    precision: specs.Precision = pydantic.Field(
        specs.EngineSpec.precision,
        description="what the model computes in; half precision is for accelerators, and mixed_bfloat16 for CPUs that "
        "have it too (avx512_bf16, amx_bf16; fastest by openvino). How far it is from float32 is measured and told",
    )
    xla: bool = pydantic.Field(specs.EngineSpec.xla, description="compile the shared pass with XLA, for accelerators")
    compute: specs.Compute | Literal["auto"] = pydantic.Field(
        "auto",
        description="what runs the model's forward passes; auto: on one machine without a GPU the fastest of what is "
        "installed (heatbeam[openvino], heatbeam[onnxruntime]), by one trial before five minutes of work or more, "
        "elsewhere tensorflow",
    )
    constant_weights: bool | Literal["auto"] = pydantic.Field(
        "auto",
        description="compile the weights into the graph: faster, for several times their memory; auto: on CPUs without "
        "XLA, weights up to 128 MiB",
    )
    seed: int = pydantic.Field(
        specs.EngineSpec.seed, description="of every random choice that names no seed of its own"
    )

    @pydantic.field_validator("batch_size", mode="before")
    @classmethod
    def _known_size(cls, size: Any) -> Any:
        if size != "auto" and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise ValueError(f"expected a number of images from 1, or auto; it is {size!r}")
        return size

    @property
    def backend(self) -> specs.Compute | None:
        """What is to run the model's forward passes; None where that is to be found out."""
        if self.xla:
            return "xla"
        return None if self.compute == "auto" else self.compute

    @property
    def largest_pass(self) -> int:
        """Images per forward pass of many-pass methods."""
        alike = specs.EngineSpec.pass_batch_size if self.batch_size == "auto" else self.batch_size
        return self.pass_batch_size or alike

    @pydantic.field_validator("targets")
    @classmethod
    def _known_targets(cls, targets: tuple[str | int, ...]) -> tuple[str | int, ...]:
        negative = {f"class id {target} is negative": target < 0 for target in targets if isinstance(target, int)}
        section.refuse(negative | {
            f"unknown target {target!r}; expected label, labels, predicted, runner_up, top_N or a class id": (
                target not in ("label", "labels", "predicted", "runner_up")
                and not re.fullmatch(r"top_[1-9]\d*", target))
            for target in targets if isinstance(target, str)
        })  # fmt: skip
        return targets

    @pydantic.model_validator(mode="after")
    def _unique_names(self) -> ExplainConfig:
        labels = [m.label for m in self.methods]
        twice = sorted({n for n in labels if labels.count(n) > 1})
        if twice:
            raise ValueError(f"two methods are called {', '.join(twice)}; give them different names (name: ...)")
        return self

    @pydantic.model_validator(mode="after")
    def _one_backend(self) -> ExplainConfig:
        section.refuse({
            f"xla: true and compute: {self.compute} name two backends; leave one of them out": (
                self.xla and self.compute not in ("auto", "xla")),
            f"precision: {self.precision} is computed by tensorflow, xla or openvino, and compute is {self.compute}; "
            "expected float32": self.precision != "float32" and self.compute == "onnxruntime",
        })  # fmt: skip
        return self
