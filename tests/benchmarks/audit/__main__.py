"""``python -m tests.benchmarks.audit``: what an audit's decisions are worth, in four parts.

Each is run whatever the others say. Exit status 1 where any of them missed a limit or broke.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

PARTS = (
    "tests.benchmarks.audit.false_alarms",
    "tests.benchmarks.audit.early_stops",
    "tests.benchmarks.audit.drift_of_reasons",
    "tests.benchmarks.shortcuts",
)


def main(parts: Sequence[str] = PARTS) -> int:
    """Run every part, then say of each how it ended and how long it took; the exit status."""
    lines = []
    for part in parts:
        sys.stdout.write(f"\n{part}\n")
        sys.stdout.flush()
        started = time.monotonic()
        status = subprocess.run([sys.executable, "-m", part], check=False).returncode
        said = {0: "ok  ", 1: "MISS"}.get(status, f"broke ({status})")
        lines.append((status, f"{said} {part}, {(time.monotonic() - started) / 60:.1f} min"))
    sys.stdout.write("\n" + "".join(f"{line}\n" for _, line in lines))
    return int(any(status for status, _ in lines))


if __name__ == "__main__":
    sys.exit(main())
