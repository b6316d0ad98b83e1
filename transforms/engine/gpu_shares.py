"""How much of a GPU's memory a process takes that shares it with others. Does not import TensorFlow.

A process that is alone takes memory as it needs it. Several that share a GPU each have a limit: without one the first
to need much takes what the others come to need, and the run fails late.
"""

from __future__ import annotations

import ctypes
import dataclasses

MEBIBYTE = 2**20

LARGEST_RESERVE_MIB = 1536
"""Of a process's share, what is left for CUDA's context and the libraries' own buffers, at most (`equal_share_mib`)."""


@dataclasses.dataclass(frozen=True)
class GpuMemory:
    """What one process may take of the GPU that it uses.

    Attributes:
        processes: that use the GPU, this one among them; 1 or more.
        limit: for tensors: a share of the GPU's memory (float, above 0 to 1) or MiB (int, 1 or more); None for what
            `processes` leave, which is all that there is for one that is alone.
    """

    processes: int = 1
    limit: float | int | None = None

    @property
    def needs_total(self) -> bool:
        """Whether `limit_mib` depends on how much memory the GPU has."""
        return isinstance(self.limit, float) or (self.limit is None and self.processes > 1)

    def limit_mib(self, total_mib: int | None) -> int | None:
        """The limit for tensors in MiB; None for none, so that memory is taken as needed.

        Args:
            total_mib: memory of the GPU in MiB; None where it is not known, which leaves no limit where one depends
                on it (`needs_total`).

        >>> GpuMemory().limit_mib(16384), GpuMemory(4).limit_mib(16384), GpuMemory(4, 0.2).limit_mib(16384)
        (None, 3072, 3276)
        """
        if isinstance(self.limit, int):
            return self.limit
        if total_mib is None or not self.needs_total:
            return None
        return equal_share_mib(total_mib, self.processes) if self.limit is None else int(self.limit * total_mib)


ALONE = GpuMemory()
"""Of a process that shares its GPU with no other: memory as needed."""


def equal_share_mib(total_mib: int, processes: int) -> int:
    """MiB for the tensors of each of `processes` on one GPU: an equal part less a reserve.

    The reserve is a quarter of the part, at most `LARGEST_RESERVE_MIB`: CUDA's context, cuDNN's and cuBLAS' code and
    buffers lie outside of what TensorFlow counts, in every process again. TensorFlow itself leaves 1 to 1.8 GiB of a
    large GPU to them where it is alone.

    >>> equal_share_mib(24576, 4), equal_share_mib(81920, 4)
    (4608, 18944)
    """
    part = total_mib // processes
    return part - min(part // 4, LARGEST_RESERVE_MIB)


def total_mib(ordinal: int) -> int | None:
    """Memory of a GPU in MiB, asked of NVIDIA's driver; None where there is no such driver or GPU.

    TensorFlow tells only once it has started, and then no limit can be set any more. Asking makes no CUDA context.

    Args:
        ordinal: of the GPU among those that this process may see.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, size = ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), ordinal):
        return None
    if driver.cuDeviceTotalMem_v2(ctypes.byref(size), device):
        return None
    return size.value // MEBIBYTE
