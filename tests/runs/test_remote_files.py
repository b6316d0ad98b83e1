"""The life of a run on S3: moto's server on loopback, Beam's S3 file system in the job, pyarrow's in the commands."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import boto3
import botocore.loaders
import botocore.session
import numpy as np
import pytest
import yaml
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options
from pyarrow import parquet as pq

from heatbeam import cli
from heatbeam.runners import runner_options
from heatbeam.runs import remote_files, run_directory
from heatbeam.transforms import explain
from heatbeam.transforms.sources import files as stored_files
from tests.prepare import drawn_images
from tests.support import engine_specs, keras_models, s3_server, small_runs

BUCKET = "audit"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with s3_server.running(tmp_path_factory.mktemp("s3") / "server.log") as url:
        yield url


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    """A client of an empty bucket, in a process that has not used Beam's file systems yet."""
    for name, value in {**s3_server.KEYS, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(filesystems.FileSystems, "_pipeline_options", None)
    monkeypatch.chdir(tmp_path)  # where a folder called s3: would appear
    # Beam makes a session for each file, and a session reads what there is to know about S3: 0.1 s of CPU, 200 times.
    loader = botocore.loaders.create_loader()
    monkeypatch.setattr(botocore.session, "create_loader", lambda _: loader)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for name in keys(client):
        client.delete_object(Bucket=BUCKET, Key=name)
    client.delete_bucket(Bucket=BUCKET)


def keys(client, prefix: str = "") -> list[str]:
    """Names of the objects; pyarrow marks folders by empty ones that end in a slash."""
    return [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def files(client, prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in keys(client, prefix) if not key.endswith("/")}


def write_config(path: pathlib.Path, pattern: str, model: object, directory: str) -> str:
    text = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "model": {"path": str(model), "preprocessing": "tf"},
        "explain": {"methods": ["cam", "grad_cam"], "targets": ["label"], "batch_size": 8},
        "evaluate": {"slices": ["camera"], "replicates": 20},
        "output": {"directory": directory, "max_dead_letter_ratio": 0.2, "report": False},
        "runner": {"workers": 1},
    }
    path.write_text(yaml.safe_dump(text))
    return str(path)


def assert_same_run(remote: str, local: str) -> None:
    """Equal rows in every table."""
    one, other = run_directory.RunDirectory(remote), run_directory.RunDirectory(local)
    small_runs.assert_same_rows(small_runs.rows(one), small_runs.rows(other))
    mine, yours = small_runs.numbers(one), small_runs.numbers(other)
    assert mine.keys() == yours.keys() and len(mine) > 100
    for key, row in mine.items():
        assert row["n"] == yours[key]["n"]
        assert row["value"] == pytest.approx(yours[key]["value"], abs=1e-5, nan_ok=True), key
    for name in ("localizations", "curves", "dead_letters"):
        assert one.open_table(name).count_rows() == other.open_table(name).count_rows() > 0
    (lost,) = one.open_table("dead_letters").to_table().to_pylist()
    assert lost["image_id"] == "image0012" and lost["stage"] == "decode"
    counts = one.read_manifest().counts
    assert (counts.records_read, counts.images_explained, counts.dead_letters) == (13, 12, 1)


@pytest.mark.timeout(200)
@pytest.mark.long
def test_a_run_fails_resumes_is_read_overwritten_reused_and_removed_on_s3(s3, tmp_path, capsys):
    broken = small_runs.record(12, **{"image/encoded": [b"no image"]})
    pattern = small_runs.write(tmp_path / "data", [*map(small_runs.record, range(12)), broken], 2)
    for file in (tmp_path / "data").iterdir():
        s3.upload_file(str(file), BUCKET, f"data/{file.name}")
    s3.upload_file(str(keras_models.GAP), BUCKET, "models/gap.keras")
    local = write_config(tmp_path / "local.yaml", pattern, keras_models.GAP, str(tmp_path / "run"))
    remote = write_config(
        tmp_path / "remote.yaml", "s3://audit/data/*.tfrecord", "s3://audit/models/gap.keras", "s3://audit/runs/one"
    )
    one, run = "s3://audit/runs/one", str(tmp_path / "run")

    assert cli.main(["check", remote]) == 0
    assert not keys(s3, "runs/")
    # Too many lost: what was explained is kept, and the run goes on from there.
    assert cli.main(["run", remote, "--set", "output.max_dead_letter_ratio=0"]) == 1
    assert run_directory.RunDirectory(one).read_any_manifest().status == "failed"
    assert any(name.endswith(".arrow") for name in files(s3, "runs/one/unfinished/"))
    assert cli.main(["report", one]) == 2
    assert cli.main(["run", remote]) == 2
    assert "or resume it" in capsys.readouterr().err
    assert cli.main(["run", remote, "--resume", "--set", "output.report=true"]) == 0
    out = capsys.readouterr().out
    assert "(12 taken from an earlier run)" in out and f"  {one}/report.html\n" in out
    assert cli.main(["run", local]) == 0
    assert_same_run(one, run)
    tables = {f"{table}/part-00000-of-00001.parquet" for table in run_directory.TABLES}
    assert files(s3, "runs/one/") == {"manifest.json", "report.html", "label_suspects.parquet", *tables}

    _read_in_every_way(s3, one, run, tmp_path)
    capsys.readouterr()

    # Nothing of the report stays when the run is made anew.
    assert cli.main(["run", remote, "--set", "output.overwrite=true"]) == 0
    assert files(s3, "runs/one/") == {"manifest.json", *tables}
    assert_same_run(one, run)
    assert cli.main(["run", remote, "--set", "output.directory=s3://audit/runs/two", "--reuse", one]) == 0
    assert "(12 taken from an earlier run)" in capsys.readouterr().out
    assert_same_run("s3://audit/runs/two", run)

    assert cli.main(["compare", "--newest", "s3://audit/runs"]) == 0
    assert cli.main(["history", "s3://audit/runs", "--plot", "s3://audit/out/history.svg"]) == 0
    assert "2 finished runs" in capsys.readouterr().out
    assert b"<svg" in s3.get_object(Bucket=BUCKET, Key="out/history.svg")["Body"].read()
    assert cli.main(["history", "s3://audit/runs", "--keep", "1"]) == 0
    assert not keys(s3, "runs/one/") and files(s3, "runs/two/") == {"manifest.json", "decision.json", *tables}
    assert not (tmp_path / "s3:").exists()


def _read_in_every_way(s3, remote: str, local: str, folder: pathlib.Path) -> None:
    filesystems.FileSystems.set_options(None)  # as in a process of its own
    drawn = folder / "pictures"
    assert cli.main(["render", remote, "--to", str(drawn), "--limit", "2"]) == 0
    assert [one["with_image"] for one in json.loads((drawn / "index.json").read_text())["pictures"]] == [True, True]
    filesystems.FileSystems.set_options(None)
    assert cli.main(["report", remote]) == 0
    assert b"data:image/jpeg" in s3.get_object(Bucket=BUCKET, Key="runs/one/report.html")["Body"].read()
    exported = ["--format", "huggingface", "--limit", "2"]
    assert cli.main(["export", remote, "--to", str(folder / "exported"), *exported]) == 0
    assert cli.main(["export", remote, "--to", "s3://audit/exported", *exported]) == 2
    assert cli.main(["render", remote, "--to", "s3://audit/pictures"]) == 2

    gate = folder / "gate.yaml"
    gate.write_text(
        yaml.safe_dump({"min_n": 1, "rules": [{"metric": "pointing_game", "method": "grad_cam", "lower": 0.0}]})
    )
    out = {f"--{kind}": f"s3://audit/out/{kind}" for kind in ("html", "json", "pairs", "verdict", "junit")}
    written = [part for pair in out.items() for part in pair]
    assert cli.main(["compare", local, remote, "--gate", str(gate), *written]) == 0
    assert cli.main(["compare", remote, "--gate", str(gate)]) == 0
    assert files(s3, "out/") == {"html", "json", "pairs", "verdict", "junit"}
    pairs, _ = remote_files.filesystem_of("s3://audit/out")
    table = pq.read_table("audit/out/pairs", filesystem=pairs)
    assert len(table) == 12 * 2 and min(table["map_spearman"].to_pylist()) > 0.999


def test_beams_s3_options_reach_what_the_command_itself_reads(s3, server, tmp_path, capsys, monkeypatch):
    """The directory is made by pyarrow and the model looked for by Beam, neither of which the environment helps."""
    s3.put_object(Bucket=BUCKET, Key="data/a.tfrecord", Body=b"")
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = write_config(tmp_path / "c.yaml", "s3://audit/data/*", "s3://audit/none.keras", "s3://audit/runs/x")
    options = [f"--s3_endpoint_url={server}", "--s3_access_key_id=me", "--s3_secret_access_key", "geheim"]
    assert cli.main(["run", path, "--", *options]) == 2
    assert "model file s3://audit/none.keras does not exist" in capsys.readouterr().err
    written = s3.get_object(Bucket=BUCKET, Key="runs/x/manifest.json")["Body"].read().decode()
    assert json.loads(written)["status"] == "failed"
    assert server in written and "geheim" not in written and "=me" not in written


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("output.directory=s3://nowhere/x",), "s3://nowhere/x cannot be made: Bucket 'nowhere' not found"),
        (("output.directory=what://x/y",), "what://x/y cannot be reached"),
        (("input.tfrecord=s3://audit/none-*",), "s3://audit/none-*: no file matches"),
        (("model.class_names=s3://audit/none.txt",), "s3://audit/none.txt"),
    ],
)
def test_what_is_not_there_is_named(s3, tmp_path, capsys, settings, said):
    s3.put_object(Bucket=BUCKET, Key="data/a.tfrecord", Body=b"")
    path = write_config(tmp_path / "c.yaml", "s3://audit/data/*", keras_models.GAP, "s3://audit/runs/x")
    assert cli.main(["run", path, *(part for one in settings for part in ("--set", one))]) == 2
    assert said in capsys.readouterr().err


