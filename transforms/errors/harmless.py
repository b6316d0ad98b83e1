r"""Text that came from data or files, made harmless where it is shown: in a terminal, a page or a log.

An image's id or a class's name may hold anything: codes that move the cursor or recolour the terminal, marks that turn
the direction of the text around them, characters without width that make two names look alike, line breaks that forge
a line. They are shown as their codes (``\x1b``, ``\u202e``). Tables keep the true value.
"""

from __future__ import annotations

import re
import unicodedata

_HARMFUL = ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")  # control, format, surrogate, line and paragraph separators, unassigned
_NOT_PLAIN, _NOT_PLAIN_LINES = re.compile(r"[^\x20-\x7e]"), re.compile(r"[^\x20-\x7e\n\t]")


def line(text: str) -> str:
    """`text` on one line: everything that is not seen as itself stands as its code."""
    return _NOT_PLAIN.sub(_shown, text)


def lines(text: str) -> str:
    """As `line`, of a text of ours that may have several lines and tabs."""
    return _NOT_PLAIN_LINES.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable() or unicodedata.category(character) not in _HARMFUL:
        return character
    code = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
