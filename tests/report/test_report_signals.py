"""The report, pictures and the NIfTI export of runs over series, volumes and clips."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from heatbeam.export import export, nifti_files, render
from heatbeam.pages.signals import drawing, of_rows
from heatbeam.report import galleries, pictures, report
from heatbeam.runs import run_directory, source_images
from tests.report import signal_runs

KINDS = ("series", "volume", "clip")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {kind: signal_runs.write(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def rows_of(run, method="cam"):
    table = run_directory.RunDirectory(run).open_table("explanations")
    return galleries.fetch(table, [f"signal-{i:02d}" for i in range(6)], method)


@pytest.mark.parametrize("kind", KINDS)
def test_an_album_draws_each_signal_by_its_kind(runs, kind, monkeypatch):
    monkeypatch.setattr(source_images, "source_records", signal_runs.Originals(kind, missing=(1,)))
    rows = rows_of(runs[kind])
    manifest = run_directory.RunDirectory(runs[kind]).read_manifest()
    album = pictures.Album(manifest, rows)
    assert (album.wanted, album.found, album.kind) == (6, 5, kind)
    for row in rows[:2]:
        number = row["record_index"]
        original = None if number == 1 else signal_runs.values(kind, number)
        expected = of_rows.signal(row, of_rows.Inputs(signal_runs.AXES[kind]), original)
        shown = album.picture(row)
        assert (shown.kind, shown.drawn) == (kind, drawing.markup(expected))
        start, end = signal_runs.box(kind, number)
        assert expected.true_boxes == ((*start, *end),)
        # The bump is at the object, and so is the box that was estimated from it.
        middle = (start + end) / 2
        assert (np.abs(np.array(expected.peak[::-1]) - middle) <= np.array(expected.shape[::-1]) / 8).all()
        assert all(a <= m <= b for a, m, b in zip(expected.box, middle, expected.box[len(middle) :], strict=False))


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_of_signals_stands(runs, kind, monkeypatch):
    monkeypatch.setattr(source_images, "source_records", signal_runs.Originals(kind))
    page = pathlib.Path(report.write_report(runs[kind])).read_text()
    assert f'class="frame signal {kind}"' in page and 'class="gallery signals"' in page
    assert "<b>bee" not in page and "&lt;b&gt;bee&lt;/b&gt;" in page
    assert ("true interval" in page) == (kind == "series")
    assert page.count("const scrub") == 1
    assert (len(re.findall('class="player"', page)) > 0) == (kind != "series")
    said = {"series": "From the start", "volume": "above along z", "clip": "above along the time"}[kind]
    assert said in page


@pytest.mark.parametrize("kind", KINDS)
def test_render_draws_signals(runs, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(source_images, "source_records", signal_runs.Originals(kind, missing=(1,)))
    drawn = render.render(runs[kind], "method = 'cam'", str(tmp_path / "out"), limit=2, longest_px=256)
    assert (len(drawn.files), drawn.matched, drawn.with_image) == (2, 6, 1)
    row = rows_of(runs[kind])[0]
    expected = of_rows.picture(row, of_rows.Inputs(signal_runs.AXES[kind]), signal_runs.values(kind, 0), 256)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / drawn.files[0])), expected)
    assert max(expected.shape[:2]) <= 256


def test_volumes_become_nifti_with_their_maps_and_boxes(runs, tmp_path, monkeypatch):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (heatbeam[nifti])")
    monkeypatch.setattr(source_images, "source_records", signal_runs.Originals("volume", missing=(1,)))
    done = export.export(runs["volume"], str(tmp_path / "out"), "nifti", where="", limit=4, longest_px=9)
    assert (done.rows, done.matched, done.images, done.with_image) == (4, 12, 2, 1)
    listed = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [axis["step"] for axis in listed["axes"]] == [2.0, 1.0, 1.0]
    first, *_, last = listed["rows"]
    assert (first["image_id"], first["method"], last["volume"]) == ("signal-00", "cam", None)
    volume, heat, boxes = (nibabel.load(tmp_path / "out" / first[name]) for name in ("volume", "map", "boxes"))
    values = signal_runs.values("volume", 0)[..., 0]
    np.testing.assert_array_equal(np.asarray(volume.dataobj), values.transpose(2, 1, 0))
    for one in (volume, heat, boxes):
        assert one.shape == (32, 24, 12)
        np.testing.assert_array_equal(one.affine, [[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 2, 1], [0, 0, 0, 1]])
    start, end = signal_runs.box("volume", 0)
    inside = tuple(slice(a, b) for a, b in zip(start, end, strict=True))
    labels = np.asarray(boxes.dataobj)
    assert labels[inside].all() and labels.sum() == np.prod(end - start)
    peak = np.unravel_index(heat.get_fdata().argmax(), heat.shape)
    assert heat.get_fdata().max() == pytest.approx(1) and labels[peak] == 1


@pytest.mark.parametrize(
    ("kind", "file_format", "message"),
    [
        ("series", "nifti", "is for volumes; the inputs of this run are series: heatbeam render"),
        ("clip", "nifti", "the inputs of this run are clips"),
        ("volume", "fiftyone", "is for pictures; the inputs of this run are volumes: give --format nifti"),
        ("series", "huggingface", "the inputs of this run are series: heatbeam render"),
    ],
)
def test_formats_that_have_no_place_for_a_signal_say_so(runs, kind, file_format, message, tmp_path):
    with pytest.raises(export.ExportError, match=message):
        export.export(runs[kind], str(tmp_path / "out"), file_format, where="", limit=4, longest_px=9)
    assert not (tmp_path / "out").exists()


def test_nifti_needs_nibabel_before_anything_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(nifti_files.MissingNibabel):
        export.export(runs["volume"], str(tmp_path / "out"), "nifti", where="", limit=4, longest_px=9)
    assert not (tmp_path / "out").exists()
