"""Show how a job is doing: one line that rewrites itself in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from heatbeam import command
from heatbeam.transforms import tally

_TERMINAL_INTERVAL_S = 0.5
_LOG_INTERVAL_S = 5.0

InWords = Callable[[Mapping[str, int], float], str]
"""From the counts of a tally and the seconds since the first look to one line."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where a run is.

    Attributes:
        explained, skipped, dead_letters: records so far.
        read_bytes, total_bytes: of the shards; `total_bytes` is 0 if unknown.
        elapsed_s: seconds since the first look.
    """

    explained: int
    skipped: int
    dead_letters: int
    read_bytes: int
    total_bytes: int
    elapsed_s: float

    def line(self) -> str:
        """One line: images done, rate, dead letters, time left; before the first image what is waited for."""
        if not self.explained and not self.dead_letters and not self.skipped:
            return f"waiting for the first image since {duration(self.elapsed_s)}"
        rate = self.explained / self.elapsed_s if self.elapsed_s > 0 else 0.0
        parts = [f"{self.explained:,} images explained", f"{rate:.1f} images/s"]
        if self.dead_letters:
            parts.append(f"{self.dead_letters:,} dead letters")
        share = min(1.0, self.read_bytes / self.total_bytes) if self.total_bytes else 0.0
        if 0 < share < 0.995 and self.explained:  # it would read 100 %
            parts.append(f"{share:.0%}, about {duration(self.elapsed_s * (1 - share) / share)} left")
        return ", ".join(parts)


def of_run(total_bytes: int) -> InWords:
    """How a run is doing whose shards have so many bytes, 0 if that is not known."""

    def in_words(counts: Mapping[str, int], elapsed_s: float) -> str:
        return Snapshot(
            counts.get("images_explained", 0),
            counts.get("images_skipped", 0),
            counts.get("dead_letters", 0),
            counts.get("read_bytes", 0),
            total_bytes,
            elapsed_s,
        ).line()

    return in_words


def duration(seconds: float) -> str:
    """A time that is waited for, in words."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def shown(stream: TextIO, in_words: InWords) -> Iterator[None]:
    """Report `heatbeam.transforms.tally.TALLY` to `stream`, by `in_words`, while the context is open."""
    terminal = stream.isatty()
    done = threading.Event()
    started = time.monotonic()

    def report() -> None:
        while not done.wait(_TERMINAL_INTERVAL_S if terminal else _LOG_INTERVAL_S):
            _write(stream, in_words(tally.TALLY.snapshot(), time.monotonic() - started), terminal)

    reporter = threading.Thread(target=report, name="heatbeam-progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
        if terminal:
            stream.write(command.CLEAR_LINE)
            stream.flush()


def _write(stream: TextIO, line: str, terminal: bool) -> None:
    stream.write(f"{command.CLEAR_LINE}{line}" if terminal else f"{line}\n")
    stream.flush()
