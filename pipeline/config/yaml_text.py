"""YAML as people write it by hand: keys given twice and numbers that are none are mistakes, with their line."""

from __future__ import annotations

import re
from typing import Any

import yaml

_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+")


def read(text: str) -> tuple[Any, list[str]]:
    """What a YAML text holds, and what is wrong with it, a line each; the last of two values of a key is kept.

    Raises:
        ValueError: it is not YAML; the message says where and, for what people stumble over, how it is meant.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.get_single_data(), loader.mistakes
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        hint = "; YAML is indented by spaces, not by tabs" if "'\\t'" in said else ""
        raise ValueError(f"not YAML: {said}{hint}") from error
    except (ValueError, OverflowError, RecursionError) as error:  # a date that is none, nesting without an end
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Remembers what reads otherwise than it is meant."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.mistakes: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a key that occurs twice is a mistake."""
        first: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                number = key.start_mark.line + 1
                if key.value in first:
                    self.mistakes.append(
                        f"line {number}: {key.value} is given twice in one section, first in line {first[key.value]}"
                    )
                first.setdefault(key.value, number)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number; ``010`` and ``1:30`` are mistakes, which YAML reads as 8 and 90."""
        value = int(super().construct_yaml_int(node))
        for pattern, kind in ((_OCTAL, "an octal number"), (_BASE_60, "a number of base 60")):
            if pattern.fullmatch(node.value):
                line = node.start_mark.line + 1
                self.mistakes.append(f"line {line}: {node.value} is {kind} in YAML, {value}; text goes in quotes")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
