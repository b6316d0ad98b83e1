"""Which of several ways of working is the fastest here: each is tried for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

Way = TypeVar("Way")

_EACH_S = 1.0
_ALL_S = 8.0


def way(
    ways: Sequence[Way],
    work: Callable[[Way], int],
    clock: Callable[[], float] = time.perf_counter,
    each_s: float = _EACH_S,
    all_s: float = _ALL_S,
) -> tuple[Way, float]:
    """The fastest way and its seconds per image.

    Args:
        ways: the likeliest first: where `all_s` seconds have passed the rest is not tried.
        work: does some work in a way; how many images that was. Its first call in each way, where TensorFlow traces
            and takes memory, is not measured.
        clock: seconds.
        each_s: how long a way is measured, at least one call.
        all_s: for all of them.
    """
    begun, found = clock(), []
    for one in ways:
        if found and clock() - begun > all_s:
            break
        work(one)
        images, started = 0, clock()
        while not images or clock() - started < each_s:
            images += work(one)
        found.append((one, (clock() - started) / images))
    return min(found, key=lambda pair: pair[1])
