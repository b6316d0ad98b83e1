"""Lists of methods and metrics, as text for a terminal and as Markdown for the README; both from the registries.

Also the commands ``methods`` and ``metrics``, which print them.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from heatbeam import command
from heatbeam.transforms.methods import registry as methods
from heatbeam.transforms.metrics import registry as metrics

_WIDTH = 110


def methods_text() -> str:
    """Every method and wrapper: passes, what it does, formula, paper, options."""
    return "\n".join(
        _entry(m.name, f"passes: {m.passes}", [m.summary, m.formula, m.paper, *_options(m)]) for m in _all()
    )


def methods_markdown() -> str:
    """The README's table of methods."""
    rows = ((f"`{m.name}`", m.summary, f"`{m.formula}`", m.passes, m.paper) for m in _all())
    return _table(("method", "what it does", "formula", "passes beyond the shared one", "source"), rows)


def metrics_text() -> str:
    """Every metric: definition, formula, range, what it needs, paper."""
    return "\n".join(
        _entry(m.name, f"range {m.range}, better: {m.better}, needs: {m.needs}", [m.definition, m.formula, m.paper])
        for m in metrics.METRICS
    )


def metrics_markdown() -> str:
    """The README's table of metrics."""
    rows = ((f"`{m.name}`", m.definition, f"`{m.formula}`", m.better, m.needs, m.paper) for m in metrics.METRICS)
    return _table(("metric", "definition", "formula", "better", "needs", "source"), rows)


def _all() -> tuple[methods.Method, ...]:
    return (*methods.METHODS.values(), *methods.WRAPPERS.values())


def _options(method: methods.Method) -> Iterator[str]:
    for name, option in method.options.items():
        allowed = f" ({option.range_text})" if option.range_text else ""
        yield f"option {name} = {option.default}{allowed}: {option.help}"


def _entry(name: str, head: str, lines: Iterable[str]) -> str:
    body = "".join(
        textwrap.fill(line, _WIDTH, initial_indent="    ", subsequent_indent="      ") + "\n" for line in lines if line
    )
    return f"{name}  ({head})\n{body}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as a Markdown table")


def _methods(options: argparse.Namespace, _: Sequence[str]) -> int:
    sys.stdout.write(methods_markdown() if options.markdown else methods_text())
    return command.OK


def _metrics(options: argparse.Namespace, _: Sequence[str]) -> int:
    sys.stdout.write(metrics_markdown() if options.markdown else metrics_text())
    return command.OK


METHODS = command.Command("methods", "what methods there are: passes, formula, source, options", _add_options, _methods)
METRICS = command.Command(
    "metrics", "what metrics there are: definition, formula, range, source", _add_options, _metrics
)
