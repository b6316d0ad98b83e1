from __future__ import annotations

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import yaml

from heatbeam.runs import run_directory
from tests.support import paths, small_runs


@pytest.fixture(scope="module")
def pattern(tmp_path_factory) -> str:
    """Work for longer than any of these tests takes."""
    return small_runs.write(tmp_path_factory.mktemp("data"), [small_runs.record(i) for i in range(40)] * 200, 4)


def write_config(folder: pathlib.Path, pattern: str, **output: object) -> str:
    settings = small_runs.settings(pattern, folder / "run").as_dict()
    settings["explain"]["methods"] = [{"method": "grad_cam"}, {"method": "score_cam"}]
    settings["output"] = {"directory": str(folder / "run"), "report": False, **output}
    settings["runner"]["workers"] = 2
    settings["model"]["scores"] = "softmax"  # else a warning asks what the numbers are
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    return str(folder / "run.yaml")


def ended_by(
    number: int, arguments: list[str], ready: Callable[[], bool], wait_s: float = 0.0
) -> subprocess.CompletedProcess[str]:
    """The command, sent a signal `wait_s` after it is `ready`."""
    process = subprocess.Popen(
        # Whoever runs the tests in the background has its shell ignore interrupts.
        small_runs.command_after("signal.signal(signal.SIGINT, signal.SIG_DFL)", *arguments),
        cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(wait_s)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def status_of(folder: pathlib.Path) -> str:
    with contextlib.suppress(ValueError):
        return run_directory.RunDirectory(str(folder)).read_any_manifest().status
    return ""


def kept_in(folder: pathlib.Path) -> bool:
    return any(file.stat().st_size > 0 for file in (folder / "unfinished").glob("*.arrow"))


def lines_of_the_end(stderr: str) -> list[str]:
    """What was written, without what a run says while it waits and goes on."""
    return [line for line in stderr.splitlines() if not re.search(r" \.\.\.$|images/s|^waiting for the first", line)]


@pytest.mark.runner
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_that_is_stopped_ends_in_one_line_that_says_how_to_go_on(processes, pattern, tmp_path):
    arguments = ["run", write_config(tmp_path, pattern), "--set", f"runner.processes={processes}"]
    assert_stopped(signal.SIGINT, 130, arguments, tmp_path / "run", "--resume, or with --reuse", processes)


def assert_stopped(
    number: int, status: int, arguments: list[str], folder: pathlib.Path, how: str, processes: int = 1
) -> None:
    done = ended_by(number, arguments, lambda: kept_in(folder), 2.0)
    *before, last = lines_of_the_end(done.stderr)
    assert done.returncode == status, done.stderr
    assert last.startswith("interrupted; what was explained so far is kept in ") and how in last
    # Worker processes write what TensorFlow has to say when it starts.
    assert "Traceback" not in done.stderr if processes > 1 else not before, done.stderr
    assert status_of(folder) == "failed"


@pytest.mark.runner
@pytest.mark.parametrize("wait_s", [1.0, 4.0, 8.0])
def test_an_interrupt_before_the_first_record_ends_in_one_line(wait_s, pattern, tmp_path):
    config = write_config(tmp_path, pattern)
    done = ended_by(signal.SIGINT, ["run", config], lambda: True, wait_s)
    assert done.returncode == 130, done.stderr
    (line,) = lines_of_the_end(done.stderr)
    assert line.startswith("interrupted")


@pytest.mark.runner
@pytest.mark.long
def test_the_run_goes_on_as_the_line_says(pattern, tmp_path):
    config = write_config(tmp_path, pattern, overwrite=True)
    hint = ["--set", "output.overwrite=false", "--resume"]
    assert_stopped(signal.SIGTERM, 143, ["run", config], tmp_path / "run", " ".join(hint))
    indexed = lambda: any((tmp_path / "run" / "unfinished").glob("index-*.npz"))  # noqa: E731
    again = ended_by(signal.SIGINT, ["run", config, *hint], indexed, 5.0)
    assert again.returncode == 130 and "Traceback" not in again.stderr
    assert "reuse:" in again.stderr


def test_a_signal_that_was_ignored_stays_so():
    program = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom heatbeam import process\n"
        "process._Signals()\nprint(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True\n", done.stderr
