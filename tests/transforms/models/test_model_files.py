from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import boto3
import pytest

from heatbeam.transforms import explain
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import load_failures, model_files
from tests.support import counted_files, paths, s3_server

ROOT = paths.ROOT
PROCESSES = 3

_COPY = """
import sys
from apache_beam.io import filesystems
from apache_beam.options import pipeline_options
from heatbeam.transforms.models.files import model_files
from tests.support import counted_files
filesystems.FileSystems.set_options(pipeline_options.PipelineOptions(sys.argv[2:]))
sys.stdout.write(model_files.local_copy(sys.argv[1]))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch) -> pathlib.Path:
    """A machine of its own: an empty folder for temporary files."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv(counted_files.JOURNAL, str(tmp_path / "journal"))
    return folder


def _copies(path: str, *options: str, **environment: str) -> list[str]:
    """What `local_copy` gives in several processes that start together."""
    command = [sys.executable, "-c", _COPY, path, *options]
    where = {**os.environ, **environment}
    started = [
        subprocess.Popen(command, cwd=ROOT, env=where, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    return [process.communicate(timeout=120)[0] for process in started]


def test_local_path_stays(tmp_path):
    assert model_files.local_copy(str(tmp_path / "model.keras")) == str(tmp_path / "model.keras")


def test_processes_of_a_machine_share_one_download(tmp_path, machine):
    original = tmp_path / "model.keras"
    original.write_bytes(os.urandom(3_000_000))
    (copy, *others) = _copies(f"counted://{original}")
    assert others == [copy] * (PROCESSES - 1)
    assert copy.startswith(str(machine)) and copy.endswith(".keras")
    assert pathlib.Path(copy).read_bytes() == original.read_bytes()
    assert len((tmp_path / "journal").read_text().splitlines()) == 1


def test_changed_file_is_fetched_again(tmp_path, machine):
    original = tmp_path / "model.keras"
    original.write_bytes(b"first")
    first = model_files.local_copy(f"counted://{original}")
    assert model_files.local_copy(f"counted://{original}") == first
    original.write_bytes(b"second")
    second = model_files.local_copy(f"counted://{original}")
    assert pathlib.Path(first).read_bytes() == b"first" and pathlib.Path(second).read_bytes() == b"second"
    assert len((tmp_path / "journal").read_text().splitlines()) == 2


def test_broken_download_is_not_taken_for_the_file(tmp_path, machine, monkeypatch):
    original = tmp_path / "model.keras"
    original.write_bytes(b"whole")

    def broken(*_: object) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr("heatbeam.transforms.models.files.model_files.shutil.copyfileobj", broken)
        with pytest.raises(OSError, match="connection lost"):
            model_files.local_copy(f"counted://{original}")
    assert pathlib.Path(model_files.local_copy(f"counted://{original}")).read_bytes() == b"whole"


def test_the_folder_of_a_saved_model_comes_whole(tmp_path, machine):
    folder = tmp_path / "net"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / name).write_bytes(name.encode())
    copy = pathlib.Path(model_files.local_copy(f"counted://{folder}/"))
    assert copy.is_relative_to(machine)
    found = {str(file.relative_to(copy)): file.read_bytes().decode() for file in copy.rglob("*") if file.is_file()}
    assert set(found) == {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}
    assert all(name == inside for name, inside in found.items())
    assert model_files.local_copy(f"counted://{folder}") == str(copy)
    (folder / "variables" / "variables.index").write_bytes(b"another")
    assert model_files.local_copy(f"counted://{folder}") != str(copy)


def test_errors_name_what_was_given(tmp_path, machine):
    (tmp_path / "model.keras").write_bytes(b"<!doctype html>")
    given = f"counted://{tmp_path / 'model.keras'}"
    spec = specs.EngineSpec(model=model_source.ModelSource(path=given))
    with pytest.raises(load_failures.ModelError) as raised:
        explain.acquire_engine(spec)
    copy = model_files.local_copy(given)
    assert str(raised.value).startswith(f"model.path {given} (copied to {copy}) is a web page")


def test_missing_file_is_named(tmp_path, machine):
    with pytest.raises(model_files.ModelFileError, match=r"none.keras does not exist"):
        model_files.local_copy(f"counted://{tmp_path / 'none.keras'}")


def test_model_on_s3_is_fetched_once_per_machine(tmp_path, machine):
    """Against moto's server on loopback, through Beam's own S3 file system."""
    log = tmp_path / "server.log"
    with s3_server.running(log) as url:
        client = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket="models")
        content = os.urandom(2_000_000)
        client.put_object(Bucket="models", Key="audit/model.keras", Body=content)
        copies = _copies("s3://models/audit/model.keras", f"--s3_endpoint_url={url}", **s3_server.KEYS)
    assert len(set(copies)) == 1 and pathlib.Path(copies[0]).read_bytes() == content
    # Every process looks at the object (HEAD, list); its bytes travel once, however many ranges they are read in.
    ranges = [line for line in log.read_text().splitlines() if "GET /models/audit/model.keras" in line]
    assert 1 <= len(ranges) < PROCESSES
