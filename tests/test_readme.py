from __future__ import annotations

import re

import pytest

from heatbeam import config, listing
from tests.support import paths

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [listing.methods_markdown, listing.metrics_markdown])
def test_tables_are_those_of_the_registries(table):
    assert table() in README, "the README's table is out of date: take it from `heatbeam methods|metrics --markdown`"


def test_the_configuration_it_shows_is_valid():
    (shown,) = (block for block in re.findall(r"```yaml\n(.*?)```", README, re.S) if "\ninput:" in block)
    settings = config.parse(shown)
    assert [m.label for m in settings.explain.methods] == ["cam", "grad_cam", "score_cam"]
