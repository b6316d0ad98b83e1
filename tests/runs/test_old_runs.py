"""Runs that older versions of heatbeam wrote are read, and give the numbers that those versions gave."""

from __future__ import annotations

import gzip
import html
import io
import json
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from heatbeam.compare import compare, compare_files
from heatbeam.export import export, render
from heatbeam.report import report
from heatbeam.runs import history, run_directory
from tests.support import paths

OLD = paths.ROOT / "tests" / "runs" / "old"
BASELINE, CANDIDATE = "runs/2026-11-29T22-04-12Z", "runs/2026-11-29T22-04-27Z"
EXPECTED: dict[str, Any] = json.loads(gzip.decompress((OLD / "expected.json.gz").read_bytes()))


@pytest.fixture
def old(tmp_path, monkeypatch) -> pathlib.Path:
    """A copy of the old runs and their shards, which is the current folder."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    monkeypatch.chdir(folder)
    return folder


def same(found: Any, expected: Any) -> bool:
    """Equal values of JSON, numbers to a rounding; what was not there before may be there."""
    if isinstance(expected, dict):
        return all(name in found and same(found[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == (pytest.approx(expected, rel=1e-5, abs=1e-7) if isinstance(expected, float) else expected)


def test_the_manifest_says_what_was_set_and_found(old):
    manifest = run_directory.RunDirectory(CANDIDATE).read_manifest()
    assert [one.label for one in manifest.config.explain.methods] == ["grad_cam", "faster_score_cam"]
    assert manifest.config.explain.methods[1].options == {"channels": 8}
    assert manifest.config.input.features.box_difficult == "image/object/difficult"
    assert manifest.config.input.features_given == ()
    assert (manifest.counts.records_read, manifest.counts.images_explained) == (13, 12)
    assert manifest.model.target_layer == "last_act" and manifest.primary_target == "label"
    assert manifest.tables["summary"].rows == 715


def test_they_are_compared_row_by_row(old):
    found = compare_files.as_dict(compare.compare(BASELINE, CANDIDATE))
    expected = EXPECTED["compare"]
    assert same(found["counts"], expected["counts"])
    assert len(expected["differences"]) > 700
    for part in ("differences", "agreements"):
        known = {tuple(v for v in row.values() if isinstance(v, str)): row for row in found[part]}
        for row in expected[part]:
            assert same(known[tuple(v for v in row.values() if isinstance(v, str))], row)


def test_history_shows_their_numbers(old):
    stream = io.StringIO()
    history.print_history(history.history("runs"), stream)
    assert set((old / "expected_history.txt").read_text().splitlines()) <= set(stream.getvalue().splitlines())


def test_the_report_has_the_numbers_of_before(old):
    page = pathlib.Path(report.write_report(CANDIDATE)).read_text()
    # The words around them may be others today; the numbers of each line are those of before, in their order.
    found = {_numbers(line) for line in _words(page)}
    expected = [line for line in (old / "expected_report.txt").read_text().splitlines() if _numbers(line)]
    assert len(expected) > 50
    assert not [line for line in expected if _numbers(line) not in found]


def _numbers(line: str) -> tuple[str, ...]:
    return tuple(re.findall(r"-?\d[\d.,]*%?", line))


def _words(page: str) -> Iterator[str]:
    """The lines of a page without its tags."""
    page = re.sub(r"(?s)<(style|script|svg).*?</\1>", " ", page)
    page = re.sub(r'(?s)<img[^>]*?(alt="([^"]*)")?[^>]*>', r"[picture \2]", page)
    for line in re.split(r"(?i)</(?:p|tr|h\d|li|div|figcaption|section|table)>", page):
        yield " ".join(html.unescape(re.sub(r"<[^>]+>", " ", line)).split())


def test_their_maps_are_drawn_over_their_images(old, tmp_path):
    where = "method = 'grad_cam' and list_contains(targets, 'label')"
    drawn = render.render(CANDIDATE, where, str(tmp_path / "drawn"), limit=4, longest_px=96)
    assert (drawn.matched, drawn.with_image) == (12, 4)
    assert same(json.loads((tmp_path / "drawn" / "index.json").read_text()), EXPECTED["render"])


@pytest.mark.parametrize("file_format", ["huggingface", "fiftyone"])
def test_their_rows_are_exported(old, tmp_path, file_format):
    folder = tmp_path / "exported"
    done = export.export(
        CANDIDATE, str(folder), file_format, where="method = 'faster_score_cam'", limit=5, longest_px=96
    )
    assert (done.rows, done.matched, done.images, done.with_image, done.problems) == (5, 15, 5, 5, ())
    if file_format == "huggingface":
        rows = pq.read_table(folder / "metadata.parquet").to_pylist()
    else:
        rows = json.loads((folder / "samples.json").read_text())["samples"]
    assert same(rows, EXPECTED[file_format])
