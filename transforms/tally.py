"""Counts that the launching process can watch while steps run in its own threads, or in processes that it started.

Beam reports metrics when a job has ended. On the direct runner with threads the steps share the launcher's process, so
a plain shared tally shows what is going on; each process of its own has a file that the launcher reads. It is for the
eyes only: the manifest's numbers come from the pipeline.

Every step counts what it does, so this is also where the launcher can have the steps in its own threads end: Python
cannot stop a thread from outside.
"""

from __future__ import annotations

import collections
import contextlib
import mmap
import os
import pathlib
import struct
import threading

VARIABLE = "HEATBEAM_TALLY"
"""Environment variable with the file of a process whose counts are watched by another."""

_NAMES = ("read_bytes", "images_read", "images_explained", "images_skipped", "dead_letters")
_FORMAT = struct.Struct(f"={len(_NAMES)}q")


class Stopped(Exception):
    """The launcher has given the run up, so a step goes no further."""


class Tally:
    """Named counts, safe to add to from several threads.

    Args:
        path: a file of `watch`, for another process to see the counts that have a name of `_NAMES`; None for none.
    """

    def __init__(self, path: str | None = None) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()
        self._shown: mmap.mmap | None = None
        self._watched: list[pathlib.Path] = []
        self._stopped = False
        if path is not None:
            # Where it fails, nobody watches any more.
            with contextlib.suppress(OSError, ValueError), pathlib.Path(path).open("r+b") as file:
                self._shown = mmap.mmap(file.fileno(), _FORMAT.size)

    def add(self, name: str, amount: int = 1) -> None:
        """Add `amount` to the count called `name`.

        Raises:
            Stopped: after `stop`.
        """
        if self._stopped:
            raise Stopped("the run was stopped")
        with self._lock:
            self._counts[name] += amount
            if self._shown is not None:
                _FORMAT.pack_into(self._shown, 0, *(self._counts[n] for n in _NAMES))

    def watch(self, path: pathlib.Path) -> None:
        """Make an empty file at `path` for another process, whose counts are from now on part of these."""
        path.write_bytes(bytes(_FORMAT.size))
        with self._lock:
            self._watched.append(path)

    def snapshot(self) -> dict[str, int]:
        """The counts now; a name never added to is missing."""
        with self._lock:
            found = self._counts.copy()
            for path in self._watched:
                try:
                    seen = _FORMAT.unpack(path.read_bytes())
                except (OSError, struct.error):  # removed: its run is over
                    continue
                found.update({name: count for name, count in zip(_NAMES, seen, strict=True) if count})
            return dict(found)

    def stop(self) -> None:
        """Have every step of this process that counts from now on fail with `Stopped`, until `clear`."""
        self._stopped = True

    def clear(self) -> None:
        """Forget every count: a new run begins."""
        with self._lock:
            self._stopped = False
            self._counts.clear()
            self._watched.clear()


# Taken out, so that what this process starts does not write to its file.
TALLY = Tally(os.environ.pop(VARIABLE, None))
"""The process's tally; its names are `_NAMES`."""
