"""Lists of methods, metrics and settings, as text for a terminal and as Markdown for the README files.

Made from the registries and from the settings' own schema; `heatbeam.listing.commands` prints them.
"""

from __future__ import annotations

import json
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pydantic
from pydantic import fields

from heatbeam import config
from heatbeam.transforms.methods import registry as methods
from heatbeam.transforms.metrics import registry as metrics
from heatbeam.transforms.sources import box_conventions

_WIDTH = 110
_BOXES = (
    "Two boxes of an image of 640 x 480 pixels as each writes them: that of the whole image, and that of its columns "
    "160 to 479\nand rows 120 to 239, counted from 0. Of features for each side (`box_xmin`, ...) the names say the "
    "order."
)


def methods_text(chosen: Iterable[methods.Method]) -> str:
    """Methods and wrappers: passes, what it does, formula, paper, options."""
    return "\n".join(
        _entry(m.name, f"passes: {m.passes}", [m.summary, m.formula, m.paper, *_options(m)]) for m in chosen
    )


def methods_markdown(chosen: Iterable[methods.Method]) -> str:
    """The README's table of methods."""
    rows = ((f"`{m.name}`", m.summary, f"`{m.formula}`", m.passes, m.paper) for m in chosen)
    return _table(("method", "what it does", "formula", "passes beyond the shared one", "source"), rows)


def metrics_text(chosen: Iterable[metrics.Metric]) -> str:
    """Metrics: definition, formula, range, what it needs, paper."""
    return "\n".join(
        _entry(m.name, f"range {m.range}, better: {m.better}, needs: {m.needs}", [m.definition, m.formula, m.paper])
        for m in chosen
    )


def metrics_markdown(chosen: Iterable[metrics.Metric]) -> str:
    """The README's table of metrics."""
    rows = ((f"`{m.name}`", m.definition, f"`{m.formula}`", m.better, m.needs, m.paper) for m in chosen)
    return _table(("metric", "definition", "formula", "better", "needs", "source"), rows)


def settings_text() -> str:
    """Every setting: what it takes, its default, what it is for."""
    return "\n".join(
        _entry(name, f"{takes}; default: {default}", [text]) for name, takes, default, text in every_setting()
    )


def settings_markdown() -> str:
    """The tables of settings of ``configs/README.md``, one for each section of a configuration."""
    parts = []
    for name, field in config.RunConfig.model_fields.items():
        (section,) = sections_of(field.annotation)
        rows = (
            (f"`{path}`", f"`{takes}`", f"`{default}`", text) for path, takes, default, text in every_setting(section)
        )
        table = _table(("setting", "takes", "default", "what it is"), rows)
        parts.append(f"## {name}\n\n{(section.__doc__ or '').strip()}\n\n{table}")
    return "\n".join([*parts, f"## Conventions of boxes\n\n{_BOXES}\n\n{box_conventions_markdown()}"])


def box_conventions_markdown() -> str:
    """The table of well-known ways to write boxes, and the settings that read them."""
    rows = ((name, *(f"`{cell}`" for cell in cells)) for name, *cells in box_conventions.table())
    settings = ("`input.box_units`", "`box_order`", "`box_origin`", "`box_end`")
    return _table(("boxes of", *settings, "a whole image", "a part"), rows)


def every_setting(
    section: type[pydantic.BaseModel] = config.RunConfig, prefix: str = ""
) -> Iterator[tuple[str, str, str, str]]:
    """Path, what it takes, default and description of every setting below a section."""
    for name, field in section.model_fields.items():
        path = prefix + name
        inner = sections_of(field.annotation)
        yield path, _takes(field), _default(field), field.description or _about(inner)
        for each in inner:
            origin = typing.get_origin(field.annotation)
            mark = "[]." if origin is tuple else ".NAME." if origin is dict else "."
            yield from every_setting(each, path + mark)


def sections_of(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """The models that an annotation speaks of."""
    inside = typing.get_args(annotation)
    # On Python 3.10 tuple[int, ...] is a type also, which issubclass refuses.
    if not inside and isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [section for inner in inside for section in sections_of(inner)]


def _about(sections: Sequence[type[pydantic.BaseModel]]) -> str:
    """What a section is for, where its field does not say it."""
    return " ".join((sections[0].__doc__ or "").split("\n")[0].split()) if sections else ""


def _takes(field: fields.FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(rule, key)}"
        for rule in (*field.metadata, *_rules(field.annotation))
        for key, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
        if getattr(rule, key, None) is not None
    ]
    return " ".join([_type_in_words(field.annotation), ", ".join(dict.fromkeys(bounds))]).strip()


def _rules(annotation: Any) -> Iterator[Any]:
    """The constraints inside an annotation; a `Field` holds its own."""
    for rule in getattr(annotation, "__metadata__", ()):
        yield from getattr(rule, "metadata", (rule,))
    for inner in typing.get_args(annotation):
        yield from _rules(inner)


def _listed(rules: Iterable[Any]) -> str:
    """The values that are allowed, where a registry lists them."""
    extra = [rule.json_schema_extra for rule in rules if isinstance(rule, fields.FieldInfo)]
    return ", ".join(str(value) for one in extra if isinstance(one, dict) for value in one.get("enum", ()))  # type: ignore[union-attr]


def _type_in_words(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _listed(annotation.__metadata__) or _type_in_words(inner[0])
    if origin is typing.Literal:
        return ", ".join(str(value) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_in_words(part) for part in inner if part is not type(None))
    if origin is tuple:
        parts = [_type_in_words(part) for part in inner if part is not Ellipsis]
        return f"list of {parts[0]}" if Ellipsis in inner else f"[{', '.join(parts)}]"
    if origin is dict or annotation is dict:
        return "mapping"
    if sections_of(annotation):
        return "mapping"
    named = {str: "text", int: "whole number", float: "number", bool: "true, false"}
    return named.get(annotation, "anything")


def _default(field: fields.FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, pydantic.BaseModel):
        return "see below"
    if isinstance(value, tuple):
        value = [each.label if isinstance(each, config.MethodConfig) else each for each in value]
    return "not given" if value is None else json.dumps(value)


def every_method() -> tuple[methods.Method, ...]:
    """Every method, then every wrapper."""
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
