"""What the machines of a run have: processes, threads, and memory of the GPU for each; what of it would be wasted."""

from __future__ import annotations

import dataclasses
from typing import TextIO

import tensorflow as tf

from heatbeam import config
from heatbeam.job.check import judging
from heatbeam.runners import machines
from heatbeam.transforms.engine import gpu_shares


def write(runner: config.RunnerConfig, findings: judging.Findings, stream: TextIO) -> None:
    """Say what runs on a machine of the job; warn of what wastes its GPU.

    The direct runner's GPU is the one that is here; a cluster's is the one that the configuration names.
    """
    machine, memory = machines.of(runner), machines.gpu_memory_of(runner)
    if runner.name == "direct":
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        total = gpu_shares.total_mib(0) if has_gpu else None
    else:
        has_gpu, total = machine.accelerator is not None, machine.memory_mib
    stream.writelines(f"machine  {line}\n" for line in machines.in_words(machine, memory, has_gpu, total))
    findings.warnings += machines.warnings(machine, memory, has_gpu, total)
    findings.facts["machine"] = {
        **dataclasses.asdict(machine),
        "has_gpu": has_gpu,
        "gpu_memory_mib": total,
        "gpu_limit_mib": memory.limit_mib(total),
    }
