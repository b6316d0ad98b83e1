"""Run the graph: from settings to a finished run directory, or to a clear failure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import pathlib
import platform
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import apache_beam as beam
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options

from heatbeam import command, config
from heatbeam.job import classes, failures, graph, incremental, plan, progress, step_options, verdict
from heatbeam.job.fitting import agreement, decision, earlier_runs, unfit_methods
from heatbeam.runners import runner_options, signatures
from heatbeam.runs import history, manifests, remote_files, run_directory
from heatbeam.transforms import account, errors, explain, sampling
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import installed

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


RunFailed = verdict.RunFailed


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        directory: where it is.
        manifest: what was written to ``manifest.json``.
    """

    directory: run_directory.RunDirectory
    manifest: manifests.Finished


def run(
    settings: config.RunConfig,
    beam_options: Sequence[str] = (),
    stream: TextIO | None = None,
    part: sampling.Part | None = None,
    grown_in: config.OutputConfig | None = None,
) -> Result:
    """Explain a dataset.

    Args:
        settings: the configuration.
        beam_options: Beam's own options, from the command line.
        stream: where progress goes; None for standard error.
        part: of the records to explain; None for all.
        grown_in: the ``output`` section that the user gave, where this is a part of a run that grows.

    Raises:
        config.ConfigError: something is wrong that can be seen before the first record.
        RunFailed: no record was read, too many were lost, the counts do not add up, or a worker ended or met what the
            user has to mend. The directory's manifest says ``failed`` then, as after any other exception.
        failures.Interrupted: it was, by Ctrl-C; the message says what is kept.
    """
    stream = sys.stderr if stream is None else stream
    arguments = runner_options.beam_arguments(settings.runner, beam_options)
    with runner_options.connected(arguments):
        command.waiting("opening the data and the model", stream)
        whole = dataclasses.replace(plan.make(settings, beam_options), part=part)
        planned, _held = unfit_methods.fitted(whole, lambda text: stream.write(f"warning: {text}\n"))
        open_run = _start(planned.settings, arguments, part)
        given, grows = grown_in or settings.output, grown_in is not None
        told = failures.told_how_to_go_on(open_run.directory, given, stream, grows=grows)
        with told, open_run.failure_recorded():
            return _run(planned, arguments, open_run, stream)


def directory_of(output: config.OutputConfig) -> run_directory.RunDirectory:
    """Where a run that starts now goes: the configured directory, or one below the root that is named by the time."""
    if output.directory is not None:
        return run_directory.RunDirectory(output.directory)
    assert output.root is not None
    return run_directory.RunDirectory(
        history.dated_directory(output.root, datetime.datetime.now(datetime.timezone.utc))
    )


class _OpenRun:
    """A run that goes on: where it is, its manifest as far as it is known, and the runs that it may take rows from."""

    def __init__(self, directory: run_directory.RunDirectory, manifest: manifests.Manifest):
        self.directory = directory
        self.manifest = manifest
        self.sources: Sequence[earlier_runs.Source] = ()

    def add(self, **parts: Any) -> None:
        """Learn more of the manifest; nothing is written."""
        self.manifest = self.manifest.having(**parts)

    def finish(self) -> Result:
        """Count the tables and mark the run ``succeeded``."""
        return Result(self.directory, self.directory.finish(self.manifest))

    def fail(self, error: str) -> None:
        """Mark the run ``failed``."""
        self.directory.fail(self.manifest.having(error=error, finished=_now()))

    @contextlib.contextmanager
    def failure_recorded(self) -> Iterator[None]:
        """Mark the run ``failed`` if the block does not end well."""
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(errors.PathError, OSError):  # a disk that is full is the reason, not the news
                self.fail(failures.in_words(error))
            raise


