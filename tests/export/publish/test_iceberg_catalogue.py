"""Finished runs in a real Iceberg catalogue (SQLite), read back by DuckDB; ``make test-integrations``."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil

import pytest

from heatbeam import cli
from heatbeam.export.publish import bigquery
from heatbeam.runs import run_directory
from tests.support import paths

pytestmark = pytest.mark.integration

RUNS = paths.ROOT / "build" / "integrations" / "runs"


@pytest.fixture
def properties(tmp_path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalogue.db", "warehouse": f"file://{tmp_path}/warehouse"}


def publish(properties: dict[str, str], *runs: pathlib.Path | str) -> int:
    given = [word for item in properties.items() for word in ("--property", "=".join(item))]
    return cli.main(["publish", *map(str, runs), "--iceberg", "test", *given])


def table(properties: dict[str, str], name: str):
    from pyiceberg import catalog

    return catalog.load_catalog("test", **properties).load_table(f"heatbeam.{name}")


def rows(properties: dict[str, str], name: str, sql: str, **scan: str) -> list[tuple]:
    return table(properties, name).scan(**scan).to_duckdb("t").execute(sql).fetchall()


def run_id(run: pathlib.Path) -> str:
    return json.loads((run / "manifest.json").read_text())["run_id"]


def digests(run: pathlib.Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.rglob("*.parquet"))}


def test_runs_are_registered_once_without_a_file_rewritten(properties, capsys):
    before = digests(RUNS)
    for _ in range(2):
        assert publish(properties, RUNS / "monday", RUNS / "tuesday") == 0
    assert "heatbeam.explanations, 2 files, 0 of them new" in capsys.readouterr().out
    assert digests(RUNS) == before

    registered = {task.file.file_path for task in table(properties, "explanations").scan().plan_files()}
    assert registered == {f"file://{path}" for path in before if "/explanations/" in path}
    counted = rows(properties, "explanations", "select run_id, count(*) from t group by all order by all")
    expected = [(run_id(RUNS / name), _rows_of(RUNS / name, "explanations")) for name in ("monday", "tuesday")]
    assert counted == sorted(expected)


def _rows_of(run: pathlib.Path, name: str) -> int:
    return json.loads((run / "manifest.json").read_text())["tables"][name]["rows"]


def test_duckdb_reads_the_numbers_of_the_run(properties):
    assert publish(properties, RUNS / "monday") == 0
    sql = "select metric, method, value, n from t where slice_name = 'all' order by all"
    expected = run_directory.RunDirectory(str(RUNS / "monday")).open_table("summary").to_table().to_pylist()
    assert rows(properties, "summary", sql) == sorted(
        (one["metric"], one["method"], one["value"], one["n"]) for one in expected if one["slice_name"] == "all"
    )
    maps = rows(properties, "explanations", "select image_id, method, heatmap, heatmap_scale from t order by all")
    (first, *_) = run_directory.RunDirectory(str(RUNS / "monday")).open_table("explanations").to_table().sort_by(
        [("image_id", "ascending"), ("method", "ascending")]
    ).to_pylist()  # fmt: skip
    assert maps[0] == (first["image_id"], first["method"], first["heatmap"], first["heatmap_scale"])


def test_a_run_is_a_partition_and_a_later_one_may_have_columns_more(properties):
    assert publish(properties, RUNS / "monday") == 0
    assert "slice_camera" not in table(properties, "explanations").schema().column_names
    assert publish(properties, RUNS / "tuesday") == 0
    later = run_id(RUNS / "tuesday")
    kept = table(properties, "explanations")
    assert [field.name for field in kept.spec().fields] == ["run_id"]
    files = {task.file.file_path for task in kept.scan(row_filter=f"run_id = '{later}'").plan_files()}
    assert files and all("/tuesday/" in path for path in files)
    cameras = "select run_id, count(slice_camera) > 0 from t group by all order by 2"
    assert rows(properties, "explanations", cameras) == [(run_id(RUNS / "monday"), False), (later, True)]


def test_a_run_that_takes_the_place_of_another_takes_it_in_the_table(properties, tmp_path):
    place = tmp_path / "runs" / "latest"
    for name in ("monday", "tuesday"):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(RUNS / name, place)
        assert publish(properties, place) == 0
    assert rows(properties, "summary", "select distinct run_id from t") == [(run_id(RUNS / "tuesday"),)]


def test_a_run_is_kept_until_it_is_taken_out_of_the_tables(properties, tmp_path, capsys):
    root = tmp_path / "audits"
    for name in ("monday", "tuesday"):
        shutil.copytree(RUNS / name, root / name)
        (root / name / "registered.json").unlink(missing_ok=True)
        assert publish(properties, root / name) == 0
    before = digests(root / "tuesday")
    assert cli.main(["history", str(root), "--keep", "1"]) == 0
    assert f"{root}/monday is not removed" in capsys.readouterr().err
    assert publish(properties, root / "monday", "--withdraw") == 0
    assert "heatbeam.explanations, 2 files taken out" in capsys.readouterr().out
    kept = [(run_id(root / "tuesday"),)]
    assert rows(properties, "explanations", "select distinct run_id from t") == kept
    assert rows(properties, "summary", "select distinct run_id from t") == kept
    assert (root / "monday" / "manifest.json").exists()
    assert cli.main(["history", str(root), "--keep", "1"]) == 0
    assert not (root / "monday").exists() and digests(root / "tuesday") == before
    assert rows(properties, "explanations", "select distinct run_id from t") == kept
    for _ in range(2):
        assert publish(properties, root / "tuesday", "--withdraw") == 0


def test_an_unfinished_run_is_not_registered(properties, tmp_path, capsys):
    place = tmp_path / "unfinished"
    shutil.copytree(RUNS / "monday", place)
    directory = run_directory.RunDirectory(str(place))
    directory.fail(directory.read_any_manifest())
    assert publish(properties, place) == 2
    assert "failed" in capsys.readouterr().err


def test_a_catalogue_that_is_not_there_is_told_in_one_line(tmp_path, capsys):
    assert publish({"type": "sql", "uri": f"sqlite:///{tmp_path}/no/such/folder.db"}, RUNS / "monday") == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"cannot register {RUNS}/monday in the catalogue test: ")


def test_bigquery_would_parse_the_statement():
    import sqlglot

    text = bigquery.of_tables([("gs://bucket/runs/monday", ("explanations", "summary"))], "audits")
    parsed = sqlglot.parse(text, dialect="bigquery")
    assert [one.find(sqlglot.exp.Table).name for one in parsed if one] == ["explanations", "summary"]
