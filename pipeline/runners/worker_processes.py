"""Worker processes of the direct runner, which all end when one of them fails.

Beam's own ones do not: a process that dies, of memory say, leaves the runner waiting for its answer for ever, and one
that raises at times leaves the others waiting for one another. Here the first failure of any kind stops every process,
answers what the runner still waits for, and throws away what it still has to send.

A process works on several bundles at once, in threads that share its model.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import grpc
from apache_beam.options import pipeline_options
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from google.protobuf import text_format

from heatbeam.transforms import tally as progress

_LOGGER = logging.getLogger(__name__)

_Message = TypeVar("_Message")

_COMMAND = (sys.executable, "-m", "heatbeam.runners.direct_worker")

_WATCH_S = 0.1
_EXIT_TIMEOUT_S = 10.0  # for all processes together to end by themselves, when the run is over
_VERDICT_S = 1.0  # for a process whose connections are gone to be seen dead

# What the process is told by its environment about another worker, if this one was started by one.
_OF_ANOTHER = ("LOGGING_API_SERVICE_DESCRIPTOR", "STATUS_API_SERVICE_DESCRIPTOR", "PIPELINE_OPTIONS_FILE")

_ADVICE = {
    int(signal.SIGKILL): "as the system does when memory runs out: have fewer runner.processes or a smaller "
    "explain.batch_size",
    int(signal.SIGSEGV): "a fault in compiled code, of a device's driver perhaps",
}

# Beam knows one maker of workers of a kind for the whole interpreter.
_ONE_POOL = threading.Lock()


class ProcessEnded(RuntimeError):
    """A worker process ended before the run did; the message says which and how."""


@contextlib.contextmanager
def started(count: int, options: pipeline_options.PipelineOptions) -> Iterator[Pool]:
    """Have Beam's `FnApiRunner` take its worker processes from a new `Pool` while the context is open.

    Args:
        count: of processes.
        options: of the run.

    Raises:
        ProcessEnded: instead of whatever followed from it.
    """
    makers = worker_handlers.WorkerHandler._registered_environments
    with _ONE_POOL:
        pool, before = Pool(count, options), makers[python_urns.SUBPROCESS_SDK]
        makers[python_urns.SUBPROCESS_SDK] = pool.worker, bytes
        try:
            yield pool
        except Exception as error:
            first = pool.failure
            if first is None or (type(error), str(error)) == (type(first), str(first)):
                raise
            raise first from error
        finally:
            makers[python_urns.SUBPROCESS_SDK] = before
            pool.close()


class Pool:
    """The processes of one run; Beam calls it for a worker as often as it wants work done side by side.

    Each process is given several times where there are fewer of them: Beam then has it work on so many bundles at once.

    Args:
        count: of processes.
        options: of the run, which Beam itself does not hand to them: file systems need them, for instance.
    """

    def __init__(self, count: int, options: pipeline_options.PipelineOptions) -> None:
        self._count = count
        given = {
            # As much as the launcher logs; that no main session was pickled is no news.
            "default_sdk_harness_log_level": str(logging.getLogger().getEffectiveLevel()),
            "sdk_harness_log_level_overrides": {"__main__": "ERROR"},
            **options.get_all_options(drop_default=True),
        }
        self._options = json.dumps({"options": given}, default=str)
        self._asked = 0
        self._made: list[_Process] = []
        self._tallies = tempfile.TemporaryDirectory(prefix="heatbeam-tally-")
        self._lock = threading.Lock()
        self._ending = False
        self.failure: Exception | None = None
        """Why the run has failed: of the first process that did."""

    def worker(
        self,
        command: bytes,
        state: worker_handlers.StateServicer,
        provision_info: Any,
        grpc_server: worker_handlers.GrpcServer,
    ) -> worker_handlers.WorkerHandler:
        """Beam's constructor of a worker: the processes in turn, each by a command of our own."""
        del command
        number, self._asked = self._asked % self._count, self._asked + 1
        if number == len(self._made):
            name = f"worker process {number + 1} of {self._count}"
            tally = pathlib.Path(self._tallies.name, str(number))
            environment = {"PIPELINE_OPTIONS": self._options, progress.VARIABLE: str(tally)}
            progress.TALLY.watch(tally)
            self._made.append(_Process(self, name, _COMMAND, environment, state, provision_info, grpc_server))
        return self._made[number]

    def fail(self, reason: Exception) -> None:
        """Stop every process; the reason of the first call is the run's."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = reason
        for process in self._made:
            process.kill()

    def end(self) -> None:
        """Tell every process that the run is over; one that has work left, or takes long to end, is killed."""
        with self._lock:
            if self._ending:
                return
            self._ending = True
        # Where a connection was lost, say whose process died before all are stopped.
        until = time.monotonic() + _VERDICT_S
        while self.failure is None and any(p.has_work for p in self._made) and time.monotonic() < until:
            time.sleep(_WATCH_S)
        for process in self._made:
            process.tell_end()

    def close(self) -> None:
        """Make sure that no process is left, whatever happened."""
        for process in self._made:
            process.stop_worker()
        self._tallies.cleanup()


class _Connection(worker_handlers.ControlConnection):
    """What the runner asks one process, and its answers."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    def _read(self) -> None:
        for answer in _until_gone(self._input):
            self._answer(answer)
            if answer.error:
                self._pool.fail(RuntimeError(answer.error))

    def _answer(self, answer: beam_fn_api_pb2.InstructionResponse) -> None:
        future = self._futures_by_id.pop(answer.instruction_id, None)
        if future is not None:
            future.set(answer)

    @property
    def waited_for(self) -> list[str]:
        """What has no answer yet."""
        return list(self._futures_by_id)

    def give_up(self, reason: str) -> None:
        """Answer everything that is waited for with an error."""
        for instruction in self.waited_for:
            self._answer(beam_fn_api_pb2.InstructionResponse(instruction_id=instruction, error=reason))


