"""How many processes and threads a machine of the job has, and how many of them share its GPU.

What is not in the ``runner`` section or among Beam's options is the cluster's own affair: then the number is not known,
and nothing is divided.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from apache_beam.options import pipeline_options

from heatbeam import config
from heatbeam.transforms.engine import gpu_shares

_FED_BY_ONE_PROCESS = ("nvidia-tesla-t4", "nvidia-tesla-p4", "nvidia-tesla-k80")

# As nvidia-smi gives it, in MiB, for what `heatbeam check` says on a machine without that GPU. Workers ask the driver.
_MEMORY_MIB = {
    "nvidia-tesla-p4": 7_680,
    "nvidia-tesla-t4": 15_360,
    "nvidia-tesla-p100": 16_384,
    "nvidia-tesla-v100": 16_384,
    "nvidia-l4": 23_034,
    "nvidia-tesla-a100": 40_960,
    "nvidia-a100-80gb": 81_920,
    "nvidia-h100-80gb": 81_559,
}


@dataclasses.dataclass(frozen=True)
class Machine:
    """What runs on one machine of the job.

    Attributes:
        name: in words.
        processes: of Python workers, each with a model of its own; None where it is not known.
        threads: of each process, which share its model; None where the runner chooses.
        launcher_too: whether the launching process has a model beside them.
        accelerator: type of its GPU as the configuration names it, or None where it names none.
        gpus: of it.
        mps: whether processes share the GPU by NVIDIA's Multi-Process Service, and do not take turns.
    """

    name: str
    processes: int | None = 1
    threads: int | None = None
    launcher_too: bool = False
    accelerator: str | None = None
    gpus: int = 1
    mps: bool = False

    @property
    def sharing(self) -> int:
        """Processes that use the GPU; 1 where the number is not known."""
        return (self.processes or 1) + self.launcher_too

    @property
    def memory_mib(self) -> int | None:
        """Memory of the GPU that the configuration names, where it is known by its type."""
        return None if self.accelerator is None else _MEMORY_MIB.get(self.accelerator)

    @property
    def is_fed_by_one_process(self) -> bool:
        """Whether one process, which waits for Python's lock, keeps such a GPU busy with a common model."""
        return self.accelerator in _FED_BY_ONE_PROCESS


def of(runner: config.RunnerConfig, extra: Sequence[str] = ()) -> Machine:
    """What runs on a machine of a run.

    Args:
        runner: the ``runner`` section.
        extra: further Beam options, from the command line; they win.
    """
    if runner.name == "direct":
        return _this_machine(runner)
    options = pipeline_options.PipelineOptions([*runner.options, *extra])
    if runner.name == "dataflow":
        return _dataflow(runner, options)
    if runner.name in ("flink", "spark", "portable"):
        given = str(options.view_as(pipeline_options.PortableOptions).sdk_worker_parallelism)
        name = "each TaskManager" if runner.name == "flink" else "each worker node"
        processes = int(given) if given.isdecimal() else 0  # 0 is the runner's choice
        return Machine(name, processes or None, accelerator=_accelerator(runner, options).get("type"))
    return Machine("the runner's machine", None)


def gpu_memory_of(runner: config.RunnerConfig, extra: Sequence[str] = ()) -> gpu_shares.GpuMemory:
    """What each process of a run may take of its GPU; arguments as of `of`."""
    if runner.gpu_memory == "grow":
        return gpu_shares.GpuMemory()
    limit = None if runner.gpu_memory == "auto" else runner.gpu_memory
    return gpu_shares.GpuMemory(of(runner, extra).sharing, limit)


def problems(runner: config.RunnerConfig, extra: Sequence[str] = ()) -> list[str]:
    """What Dataflow's documentation says cannot go together; arguments as of `of`."""
    if runner.name != "dataflow":
        return []
    options = pipeline_options.PipelineOptions([*runner.options, *extra])
    service = _of_service(options)
    accelerator = _accelerator(runner, options)
    mps = "use_nvidia_mps" in accelerator
    wrong = {
        "worker_accelerator and runner.resource_hints exclude each other: workers are fitted to the hints; give one": (
            "worker_accelerator" in service and bool(runner.resource_hints)
        ),
        "use_nvidia_mps is for several processes, and no_use_multiple_sdk_containers leaves one; give one of them": (
            mps and _is_one_process(options)
        ),
        f"use_nvidia_mps needs machines with one GPU (count:1), not {accelerator.get('count')}": (
            mps and _count(accelerator) != 1
        ),
        "Dataflow Prime (enable_prime) does not know use_nvidia_mps; give one of them": (
            mps and "enable_prime" in service
        ),
    }
    return [message for message, is_wrong in wrong.items() if is_wrong]


