"""The whole job inside another pipeline: the rows of a run, steps in the place of its own, errors before the start."""

from __future__ import annotations

import json
import pathlib

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing import util

import heatbeam
from heatbeam import config
from heatbeam.transforms import decode, records
from tests.support import keras_models, small_runs

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
MODEL = {"path": keras_models.GAP, "preprocessing": "tf"}
EXPLAIN = {"methods": ["cam"], "batch_size": 8}
EVALUATE = {"slices": ["camera", "size"], "replicates": 20}


def data(folder: pathlib.Path) -> str:
    """Six images and a record that is none."""
    broken = small_runs.record(6, **{"image/encoded": [b"no image"]})
    return small_runs.write(folder / "data", [*(small_runs.record(i) for i in range(6)), broken], 2)


def source(pattern: str) -> dict[str, str]:
    return {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"}


def as_json(row) -> str:
    """Numbers to ten digits: sums are added in any order."""
    return json.dumps({k: float(f"{v:.10g}") if isinstance(v, float) else v for k, v in row.items()}, sort_keys=True)


def written(folder: pathlib.Path, name: str) -> list[dict]:
    return [json.loads(line) for path in sorted(folder.glob(f"{name}-*")) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A run's directory, and what the transform gave of the same data, as files of JSON lines."""
    where = tmp_path_factory.mktemp("dataset")
    pattern = data(where)
    settings = small_runs.settings(
        pattern, where / "run", "explain.methods=[cam]", "output.max_dead_letter_ratio=0.5", "output.journal=false"
    )
    small_runs.run_quietly(settings)
    with beam.Pipeline(runner=RUNNER) as pipeline:
        explained = pipeline | heatbeam.ExplainDataset(
            input=source(pattern), model=MODEL, explain=EXPLAIN, evaluate=EVALUATE, form="dict"
        )
        for name in ("rows", "summary", "curves", "dead_letters"):
            lines = explained[name] | f"Json_{name}" >> beam.Map(as_json)
            _ = lines | f"Write_{name}" >> beam.io.WriteToText(str(where / name))
    return where


@pytest.mark.parametrize(
    ("name", "table"),
    [("rows", "explanations"), ("summary",) * 2, ("curves",) * 2, ("dead_letters",) * 2],
)
def test_rows_are_those_of_a_run(folder, name, table):
    found = heatbeam.RunDirectory(str(folder / "run")).open_table(table).to_table().drop_columns(["run_id"])
    expected = [json.loads(as_json(row)) for row in found.to_pylist()]
    assert len(expected) == {"rows": 12 - same_choices(found)}.get(name, len(expected)) > 0
    assert sorted(map(as_json, written(folder, name))) == sorted(map(as_json, expected))


def same_choices(table) -> int:
    """Images whose first choice is their label: they have one row, not two."""
    if "targets" not in table.column_names:
        return 0
    return sum(len(reasons) == 2 for reasons in table["targets"].to_pylist())


class OnlyFirst(beam.PTransform):
    """In the place of decoding: the first image alone, upside down."""

    def __init__(self, own: beam.PTransform):
        super().__init__()
        self._own = own

    def expand(self, encoded):
        chosen = encoded | beam.Filter(lambda one: one.image_id == "image0000")
        decoded = chosen | self._own
        turned = decoded[decode.MAIN_TAG] | beam.Map(upside_down).with_output_types(records.Example)
        return {decode.MAIN_TAG: turned, records.DEAD_LETTER_TAG: decoded[records.DEAD_LETTER_TAG]}


def upside_down(example: records.Example) -> records.Example:
    return records.Example(example.source, np.ascontiguousarray(example.image[::-1]), example.ground_truth)


def test_a_step_takes_the_place_of_its_own(tmp_path):
    options = heatbeam.ImageOptions(height=64, width=64, decoder="pillow", resampler="pillow")
    with beam.Pipeline(runner=RUNNER) as pipeline:
        explained = pipeline | heatbeam.ExplainDataset(
            input=source(data(tmp_path)),
            model=MODEL,
            explain={**EXPLAIN, "targets": [0]},
            steps={"decode": OnlyFirst(heatbeam.Decode(options))},
        )
        keys = explained["rows"] | beam.Map(lambda row: (row.image_id, row.method, row.class_id))
        util.assert_that(keys, util.equal_to([("image0000", "cam", 0)]))


def test_what_is_wrong_is_said_as_of_a_run():
    with pytest.raises(config.ConfigError) as caught:
        heatbeam.ExplainDataset(input={"tfrecord": "x", "resise": "crop"}, model=MODEL, explain={"methods": ["cma"]})
    assert "input.resise" in str(caught.value) and "resize" in str(caught.value) and "cma" in str(caught.value)
    missing = heatbeam.ExplainDataset(input={"tfrecord": "nowhere-*.tfrecord"}, model=MODEL)
    with pytest.raises(config.ConfigError, match="nowhere"):
        _ = beam.Pipeline(runner=RUNNER) | missing


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "give either settings or the sections input, model, explain, evaluate"),
        ({"settings": "audit.yaml", "input": {}}, "give either settings or the sections"),
        ({"inputs": {}}, "there is no inputs; steps are read, decode, explain, localize, aggregate"),
        ({"input": {}, "steps": {"write": beam.Map(str)}}, "there is no write; steps are read"),
        ({"settings": "audit.yaml", "form": "csv"}, "form is 'csv'; expected one of row, dict, arrow"),
    ],
)
def test_arguments_that_say_nothing_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        heatbeam.ExplainDataset(**arguments)