def _until_gone(messages: Iterable[_Message]) -> Iterator[_Message]:
    """What a process sends. Where it ends because the process has died, who watches that says so."""
    with contextlib.suppress(grpc.RpcError):
        yield from messages


class _Process(worker_handlers.GrpcWorkerHandler):
    """One process and the thread that watches it."""

    def __init__(
        self,
        pool: Pool,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        state: worker_handlers.StateServicer,
        provision_info: Any,
        grpc_server: worker_handlers.GrpcServer,
    ) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._pool = pool
        self._name = name
        self._command = command
        self._environment = environment
        self.control_conn = _Connection(pool)
        self.control_handler._connections_by_worker_id[self.worker_id] = self.control_conn
        take = self.data_conn.set_inputs
        self.data_conn.set_inputs = lambda elements: take(_until_gone(elements))
        self._process: subprocess.Popen[bytes] | None = None
        self._told_end = False
        self._killed = False
        self._late = threading.Timer(_EXIT_TIMEOUT_S, self._kill_late)
        self._late.daemon = True
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=self._name, daemon=True)

    def start_worker(self) -> None:
        """Start the process, once."""
        if self._process is not None:
            return
        environment = {
            **{name: value for name, value in os.environ.items() if name not in _OF_ANOTHER},
            # No descriptor for logging: what it has to say is written where the runner's own log is.
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "RUNNER_CAPABILITIES": " ".join(worker_handlers.FNAPI_RUNNER_CAPABILITIES),
            "WORKER_ID": self.worker_id,
            **self._environment,
        }
        # A session of its own: an interrupt is for the runner, which then stops its processes.
        self._process = subprocess.Popen(self._command, env=environment, start_new_session=True)
        self._watcher.start()
        if self._pool.failure is not None:  # another one ended before this one began
            self.kill()

    def _watch(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        if not self._killed and (status or not self._told_end):
            self._pool.fail(ProcessEnded(f"{self._name} {_end(status)}"))
        # The runner may still be about to ask and to send: nobody else would answer and take it.
        while not self._over.wait(_WATCH_S):
            self._give_up()

    def _give_up(self) -> None:
        self.control_conn.give_up(f"{self._pool.failure or 'the run is over'}")
        with contextlib.suppress(queue.Empty):
            while True:
                self.data_conn._to_send.get_nowait()

    @property
    def has_work(self) -> bool:
        """Whether the runner waits for an answer of it."""
        return bool(self.control_conn.waited_for)

    def kill(self) -> bool:
        """End the process now, if it runs; whether it did."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._killed = True
        self._process.kill()
        return True

    def _kill_late(self) -> None:
        if self.kill():
            _LOGGER.warning("%s did not end in the %g s after the run; it is killed", self._name, _EXIT_TIMEOUT_S)

    def tell_end(self) -> None:
        """Have the process end: by itself if nothing is asked of it any more, otherwise at once."""
        self._told_end = True
        if self.has_work:
            self.kill()
        self._late.start()
        if self.control_conn._state == worker_handlers.BeamFnControlServicer.STARTED_STATE:
            self.control_conn.push(worker_handlers.BeamFnControlServicer._DONE_MARKER)

    def close(self) -> None:
        """End the process, with all the others."""
        self._pool.end()
        try:
            super().close()
        finally:
            self.stop_worker()

    def stop_worker(self) -> None:
        """Wait for the end of the process; `close` said that it must come."""
        if self._process is None:
            return
        if not self._told_end:
            self.kill()
        self._process.wait()
        self._late.cancel()
        self._over.set()
        self._watcher.join()
        self._give_up()


def _end(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"ended with status {status} in the middle of the run; what it wrote above says why"
    names = {int(known): known.name for known in signal.Signals}
    advice = _ADVICE.get(-status)
    return f"was killed by {names.get(-status, f'signal {-status}')}" + (f", {advice}" if advice else "")