def _start(settings: config.RunConfig, arguments: Sequence[str], part: sampling.Part | None = None) -> _OpenRun:
    """The new run, marked ``running``."""
    directory = directory_of(settings.output)
    manifest = _first_manifest(settings, arguments)
    directory.check_free(overwrite=settings.output.overwrite, resume=settings.output.resume)
    resumed = incremental.check_sources(settings.output, directory)
    drawn = None if part is None else manifests.Drawn(share=part.share, seed=part.seed)
    manifest = manifest.having(process=incremental.this_process(), resumed=resumed, drawn=drawn)
    try:
        directory.create(manifest, overwrite=settings.output.overwrite, resume=settings.output.resume)
    except OSError as error:
        raise config.ConfigError([f"output: {directory.path} cannot be made: {error}"]) from error
    open_run = _OpenRun(directory, manifest)
    if remote_files.is_remote(directory.path):
        _check_seen_by_workers(open_run)
    return open_run


def _check_seen_by_workers(open_run: _OpenRun) -> None:
    """Check that Beam, which the workers write with, sees what pyarrow has just written."""
    directory = open_run.directory
    path = directory.path_of(run_directory.MANIFEST)
    try:
        why = "" if filesystems.FileSystems.exists(path) else "it sees nothing there; the endpoints may differ"
    except (ValueError, OSError) as error:
        why = f"{error} (s3:// needs heatbeam[aws], gs:// heatbeam[gcp])"
    if why:
        problem = f"output: {directory.path} was made, but Beam cannot write there: {why}"
        with contextlib.suppress(errors.PathError, OSError):
            open_run.fail(problem)
        raise config.ConfigError([problem])


def launch(settings: config.RunConfig, beam_options: Sequence[str]) -> run_directory.RunDirectory:
    """Start a run and leave it to the runner; its directory says ``running`` until `finish`.

    For launchers that must end before the job does, as a Flex Template's.

    Raises:
        config.ConfigError: as `run` does.
    """
    arguments = runner_options.beam_arguments(settings.runner, beam_options)
    with runner_options.connected(arguments):
        planned, _ = unfit_methods.fitted(
            plan.make(settings, beam_options), lambda text: sys.stderr.write(f"warning: {text}\n")
        )
        open_run = _start(planned.settings, arguments)
        with open_run.failure_recorded():
            planned, _held = _with_backend(planned, open_run, sys.stderr)
            _prepare(planned, arguments, open_run).run()
    return open_run.directory


@runner_options.connected(())
def finish(path: str) -> Result:
    """End a run that `launch` started and whose job is done: check its counts and mark it ``succeeded``.

    Raises:
        RunFailed: the job is not done, or its result must not be used; in the second case the manifest says ``failed``.
        run_directory.RunDirectoryError: `path` is not a run that is waiting to be finished.
    """
    directory = run_directory.RunDirectory(path)
    manifest = directory.read_any_manifest()
    if manifest.status != "running":
        raise run_directory.RunDirectoryError(f"{path} has {manifest.status}; only a running one can be finished")
    if manifest.format_version != manifests.FORMAT_VERSION:
        raise run_directory.RunDirectoryError(
            f"{path} was started by heatbeam {manifest.heatbeam}, which writes another format; finish it with that one"
        )
    if not filesystems.FileSystems.exists(directory.path_of(run_directory.COUNTS)):
        raise RunFailed(f"the job of {path} is not done: it has not written {run_directory.COUNTS} yet")
    open_run = _OpenRun(directory, manifest)
    with open_run.failure_recorded():
        counted = _take_counts(directory)
        open_run.add(**verdict.manifest_parts(counted, manifest), finished=_now())
        verdict.check(counted, manifest.config, directory)
        return open_run.finish()


