"""Run the graph: from settings to a finished run directory, or to a clear failure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import apache_beam as beam
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options
from apache_beam.runners import runner as beam_runner

from heatbeam import config
from heatbeam.job import failures, graph, incremental, plan, progress
from heatbeam.runners import runner_options, worker_processes
from heatbeam.runs import history, remote_files, run_directory
from heatbeam.transforms import account, errors, explain, tally
from heatbeam.transforms.models import exposure

_PACKAGES = (
    "apache-beam",
    "tensorflow",
    "keras",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
    "tensorflow-datasets",
)


class RunFailed(errors.UserError):
    """The run ended, and its result must not be used; the message says why."""

    status = 1


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        directory: where it is.
        manifest: what was written to ``manifest.json``.
    """

    directory: run_directory.RunDirectory
    manifest: dict[str, Any]


def run(settings: config.RunConfig, beam_options: Sequence[str], stream: TextIO) -> Result:
    """Explain a dataset.

    Args:
        settings: the configuration.
        beam_options: Beam's own options, from the command line.
        stream: where progress goes.

    Raises:
        config.ConfigError: something is wrong that can be seen before the first record.
        RunFailed: no record was read, too many were lost, the counts do not add up, or a worker ended or met what the
            user has to mend. The directory's manifest says ``failed`` then, as after any other exception.
        failures.Interrupted: it was, by Ctrl-C; the message says what is kept.
    """
    arguments = runner_options.beam_arguments(settings.runner, beam_options)
    with runner_options.connected(arguments):
        planned = plan.make(settings)
        directory, manifest = _start(settings, arguments)
        with failures.told_how_to_go_on(directory, settings.output, stream), _failure_recorded(directory, manifest):
            return _run(planned, arguments, directory, manifest, stream)


def directory_of(output: config.OutputConfig) -> run_directory.RunDirectory:
    """Where a run that starts now goes: the configured directory, or one below the root that is named by the time."""
    if output.directory is not None:
        return run_directory.RunDirectory(output.directory)
    assert output.root is not None
    return run_directory.RunDirectory(
        history.dated_directory(output.root, datetime.datetime.now(datetime.timezone.utc))
    )


def _start(settings: config.RunConfig, arguments: Sequence[str]) -> tuple[run_directory.RunDirectory, dict[str, Any]]:
    """The new run's directory, marked ``running``, and its first manifest."""
    directory = directory_of(settings.output)
    manifest = _first_manifest(settings, arguments)
    directory.check_free(overwrite=settings.output.overwrite, resume=settings.output.resume)
    manifest |= incremental.check_sources(settings.output, directory)
    try:
        directory.create(manifest, overwrite=settings.output.overwrite, resume=settings.output.resume)
    except OSError as error:
        raise config.ConfigError([f"output: {directory.path} cannot be made: {error}"]) from error
    if remote_files.is_remote(directory.path):
        _check_seen_by_workers(directory, manifest)
    return directory, manifest


def _check_seen_by_workers(directory: run_directory.RunDirectory, manifest: dict[str, Any]) -> None:
    """Check that Beam, which the workers write with, sees what pyarrow has just written."""
    path = directory.path_of(run_directory.MANIFEST)
    try:
        why = "" if filesystems.FileSystems.exists(path) else "it sees nothing there; the endpoints may differ"
    except (ValueError, OSError) as error:
        why = f"{error} (s3:// needs heatbeam[aws], gs:// heatbeam[gcp])"
    if why:
        problem = f"output: {directory.path} was made, but Beam cannot write there: {why}"
        with contextlib.suppress(OSError):
            directory.fail({**manifest, "error": problem, "finished": _now()})
        raise config.ConfigError([problem])


