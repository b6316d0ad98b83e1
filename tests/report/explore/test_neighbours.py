"""Neighbours of a map and of its evidence, against plain arithmetic on every pair."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam.runs import run_directory
from heatbeam.transforms.tables import stored_evidence
from tests.report.explore import explorers
from tests.support import report_runs


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A run whose rows of the first method hold evidence of three channels of eight."""
    plan = report_runs.Plan(classes=("ant", "bee", "cat"), images=12, shard=False)
    path = report_runs.write(tmp_path_factory.mktemp("near"), plan)
    part = path + "/explanations/part-00000-of-00001.parquet"
    table = pq.read_table(part).drop_columns([n for n in stored_evidence.COLUMNS if n in pq.read_schema(part).names])
    random = np.random.default_rng(0)
    has = [method == "cam" for method in table["method"].to_pylist()]
    values = [random.integers(-2047, 2047, 3).tolist() if one else None for one in has]
    channels = [random.choice(8, 3, replace=False).tolist() if one else None for one in has]
    scale = [0.5 if one else None for one in has]
    columns = {
        "evidence_channels": pa.array(channels, pa.list_(pa.int32())),
        "evidence_steps": pa.array(values, pa.list_(pa.int16())),
    }
    columns |= {name: pa.array(scale, pa.float32()) for name in stored_evidence.COLUMNS[2:]}
    for name, column in columns.items():
        table = table.append_column(name, column)
    pq.write_table(table, part, row_group_size=13)
    directory = run_directory.RunDirectory(path)
    directory.finish(directory.read_manifest())
    return path


@pytest.fixture(scope="module")
def client(path):
    return explorers.Client(path)


@pytest.fixture(scope="module")
def rows(path):
    return run_directory.RunDirectory(path).open_table("explanations").to_table().to_pylist()


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def expected(rows, own, vector, able):
    """Names and likeness of the nearest images."""
    best = {}
    for row in rows:
        if row["image_id"] != own["image_id"] and able(row):
            alike = cosine(vector(own), vector(row))
            best[row["image_id"]] = max(best.get(row["image_id"], -2), alike)
    return sorted(best.items(), key=lambda one: -one[1])[:24]


def told(client, row, way):
    where = "WHERE image_id = ? AND method = ? AND class_id = ?"
    found = client.runs[0].table.select(["image_id"], where, [row[k] for k in ("image_id", "method", "class_id")])
    page = client.page(f"/a/near/{found[0]['place']}/{way}")
    names = re.findall(r'<span class="id">([^<]+)</span>', page)
    assert names[0] == row["image_id"]
    return list(zip(names[1:], map(float, re.findall(r"alike</span> (-?[\d.]+)<", page)), strict=True))


def test_maps_of_the_same_method_by_their_positive_cells(client, rows):
    own = next(row for row in rows if row["method"] == "layer_cam" and row["class_name"] == "bee")
    wanted = expected(rows, own, lambda row: np.maximum(row["heatmap"], 0), lambda row: row["method"] == "layer_cam")
    found = told(client, own, "map")
    assert [alike for _, alike in found] == pytest.approx([alike for _, alike in wanted], abs=6e-4)
    assert {name for name, _ in found[:10]} == {name for name, _ in wanted[:10]}


def test_evidence_of_channels_whatever_the_method_of_the_row(client, rows):
    def vector(row):
        whole = np.zeros(8)
        whole[row["evidence_channels"]] = row["evidence_steps"]
        return whole

    held = next(row for row in rows if row["evidence_channels"])
    wanted = expected(rows, held, vector, lambda row: row["evidence_channels"])
    other = next(row for row in rows if row["method"] == "layer_cam" and row["image_id"] == held["image_id"]
                 and row["class_id"] == held["class_id"])  # fmt: skip
    for row in (held, other):
        found = told(client, row, "evidence")
        assert [alike for _, alike in found] == pytest.approx([alike for _, alike in wanted], abs=6e-4)


@pytest.mark.parametrize("address", ["/a/near/0-0/nothing", "/a/near/0-9999999/map", "/a/near/7-0/map"])
def test_what_is_not_there_is_said(address, client):
    assert client.ask(address).status == 404
    assert client.ask("/a/near/..%2f/map").status in {400, 404}