def _with_backend(planned: plan.Plan, open_run: _OpenRun, stream: TextIO) -> tuple[plan.Plan, engines.Engine]:
    """The plan with what computes its model, which is in the manifest from here on, and the engine of that."""
    open_run.sources = earlier_runs.sources(planned.settings.output, open_run.directory)
    planned, engine, compute = decision.engine_of(planned, open_run.sources, lambda text: stream.write(f"{text}\n"))
    resumed = next((one for one in open_run.sources if one.resumed), None)
    before = None if open_run.manifest.resumed is None else open_run.manifest.resumed.compute
    same = resumed is not None and resumed.precision == planned.engine_spec.precision
    if same and before is not None and before.backend == compute.backend:
        compute = before.model_copy(update={"agreement": compute.agreement or before.agreement})  # with its trials
    open_run.add(compute=compute)
    if compute.backend != "tensorflow" or compute.trials or compute.agreement is not None:
        stream.write(f"compute: {decision.in_words(compute, planned.engine_spec.precision)}\n")
    return planned, engine


def _of_what_computes(planned: plan.Plan, open_run: _OpenRun) -> list[str]:
    compute = open_run.manifest.compute
    return [] if compute is None else agreement.warnings(planned.engine_spec, compute)


def _prepare(
    planned: plan.Plan, arguments: Sequence[str], open_run: _OpenRun, stream: TextIO | None = None
) -> beam.Pipeline:
    """The pipeline, after the model was loaded and described in the manifest."""
    directory = open_run.directory
    # Loaded here too: a wrong model fails before the first record, and the direct runner's worker threads share it.
    engine, _ = explain.acquire_engine(planned.engine_spec)
    planned, names = classes.resolved(planned, engine.description)
    taken = incremental.prepare(planned, engine, directory, open_run.sources)
    open_run.add(
        model=describe(engine.description, names),
        conventions=step_options.conventions(planned, engine.description),
        keyed_by=taken.facts,
        reused=taken.taken,
        warnings=(*planned.dataset.oddities(), *_of_what_computes(planned, open_run)),
    )
    if open_run.manifest.resumed is not None:
        open_run.add(resumed=manifests.Resumed(started=open_run.manifest.resumed.started))
    directory.write_manifest(open_run.manifest, "running")
    if stream is not None:
        if step_options.classes_of(planned) is not None:
            stream.write(f"classes: {planned.classes_in_words}\n")
        stream.writelines(f"{line}\n" for line in taken.lines)
        warnings = (*classes.model_warnings(planned, engine.description), *open_run.manifest.warnings)
        stream.writelines(f"warning: {text}\n" for text in warnings)
        if planned.engine_spec.model.has_random_weights:
            stream.write("warning: the model's weights are random, as model.arguments say: its maps have no meaning\n")
    signatures.remember()
    pipeline = beam.Pipeline(options=pipeline_options.PipelineOptions(list(arguments)))
    metadata = {incremental.METADATA: taken.keys}
    run_id = open_run.manifest.run_id
    graph.build(
        pipeline, step_options.make(planned, engine.description, names, directory, taken.lookup, metadata, run_id)
    )
    return pipeline


def _run(planned: plan.Plan, arguments: Sequence[str], open_run: _OpenRun, stream: TextIO) -> Result:
    started = time.monotonic()
    planned, engine = _with_backend(planned, open_run, stream)  # held until the run is over
    pipeline = _prepare(planned, arguments, open_run, stream)
    loaded = time.monotonic()
    with progress.shown(stream, progress.of_run(_bytes_to_read(planned))):
        result = failures.run_to_the_end(pipeline, RunFailed)
    counted = _take_counts(open_run.directory)
    open_run.add(
        **verdict.manifest_parts(counted, open_run.manifest),
        metrics=_metrics(result),
        timings={"load_s": round(loaded - started, 3), "pipeline_s": round(time.monotonic() - loaded, 3)},
        finished=_now(),
    )
    verdict.check(counted, planned.settings, open_run.directory)
    del engine
    return open_run.finish()


