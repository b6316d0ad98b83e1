"""Beam's in-process runner without two of its faults.

With worker threads, `FnApiRunner` sends what a stage puts out once a second, from a thread of its own. That thread
takes no notice of an element that is half written: where encoding a value runs Python code (pickling does), the first
half of the element goes into one message and the rest into another. What comes after the cut is decoded as something
else: an error about ``PaneInfoEncoding`` at best, a list that grows until no memory is left at worst. And what is
written while a message is made is dropped. Seen with Beam 2.77. Flushing by size, which stays, happens between
elements; it is what other runners do.

With worker processes it waits for ever where one of them dies; see `worker_processes`.
"""

from __future__ import annotations

from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners import runner
from apache_beam.runners.portability import fn_api_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from heatbeam.runners import runner_options, worker_processes


class DirectRunner(fn_api_runner.FnApiRunner):
    """`FnApiRunner` that sends whole elements only, and whose worker processes end when one of them fails."""

    def run_via_runner_api(
        self, pipeline_proto: beam_runner_api_pb2.Pipeline, options: pipeline_options.PipelineOptions
    ) -> runner.PipelineResult:
        # The default of both ends of the data channel; 0 is "by size alone".
        worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
        if options.view_as(pipeline_options.DirectOptions).direct_running_mode != "multi_processing":
            return super().run_via_runner_api(pipeline_proto, options)
        count = options.view_as(pipeline_options.DebugOptions).lookup_experiment(runner_options.PROCESSES)
        with worker_processes.started(int(count or self._num_workers), options):
            return super().run_via_runner_api(pipeline_proto, options)
