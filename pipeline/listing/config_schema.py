"""The JSON schema of a configuration, by which editors complete and check ``audit.yaml``.

It is pydantic's own, brought to what a file may hold: the short forms that settings take (a name for a mapping, one
value for a list of one) and the names that registries list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pydantic

from heatbeam import config
from heatbeam.listing import lists
from heatbeam.transforms.methods import registry

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ONE_OR_MANY, _SHORT_FORM = "_one_or_many", "_short_form"
"""What settings call the checks by which they take one value for a list, and a text for a mapping."""


def text() -> str:
    """The schema as it is published in ``configs/audit.schema.json``."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema of a whole configuration, with every default."""
    whole: dict[str, Any] = _without_titles(config.RunConfig.model_json_schema())
    sections = whole["$defs"]
    sections["MethodConfig"]["properties"]["method"]["enum"] = list(registry.METHODS)
    for section in set(_sections(config.RunConfig)):
        known, checks = sections.get(section.__name__), section.__pydantic_decorators__
        if known is None:
            continue
        if _ONE_OR_MANY in checks.field_validators:
            for setting in checks.field_validators[_ONE_OR_MANY].info.fields:
                _allow_one(known["properties"][setting])
        if _SHORT_FORM in checks.model_validators:
            sections[section.__name__] = _or_short_form(known)
    return {"$schema": _DIALECT, "title": "heatbeam audit", **whole}


def _sections(section: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    for field in section.model_fields.values():
        for inner in lists.sections_of(field.annotation):
            yield inner
            yield from _sections(inner)


def _allow_one(setting: dict[str, Any]) -> None:
    """Let a setting that is a list be one of its items also."""
    forms = setting.pop("anyOf", None) or [{key: setting.pop(key) for key in ("type", "items") if key in setting}]
    items = [form["items"] for form in forms if form.get("type") == "array"]
    setting["anyOf"] = [*items, *forms]


def _or_short_form(section: dict[str, Any]) -> dict[str, Any]:
    """A section that may be a text instead: one of the names, where they are known."""
    known = section["properties"].get("method", {}).get("enum")
    short = {"type": "string", **({"enum": known} if known else {})}
    return {"description": section.pop("description"), "anyOf": [short, section]}


def _without_titles(value: Any) -> Any:
    """`value` without pydantic's titles, which only say the names of keys again."""
    if isinstance(value, list):
        return [_without_titles(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_titles(inner) for key, inner in value.items() if key != "title" or not isinstance(inner, str)}
