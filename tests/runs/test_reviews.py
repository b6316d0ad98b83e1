"""Marks of people beside a run: what is written, what is read back, and what nothing of the run takes away."""

from __future__ import annotations

import datetime
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam.runs import history, reviews, run_directory
from tests.support import manifests

ROW = {
    "image_id": "a/1", "image_sha256": "5e", "shard": "s-0", "record_index": 3, "class_id": 2, "class_name": "cat",
    "method": "cam", "probability": 0.5,
}  # fmt: skip
SUBJECT = reviews.Subject(ROW, (7, "dog"))


def test_a_mark_is_a_row_with_what_it_is_about(tmp_path):
    marks = reviews.Reviews(str(tmp_path), "run-1", "ann")
    before = datetime.datetime.now(datetime.timezone.utc)
    marks.set(SUBJECT, "real_shortcut", "the tag")
    table = reviews.read(str(tmp_path))
    assert table.schema.equals(reviews.SCHEMA)
    (row,) = table.to_pylist()
    assert before <= row.pop("marked_at") <= datetime.datetime.now(datetime.timezone.utc)
    about = {name: ROW[name] for name in ROW if name != "probability"}
    assert row == {**about, "mark": "real_shortcut", "note": "the tag", "reviewer": "ann", "run_id": "run-1"}


def test_a_wrong_label_is_about_the_label_and_no_map(tmp_path):
    marks = reviews.Reviews(str(tmp_path), "run-1", "ann")
    marks.set(SUBJECT, "label_wrong")
    marks.set(reviews.Subject({**ROW, "image_id": "b"}, None), "label_wrong")
    rows = reviews.read(str(tmp_path)).to_pylist()
    assert [(row["class_id"], row["class_name"], row["method"]) for row in rows] == [(7, "dog", ""), (-1, "", "")]
    # The same label under another map of the image.
    assert marks.of(reviews.Subject({**ROW, "method": "other", "class_id": 9}, (7, "dog"))) == {"label_wrong": ""}


def test_a_mark_replaces_itself_and_can_be_taken_away(tmp_path):
    marks = reviews.Reviews(str(tmp_path), "run-1", "ann")
    for note in ("first", "second"):
        marks.set(SUBJECT, "sick_map", note)
    marks.set(SUBJECT, "note", "look again")
    assert marks.of(SUBJECT) == {"sick_map": "second", "note": "look again"}
    assert reviews.marks_of(SUBJECT, marks.by_key()) == marks.of(SUBJECT)
    assert marks.of(reviews.Subject({**ROW, "method": "grad_cam"}, (7, "dog"))) == {}
    marks.set(SUBJECT, "sick_map", there=False)
    assert marks.of(SUBJECT) == {"note": "look again"}
    assert [path.name for path in (tmp_path / "review").iterdir()] == ["review.parquet"]  # nothing half written


def test_what_another_explorer_wrote_is_kept(tmp_path):
    one, other = (reviews.Reviews(str(tmp_path), f"run-{name}", name) for name in "ab")
    one.set(SUBJECT, "note", "of a")
    other.set(reviews.Subject({**ROW, "image_id": "second"}, None), "note", "of b")
    one.set(SUBJECT, "sick_map")
    assert sorted(row["note"] for row in other.rows()) == ["", "of a", "of b"]


def test_a_file_that_is_damaged_or_of_others_is_left_alone(tmp_path):
    (tmp_path / "review").mkdir()
    path = tmp_path / "review" / "review.parquet"
    marks = reviews.Reviews(str(tmp_path), "run-1", "ann")
    for write in (lambda: path.write_bytes(b"PAR1 no"), lambda: pq.write_table(pa.table({"a": [1]}), path)):
        write()
        content = path.read_bytes()
        with pytest.raises(run_directory.RunDirectoryError, match="is no file of marks"):
            marks.set(SUBJECT, "note", "x")
        assert path.read_bytes() == content


def test_a_damaged_file_costs_its_marks_and_says_where_it_is(tmp_path):
    (tmp_path / "review").mkdir()
    (tmp_path / "review" / "review.parquet").write_bytes(b"PAR1 no")
    table, why = reviews.readable(str(tmp_path))
    assert table.equals(reviews.SCHEMA.empty_table())
    assert why.startswith(f"{tmp_path}/review/review.parquet is no file of marks (")
    reviews.Reviews(str(tmp_path / "other"), "run-1", "ann").set(SUBJECT, "note", "x")
    table, why = reviews.readable(str(tmp_path / "other"))
    assert reviews.by_image([reviews.SCHEMA.empty_table(), table]) == {"5e": ("note: x",)} and why == ""


def test_explorers_that_mark_at_once_lose_no_mark(tmp_path):
    program = """if True:
        import sys
        from heatbeam.runs import reviews
        marks = reviews.Reviews(sys.argv[1], "run", sys.argv[2])
        row = dict(image_sha256="5e", shard="s", class_id=2, class_name="cat", method="cam")
        for i in range(25):
            row.update(image_id=sys.argv[2] + str(i), record_index=i)
            marks.set(reviews.Subject(row, None), "note")
    """
    started = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    assert sorted(reviews.read(str(tmp_path))["image_id"].to_pylist()) == sorted(
        f"{n}{i}" for n in "ab" for i in range(25)
    )


def test_unknown_marks_and_endless_notes_are_refused(tmp_path):
    marks = reviews.Reviews(str(tmp_path), "run-1", "ann")
    with pytest.raises(ValueError, match="expected one of label_wrong, real_shortcut, sick_map, note"):
        marks.set(SUBJECT, "drop")
    with pytest.raises(ValueError, match="at most 2000"):
        marks.set(SUBJECT, "note", "x" * 2001)
    assert reviews.read(str(tmp_path)).num_rows == 0


def test_marks_outlive_a_run_that_is_overwritten_or_removed(tmp_path):
    path = tmp_path / "root" / "one"
    run = run_directory.RunDirectory(str(path))

    def written():
        run.finish(manifests.manifest(run_id="again"))
        return reviews.read(str(path)).num_rows

    run.create(manifests.manifest(), overwrite=False)
    run.finish(manifests.manifest())
    reviews.Reviews(str(path), "run-1", "ann").set(SUBJECT, "label_wrong")
    run.read_manifest()
    run.create(manifests.manifest(), overwrite=True)
    run.create(manifests.manifest(), overwrite=False, resume=True)
    assert written() == 1
    assert len(history.history(str(path.parent)).runs) == 1
    run.remove()
    assert sorted(p.relative_to(path).as_posix() for p in pathlib.Path(path).rglob("*")) == [
        "review", "review/review.parquet",
    ]  # fmt: skip
    assert history.history(str(path.parent)).runs == ()