def test_run_whose_workers_would_write_elsewhere_is_refused(s3, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(filesystems.FileSystems, "exists", lambda path: False)
    s3.put_object(Bucket=BUCKET, Key="data/a.tfrecord", Body=b"")
    path = write_config(tmp_path / "c.yaml", "s3://audit/data/*", keras_models.GAP, "s3://audit/runs/x")
    assert cli.main(["run", path]) == 2
    assert "Beam cannot write there: it sees nothing there" in capsys.readouterr().err
    assert run_directory.RunDirectory("s3://audit/runs/x").read_any_manifest().status == "failed"


def test_weights_on_s3_are_read_as_what_they_are(s3, tmp_path):
    """Keras reads ``.weights.h5`` and ``.h5`` by two formats, so the local copy must keep the whole ending."""
    model = keras_models.small_factory()
    model.set_weights([weights + 1 for weights in model.get_weights()])
    model.save_weights(tmp_path / "a.weights.h5")
    s3.upload_file(str(tmp_path / "a.weights.h5"), BUCKET, "models/a.weights.h5")
    filesystems.FileSystems.set_options(pipeline_options.PipelineOptions([]))
    spec = engine_specs.spec(engine_specs.factory("small_factory"), engine_specs.method("grad_cam"))
    source = dataclasses.replace(spec.model, weights="s3://audit/models/a.weights.h5")
    engine, _ = explain.acquire_engine(dataclasses.replace(spec, model=source))
    for mine, yours in zip(engine.model.keras_model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_sizes_of_many_shards_are_one_question(s3, monkeypatch):
    for i in range(30):
        s3.put_object(Bucket=BUCKET, Key=f"many/data-{i:05d}", Body=b"x" * (i + 1))
    s3.put_object(Bucket=BUCKET, Key="many/data-00003-old", Body=b"x" * 1000)
    filesystems.FileSystems.set_options(pipeline_options.PipelineOptions([]))
    asked: list[str] = []
    original = filesystems.FileSystems.match

    def counted(patterns, limits=None):
        asked.extend(patterns)
        return original(patterns, limits)

    monkeypatch.setattr(filesystems.FileSystems, "match", counted)
    paths = [f"s3://audit/many/data-{i:05d}" for i in range(30)]
    assert sum(stored_files.sizes([*paths, "s3://audit/many/data-99999"]).values()) == sum(range(1, 31))
    assert asked == ["s3://audit/many/data-*"]


def test_environment_is_as_before_after_a_run(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://before")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    with runner_options.connected(["--s3_endpoint_url=http://given", "--s3_session_token=t"]):
        assert os.environ["AWS_ENDPOINT_URL"] == "http://given" and os.environ["AWS_SESSION_TOKEN"] == "t"
    assert os.environ["AWS_ENDPOINT_URL"] == "http://before" and "AWS_SESSION_TOKEN" not in os.environ


def test_shards_of_a_bucket_into_it_are_those_of_the_same_folder(s3, tmp_path, capsys):
    for number in range(4):
        name = f"photos/flower {number % 2}/{number}.jpg"
        s3.put_object(Bucket=BUCKET, Key=name, Body=drawn_images.draw(tmp_path / name, seed=number))
    to = ["--shards", "2", "--out"]
    assert cli.main(["shards", "photos", *to, "here"]) == 0
    assert cli.main(["shards", f"s3://{BUCKET}/photos", *to, f"s3://{BUCKET}/there"]) == 0
    assert "  s3://audit/there/images-*.tfrecord" in capsys.readouterr().out
    here = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir() if path.is_file()}
    there = {name: s3.get_object(Bucket=BUCKET, Key=f"there/{name}")["Body"].read() for name in here}
    said = json.loads(here.pop("shards.json")), json.loads(there.pop("shards.json"))
    assert here == there and len(here) == 3  # two shards and the names of the classes
    assert said[0] | {"source": f"s3://{BUCKET}/photos"} == said[1]
    assert {name for name in files(s3, "there/") if "/" not in name} == {*here, "shards.json"}
