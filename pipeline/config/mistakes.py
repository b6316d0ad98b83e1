"""Every mistake of a configuration at once, also those that pydantic would tell only when others are mended.

It stops at a section whose fields are wrong, before the checks between fields. So what is wrong is reported, something
valid is put in its place, and the rest is checked again, until nothing is left.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pydantic
import pydantic_core

from heatbeam.config import explain_settings, problems, run_settings
from heatbeam.transforms.methods import registry

_ROUNDS = 50
_STAND_INS: tuple[Any, ...] = (
    "x", ["x"], 1, 0.5, True, {"name": "x"}, {"method": "cam"}, {"tfrecord": "x"}, {"path": "x"}, {"directory": "x"},
    {},
)  # fmt: skip
"""Values of which one fits any field that is given; what is given must not seem to lack."""

Place = tuple[int | str, ...]


def of(settings: dict[str, Any]) -> tuple[run_settings.RunConfig | None, list[str]]:
    """The configuration, or None if anything is wrong; and what, a line each."""
    document, found = copy.deepcopy(settings), dict[str, None]()
    mended: set[Place] = set()
    config: run_settings.RunConfig | None = None
    for _ in range(_ROUNDS):
        try:
            config = run_settings.RunConfig.model_validate(document)
        except pydantic.ValidationError as error:
            found |= dict.fromkeys(problems.describe_problems(error, run_settings.RunConfig))
            changed = [_mend(document, problem, mended) for problem in error.errors()]
            if not any(changed):
                break
        else:
            break
    found |= dict.fromkeys(method_problems(_methods(settings)))
    return (None if found else config), list(found)


def _methods(settings: Mapping[str, Any]) -> dict[int, explain_settings.MethodConfig]:
    """The methods whose own section is right, by number."""
    explain = settings.get("explain")
    given = explain.get("methods") if isinstance(explain, dict) else None
    methods = {}
    for i, item in enumerate(given if isinstance(given, list) else []):
        with contextlib.suppress(pydantic.ValidationError):
            methods[i] = explain_settings.MethodConfig.model_validate(item)
    return methods


def method_problems(methods: Mapping[int, explain_settings.MethodConfig]) -> Iterator[str]:
    """Unknown methods and wrappers, and options that they do not have or take: a line each.

    Args:
        methods: by their number in the configuration.
    """
    for i, method in methods.items():
        place = f"explain.methods.{i}"
        for name, options, get, key in (
            (method.method, method.options, registry.get, "options"),
            (method.wrapper, method.wrapper_options, registry.get_wrapper, "wrapper_options"),
        ):
            if name is None:
                continue
            try:
                get(name)
                wrong = registry.validate_options(name, options)
            except ValueError as error:
                yield f"{place}: {error}"
            else:
                yield from (f"{place}.{key}.{problem}" for problem in wrong)


def _mend(document: dict[str, Any], problem: Any, mended: set[Place]) -> bool:
    """Put something valid where a problem is; whether anything has changed."""
    place = _place(document, tuple(problem["loc"]))
    if place in mended or not place:
        return False
    mended.add(place)
    *above, last = place
    inside: Any = document
    for part in above:
        inside = inside[part]
    if problem["type"] == "extra_forbidden":
        del inside[last]
        return True
    field = _field(place)
    given = _stand_in(field) if field is not None else None
    if given is not None:
        inside[last] = given
    elif isinstance(inside, list):  # the whole list, where no item would do
        return _mend(document, {**problem, "loc": tuple(above)}, mended)
    else:
        inside.pop(last, None)
    return True


def _place(document: Any, location: Place) -> Place:
    """The part of a problem's location that is a place in the file: the rest names kinds of values."""
    place: list[int | str] = []
    inside, section = document, True
    for part in location:
        if isinstance(inside, dict) and (part in inside or (section and _field((*place, part)) is not None)):
            place.append(part)
            inside = inside.get(part)
        elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            place.append(part)
            inside = inside[part]
        else:
            break
    while place and _field(tuple(place)) is None and not _is_section(tuple(place[:-1])):
        place.pop()
    return tuple(place)


def _is_section(place: Place) -> bool:
    field = _field(place)
    return not place or (field is not None and next(problems.sections(field.annotation), None) is not None)


def _field(place: Place) -> pydantic.fields.FieldInfo | None:
    """The setting at a place; of a list of sections, the list's for an item."""
    section: type[pydantic.BaseModel] | None = run_settings.RunConfig
    field: pydantic.fields.FieldInfo | None = None
    for part in place:
        if isinstance(part, int):
            item = next(iter(get_args(field.annotation)), None) if field is not None else None
            field = pydantic.fields.FieldInfo(annotation=item) if item is not None else None
            continue
        field = section.model_fields.get(part) if section is not None else None
        section = next(problems.sections(field.annotation), None) if field is not None else None
    return field


def _stand_in(field: pydantic.fields.FieldInfo) -> Any:
    """A valid value, never None; its default if it has one."""
    default = field.get_default(call_default_factory=False) if not field.is_required() else None
    if isinstance(default, pydantic.BaseModel):
        return {}
    annotation: Any = field.annotation
    probe = pydantic.create_model("Probe", given=(annotation, field))
    for value in (default, *_STAND_INS):
        if value is None or value is pydantic_core.PydanticUndefined:
            continue
        try:
            probe.model_validate({"given": value})
        except pydantic.ValidationError:
            continue
        return value
    return None
