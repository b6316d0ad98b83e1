"""How many images to give to a model at once: measured on the device that will do it.

Sizes are tried from 1, doubled each time, until more images at once are no longer faster, take too long or would not
fit into memory. What is taken is the smallest size that is nearly as fast as the fastest: beyond it only memory grows.
"""

from __future__ import annotations

import pathlib
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

LARGEST = 128

_NEARLY = 0.95  # of the best throughput
_SLOW_S = 1.5  # a batch that takes longer makes a worker answer late, and trying twice as much would take seconds

_LONG_S = 0.5  # of repeating one size


class Trial(NamedTuple):
    """A batch size and what was measured with it."""

    size: int
    images_per_second: float


def trials(
    run: Callable[[int], object],
    too_large: type[Exception],
    largest: int = LARGEST,
    clock: Callable[[], float] = time.perf_counter,
    memory: Callable[[], tuple[int, int | None]] | None = None,
) -> list[Trial]:
    """Try batch sizes.

    Args:
        run: does the work of a batch of so many images.
        too_large: what it raises if the device has no memory for it.
        largest: size that is not exceeded.
        clock: seconds.
        memory: the most bytes that this process has held, and those still free, None if that is not known.

    Returns:
        The sizes that worked, rising; of a device whose memory ran out not the largest that did.

    Raises:
        Exception: `too_large` if one image is.
    """
    memory = memory or _memory
    found: list[Trial] = []
    size = 1
    while size <= largest:
        before, _ = memory()
        try:
            run(size)  # the first time memory is found and code may be traced
        except too_large:
            if not found:
                raise
            return found[:-1] or found
        seconds = _fastest(run, size, clock)
        found.append(Trial(size, size / max(seconds, 1e-9)))
        after, free = memory()
        if seconds > _SLOW_S or _stopped_growing(found) or (free is not None and 2 * (after - before) > free // 2):
            break
        size *= 2
    return found


def _fastest(run: Callable[[int], object], size: int, clock: Callable[[], float]) -> float:
    """Seconds of the fastest of three runs, of fewer if they are long: what else the machine does only adds to it."""
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < _LONG_S:
        started = clock()
        run(size)
        seconds.append(clock() - started)
    return min(seconds)


def _stopped_growing(found: Sequence[Trial]) -> bool:
    """Whether the last two doublings gained next to nothing."""
    if len(found) < 3:
        return False
    return _NEARLY * max(trial.images_per_second for trial in found[-2:]) < found[-3].images_per_second


def best(found: Sequence[Trial]) -> int:
    """The smallest size that is nearly as fast as the fastest."""
    fastest = max(trial.images_per_second for trial in found)
    return min(trial.size for trial in found if trial.images_per_second >= _NEARLY * fastest)


def _memory() -> tuple[int, int | None]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return peak, None
    return peak, next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