def launch(settings: config.RunConfig, beam_options: Sequence[str]) -> run_directory.RunDirectory:
    """Start a run and leave it to the runner; its directory says ``running`` until `finish`.

    For launchers that must end before the job does, as a Flex Template's.

    Raises:
        config.ConfigError: as `run` does.
    """
    arguments = runner_options.beam_arguments(settings.runner, beam_options)
    with runner_options.connected(arguments):
        planned = plan.make(settings)
        directory, manifest = _start(settings, arguments)
        with _failure_recorded(directory, manifest):
            _prepare(planned, arguments, directory, manifest).run()
    return directory


@runner_options.connected(())
def finish(path: str) -> Result:
    """End a run that `launch` started and whose job is done: check its counts and mark it ``succeeded``.

    Raises:
        RunFailed: the job is not done, or its result must not be used; in the second case the manifest says ``failed``.
        run_directory.RunDirectoryError: `path` is not a run that is waiting to be finished.
    """
    directory = run_directory.RunDirectory(path)
    manifest = directory.read_manifest(finished=False)
    if manifest["status"] != "running":
        raise run_directory.RunDirectoryError(f"{path} has {manifest['status']}; only a running one can be finished")
    if not filesystems.FileSystems.exists(directory.path_of(run_directory.COUNTS)):
        raise RunFailed(f"the job of {path} is not done: it has not written {run_directory.COUNTS} yet")
    with _failure_recorded(directory, manifest):
        counts = _take_counts(directory)
        manifest |= {"counts": account.totals(counts), "finished": _now()}
        _judge(counts, manifest["config"]["output"]["max_dead_letter_ratio"], directory)
        return Result(directory, directory.finish(manifest))


