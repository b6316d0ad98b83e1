"""``heatbeam prove`` over a run: what it writes and prints, and what it cannot try."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from heatbeam import cli
from heatbeam.audit.evidence import proofs, sample, suspects
from heatbeam.audit.proving import job
from heatbeam.runs import run_directory
from heatbeam.transforms import errors
from tests.support import small_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> run_directory.RunDirectory:
    folder = tmp_path_factory.mktemp("prove")
    pattern = small_runs.write(folder / "shards", [small_runs.record(n) for n in range(30)], 2)
    overrides = ("explain.methods=[grad_cam]", "evaluate.slices=[]", "output.report=false")
    return small_runs.run_quietly(small_runs.settings(pattern, folder / "run", *overrides))


def test_suspects_are_tried_and_written_beside_the_run(finished, capsys, monkeypatch):
    monkeypatch.setattr(suspects, "LEAST_EXCESS", -1.0)  # three images of a class of noise are suspected of nothing
    assert cli.main(["prove", finished.path, "--most", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    manifest = finished.read_manifest()
    table = proofs.read(finished, manifest.run_id)
    assert table is not None
    assert told["proofs"] == finished.path_of(proofs.FILE)
    assert [row["class_name"] for row in told["suspects"]] == table["class_name"].to_pylist()
    assert 0 < table.num_rows <= 3
    assert table.schema.names == [*proofs.SCHEMA.names, "run_id"]
    assert {row["verdict"] for row in told["suspects"]} <= {proofs.PROVED, proofs.REFUTED, proofs.UNDECIDED}
    assert all(row["on_object_known"] for row in told["suspects"])
    again = job.prove(finished.path, most=3).table
    assert again == table
    assert proofs.read(finished, "of another run") is None


def test_a_model_of_values_or_pixels_or_volumes_is_not_tried(finished):
    manifest = finished.read_manifest()
    for changes, said in (
        ({"probability": "value"}, "gives values"),
        ({"pixels": (8, 8)}, "classifies pixels"),
        ({"input_size": (8, 8, 8, 1)}, "expected pictures"),
    ):
        model = manifest.model.model_copy(update=changes)
        with pytest.raises(errors.UsageError, match=said):
            job._check(manifest.model_copy(update={"model": model}))


def test_what_cannot_be_done_is_said_before_it_is_begun(finished, monkeypatch):
    monkeypatch.setattr(job.os, "access", lambda path, mode: False)
    monkeypatch.setattr(job, "_try", lambda *_: pytest.fail("the job was started"))
    with pytest.raises(errors.PathError, match=rf"cannot write {finished.path}/proofs/.*may not be written to; prove"):
        job.prove(finished.path)


def test_a_run_without_evidence_says_what_to_do(finished, monkeypatch):
    monkeypatch.setattr(job.sample, "gather", lambda table, target: [])
    with pytest.raises(errors.UsageError, match=r"explain\.evidence: true"):
        job.prove(finished.path)


def test_what_cannot_be_tried_is_told(finished, monkeypatch, capsys):
    monkeypatch.setattr(suspects, "LEAST_EXCESS", -1.0)
    assert cli.main(["prove", finished.path, "--most", "0"]) == 2
    assert "--most is 0; give how many suspects to try, at least 1" in capsys.readouterr().err

    def nothing_read(run, manifest, model, tasks, beam_options, stream):
        job._write(run.path_of(proofs.FILE), (), manifest.run_id)

    monkeypatch.setattr(job, "_try", nothing_read)
    said = io.StringIO()
    job.prove(finished.path, most=2, stream=said)
    assert "classes were not tried: too few of their images" in said.getvalue()
    monkeypatch.setattr(job, "LEAST_OTHERS", 1000)
    said = io.StringIO()
    assert job.prove(finished.path, most=2, stream=said).table.num_rows == 0
    assert "cannot be tried: fewer than 1000 images of other classes have evidence" in said.getvalue()


def test_images_that_cannot_be_read_any_more_are_told(finished, monkeypatch):
    monkeypatch.setattr(suspects, "LEAST_EXCESS", -1.0)
    prepared = job._prepared

    def without_two(manifest, wanted, how):
        found = prepared(manifest, wanted, how)
        return {place: found[place] for place in sorted(found)[2:]}

    monkeypatch.setattr(job, "_prepared", without_two)
    said = io.StringIO()
    table = job.prove(finished.path, most=1, stream=said).table
    assert table["unread"].to_pylist() == [2]
    why = "some images could not be read as the run read them, up to 2 of one"
    assert f"warning: 1 suspects were tried on fewer images: {why}\n" in said.getvalue()


def test_a_model_that_is_not_found_from_here_says_where_its_path_leads_from(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(suspects, "LEAST_EXCESS", -1.0)

    def missing(config, beam_options):
        raise errors.UsageError("no such model")

    monkeypatch.setattr(job.plan, "make", missing)
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with pytest.raises(errors.UsageError, match="no such model"):
        job.prove(finished.path, stream=said)
    assert f"lead from {finished.read_manifest().started_in}; call prove there" in said.getvalue()


def test_images_that_are_of_the_class_too_are_none_of_another(monkeypatch):
    monkeypatch.setattr(job, "LEAST_OTHERS", 2)

    def image(number: int, *labels: int) -> sample.Image:
        return sample.Image(("shard", number, "ab"), f"i{number}", 0.5, 0.1, b"", None, labels)

    of_class = sample.ClassSample(0, 1, (image(0, 0),), ())
    others = sample.ClassSample(1, 4, (image(1, 1), image(2, 1, 0), image(3, 0, 1), image(4, 1)), ())
    suspect = suspects.Suspect(0, "off_object", -1, (), (), of_class.images, 1.0, "")
    task = job._task([suspect], job._pool([of_class, others]))
    assert task is not None and {one.image_id for one in task.others} == {"i1", "i4"}


def test_boxes_are_placed_in_what_the_model_sees_of_the_image():
    # The view is 40 wide and 80 high; of 20 columns each is 2 wide, of 160 rows each half as high.
    placed = job._in_input(np.array([[10.0, 20.0, 30.0, 40.0]]), (10.0, 0.0, 50.0, 80.0), (160, 20, 3))
    assert placed is not None
    assert placed.tolist() == [[0, 40, 10, 80]]
    assert job._in_input(None, (0.0, 0.0, 1.0, 1.0), (1, 1, 3)) is None
