"""``heatbeam prove`` over a run: what it writes and prints, and what it cannot try."""

from __future__ import annotations

import json

import pytest

from heatbeam import cli
from heatbeam.audit.evidence import proofs, suspects
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


def test_a_run_without_evidence_says_what_to_do(finished, monkeypatch):
    monkeypatch.setattr(job.sample, "gather", lambda table, target: [])
    with pytest.raises(errors.UsageError, match=r"explain\.evidence: true"):
        job.prove(finished.path)
