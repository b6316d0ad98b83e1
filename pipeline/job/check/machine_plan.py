"""What the machines of a run have: processes, threads, and memory of the GPU for each; what of it would be wasted."""

from __future__ import annotations

import dataclasses
from typing import TextIO

import tensorflow as tf

from heatbeam import config
from heatbeam.job import plan
from heatbeam.job.check import judging
from heatbeam.runners import machines
from heatbeam.transforms.engine import gpu_shares

_LARGE_BYTES = 64 * 2**20  # smaller data is done soon, whoever reads it
_CHEAP_S = 0.002  # what reading, decoding, measuring and writing a small image takes, most of it in Python
_MANY_IMAGES = 50_000  # of fewer, what is gained is less than what processes take to start


def write(planned: plan.Plan, findings: judging.Findings, stream: TextIO) -> None:
    """Say what runs on a machine of the job; warn of what wastes its GPU or leaves its workers idle.

    The direct runner's GPU is the one that is here; a cluster's is the one that the configuration names.
    """
    runner = planned.settings.runner
    machine, memory = machines.of(runner), machines.gpu_memory_of(runner)
    if runner.name == "direct":
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        total = gpu_shares.total_mib(0) if has_gpu else None
    else:
        has_gpu, total = machine.accelerator is not None, machine.memory_mib
    stream.writelines(f"machine  {line}\n" for line in machines.in_words(machine, memory, has_gpu, total))
    findings.warnings += machines.warnings(machine, memory, has_gpu, total)
    findings.warnings += idle_workers(planned.settings, len(planned.dataset.shards), planned.dataset.stored_bytes)
    findings.facts["machine"] = {
        **dataclasses.asdict(machine),
        "has_gpu": has_gpu,
        "gpu_memory_mib": total,
        "gpu_limit_mib": memory.limit_mib(total),
    }


def idle_workers(settings: config.RunConfig, shards: int, stored_bytes: int) -> list[str]:
    """What to do where large data lies in fewer files than there are workers: a file is read by one worker.

    Args:
        settings: of the run.
        shards: files, and ranges of files, that are read on their own.
        stored_bytes: of all files.
    """
    workers = settings.runner.worker_count if settings.runner.name == "direct" else 1
    if shards >= workers or stored_bytes < _LARGE_BYTES or settings.input.reshuffle_records:
        return []
    files = "1 file" if shards == 1 else f"{shards} files"
    idle = f"{workers} workers read a file each, so that {workers - shards} are idle"
    return [f"the records lie in {files}, and {idle}; set input.reshuffle_records, or write more shards"]


def waiting_workers(runner: config.RunnerConfig, images: int, seconds: float) -> list[str]:
    """What to do where threads would wait for one another, since the model takes less than the rest.

    Args:
        runner: of the run.
        images: of the whole run.
        seconds: that a worker takes to explain one.
    """
    several = runner.name == "direct" and runner.processes == 1 < runner.worker_count
    if not several or images < _MANY_IMAGES or seconds > _CHEAP_S:
        return []
    waits = f"less than the rest of its work, for which {runner.worker_count} threads wait for Python's lock"
    advice = "runner.processes: 2 or more, each with a model of its own, can be twice as fast"
    return [f"explaining an image takes {1e3 * seconds:.1f} ms, {waits}; {advice}"]
