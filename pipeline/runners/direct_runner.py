"""Beam's in-process runner without three of its faults.

With worker threads, `FnApiRunner` sends what a stage puts out once a second, from a thread of its own. That thread
takes no notice of an element that is half written: where encoding a value runs Python code (pickling does), the first
half of the element goes into one message and the rest into another. What comes after the cut is decoded as something
else: an error about ``PaneInfoEncoding`` at best, a list that grows until no memory is left at worst. And what is
written while a message is made is dropped. Seen with Beam 2.77. Flushing by size, which stays, happens between
elements; it is what other runners do.

With worker processes it waits for ever where one of them dies; see `worker_processes`.

An interrupt (Ctrl-C) makes it wait for its workers, which know nothing of it: to the end of the dataset, at worst. Here
it works in a thread of its own, so that the interrupt reaches the caller's, which has the workers stop.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners import common, runner
from apache_beam.runners.portability import fn_api_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker

from heatbeam.runners import runner_options, signatures, worker_processes
from heatbeam.transforms import tally

_STOP_S = 10.0  # for the batches that are being explained


class DirectRunner(fn_api_runner.FnApiRunner):
    """`FnApiRunner` that sends whole elements only, and whose workers end when one fails or it is interrupted."""

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: pipeline_options.PipelineOptions
    ) -> runner.PipelineResult:
        """Run a pipeline; with worker processes where the options ask for several."""
        # The default of both ends of the data channel; 0 is "by size alone".
        worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
        _have_errors_told_once()
        signatures.remember()
        run = super().run_via_runner_api
        if options.view_as(pipeline_options.DirectOptions).direct_running_mode != "multi_processing":
            return _interruptible(lambda: run(pipeline_proto, options), tally.TALLY.stop)
        count = options.view_as(pipeline_options.DebugOptions).lookup_experiment(runner_options.PROCESSES)
        with worker_processes.started(int(count or self._num_workers), options) as pool:
            return _interruptible(lambda: run(pipeline_proto, options), lambda: pool.fail(tally.Stopped("interrupted")))


def _interruptible(work: Callable[[], runner.PipelineResult], stop: Callable[[], None]) -> runner.PipelineResult:
    """What `work` returns or raises, done in another thread; an interrupt calls `stop` and gives it a while to end."""
    outcome: futures.Future[runner.PipelineResult] = futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the outcome raises it
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="heatbeam-runner", daemon=True)
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        with _nothing_logged():  # that its workers failed is no news
            stop()
            thread.join(_STOP_S)
        raise


def _have_errors_told_once() -> None:
    """What a worker's thread raises is raised here too: Beam's worker need not print it first, and log it as well."""
    vars(sdk_worker)["print"] = lambda *_, **__: None
    for module in (sdk_worker, common):
        logging.getLogger(module.__name__).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not isinstance(record.msg, Exception) and not str(record.msg).startswith("Error processing instruction")


@contextlib.contextmanager
def _nothing_logged() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
