"""The four commands of the first page over real photos that lie beside the repository, with a small untrained model."""

from __future__ import annotations

import csv
import json
import pathlib

import pyarrow as pa
import pytest

from heatbeam import cli
from heatbeam.runs import run_directory
from tests.prepare import raccoons
from tests.support import keras_models, paths

PHOTOS = paths.ROOT.parent / "shared" / "photos"
CLASSES = 64


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("project")
    keras_models.classifier(classes=CLASSES).save(folder / "model.keras")
    return folder


def ran(*shards: str, name: str, also: tuple[str, ...] = ()) -> run_directory.RunDirectory:
    """What three of them leave of a source, with `also` in answer to what `init` asks; `check` has its own tests."""
    assert cli.main(["shards", *shards, "--out", name]) == 0
    model = ["--model", "model.keras", "--preprocessing", "tf"]
    assert cli.main(["init", "--data", name, *model, "--run", f"runs/{name}", "-o", f"{name}.yaml"]) == 0
    answers = [part for one in also for part in ("--set", one)]
    assert cli.main(["run", f"{name}.yaml", *answers]) == 0
    return run_directory.RunDirectory(f"runs/{name}")


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos are not beside the repository")
def test_photos_in_a_folder_for_each_class(project, monkeypatch):
    monkeypatch.chdir(project)
    with (PHOTOS / "labels.csv").open(encoding="utf-8") as file:
        labels = {row["file"]: row["class_name"] for row in csv.DictReader(file)}
    for file_name, class_name in labels.items():
        (project / "photos" / class_name).mkdir(parents=True)
        (project / "photos" / class_name / file_name).symlink_to(PHOTOS / file_name)
    run = ran("photos", name="flowers")
    rows = run.open_table("explanations").to_table(columns=["image_id", "class_name", "target"]).to_pylist()
    assert {row["image_id"]: row["class_name"] for row in rows if "label" in row["target"]} == {
        f"{class_name}/{file_name}": class_name for file_name, class_name in labels.items()
    }
    assert pathlib.Path(run.path_of("report.html")).stat().st_size > 100_000


@pytest.mark.skipif(not raccoons.FOLDER.is_dir(), reason="the photos of raccoons are not beside the repository")
def test_the_same_tables_of_pascal_voc_and_coco(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "raccoons.json").write_text(json.dumps(raccoons.as_coco()))
    stand_in = ("model.class_names=null", "input.class_map={raccoon: 5}", "output.report=false")
    stand_in += ("runner.workers=1", "explain.batch_size=8")  # equal to the last bit where batches are the same
    voc = ran(str(raccoons.FOLDER), name="voc", also=stand_in)
    coco = ran("raccoons.json", "--images", str(raccoons.FOLDER), name="coco", also=stand_in)
    for table in run_directory.TABLES:
        mine, yours = (in_order(run.open_table(table).to_table()) for run in (voc, coco))
        assert mine.equals(yours), table
        assert len(mine) > 0 or table == "dead_letters"
    assert voc.open_table("localizations").count_rows() >= 40


def in_order(table: pa.Table) -> pa.Table:
    keys = ("image_id", "class_id", "method", "slice_name", "slice_value", "metric", "curve", "threshold")
    by = [(key, "ascending") for key in keys if key in table.schema.names]
    return table.drop_columns(["run_id"]).sort_by(by)