def in_words(machine: Machine, memory: gpu_shares.GpuMemory, has_gpu: bool, total_mib: int | None) -> list[str]:
    """The plan: processes and threads, the GPU's memory for each, what feeds it.

    Args:
        machine: of `of`.
        memory: of `gpu_memory_of`.
        has_gpu: whether its processes use a GPU.
        total_mib: the GPU's memory in MiB, where it is known.
    """
    count = "as many processes as the runner starts" if machine.processes is None else _counted(machine.processes)
    threads = "" if machine.threads is None else f", {_threads(machine.threads)} each"
    lines = [f"{machine.name}: {count}{threads}, one model in each{' and in the launcher' * machine.launcher_too}"]
    if not has_gpu:
        return lines
    kind = machine.accelerator or "GPU"
    limit = memory.limit_mib(total_mib)
    of_total = "" if total_mib is None else f" of {total_mib:,}"
    shared = f"shared by {memory.processes} processes, " if memory.processes > 1 else ""
    if limit is not None:
        lines.append(f"{kind}: {shared}each takes what it needs up to {limit:,}{of_total} MiB")
    elif memory.needs_total:
        lines.append(f"{kind}: {shared}each takes its part of the memory, which the worker asks the driver for")
    else:
        lines.append(f"{kind}: {shared}each process takes the memory that it needs, without a limit")
    if machine.processes is not None and machine.threads is not None:
        fed = f"{_threads(machine.processes * machine.threads)} in {_counted(machine.processes)}"
        lines.append(f"{kind}: fed by {fed}, which decode and localize; heatbeam bench says how long an image takes")
    return lines


def warnings(machine: Machine, memory: gpu_shares.GpuMemory, has_gpu: bool, total_mib: int | None) -> list[str]:
    """What of a plan wastes a GPU or its memory; arguments as of `in_words`."""
    if not has_gpu:
        return []
    limit = memory.limit_mib(total_mib)
    too_much = limit is not None and total_mib is not None and limit * memory.processes > total_mib
    said = {
        f"runner.gpu_memory lets {memory.processes} processes take {limit} MiB each, and the GPU has {total_mib}; "
        "one of them will find none": too_much,
        "how many processes share a GPU is not known here, so that none has a limit: set runner.gpu_memory to a share "
        "(0.25 for four) or MiB": machine.processes is None and memory.limit is None,
        f"{machine.processes} processes take turns on the GPU without NVIDIA's MPS; append use_nvidia_mps to "
        "worker_accelerator, or have one process by --experiments=no_use_multiple_sdk_containers": (
            machine.accelerator is not None and (machine.processes or 1) > 1 and not machine.mps
        ),
        f"one process feeds an {machine.accelerator}: it waits for Python's lock long before such a GPU is busy; "
        "several by NVIDIA's MPS feed it (configs/dataflow_mps.yaml)": (
            machine.accelerator is not None and machine.processes == 1 and not machine.is_fed_by_one_process
        ),
        f"a process uses one GPU, so that {machine.gpus - 1} of {machine.gpus} of a machine are idle; use count:1": (
            machine.gpus > 1
        ),
    }
    return [message for message, is_so in said.items() if is_so]


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _this_machine(runner: config.RunnerConfig) -> Machine:
    if runner.processes == 1:
        return Machine("this machine", 1, runner.worker_count)  # the launcher's own process
    threads = -(-runner.worker_count // runner.processes)
    return Machine("this machine", runner.processes, threads, launcher_too=True)


def _dataflow(runner: config.RunnerConfig, options: pipeline_options.PipelineOptions) -> Machine:
    accelerator = _accelerator(runner, options)
    kind = accelerator.get("machine_type") or options.view_as(pipeline_options.WorkerOptions).machine_type
    one = _is_one_process(options)
    processes = 1 if one else _virtual_cpus(kind or "")
    threads = options.view_as(pipeline_options.DebugOptions).number_of_worker_harness_threads
    if threads is None and not one:
        threads = 1  # of a batch job, one for each vCPU
    return Machine(
        f"each {kind or 'worker'}",
        processes,
        threads,
        accelerator=accelerator.get("type"),
        gpus=_count(accelerator),
        mps="use_nvidia_mps" in accelerator,
    )


def _is_one_process(options: pipeline_options.PipelineOptions) -> bool:
    experiments = options.view_as(pipeline_options.DebugOptions).experiments or []
    return "no_use_multiple_sdk_containers" in experiments


def _virtual_cpus(machine_type: str) -> int | None:
    """How many vCPUs a Compute Engine machine type has by its name, each for a process of Dataflow; None if unsaid.

    >>> _virtual_cpus("g2-standard-8"), _virtual_cpus("n1-custom-4-16384"), _virtual_cpus("a2-highgpu-1g")
    (8, 4, None)
    """
    match = re.fullmatch(
        r"(?:\w+-)?(?:standard|highmem|highcpu|megamem|ultramem|custom)-(\d+)(?:-\d+)?(?:-ext)?", machine_type
    )
    return int(match[1]) if match else None


def _of_service(options: pipeline_options.PipelineOptions) -> dict[str, str]:
    """``--dataflow_service_options`` as names and values; a value may hold ``=``."""
    given = options.view_as(pipeline_options.GoogleCloudOptions).dataflow_service_options or []
    return {name: value for name, _, value in (one.partition("=") for one in given)}


def _accelerator(runner: config.RunnerConfig, options: pipeline_options.PipelineOptions) -> dict[str, str]:
    """``type:nvidia-l4;count:1;install-nvidia-driver`` as names and values, of the hint or of the service option."""
    text = runner.resource_hints.get("accelerator") or _of_service(options).get("worker_accelerator", "")
    return {name: value for name, _, value in (part.strip().partition(":") for part in text.split(";") if part)}


def _count(accelerator: dict[str, str]) -> int:
    count = accelerator.get("count", "1")
    return int(count) if count.isdecimal() else 1
