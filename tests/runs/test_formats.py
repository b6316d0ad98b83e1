"""A run of an older format is brought to today's, setting by setting and column by column."""

from __future__ import annotations

import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam.compare import compare, compare_files
from heatbeam.runs import chosen_rows, formats, history, manifests, run_directory, settings_diff
from tests.support import paths
from tests.support.manifests import DOCUMENT

OLD = paths.ROOT / "tests" / "runs" / "old" / "runs"
TODAY = {**DOCUMENT, "format": manifests.FORMAT, "format_version": manifests.FORMAT_VERSION, "status": "running"}


def text(**changes) -> str:
    return json.dumps(TODAY | changes)


def older(document: dict) -> dict:
    """From an imagined format 0, in which batches were set by ``explain.batch`` and the seed was a word."""
    explain = document["config"]["explain"]
    explain["batch_size"] = explain.pop("batch")
    explain["seed"] = {"fixed": 0}[explain["seed"]]
    return document


STEP = formats.Step(manifest=older, renamed={"summary": {"estimate": "value"}, "explanations": {"score": "logit"}})


@pytest.fixture
def format_0(tmp_path, monkeypatch) -> tuple[str, str]:
    """A run as it is, and the same run in format 0: settings and columns have other names, and one column lacks."""
    monkeypatch.setitem(formats.STEPS, 0, STEP)
    name = "2026-11-29T22-04-27Z"
    shutil.copytree(OLD / name, tmp_path / "runs" / name)
    run = tmp_path / "runs" / name
    document = json.loads((run / "manifest.json").read_text()) | {"format_version": 0}
    explain = document["config"]["explain"]
    explain["batch"], explain["seed"] = explain.pop("batch_size"), "fixed"
    columns = {"summary": ({"value": "estimate"}, []), "explanations": ({"logit": "score"}, ["layer"])}
    for table, (renamed, dropped) in columns.items():
        path = run / table / "part-00000-of-00001.parquet"
        content = pq.read_table(path).drop_columns(dropped)
        pq.write_table(content.rename_columns([renamed.get(n, n) for n in content.column_names]), path)
        document["tables"][table]["files"][0]["bytes"] = path.stat().st_size
    (run / "manifest.json").write_text(json.dumps(document))
    return str(OLD / name), str(run)


def test_settings_of_an_older_format_are_those_of_today(format_0):
    today, before = (run_directory.RunDirectory(path).read_manifest() for path in format_0)
    assert before.config == today.config and before.config.explain.batch_size == 32
    assert (before.format_version, today.format_version) == (0, 1)
    assert before.run_id is None  # and the column of that name is null


def test_runs_that_knew_only_pillow_say_so():
    """Format 1 has no setting of resampler, decoder and range: it had Pillow's pixels and the upper 8 of 16 bits."""
    found = run_directory.RunDirectory(str(OLD / "2026-11-29T22-04-27Z")).read_manifest()
    given = found.config.input
    assert (given.resampler, given.decoder, given.value_range) == ("pillow", "pillow", "upper_byte")
    image = found.conventions.decode["image"]
    assert (image["resampler"], image["value_range"], image["decoder"]) == ("pillow", "upper_byte", "Pillow 12.3.0")
    running = formats.read(text(format_version=1, conventions=None))
    assert running.config.input.resampler == "pillow"
    assert formats.read(text()).config.input.resampler == "tensorflow"


def test_other_pixels_are_a_difference_of_settings_that_matters():
    old = run_directory.RunDirectory(str(OLD / "2026-11-29T22-04-27Z")).read_manifest()
    document = old.as_dict()
    document["config"]["input"]["resampler"] = "tensorflow"
    document["conventions"]["decode"]["image"]["resampler"] = "tensorflow"
    new = manifests.Finished.model_validate(document)
    found = {one.path: (one.baseline, one.candidate, one.effect) for one in settings_diff.differences(old, new)}
    assert found == {
        "config.input.resampler": ("pillow", "tensorflow", "the data, or how it is read"),
        "conventions.decode.image.resampler": ("pillow", "tensorflow", "the pixels the model sees"),
    }


def test_columns_of_an_older_format_have_the_names_of_today(format_0):
    runs = [run_directory.RunDirectory(path) for path in format_0]
    today, before = (run.open_table("summary").to_table() for run in runs)
    assert before.select(today.column_names).equals(today)
    today, before = (run.open_table("explanations") for run in runs)
    assert before.schema.field("layer").type == today.schema.field("layer").type == pa.string()
    assert before.to_table()["layer"].null_count == 30
    assert before.to_table(columns=["logit"]).equals(today.to_table(columns=["logit"]))
    rows, count = chosen_rows.choose(runs[1], "logit > 0 and layer is null", 5, ["image_id", "logit"])
    expected, all_of_them = chosen_rows.choose(runs[0], "logit > 0", 5, ["image_id", "logit"])
    assert rows.equals(expected) and count == all_of_them > 0


def test_a_run_of_an_older_format_is_compared_and_listed(format_0):
    found = compare_files.as_dict(compare.compare(*format_0))
    assert found["settings"] == [] and found["counts"]["rows_paired"] == 30
    assert all(row["difference"] in (0, None) for row in found["differences"]) and len(found["differences"]) > 500
    root = str(pathlib.Path(format_0[1]).parent)
    (point,) = history.history(root).runs
    assert point.numbers["grad_cam", "pxap"].value == pytest.approx(0.1618, abs=1e-4)
    assert history.prune(root, 1) == []


def test_an_older_run_can_be_removed(format_0):
    run_directory.RunDirectory(format_0[1]).remove()
    assert not pathlib.Path(format_0[1]).exists()


def test_steps_follow_each_other(monkeypatch):
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 3)
    renames = [{"a": "b", "x": "y"}, {"b": "c"}, {}]
    for number, columns in enumerate(renames):
        monkeypatch.setitem(formats.STEPS, number, formats.Step(renamed={"summary": columns}))
    assert formats.renamed("summary", 0) == {"c": "a", "y": "x"}
    assert formats.renamed("summary", 1) == {"c": "b"}
    assert formats.renamed("summary", 2) == formats.renamed("summary", 3) == formats.renamed("curves", 0) == {}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"format_version": 3, "heatbeam": "9.9"}, formats.UnknownFormatError,
         r"has format version 3, written by heatbeam 9\.9; this heatbeam \(.+\) reads formats 1 to 2; update it"),
        ({"format_version": 0}, formats.UnknownFormatError, r"has format version 0, written by heatbeam 0\.1\.0; this"),
        ({"format_version": "x"}, formats.UnknownFormatError, "has format version x"),
        ({"config": DOCUMENT["config"] | {"sky": 1}, "heatbeam": "0.9"}, formats.FormatError,
         r"was written by heatbeam 0\.9, and this one \(.+\) does not understand it: config\.sky: unknown key"),
        ({"versions": 3}, formats.FormatError, r"versions: Input should be a mapping"),
        ({"status": "succeeded"}, formats.FormatError, "tables: is missing"),
    ],
    ids=["newer", "no-step", "no-number", "unknown-setting", "damaged", "unfinished"],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(changes, error, said):
    with pytest.raises(error, match=said) as caught:
        formats.read(text(**changes))
    assert "\n" not in str(caught.value)
