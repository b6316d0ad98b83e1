"""The run directory: what may be overwritten, what counts as finished, what is read."""

from __future__ import annotations

import json
import math
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from heatbeam.runs.run_directory import RunDirectory, RunDirectoryError
from tests.support import manifests


def write_part(root: pathlib.Path, table: str, number: int, total: int, values: list[int]) -> pathlib.Path:
    path = root / table / f"part-{number:05d}-of-{total:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([pa.field("x", pa.int64())], metadata={"protocol": "wsol"})
    pq.write_table(pa.table({"x": pa.array(values, pa.int64())}, schema=schema), path)
    return path


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    """A run that is in progress and has written its tables."""
    directory = RunDirectory(str(tmp_path / "run"))
    directory.create(manifests.manifest(), overwrite=False)
    root = tmp_path / "run"
    write_part(root, "explanations", 0, 2, [1, 2, 3])
    write_part(root, "explanations", 1, 2, [4])
    write_part(root, "dead_letters", 0, 1, [])
    return directory


def tree(root: str) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in pathlib.Path(root).rglob("*") if path.is_file())


def test_a_new_run_is_running(run):
    written = json.loads((pathlib.Path(run.path) / "manifest.json").read_text())
    assert list(written)[-3:] == ["format", "format_version", "status"]
    assert (written["format"], written["format_version"], written["status"]) == ("heatbeam-run", 2, "running")
    assert written["model"] == manifests.DOCUMENT["model"]
    assert run.read_any_manifest() == manifests.manifest()


def test_a_local_path_holds_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory("runs/one/")
    assert directory.path == str(tmp_path / "runs" / "one")
    assert directory.path_of("summary") == str(tmp_path / "runs" / "one" / "summary")


def test_finishing_counts_rows_and_bytes_of_every_file(run):
    root = pathlib.Path(run.path)
    sizes = {path: (root / path).stat().st_size for path in tree(run.path) if path.endswith(".parquet")}
    first, second = (f"explanations/part-0000{i}-of-00002.parquet" for i in (0, 1))
    empty = "dead_letters/part-00000-of-00001.parquet"
    finished = run.finish(manifests.manifest(timings={"load_s": 1.5, "pipeline_s": 2.5}))
    assert finished == run.read_manifest()
    written = finished.as_dict()
    assert (written["status"], written["model"]["digest"], written["timings"]["load_s"]) == ("succeeded", "d1", 1.5)
    assert written["tables"] == {
        "explanations": {
            "rows": 3 + 1,
            "bytes": sizes[first] + sizes[second],
            "files": [
                {"path": first, "rows": 3, "bytes": sizes[first]},
                {"path": second, "rows": 1, "bytes": sizes[second]},
            ],
        },
        "dead_letters": {
            "rows": 0,
            "bytes": sizes[empty],
            "files": [{"path": empty, "rows": 0, "bytes": sizes[empty]}],
        },
    }


def test_tables_are_read_by_the_files_of_the_manifest(run):
    run.finish(manifests.manifest())
    write_part(pathlib.Path(run.path), "explanations", 0, 1, [99])
    dataset = run.open_table("explanations")
    assert dataset.to_table()["x"].to_pylist() == [1, 2, 3, 4]
    assert dataset.schema.metadata == {b"protocol": b"wsol"}
    assert run.open_table("dead_letters").to_table().num_rows == 0


def test_a_run_that_was_moved_can_still_be_read(run, tmp_path):
    run.finish(manifests.manifest())
    pathlib.Path(run.path).rename(tmp_path / "elsewhere")
    assert RunDirectory(str(tmp_path / "elsewhere")).open_table("explanations").count_rows() == 4


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda run: None, "it is still running, or was stopped"),
        (lambda run: run.fail(manifests.manifest(error="boom")), "it failed"),
    ],
    ids=["running", "failed"],
)
def test_an_unfinished_run_is_not_read(run, end, why):
    end(run)
    with pytest.raises(RunDirectoryError, match=f"not a finished run: {why}"):
        run.open_table("explanations")
    with pytest.raises(RunDirectoryError, match=why):
        run.read_manifest()