def describe(description: exposure.ModelDescription, names: Sequence[str]) -> manifests.Model:
    """The model as exposed, for the manifest."""
    return manifests.Model(
        digest=description.digest,
        target_layer=description.layer.name,
        target_layer_choice=description.layer_choice,
        target_layer_shape=tuple(description.layer.shape),
        target_layer_evidence=description.evidence,
        target_layer_warnings=description.warnings,
        scores=description.scores,
        probability=description.probability,
        pixels=description.pixels,
        classes=description.classes,
        class_names=tuple(names),
        input_size=tuple(description.input_size),
    )


def _first_manifest(settings: config.RunConfig, arguments: Sequence[str]) -> manifests.Manifest:
    versions = {"python": platform.python_version()}
    now = datetime.datetime.now(datetime.timezone.utc)
    for package in _PACKAGES:
        versions[package] = installed.version_of(package)
    return manifests.Manifest(
        heatbeam=importlib.metadata.version("heatbeam"),
        config=settings,
        beam_options=tuple(arguments),
        versions=versions,
        started=now.isoformat(timespec="seconds"),
        started_in=str(pathlib.Path.cwd()),
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",  # in the order of time, and none twice
    )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _bytes_to_read(planned: plan.Plan) -> int:
    """Bytes of the shards, for the time left; 0 where they say little (packed or partly read)."""
    return planned.dataset.stored_bytes if planned.dataset.reads_every_byte else 0


def _take_counts(directory: run_directory.RunDirectory) -> account.Counted:
    path = directory.path_of(run_directory.COUNTS)
    counted = account.read_counts(path)
    filesystems.FileSystems.delete([path])
    return counted


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


def result_document(result: Result) -> dict[str, Any]:
    """A finished run as plain values, for ``heatbeam run --json``; the keys are documented and stay."""
    manifest = result.manifest
    counts = manifest.counts
    return {
        "directory": result.directory.path,
        "run_id": manifest.run_id,
        "status": manifest.status,
        "started": manifest.started,
        "finished": manifest.finished,
        "model": {"digest": manifest.model.digest, "target_layer": manifest.model.target_layer},
        "counts": {
            "records_read": counts.records_read,
            "images_explained": counts.images_explained,
            "images_reused": counts.images_reused or 0,
            "images_skipped": counts.images_skipped,
            "dead_letters": counts.dead_letters,
            "lost": counts.lost,
            "lost_is_estimate": counts.lost_is_estimate,
            **({} if counts.not_needed is None else {"not_needed": counts.not_needed}),
        },
        "tables": {name: {"rows": table.rows, "bytes": table.bytes} for name, table in manifest.tables.items()},
        "seconds": manifest.timings.pipeline_s if manifest.timings is not None else None,
        "warnings": manifest.warnings,
    }


def print_result(result: Result, stream: TextIO = sys.stdout, report: str | None = None) -> None:
    """A table of what was written and where, and the path of the report if there is one."""
    manifest = result.manifest
    counts = manifest.counts
    took = f"; {manifest.timings.pipeline_s:.1f} s" if manifest.timings is not None else ""
    not_needed = f", {counts.not_needed:,} not needed" if counts.not_needed else ""
    reused = f" ({counts.images_reused:,} taken from an earlier run)" if counts.images_reused is not None else ""
    stream.write(
        f"\n{counts.images_explained:,} images explained{reused}, {counts.images_skipped:,} skipped (no target), "
        f"{counts.dead_letters:,} dead letters{f', {verdict.in_words(counts)}' if counts.lost else ''}{not_needed}"
        f"{took}\n"
    )
    stream.writelines(f"warning: {warning}\n" for warning in manifest.warnings)
    for name, table in manifest.tables.items():
        path = result.directory.path_of(name)
        stream.write(f"  {path:<40} {table.rows:>10,} rows {table.bytes / 1e6:>10.2f} MB\n")
    stream.write(f"  {result.directory.path_of('manifest.json')}\n")
    if report is not None:
        stream.write(f"  {report}\n")
