from __future__ import annotations

import json
import pathlib
import re

import apache_beam as beam
import pytest
import yaml
from apache_beam.yaml import yaml_transform

import heatbeam
from heatbeam import cli, config
from heatbeam.listing import lists
from tests.support import keras_models, paths, small_runs

MOST_LINES = 200


def text_of(name: str) -> str:
    return (paths.ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("transforms/methods/README.md", "methods"),
        ("transforms/metrics/README.md", "metrics"),
        ("configs/README.md", "settings"),
    ],
)
def test_tables_are_what_the_program_prints(name, command, capsys):
    assert cli.main([command, "--markdown"]) == 0
    table = capsys.readouterr().out
    assert table in text_of(name), f"{name} is out of date: put in what `heatbeam {command} --markdown` prints"


def test_the_configuration_it_shows_is_valid():
    (shown,) = (
        block for block in re.findall(r"```yaml\n(.*?)```", text_of("README.md"), re.DOTALL) if "\ninput:" in block
    )
    settings = config.parse(shown)
    assert [m.label for m in settings.explain.methods] == ["cam", "grad_cam", "score_cam"]


def test_the_configuration_of_a_series_is_valid():
    (shown,) = re.findall(r"```yaml\n(.*?)```", text_of("transforms/README.md"), re.DOTALL)
    array = config.parse(shown).input.array
    assert (array.rank, array.axes[0].step, array.fit) == (1, 0.004, ("pad_or_crop",))


def test_the_first_page_is_read_to_its_end():
    assert len(text_of("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", paths.READMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(name)):
        if "://" not in target:
            assert ((paths.ROOT / name).parent / target).exists(), target


def test_every_setting_says_what_it_is():
    silent = [path for path, _, _, text in lists.every_setting() if not text]
    assert not silent


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory) -> pathlib.Path:
    """Three images, a record that is none and an untrained model of the demo's size, named as `make demo` does."""
    folder = tmp_path_factory.mktemp("pipelines")
    data = folder / "runs" / "demo_data"
    broken = small_runs.record(3, **{"image/encoded": [b"no image"]})
    small_runs.write(data, [*(small_runs.record(i) for i in range(3)), broken], 1)
    (data / "data-00000-of-00001.tfrecord").rename(data / "validation-0.tfrecord")
    keras_models.classifier(classes=5, size=96).save(data / "model.keras")
    return folder


def lines_of(folder: pathlib.Path, name: str) -> list[str]:
    return [line for path in sorted((folder / "runs").glob(f"{name}-*")) for line in path.read_text().splitlines()]


def test_the_pipelines_it_shows_run(demo_data, monkeypatch, capsys):
    """As they stand there."""
    bigquery, own_steps, inference = re.findall(r"```python\n(.*?)```", text_of("transforms/README.md"), re.DOTALL)
    monkeypatch.chdir(demo_data)

    def run(shown: str) -> dict:
        names = {"__name__": "shown"}
        exec(compile(shown, "README.md", "exec"), names)  # noqa: S102 - our own page
        return names

    schema = run(bigquery)["to_rows"].bigquery_schema(
        run_schema := heatbeam.ExplainDataset(
            input={"tfrecord": "x"}, model={"path": "y"}, explain={"methods": ["grad_cam"], "targets": ["predicted"]}
        ).schema
    )
    rows = [json.loads(line) for line in lines_of(demo_data, "bigquery")]
    assert {row["image_id"] for row in rows} == {"image0000", "image0001", "image0002"}
    modes = {field["name"]: field["mode"] for field in schema["fields"]}
    assert list(modes) == run_schema.names
    for row in rows:
        assert row.keys() == modes.keys()
        assert all(isinstance(row[name], list) == (mode == "REPEATED") for name, mode in modes.items())
        assert not [name for name, mode in modes.items() if mode == "REQUIRED" and row[name] is None]
    assert [json.loads(line)["error_type"] for line in lines_of(demo_data, "not_explained")] == ["corrupt_image"]

    run(own_steps)
    assert {line.split("'")[1] for line in lines_of(demo_data, "least_sure")} == {"image0000", "image0002"}
    assert "corrupt_image" not in capsys.readouterr().out  # an odd record

    run(inference)
    assert sorted(line.split()[0] for line in lines_of(demo_data, "hottest")) == [f"image{i}" for i in range(5)]


def test_the_pipeline_in_beam_yaml_runs(demo_data, monkeypatch):
    for old in (demo_data / "runs").glob("least_sure-*"):
        old.unlink()
    monkeypatch.chdir(demo_data)
    shown = yaml.safe_load(text_of("configs/beam_yaml.yaml"))
    with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        yaml_transform.expand_pipeline(pipeline, yaml.safe_dump(shown))
    assert [line.split()[0] for line in sorted(lines_of(demo_data, "least_sure"))] == [f"image000{i}" for i in range(3)]
    assert lines_of(demo_data, "lost") == ["image0003 corrupt_image"]
