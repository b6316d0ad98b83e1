"""TensorFlow's threads and memory in this process, set before its first operation."""

from __future__ import annotations

import logging
import os

import tensorflow as tf

from heatbeam.transforms.engine import gpu_shares

_LOGGER = logging.getLogger(__name__)


def configure(intra_op_threads: int | None, memory: gpu_shares.GpuMemory) -> None:
    """Set TensorFlow's threads and what it takes of each GPU; call before TensorFlow's first operation in the process.

    Args:
        intra_op_threads: threads inside one operation; 1 is best on a CPU with one Beam worker thread per core, None
            leaves TensorFlow's choice.
        memory: of each GPU that this process sees.

    TensorFlow cannot change these once it has started; then the settings in force stay.
    """
    _keep_freed_memory()
    try:
        if intra_op_threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        for ordinal, gpu in enumerate(tf.config.list_physical_devices("GPU")):
            _limit(gpu, ordinal, memory)
    except RuntimeError:
        return
    except ValueError as error:
        # TensorFlow's word for a GPU that an engine of before has given a limit, where this one asks for none.
        if "virtual devices configured" not in str(error):
            raise


def _limit(gpu: tf.config.PhysicalDevice, ordinal: int, memory: gpu_shares.GpuMemory) -> None:
    """Have memory of `gpu` taken as needed, up to the limit where there is one."""
    total = gpu_shares.total_mib(ordinal) if memory.needs_total else None
    limit = memory.limit_mib(total)
    if limit is None:
        if memory.needs_total:
            _LOGGER.warning(
                "NVIDIA's driver does not say how much memory %s has: its %d processes share it without a limit; give "
                "runner.gpu_memory in MiB",
                gpu.name,
                memory.processes,
            )
        tf.config.experimental.set_memory_growth(gpu, True)
        return
    # A device with a limit takes all of it at once unless this says otherwise; set_memory_growth refuses such a device.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=limit)])


def _keep_freed_memory() -> None:
    """Where there is no GPU, let TensorFlow keep the memory of one pass for the next.

    By default every large tensor is asked of the system and given back, and the pages of each are made anew at their
    first use: a fourth of MobileNetV2's time. What the user has set in the environment stays.
    """
    if not tf.config.list_physical_devices("GPU"):
        os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
