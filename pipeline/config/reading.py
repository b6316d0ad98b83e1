"""From a YAML file, or text, to the settings of a run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from heatbeam.config import mistakes, problems, run_settings, yaml_text
from heatbeam.transforms import errors

OPEN_QUESTION = "?"
"""The value of a setting that ``heatbeam init`` asks for; it has to be answered first."""


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> run_settings.RunConfig:
    """The configuration in a YAML file.

    Args:
        path: the file.
        overrides: ``section.key=value`` strings, values in YAML, applied on top of the file.

    Raises:
        ConfigError: the file cannot be read, or anything in it is wrong; all problems at once.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise problems.ConfigError([f"cannot read {path}: {errors.reason(error)}"]) from error
    except UnicodeDecodeError as error:
        raise problems.ConfigError([f"cannot read {path}: it is not UTF-8 text ({error})"]) from error
    settings = parse(text, overrides, str(path))
    if not settings.model.names_modules or settings.model.search_path is not None:
        return settings
    beside = {"search_path": str(pathlib.Path(path).absolute().parent)}
    return settings.model_copy(update={"model": settings.model.model_copy(update=beside)})


def parse(text: str, overrides: Sequence[str] = (), source: str = "configuration") -> run_settings.RunConfig:
    """The configuration in a YAML text; see `load`."""
    try:
        settings, found = yaml_text.read(text)
    except ValueError as error:
        raise problems.ConfigError([f"{error}"], source) from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise problems.ConfigError(
            [f"is a {type(settings).__name__}, expected sections input, model, explain, ..."], source
        )
    found += [problem for override in overrides for problem in _override(settings, override)]
    asked = [f"{where}: is a question; the comment before it says what to put there" for where in _open(settings)]
    if asked:  # what else is wrong may follow from it
        raise problems.ConfigError([*found, *asked], source)
    config, wrong = mistakes.of(settings)
    if found or config is None:
        raise problems.ConfigError([*found, *wrong], source)
    return config


def _override(settings: dict[str, Any], override: str) -> Iterator[str]:
    path, equals, value = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        yield f"--set {override!r}: expected section.key=value"
        return
    place: Any = settings
    for key in keys[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            yield f"--set {override!r}: {key} is not a section"
            return
    try:
        place[keys[-1]], wrong = yaml_text.read(value)
        yield from (f"--set {override!r}: {problem}" for problem in wrong)
    except ValueError:
        yield f"--set {override!r}: the value is not YAML"


def _open(value: Any, path: str = "") -> Iterator[str]:
    """The paths of settings that are `OPEN_QUESTION`."""
    if value == OPEN_QUESTION:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _open(inner, f"{path}.{key}" if path else str(key))
