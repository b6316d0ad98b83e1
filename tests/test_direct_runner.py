from __future__ import annotations

import time

import apache_beam as beam
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from pipeline import runners

_BEAMS_LIMIT_MS = worker_handlers.DATA_BUFFER_TIME_LIMIT_MS


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
    with open(f"{folder}/{key}", "w") as file:
        file.write(repr(numbers))


def test_an_element_is_sent_whole_however_long_it_takes_to_encode(tmp_path):
    arguments = [
        f"--runner={runners.RUNNERS['direct']}",
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
