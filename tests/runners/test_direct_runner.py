from __future__ import annotations

import logging
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane, sdk_worker_main

from heatbeam import config
from heatbeam.runners import runner_options, worker_processes
from heatbeam.transforms import tally

_BEAMS_LIMIT_MS = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS


@pytest.fixture(autouse=True)
def _beams_own_runner_is_left_as_it_was() -> Iterator[None]:
    """Whether the processes of a test came to their end or failed."""
    makers = worker_handlers.WorkerHandler._registered_environments
    before = makers[python_urns.SUBPROCESS_SDK]
    yield
    assert makers[python_urns.SUBPROCESS_SDK] == before


class SlowToPickle:
    """Encoding it takes longer than Beam's timer waits, as a big accumulator's does on a busy machine."""

    def __init__(self, number: int):
        self.number = number

    def __reduce__(self):
        time.sleep(0.4)
        return SlowToPickle, (self.number,)


def _numbered(number: int) -> tuple[str, SlowToPickle]:
    return f"key{number % 2}", SlowToPickle(number)


def _numbers(element) -> tuple[str, list[int]]:
    key, values = element
    return key, sorted(value.number for value in values)


def _written(element, folder: str) -> None:
    key, numbers = element
    pathlib.Path(folder, str(key)).write_text(repr(numbers))


def test_an_element_is_sent_whole_however_long_it_takes_to_encode(tmp_path):
    arguments = [
        f"--runner={runner_options.RUNNERS['direct']}",
        "--direct_running_mode=multi_threading",
        "--direct_num_workers=2",
    ]
    with beam.Pipeline(options=pipeline_options.PipelineOptions(arguments)) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(8))
            | beam.Map(_numbered)
            | beam.GroupByKey()
            | beam.Map(_numbers)
            | beam.Map(_written, str(tmp_path))
        )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "key0": "[0, 2, 4, 6]",
        "key1": "[1, 3, 5, 7]",
    }


def test_beam_still_flushes_by_the_timer_that_is_switched_off():
    """Should Beam rename or drop the setting, `direct_runner` has to be looked at again."""
    assert hasattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS")
    assert _BEAMS_LIMIT_MS in (0, 1000)


def _run_in_processes(folder: pathlib.Path, work, count: int, workers: int, processes: int, *extra: str) -> None:
    """`work` on the folder and each number below `count`, as many at once as there are workers."""
    with _pipeline(workers, processes, *extra) as pipeline:
        _ = pipeline | beam.Create(range(count)) | beam.Reshuffle() | beam.Map(_work, str(folder), work)


def _pipeline(workers: int, processes: int, *extra: str) -> beam.Pipeline:
    arguments = runner_options.beam_arguments(config.RunnerConfig(workers=workers, processes=processes), extra)
    return beam.Pipeline(options=pipeline_options.PipelineOptions(arguments))


def _work(number: int, folder: str, work) -> None:
    work(number, pathlib.Path(folder))


def _tells_its_options(number: int, folder: pathlib.Path) -> None:
    (folder / f"{number}").write_text(os.environ["PIPELINE_OPTIONS"])


def test_processes_have_the_options_of_the_run(tmp_path):
    _run_in_processes(tmp_path, _tells_its_options, 1, 2, 2, "--s3_endpoint_url=http://localhost:1")
    told = sdk_worker_main._load_pipeline_options((tmp_path / "0").read_text())
    options = pipeline_options.PipelineOptions.from_dictionary(told)
    assert options.view_as(pipeline_options.S3Options).s3_endpoint_url == "http://localhost:1"
    assert logging.getLevelName(sdk_worker_main._get_log_level_from_options_dict(told)) == "WARNING"


_PAIR = threading.Barrier(2)


def _meet(number: int, folder: pathlib.Path) -> None:
    """Returns when two threads of this process are here at once."""
    _PAIR.wait(60)
    (folder / f"{number}").write_text(f"{os.getpid()}")


@pytest.mark.timeout(120)
def test_processes_work_on_several_bundles_at_once(tmp_path):
    _run_in_processes(tmp_path, _meet, count=4, workers=4, processes=2)
    processes = [path.read_text() for path in sorted(tmp_path.iterdir())]
    assert sorted(processes.count(process) for process in set(processes)) == [2, 2]


def _waits_for(number: int, folder: pathlib.Path, fail) -> None:
    """The first process to come fails once the other is at work, which would take an hour."""
    mine = folder / f"{os.getpid()}"
    mine.touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    if mine == min(folder.iterdir()):
        fail()
    time.sleep(3600)


def _raise() -> None:
    raise ArithmeticError("not this one")


def _raises(number: int, folder: pathlib.Path) -> None:
    _waits_for(number, folder, _raise)


def _is_killed(number: int, folder: pathlib.Path) -> None:
    _waits_for(number, folder, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _exits(number: int, folder: pathlib.Path) -> None:
    _waits_for(number, folder, lambda: os._exit(3))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("work", "error", "said"),
    [
        (_raises, RuntimeError, "ArithmeticError: not this one"),
        (
            _is_killed,
            worker_processes.ProcessEnded,
            r"worker process [12] of 2 was killed by SIGKILL, as the system does when memory runs out: have fewer",
        ),
        (_exits, worker_processes.ProcessEnded, r"worker process [12] of 2 ended with status 3 in the middle of"),
    ],
)
def test_a_failing_process_ends_the_run_and_the_others(tmp_path, work, error, said):
    with pytest.raises(error, match=said):
        _run_in_processes(tmp_path, work, count=2, workers=2, processes=2)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


@pytest.mark.timeout(120)
def test_a_process_that_cannot_start_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path / "nothing"))
    with pytest.raises(worker_processes.ProcessEnded, match=r"worker process [12] of 2 ended with status 1"):
        _run_in_processes(tmp_path, _meet, count=4, workers=2, processes=2)


def _megabytes(number: int) -> tuple[int, bytes]:
    return number, os.urandom(2_500_000)


def _is_killed_with(element, folder: str) -> None:
    """The first process to come dies while the runner still has much to send to it."""
    try:
        pathlib.Path(folder, "killed").touch(exist_ok=False)
    except FileExistsError:
        time.sleep(0.1)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.timeout(120)
def test_a_process_that_dies_before_it_has_all_its_input_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(data_plane, "_DEFAULT_SEND_QUEUE_MAX_BYTES", 1_000_000)
    with pytest.raises(worker_processes.ProcessEnded, match="was killed by SIGKILL"), _pipeline(8, 2) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(48))
            | beam.Map(_megabytes)
            | beam.Reshuffle()
            | beam.Map(_is_killed_with, str(tmp_path))
        )


def _counts(number: int, folder: pathlib.Path) -> None:
    tally.TALLY.add("images_explained", 1 + number)
    while not (folder / "seen").exists():
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_what_processes_count_is_seen_meanwhile(tmp_path):
    tally.TALLY.clear()
    seen: list[int] = []

    def look() -> None:
        while seen[-1:] != [3]:
            seen.append(tally.TALLY.snapshot().get("images_explained", 0))
            time.sleep(0.05)
        (tmp_path / "seen").touch()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    _run_in_processes(tmp_path, _counts, count=2, workers=2, processes=2)
    looking.join()
    tally.TALLY.clear()
