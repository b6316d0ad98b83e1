"""The processor cores that this process may use, and what they can do; imports nothing: settings ask too."""

from __future__ import annotations

import contextlib
import os
import pathlib


def count() -> int:
    """How many they are: fewer than the machine has where a container or ``taskset`` says so, as far as is known."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def described() -> dict[str, str]:
    """What the system says of the first core, such as ``flags``, by its own names; empty where it is not Linux."""
    told: dict[str, str] = {}
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for name, _, value in (line.partition(":") for line in text.splitlines()):
            told.setdefault(name.strip(), value.strip())
    return told


def features() -> list[str]:
    """What the first core can do, in the system's words and sorted; empty where it is not Linux.

    Such as ``avx512_bf16``.
    """
    told = described()
    return sorted((told.get("flags") or told.get("Features") or "").split())


def multiplies_bfloat16() -> bool | None:
    """Whether it has instructions that multiply bfloat16; None where that is not known."""
    known = set(features())
    return bool(known & {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}) if known else None
