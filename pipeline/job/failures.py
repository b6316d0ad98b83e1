"""How a job that did not end well is told: what its manifest keeps, what the user reads, and how to go on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TextIO

import apache_beam as beam
from apache_beam.runners import runner as beam_runner

from heatbeam import config
from heatbeam.runners import worker_processes
from heatbeam.runs import run_directory
from heatbeam.transforms import errors, tally

_STEP = re.compile(r" \[while running '[^']*'\]")
_RAISED = re.compile(r"^(?:RuntimeError: )?([\w.]+): (.*)$", re.MULTILINE)


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; the message says what is kept."""


def run_to_the_end(pipeline: beam.Pipeline, failed: Callable[[str], errors.UserError]) -> beam_runner.PipelineResult:
    """Run a pipeline and wait for it, with a new tally.

    Args:
        pipeline: to run.
        failed: from why the job failed, in one line, to what is raised then.

    Raises:
        errors.UserError: what `failed` made: a worker ended or met what the user has to mend, or the runner ended the
            job otherwise.
    """
    tally.TALLY.clear()
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except worker_processes.ProcessEnded as error:
        raise failed(f"{error}") from error
    except RuntimeError as error:  # how runners tell of what their workers raised
        why = users_part(error)
        if why is None:
            raise
        raise failed(f"a worker stopped: {why}") from error
    if state not in (beam_runner.PipelineState.DONE, None):
        raise failed(f"the runner ended the job as {state}; see its log")
    return result


@contextlib.contextmanager
def told_how_to_go_on(
    directory: run_directory.RunDirectory, output: config.OutputConfig, stream: TextIO, *, grows: bool = False
) -> Iterator[None]:
    """After a failure, say to `stream` what is kept; after an interrupt, by the exception's message.

    Args:
        directory: of the run.
        output: as the user gave it.
        stream: where to say it.
        grows: whether the run is one that is explained part by part, which knows no newest one to reuse.

    Raises:
        Interrupted: instead of another KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("; ".join(["interrupted", *_how_to_go_on(directory, output, grows)])) from error
    except BaseException:
        stream.writelines(f"{text}\n" for text in _how_to_go_on(directory, output, grows))
        raise


def _how_to_go_on(directory: run_directory.RunDirectory, output: config.OutputConfig, grows: bool) -> Iterator[str]:
    """What to run to go on from what a run left, if it left anything."""
    if not directory.unfinished_files():
        return
    if output.root is not None:
        how = f"--reuse {directory.path}" if grows else "--reuse newest"
    elif output.overwrite:  # `resume` keeps what `overwrite` removes, so that they are refused together
        how = "--set output.overwrite=false --resume"
    else:
        how = f"--resume, or with --reuse {directory.path},"
    kept = directory.path_of(run_directory.UNFINISHED)
    yield f"what was explained so far is kept in {kept}; run again with {how} to go on from there"


def in_words(error: BaseException, limit: int = 3000) -> str:
    """An error for the manifest, with the one behind it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = f"{type(error).__name__}: {error}"
    if error.__cause__ is not None:
        text += f"\n{type(error.__cause__).__name__}: {error.__cause__}"
    return _shortened(text, limit)


def _shortened(text: str, limit: int) -> str:
    """The beginning of an error, and every cause in it: a cluster's error is mostly stack, with the reason inside."""
    if len(text) <= limit:
        return text
    lines = (line.strip() for line in text.splitlines())
    causes = dict.fromkeys(line[:300] for line in lines if re.match(r"(Caused by: )?[\w.$]+(Error|Exception): ", line))
    return "\n".join([text[: limit // 3], "...", *causes])[:limit]


def users_part(error: BaseException) -> str | None:
    """What a worker met that is the user's to mend, or None: a runner gives its error on as the text of another."""
    known = {f"{kind.__module__}.{kind.__qualname__}" for kind in _kinds(errors.UserError)}
    for match in _RAISED.finditer(_STEP.sub("", str(error))):
        if match[1] in known:
            return match[2].strip()
    return None


def _kinds(kind: type[errors.UserError]) -> Iterator[type[errors.UserError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)
