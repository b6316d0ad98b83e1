"""The processor cores that this process may use; imports nothing, so that settings can ask too."""

from __future__ import annotations

import os


def count() -> int:
    """How many they are: fewer than the machine has where a container or ``taskset`` says so, as far as is known."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
