"""The command ``publish``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command
from heatbeam.transforms import errors


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a finished run; several for tables")
    parser.add_argument("--verdict", metavar="FILE", help="the gate's verdict, as compare --verdict wrote it")
    tracker = parser.add_argument_group("experiment tracker", "metrics, settings, tags, manifest, report, model card")
    tracker.add_argument("--mlflow", metavar="URI", help="MLflow's tracking server or store")
    tracker.add_argument("--experiment", default="heatbeam", metavar="NAME", help="in MLflow (default: heatbeam)")
    hub = parser.add_argument_group("model hub")
    hub.add_argument("--model-card", metavar="FILE", help="write a model card: Markdown with the hubs' metadata block")
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--iceberg", metavar="CATALOG", help="register the tables, by name of pyiceberg's configuration"
    )
    tables.add_argument("--namespace", default="heatbeam", metavar="NAME", help="in the catalogue (default: heatbeam)")
    tables.add_argument(
        "--property", action="append", default=[], metavar="KEY=VALUE", help="of the catalogue; may be repeated"
    )
    tables.add_argument(
        "--withdraw", action="store_true", help="with --iceberg: take the tables out again; the run keeps its files"
    )
    tables.add_argument("--bigquery", metavar="DATASET", help="print the statements for external tables")


def _publish(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.export.publish import bigquery, model_card, to_iceberg, to_mlflow, tracked
    from heatbeam.runs import remote_files, run_directory

    properties = _properties(options)
    verdict = tracked.read_verdict(options.verdict) if options.verdict else None
    if options.model_card:
        card = model_card.text(run_directory.RunDirectory(options.runs[0]), verdict)
        remote_files.write(options.model_card, card.encode())
        sys.stdout.write(f"{options.model_card}\n")
    if options.mlflow:
        for path in options.runs:
            command.waiting(f"publishing {path} to MLflow")
            identity = to_mlflow.publish(path, options.mlflow, options.experiment, verdict)
            sys.stdout.write(f"{path}: MLflow run {identity} in {options.experiment}\n")
    if options.iceberg:
        for path in options.runs:
            command.waiting(f"{'withdrawing' if options.withdraw else 'registering'} the tables of {path}")
            if options.withdraw:
                for one in to_iceberg.withdraw(path, options.iceberg, options.namespace, properties):
                    sys.stdout.write(f"{path}: {one.table}, {-one.added} files taken out\n")
                continue
            for one in to_iceberg.publish(path, options.iceberg, options.namespace, properties):
                sys.stdout.write(f"{path}: {one.table}, {one.files} files, {one.added} of them new\n")
    if options.bigquery:
        sys.stdout.write(bigquery.statements(options.runs, options.bigquery))
    return command.OK


def _properties(options: argparse.Namespace) -> dict[str, str]:
    """The properties of the catalogue, once it is sure that something is to be done and can be."""
    if not (options.mlflow or options.model_card or options.iceberg or options.bigquery):
        raise errors.UsageError("publish: give --mlflow, --model-card, --iceberg or --bigquery")
    if options.withdraw and not options.iceberg:
        raise errors.UsageError("publish: --withdraw goes with --iceberg")
    if len(options.runs) > 1 and (options.model_card or options.verdict):
        raise errors.UsageError("publish: --model-card and --verdict are about one run")
    properties = dict(one.partition("=")[::2] for one in options.property)
    wrong = [one for one in options.property if not one.partition("=")[2]]
    if wrong:
        raise errors.UsageError(f"publish: --property {wrong[0]!r}: expected KEY=VALUE")
    return properties


PUBLISH = command.Command(
    "publish",
    "bring a finished run to MLflow, to a model card, to an Iceberg catalogue or to BigQuery",
    "heatbeam publish runs/flowers --mlflow http://mlflow:5000\n"
    "heatbeam publish runs/flowers --iceberg prod --property uri=sqlite:////data/catalog.db\n"
    "heatbeam publish gs://bucket/runs/flowers --bigquery audits",
    _add_options,
    _publish,
)
