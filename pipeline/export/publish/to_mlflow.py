"""A finished run in MLflow: one MLflow run for each, found again by its tag, so publishing twice changes nothing."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from heatbeam.export.publish import destinations, model_card, tracked
from heatbeam.runs import remote_files, run_directory

_METRICS, _PARAMETERS, _TAGS = 1000, 100, 100
"""How many of each one request may bring."""

_COPIED = ("manifest.json", "report.html")

Item = TypeVar("Item")

PublishError = destinations.PublishError


def publish(run_path: str, uri: str, experiment: str, verdict: Mapping[str, Any] | None = None) -> str:
    """Write a run's numbers, settings, tags, manifest, report and model card to MLflow.

    A run that is there already, by the tag ``heatbeam.run_id``, is written again in place: the same numbers at the same
    time are one point, artefacts are replaced.

    Args:
        run_path: a finished run.
        uri: of the tracking server or store.
        experiment: its name; made if it is not there.
        verdict: of a gate, if the run was judged.

    Returns:
        MLflow's id of the run.

    Raises:
        PublishError: MLflow is not installed, or the server refused or could not be reached.
        run_directory.RunDirectoryError: the run is not finished.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own default is to try for minutes
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        import mlflow
        from mlflow import exceptions
    except ImportError as error:
        raise PublishError("--mlflow needs MLflow's client: pip install 'heatbeam[mlflow]'") from error
    run = run_directory.RunDirectory(run_path)
    content = tracked.of(run, verdict)
    client = mlflow.MlflowClient(tracking_uri=uri)
    try:
        identity = _run_of(client, experiment, content)
        _log(client, identity, content)
        _log_files(client, identity, run, verdict)
        client.set_terminated(identity, "FINISHED", end_time=content.finished)
    except exceptions.MlflowException as error:
        raise PublishError(f"cannot publish to MLflow at {uri}: {str(error).splitlines()[0]}") from error
    return identity


def _run_of(client: Any, experiment: str, content: tracked.Tracked) -> str:
    """MLflow's id of the run that stands for this one; made if there is none."""
    known = client.get_experiment_by_name(experiment)
    experiment_id = known.experiment_id if known is not None else client.create_experiment(experiment)
    quoted = content.run_id.replace("'", "\\'")
    found = client.search_runs([experiment_id], f"tags.`{tracked.RUN_ID}` = '{quoted}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(
        experiment_id, start_time=content.started, tags={tracked.RUN_ID: content.run_id}, run_name=content.name
    )
    return str(made.info.run_id)


def _log(client: Any, identity: str, content: tracked.Tracked) -> None:
    from mlflow import entities

    metrics = [entities.Metric(name, value, content.finished, 0) for name, value in content.metrics.items()]
    parameters = [entities.Param(name, value) for name, value in content.parameters.items()]
    tags = [entities.RunTag(name, value) for name, value in content.tags.items()]
    for batch in _batches(metrics, _METRICS):
        client.log_batch(identity, metrics=batch)
    for batch in _batches(parameters, _PARAMETERS):
        client.log_batch(identity, params=batch)
    for batch in _batches(tags, _TAGS):
        client.log_batch(identity, tags=batch)


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _log_files(client: Any, identity: str, run: run_directory.RunDirectory, verdict: Mapping[str, Any] | None) -> None:
    """The manifest, the report if there is one, the verdict and the model card, as artefacts."""
    with tempfile.TemporaryDirectory() as folder:
        for name in _COPIED:
            filesystem, inside = remote_files.filesystem_of(run.path_of(name))
            if filesystem.get_file_info(inside).is_file:
                with filesystem.open_input_stream(inside) as file:
                    pathlib.Path(folder, name).write_bytes(file.read())
        if verdict is not None:
            text = json.dumps(verdict, indent=2, ensure_ascii=False)
            pathlib.Path(folder, "verdict.json").write_text(text, encoding="utf-8")
        pathlib.Path(folder, "model_card.md").write_text(model_card.text(run, verdict), encoding="utf-8")
        client.log_artifacts(identity, folder)