def test_a_failed_run_keeps_what_is_known_of_it(run):
    counts = pathlib.Path(run.path) / "counts.json"
    counts.write_text("{}")  # made before a write failed; `heatbeam finish` would take them for a job that is done
    run.fail(manifests.manifest(error="boom"))
    assert run.read_any_manifest().error == "boom"
    assert "explanations/part-00000-of-00002.parquet" in tree(run.path)
    assert not counts.exists()


def test_a_run_whose_files_cannot_be_counted_does_not_finish(run):
    (pathlib.Path(run.path) / "explanations" / "part-00001-of-00002.parquet").unlink()
    with pytest.raises(RunDirectoryError, match="1 files that are not one complete set of part-"):
        run.finish(manifests.manifest())
    assert run.read_any_manifest().status == "running"


def test_two_sets_of_files_are_not_one_table(run):
    write_part(pathlib.Path(run.path), "explanations", 0, 1, [9])
    with pytest.raises(RunDirectoryError, match="files of another run are mixed in"):
        run.describe_tables()


def test_a_damaged_file_is_named(run):
    path = pathlib.Path(run.path) / "explanations" / "part-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunDirectoryError, match=r"part-00001-of-00002.parquet is not a complete Parquet file"):
        run.describe_tables()


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_file_that_changed_since_is_refused(run, damage):
    run.finish(manifests.manifest())
    path = pathlib.Path(run.path) / "explanations" / "part-00001-of-00002.parquet"
    expected = path.stat().st_size
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    found = f"{expected - 5} bytes" if damage == "cut" else "nothing"
    with pytest.raises(RunDirectoryError, match=f"expected {expected} bytes, found {found}"):
        run.open_table("explanations")


def test_an_unknown_table_is_refused_with_those_there_are(run):
    run.finish(manifests.manifest())
    with pytest.raises(RunDirectoryError, match="no table 'summary'; it has explanations, dead_letters"):
        run.open_table("summary")


def test_a_run_is_not_replaced_by_accident(run):
    run.finish(manifests.manifest())
    before = tree(run.path)
    with pytest.raises(RunDirectoryError, match=r"already holds a heatbeam run \(succeeded\).*set overwrite"):
        run.create(manifests.manifest(), overwrite=False)
    assert tree(run.path) == before
    assert run.read_manifest().status == "succeeded"


def test_a_finished_run_of_a_part_of_the_records_can_be_gone_on_with(run):
    run.finish(manifests.manifest(drawn={"share": 0.1, "seed": 3}, counts={"not_needed": 7}))
    assert run.read_manifest().drawn.share == 0.1 and run.read_manifest().counts.not_needed == 7
    with pytest.raises(RunDirectoryError, match=r"already holds a heatbeam run \(succeeded\).*or resume it"):
        run.create(manifests.manifest(), overwrite=False)
    run.create(manifests.manifest(), overwrite=False, resume=True)
    assert run.read_any_manifest().status == "running" and run.read_any_manifest().drawn is None
    values = [pq.read_table(path)["x"].to_pylist() for path in run.unfinished_files()]
    assert sorted(values) == [[1, 2, 3], [4]]
    run.finish(manifests.manifest())
    with pytest.raises(RunDirectoryError, match="holds a finished run; there is nothing to resume"):
        run.create(manifests.manifest(), overwrite=False, resume=True)


def test_overwriting_removes_what_heatbeam_wrote_and_nothing_else(run):
    run.finish(manifests.manifest())
    root = pathlib.Path(run.path)
    for name in ("report.html", "counts.json"):
        (root / name).write_text("old")
    (root / "notes.txt").write_text("mine")
    (root / "explanations" / "mine.parquet").write_text("mine")
    (root / "mine").mkdir()
    write_part(root, "mine", 0, 1, [1])
    leftover = root / "explanations" / "beam-temp-part-0123"
    leftover.mkdir()
    (leftover / "x").write_text("old")
    run.create(manifests.manifest(model={"digest": "new"}), overwrite=True)
    assert tree(run.path) == [
        "explanations/mine.parquet", "manifest.json", "mine/part-00000-of-00001.parquet", "notes.txt",
    ]  # fmt: skip
    assert run.read_any_manifest().model.digest == "new"
    assert run.read_any_manifest().status == "running"


