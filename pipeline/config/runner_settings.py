"""The section ``runner``: where the pipeline runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from heatbeam.config import section
from heatbeam.transforms.models import processors

_LEAST_MIB = 256  # below it no model of use has room; and a share may be meant, or GiB


class RunnerConfig(section.Section):
    """Where the pipeline runs. Further Beam options go after ``--`` on the command line or in `options`."""

    name: Literal["direct", "flink", "dataflow", "spark", "prism", "portable"] = pydantic.Field(
        "direct", description="which runner"
    )
    workers: section.Positive | None = pydantic.Field(
        None, description="direct runner: worker threads, of all processes (default: cores)"
    )
    processes: Annotated[int, pydantic.Field(ge=1, strict=True)] = pydantic.Field(
        1, description="direct runner: processes that share the worker threads, each with its own model"
    )
    intra_op_threads: Annotated[int, pydantic.Field(ge=0)] | None = pydantic.Field(
        None, description="TensorFlow threads inside an operation; 0 is TensorFlow's choice (default: 1 on a CPU)"
    )
    gpu_memory: int | float | Literal["auto", "grow"] = pydantic.Field(
        "auto",
        description="what each process may take of its GPU's memory for tensors: a share (0.25), MiB (4096), an equal "
        "part where the configuration says how many processes share the GPU (auto), or whatever it needs (grow)",
    )
    resource_hints: dict[str, str] = pydantic.Field({}, description="of the explaining stage: accelerator, min_ram")
    options: tuple[str, ...] = pydantic.Field((), description="Beam options, such as --flink_master=localhost:8081")

    @property
    def worker_count(self) -> int:
        """Worker threads of the direct runner, in all processes."""
        return self.workers if self.workers is not None else max(self.processes, processors.count())

    @pydantic.field_validator("gpu_memory", mode="before")
    @classmethod
    def _a_share_or_mebibytes(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        in_range = is_number and (0 < value <= 1 if isinstance(value, float) else value >= _LEAST_MIB)
        if value not in ("auto", "grow") and not in_range:
            raise ValueError(
                f"expected a share above 0 to 1.0, MiB from {_LEAST_MIB} as a whole number, auto or grow; it is "
                f"{value!r}"
            )
        return value

    @pydantic.field_validator("processes", mode="before")
    @classmethod
    def _a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"got {str(value).lower()}; give the number of processes, 1 for threads of one process")
        return value

    @pydantic.model_validator(mode="after")
    def _a_worker_for_each_process(self) -> RunnerConfig:
        section.refuse({
            f"{self.processes} processes cannot share {self.workers} workers; each needs one": (
                self.processes > self.worker_count),
            f"processes is for the direct runner; how many {self.name} has, its own options say": (
                self.processes > 1 and self.name != "direct"),
        })  # fmt: skip
        return self
