"""Two finished runs for `make test-integrations`, made where TensorFlow and Beam are, read where they are not."""

from __future__ import annotations

import pathlib
import sys

from heatbeam.job import run
from heatbeam.report import report
from tests.support import paths, small_runs

FOLDER = paths.ROOT / "build" / "integrations" / "runs"


def main() -> None:
    """Write the runs ``monday`` and ``tuesday`` with a slice more, and the report of the first."""
    pattern = small_runs.write(FOLDER.parent / "data", [small_runs.record(i) for i in range(6)], 2)
    for name, slices in (("monday", "[]"), ("tuesday", "[camera]")):
        changes = ("explain.methods=[cam, grad_cam]", f"evaluate.slices={slices}", "output.overwrite=true")
        run.run(small_runs.settings(pattern, pathlib.Path(FOLDER, name), *changes), (), sys.stderr)
    report.write_report(str(FOLDER / "monday"))


if __name__ == "__main__":
    main()
