"""Counts that the launching process can watch while steps run in its own threads.

Beam reports metrics when a job has ended. On the direct runner with threads the steps share the launcher's process, so
a plain shared tally shows what is going on. It is for the eyes only: the manifest's numbers come from the pipeline.
"""

from __future__ import annotations

import collections
import threading


class Tally:
    """Named counts, safe to add to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the count called `name`."""
        with self._lock:
            self._counts[name] += amount

    def snapshot(self) -> dict[str, int]:
        """The counts now; a name never added to is missing."""
        with self._lock:
            return dict(self._counts)

    def clear(self) -> None:
        """Forget every count: a new run begins."""
        with self._lock:
            self._counts.clear()


TALLY = Tally()
"""The process's tally: ``read_bytes``, ``images_read``, ``images_explained``, ``images_skipped``, ``dead_letters``."""
