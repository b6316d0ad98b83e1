"""Methods and metrics as plain values, for ``--json``; the keys are documented in ``pipeline/README.md`` and stay."""

from __future__ import annotations

from typing import Any

from heatbeam.transforms.methods import registry as methods
from heatbeam.transforms.metrics import registry as metrics


def of_method(method: methods.Method) -> dict[str, Any]:
    """A method or wrapper: what the list of methods says of it, and its options by name."""
    return {
        "name": method.name,
        "wrapper": isinstance(method, methods.Wrapper),
        "summary": method.summary,
        "formula": method.formula,
        "passes": method.passes,
        "needs": method.needs,
        "paper": method.paper,
        "options": {
            name: {
                "type": option.type,
                "default": option.default,
                "minimum": option.minimum,
                "maximum": option.maximum,
                "choices": option.choices,
                "help": option.help,
            }
            for name, option in method.options.items()
        },
    }


def of_metric(metric: metrics.Metric) -> dict[str, Any]:
    """A metric: what the list of metrics says of it, and its per-image column, null where it is no mean."""
    return {
        "name": metric.name,
        "definition": metric.definition,
        "formula": metric.formula,
        "range": metric.range,
        "better": metric.better,
        "needs": metric.needs,
        "column": metric.column or None,
        "paper": metric.paper,
    }