def test_overwriting_that_is_interrupted_leaves_no_finished_run(run, monkeypatch):
    run.finish(manifests.manifest())

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "_remove_outputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.create(manifests.manifest(), overwrite=True)
    with pytest.raises(RunDirectoryError, match="not a finished run"):
        run.open_table("explanations")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_that_is_no_run_is_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    write_part(tmp_path, "explanations", 0, 1, [1])
    before = tree(str(tmp_path))
    with pytest.raises(RunDirectoryError, match="not empty and is not a heatbeam run"):
        RunDirectory(str(tmp_path)).create(manifests.manifest(), overwrite=overwrite)
    assert tree(str(tmp_path)) == before


@pytest.mark.parametrize("text", ['{"status": "succeeded"}', "[]", "{", '{"format": "heatbeam-run", "status": "ok"}'])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_manifest_of_something_else_is_no_run(tmp_path, text, overwrite):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunDirectoryError, match="is not"):
        RunDirectory(str(tmp_path)).create(manifests.manifest(), overwrite=overwrite)
    with pytest.raises(RunDirectoryError, match="is not"):
        RunDirectory(str(tmp_path)).read_manifest()
    assert (tmp_path / "manifest.json").read_text() == text


def test_a_manifest_of_a_newer_heatbeam_is_refused_with_its_version(run):
    path = pathlib.Path(run.path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 3, "heatbeam": "9.9"}))
    with pytest.raises(
        RunDirectoryError,
        match=r"format version 3, written by heatbeam 9.9; this heatbeam \(.+\) reads formats 1 to 2; update it",
    ):
        run.read_manifest()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunDirectoryError, match="is a file"):
        RunDirectory(str(tmp_path / "run")).create(manifests.manifest(), overwrite=True)


def test_an_empty_directory_may_be_used(tmp_path):
    RunDirectory(str(tmp_path)).create(manifests.manifest(), overwrite=False)
    assert tree(str(tmp_path)) == ["manifest.json"]


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"not a heatbeam run: it has no manifest.json"):
        RunDirectory(str(tmp_path / "nothing")).read_manifest()


def test_temporary_folders_of_failed_attempts_are_removed(run):
    leftover = pathlib.Path(run.path) / "summary" / "beam-temp-part-0123"
    leftover.mkdir()
    (leftover / "x").write_text("old")
    assert run.remove_temporary_files() == [str(leftover)]
    assert not leftover.exists()
    assert run.remove_temporary_files() == []


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [({"metrics": {"a": math.nan}}, "running", "Out of range float values"), ({}, "done", "expected one of running")],
)
def test_what_json_or_we_do_not_know_is_not_written(run, changes, status, said):
    with pytest.raises(ValueError, match=said):
        run.write_manifest(manifests.manifest(**changes), status)
    assert run.read_any_manifest() == manifests.manifest()


def test_a_remote_filesystem_works_the_same(tmp_path):
    # A subtree is, to the code, a filesystem that is not the local disk.
    remote = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    run = RunDirectory("bucket/run", filesystem=remote)
    run.create(manifests.manifest(), overwrite=False)
    write_part(tmp_path / "bucket" / "run", "summary", 0, 1, [7])
    run.finish(manifests.manifest())
    assert run.open_table("summary").to_table()["x"].to_pylist() == [7]
    assert run.path_of("summary") == "bucket/run/summary"


def test_a_file_uri_is_a_path(tmp_path):
    RunDirectory(f"file://{tmp_path}/run").create(manifests.manifest(), overwrite=False)
    assert tree(str(tmp_path)) == ["run/manifest.json"]


def test_reading_a_run_needs_neither_beam_nor_tensorflow():
    code = (
        "import sys, heatbeam.runs.run_directory; print([m for m in ('apache_beam', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