@contextlib.contextmanager
def _failure_recorded(directory: run_directory.RunDirectory, manifest: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        directory.fail({**manifest, "error": failures.in_words(error), "finished": _now()})
        raise


def _prepare(
    planned: plan.Plan,
    arguments: Sequence[str],
    directory: run_directory.RunDirectory,
    manifest: dict[str, Any],
    stream: TextIO | None = None,
) -> beam.Pipeline:
    """The pipeline, after the model was loaded and described in `manifest`."""
    # Loaded here too: a wrong model fails before the first record, and the direct runner's worker threads share it.
    engine, _ = explain.acquire_engine(planned.engine_spec)
    names = plan.class_names(planned, engine.description)
    taken = incremental.prepare(planned, engine, directory)
    manifest |= describe(planned, engine.description, names) | {"keyed_by": taken.facts}
    if taken.lookup is not None:
        manifest["reused"] = taken.taken
    if "resumed" in manifest:
        manifest["resumed"] = {"started": manifest["resumed"]["started"]}
    directory.write_manifest(manifest, "running")
    if stream is not None:
        stream.writelines(f"{line}\n" for line in taken.lines)
    pipeline = beam.Pipeline(options=pipeline_options.PipelineOptions(list(arguments)))
    metadata = {incremental.METADATA: taken.keys}
    graph.build(pipeline, planned, engine.description, names, directory, taken.lookup, metadata)
    return pipeline


def _run(
    planned: plan.Plan,
    arguments: Sequence[str],
    directory: run_directory.RunDirectory,
    manifest: dict[str, Any],
    stream: TextIO,
) -> Result:
    started = time.monotonic()
    engine, _ = explain.acquire_engine(planned.engine_spec)  # held until the run is over
    pipeline = _prepare(planned, arguments, directory, manifest, stream)
    loaded = time.monotonic()
    tally.TALLY.clear()
    with progress.shown(stream, _bytes_to_read(planned)):
        try:
            result = pipeline.run()
            state = result.wait_until_finish()
        except worker_processes.ProcessEnded as error:
            raise RunFailed(f"{error}") from error
        except RuntimeError as error:  # how runners tell of what their workers raised
            why = failures.users_part(error)
            if why is None:
                raise
            raise RunFailed(f"a worker stopped: {why}") from error
    if state not in (beam_runner.PipelineState.DONE, None):
        raise RunFailed(f"the runner ended the job as {state}; see its log")
    counts = _take_counts(directory)
    manifest |= {
        "counts": account.totals(counts),
        "metrics": _metrics(result),
        "timings": {"load_s": round(loaded - started, 3), "pipeline_s": round(time.monotonic() - loaded, 3)},
        "finished": _now(),
    }
    _judge(counts, planned.settings.output.max_dead_letter_ratio, directory)
    del engine
    return Result(directory, directory.finish(manifest))


def describe(planned: plan.Plan, description: exposure.ModelDescription, names: Sequence[str]) -> dict[str, Any]:
    """What can change a number: the model as exposed, the formulas' options and the reading of pixels."""
    return {
        "model": {
            "digest": description.digest,
            "target_layer": description.layer.name,
            "target_layer_choice": description.layer_choice,
            "target_layer_shape": list(description.layer.shape),
            "scores": description.scores,
            "probability": description.probability,
            "classes": description.classes,
            "class_names": list(names),
            "input_size": list(description.input_size),
        },
        "conventions": graph.conventions(planned, description),
    }


def _first_manifest(settings: config.RunConfig, arguments: Sequence[str]) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return {
        "heatbeam": importlib.metadata.version("heatbeam"),
        "config": settings.as_dict(),
        "beam_options": runner_options.without_secrets(arguments),
        "versions": versions,
        "started": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _bytes_to_read(planned: plan.Plan) -> int:
    """Bytes of the shards, for the time left; 0 where they say little (packed or partly read)."""
    return planned.dataset.stored_bytes if planned.dataset.reads_every_byte else 0


def _take_counts(directory: run_directory.RunDirectory) -> dict[str, int]:
    path = directory.path_of(run_directory.COUNTS)
    counts = account.read_counts(path)
    filesystems.FileSystems.delete([path])
    return counts


def _metrics(result: Any) -> dict[str, Any]:
    """Heatbeam's own counters and distributions, as the runner reports them (attempted values)."""
    report: dict[str, Any] = {}
    query = result.metrics().query(beam.metrics.MetricsFilter().with_namespace("heatbeam"))
    for counter in query["counters"]:
        report[counter.key.metric.name] = report.get(counter.key.metric.name, 0) + counter.result
    for distribution in query["distributions"]:
        value = distribution.result
        report[distribution.key.metric.name] = {
            "count": value.count,
            "sum": value.sum,
            "min": value.min,
            "max": value.max,
        }
    return dict(sorted(report.items()))


def _judge(counts: dict[str, int], max_ratio: float, directory: run_directory.RunDirectory) -> None:
    """Refuse a result that must not be used."""
    problems = account.problems(counts)
    if problems:
        raise RunFailed("the counts do not add up, so the tables must not be used: " + "; ".join(problems))
    totals = account.totals(counts)
    read, lost = totals["records_read"], totals["dead_letters"]
    if read == 0:
        raise RunFailed("no record was read; the shards are empty")
    if lost > max_ratio * read:
        raise RunFailed(
            f"{lost} of {read} records were lost ({lost / read:.1%}), more than output.max_dead_letter_ratio = "
            f"{max_ratio:.1%}; "
            f"{directory.path_of('dead_letters')} says why"
        )


def print_result(result: Result, stream: TextIO = sys.stdout) -> None:
    """A table of what was written and where."""
    manifest = result.manifest
    counts = manifest["counts"]
    took = f"; {manifest['timings']['pipeline_s']:.1f} s" if "timings" in manifest else ""
    reused = f" ({counts['images_reused']:,} taken from an earlier run)" if "images_reused" in counts else ""
    stream.write(
        f"\n{counts['images_explained']:,} images explained{reused}, {counts['images_skipped']:,} skipped (no target), "
        f"{counts['dead_letters']:,} dead letters{took}\n"
    )
    for name, table in manifest["tables"].items():
        path = result.directory.path_of(name)
        stream.write(f"  {path:<40} {table['rows']:>10,} rows {table['bytes'] / 1e6:>10.2f} MB\n")
    stream.write(f"  {result.directory.path_of('manifest.json')}\n")
