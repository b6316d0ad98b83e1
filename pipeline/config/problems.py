"""What is wrong with a configuration, in words: every problem at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pydantic

from heatbeam.transforms import errors
from heatbeam.transforms.errors import redaction


class ConfigError(errors.UserError):
    """The configuration is wrong, or the use of a command.

    Attributes:
        problems: one line per problem: the path in the file, what came, what was expected.
    """

    def __init__(self, problems: Sequence[str], source: str = "configuration"):
        self.problems = tuple(redaction.text(problem) for problem in problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"{source}: {count}", *self.problems]))


def describe_problems(error: pydantic.ValidationError, root: type[pydantic.BaseModel]) -> Iterator[str]:
    """One line per problem of a file that `root` was to be made from: its path, what came, what was expected."""
    for problem in error.errors():
        path = ".".join(str(p) for p in problem["loc"]) or "the whole file"
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"], root)
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(known)}" if known else ""
            yield f"{path}: unknown key{hint}"
        elif problem["type"] == "missing":
            yield f"{path}: is missing"
        elif problem["type"] == "value_error":
            yield from (f"{path}: {line}" for line in problem["msg"].removeprefix("Value error, ").split("\n"))
        else:
            message = _EXPECTED.get(problem["type"], problem["msg"])
            shown = repr(problem["input"])
            came = f" (it is {shown if len(shown) <= 60 else shown[:57] + '...'})"
            yield f"{path}: {message}{came}{_how_yaml_read_it(problem)}"


_EXPECTED = {
    "tuple_type": "Input should be a list",
    "dict_type": "Input should be a mapping",
    "model_type": "Input should be a mapping",
}
"""Instead of pydantic's words, which speak of Python's types and of our classes."""


def _how_yaml_read_it(problem: Any) -> str:
    """What to do where text was given that YAML takes for something else."""
    given = problem["input"]
    if problem["type"] != "string_type" or given is None or isinstance(given, (list, dict)):
        return ""
    words = "; YAML reads yes, no, on and off as truth values" if isinstance(given, bool) else ""
    return f"{words}; put it in quotes if it is text"


def _known_keys(location: tuple[int | str, ...], root: type[pydantic.BaseModel]) -> list[str]:
    """The keys of the section in which an unknown key stands."""
    section = root
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        field = section.model_fields.get(part)
        inner = next(sections(field.annotation), None) if field is not None else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)


def sections(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The sections that a setting's type is made of."""
    inside = get_args(annotation)
    # On Python 3.10 tuple[int, ...] is a type also, which issubclass refuses.
    if not inside and isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in inside:
        yield from sections(inner)
