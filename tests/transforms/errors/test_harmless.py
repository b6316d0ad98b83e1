from __future__ import annotations

import unicodedata

import pytest

from heatbeam.transforms.errors import harmless

SHOWN = {
    "cat": "cat",
    "Zürich 猫 😀 e\u0301": "Zürich 猫 😀 e\u0301",
    "a\x1b[31mred": "a\\x1b[31mred",
    "a\nb\r\tc": "a\\nb\\r\\tc",
    "\x00\x07\x7f\x9b": "\\x00\\x07\\x7f\\x9b",
    "cat\u202etac\u2066\u200f": "cat\\u202etac\\u2066\\u200f",
    "a\u200bb\ufeff\u00ad": "a\\u200bb\\ufeff\\xad",
    "a\u2028b\u2029": "a\\u2028b\\u2029",
    "\ud800": "\\ud800",
    "\U000e0041": "\\U000e0041",
}


@pytest.mark.parametrize(("given", "shown"), SHOWN.items(), ids=map(ascii, SHOWN))
def test_what_is_not_seen_as_itself_stands_as_its_code(given, shown):
    assert harmless.line(given) == shown
    assert harmless.line(shown) == shown


def test_no_character_is_left_that_a_terminal_or_page_obeys():
    everything = "".join(map(chr, range(0x110000)))
    kinds = {unicodedata.category(c) for c in harmless.line(everything)}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"}


def test_our_own_lines_stay_lines():
    assert harmless.lines("a\n\tb\x1b\r") == "a\n\tb\\x1b\\r"
