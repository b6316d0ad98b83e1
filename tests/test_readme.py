from __future__ import annotations

import re

import pytest

from heatbeam import config, listing
from tests.support import paths

MOST_LINES = 200
READMES = ("README.md", *(str(p.relative_to(paths.ROOT)) for p in sorted(paths.ROOT.glob("[!.]*/**/README.md"))))


def text_of(name: str) -> str:
    return (paths.ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("transforms/methods/README.md", "methods"),
        ("transforms/metrics/README.md", "metrics"),
        ("configs/README.md", "settings"),
    ],
)
def test_tables_are_what_the_program_prints(name, command):
    table = getattr(listing, f"{command}_markdown")()
    assert table in text_of(name), f"{name} is out of date: put in what `heatbeam {command} --markdown` prints"


def test_the_configuration_it_shows_is_valid():
    (shown,) = (block for block in re.findall(r"```yaml\n(.*?)```", text_of("README.md"), re.S) if "\ninput:" in block)
    settings = config.parse(shown)
    assert [m.label for m in settings.explain.methods] == ["cam", "grad_cam", "score_cam"]


def test_the_first_page_is_read_to_its_end():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(name)):
        if "://" not in target:
            assert ((paths.ROOT / name).parent / target).exists(), target


def test_every_setting_says_what_it_is():
    silent = [path for path, _, _, text in listing.every_setting() if not text]
    assert not silent
