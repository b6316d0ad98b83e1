"""The commands that print what there is to choose from: ``methods``, ``metrics`` and ``settings``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from heatbeam import command
from heatbeam.transforms import errors

if TYPE_CHECKING:
    from heatbeam.transforms.methods import registry as methods
    from heatbeam.transforms.metrics import registry as metrics


def _add_forms(parser: argparse.ArgumentParser) -> None:
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--markdown", action="store_true", help="as a Markdown table")
    forms.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _print(options: argparse.Namespace, document: dict[str, Any], markdown: str, text: str) -> int:
    """Print the form that is asked for by the options of `_add_forms`."""
    if options.json:
        command.write_json(document)
    else:
        sys.stdout.write(markdown if options.markdown else text)
    return command.OK


def _add_methods(parser: argparse.ArgumentParser) -> None:
    action = parser.add_argument("name", nargs="?", metavar="METHOD", help="this one only")
    command.complete(action, _method_names)
    _add_forms(parser)


def _method_names() -> Iterable[str]:
    from heatbeam.transforms.methods import registry

    return (*registry.METHODS, *registry.WRAPPERS)


def _methods(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.listing import documents, lists

    chosen = lists.every_method() if options.name is None else (_method(options.name),)
    found = {"methods": [documents.of_method(one) for one in chosen]}
    return _print(options, found, lists.methods_markdown(chosen), lists.methods_text(chosen))


def _method(name: str) -> methods.Method:
    from heatbeam.transforms.methods import registry

    try:
        return registry.WRAPPERS[name] if name in registry.WRAPPERS else registry.get(name)
    except ValueError as error:
        raise errors.UsageError(f"methods: {error}") from error


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    action = parser.add_argument("name", nargs="?", metavar="METRIC", help="this one only")
    command.complete(action, _metric_names)
    _add_forms(parser)


def _metric_names() -> Iterable[str]:
    from heatbeam.transforms.metrics import registry

    return registry.METRICS


def _metrics(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.listing import documents, lists
    from heatbeam.transforms.metrics import registry

    chosen = tuple(registry.METRICS.values()) if options.name is None else (_metric(options.name),)
    found = {"metrics": [documents.of_metric(one) for one in chosen]}
    return _print(options, found, lists.metrics_markdown(chosen), lists.metrics_text(chosen))


def _metric(name: str) -> metrics.Metric:
    import difflib

    from heatbeam.transforms.metrics import registry

    if name in registry.METRICS:
        return registry.METRICS[name]
    near = difflib.get_close_matches(name, registry.METRICS, 1)
    hint = f", did you mean {near[0]!r}?" if near else "; heatbeam metrics lists them"
    raise errors.UsageError(f"metrics: unknown metric {name!r}{hint}")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--markdown", action="store_true", help="as Markdown tables")
    forms.add_argument(
        "--json-schema", action="store_true", help="as the JSON schema by which an editor completes a configuration"
    )


def _settings(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.listing import config_schema, lists

    if options.json_schema:
        sys.stdout.write(config_schema.text())
    else:
        sys.stdout.write(lists.settings_markdown() if options.markdown else lists.settings_text())
    return command.OK


METHODS = command.Command(
    "methods",
    "what methods there are, or one of them: passes, formula, source, options",
    "heatbeam methods\nheatbeam methods grad_cam",
    _add_methods,
    _methods,
)
METRICS = command.Command(
    "metrics",
    "what metrics there are, or one of them: definition, formula, range, source",
    "heatbeam metrics\nheatbeam metrics energy_pointing_game",
    _add_metrics,
    _metrics,
)
SETTINGS = command.Command(
    "settings",
    "what a configuration may hold: every setting with its default",
    "heatbeam settings\nheatbeam settings --json-schema > audit.schema.json",
    _add_settings,
    _settings,
)
