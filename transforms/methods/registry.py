"""Every explanation method and wrapper by name: what it computes, costs and needs, and which options it takes.

The command line, the README's table, the validation of configurations and the contract tests read from here. This
module does not import TensorFlow; a method's code is imported when `Method.function` is first asked for.
"""

from __future__ import annotations

import collections.abc
import difflib
from typing import Any, TypeVar

from heatbeam.transforms.methods import catalogue, method

ONE_PASS = method.ONE_PASS
FUSED_LAYERS = method.FUSED_LAYERS
MANY_PASS = method.MANY_PASS
INPUT_GRADIENT = method.INPUT_GRADIENT
WRAPPER = method.WRAPPER
KINDS = method.KINDS
NEEDS = method.NEEDS
Cost = method.Cost
Option = method.Option
Method = method.Method
Wrapper = method.Wrapper
METHODS = catalogue.METHODS
WRAPPERS = catalogue.WRAPPERS

Row = TypeVar("Row", bound=method.Method)


def get(name: str) -> Method:
    """The method of that name. Raises ValueError, with the known names and the nearest one, for any other."""
    return _lookup(name, METHODS, "method")


def get_wrapper(name: str) -> Wrapper:
    """The wrapper of that name. Raises ValueError as `get` does."""
    return _lookup(name, WRAPPERS, "wrapper")


def validate_options(name: str, options: collections.abc.Mapping[str, Any]) -> list[str]:
    """Everything wrong with the `options` of a method or wrapper, each as ``option: problem``; empty if all is well."""
    known = (WRAPPERS[name] if name in WRAPPERS else get(name)).options
    problems = []
    for key, value in options.items():
        if key not in known:
            allowed = f"known: {', '.join(known)}" if known else f"{name} takes no options"
            problems.append(f"{key}: unknown option of {name}{_did_you_mean(key, known)}; {allowed}")
        elif (problem := known[key].problem(value)) is not None:
            problems.append(f"{key}: {problem}")
    return problems


def resolve_options(name: str, options: collections.abc.Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a method or wrapper: those given, and the defaults of the others. ValueError if any is bad."""
    problems = validate_options(name, options)
    if problems:
        raise ValueError(f"bad options of {name}: " + "; ".join(problems))
    known = (WRAPPERS[name] if name in WRAPPERS else METHODS[name]).options
    return {key: options.get(key, option.default) for key, option in known.items()}


def _lookup(name: str, table: collections.abc.Mapping[str, Row], noun: str) -> Row:
    if name not in table:
        raise ValueError(f"unknown {noun} {name!r}{_did_you_mean(name, table)}; known: {', '.join(table)}")
    return table[name]


def _did_you_mean(name: str, known: collections.abc.Iterable[str]) -> str:
    squeezed = {_squeeze(candidate): candidate for candidate in known}
    nearest = difflib.get_close_matches(_squeeze(name), squeezed, n=1, cutoff=0.6)
    return f", did you mean {squeezed[nearest[0]]!r}?" if nearest else ""


def _squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace("++", "plusplus")
