"""What ``heatbeam init`` found out for a setting, or asks: values with their reasons, as text of a configuration."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from heatbeam.config import OPEN_QUESTION
from heatbeam.transforms.errors import harmless

_WIDTH = 110


@dataclasses.dataclass(frozen=True)
class Answer:
    """A setting.

    Attributes:
        key: of the setting in its section.
        value: of it; `OPEN_QUESTION` where it has to be asked.
        why: what speaks for it, or what may be answered; a line each.
    """

    key: str
    value: Any
    why: tuple[str, ...] = ()

    @property
    def is_question(self) -> bool:
        """Whether it, or a part of it, has to be asked."""
        return OPEN_QUESTION in (self.value.values() if isinstance(self.value, dict) else (self.value,))


def asked(key: str, *choices: str) -> Answer:
    """A question, with what may be answered."""
    return Answer(key, OPEN_QUESTION, choices)


def section(name: str, answers: Sequence[Answer]) -> str:
    """A section of a configuration, reasons as comments before each setting."""
    lines = [f"{name}:"]
    for one in answers:
        mark = "# ?" if one.is_question else "#"
        lines += [f"  {mark} {text}" for why in one.why for text in _wrapped(why)]
        # JSON is YAML, and writes names of whatever characters so that they are read as they were.
        lines.append(f"  {one.key}: {json.dumps(one.value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    """`text` in lines that fit a screen, without anything that would end a comment."""
    words = " ".join(harmless.lines(text).split())
    return textwrap.wrap(words, _WIDTH, break_long_words=False, break_on_hyphens=False)
