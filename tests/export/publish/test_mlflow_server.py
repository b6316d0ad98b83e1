"""Publishing to a real MLflow server on this machine; in an environment of its own (``make test-integrations``)."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from heatbeam import cli
from tests.support import paths

pytestmark = pytest.mark.integration

RUNS = paths.ROOT / "build" / "integrations" / "runs"
VERDICT = {
    "format": "heatbeam-verdict", "verdict": "pass", "counts": {"pass": 3, "fail": 0, "inconclusive": 0}, "checks": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Its address."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/health", process, folder / "log")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen, log: pathlib.Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text())


def test_a_run_is_there_once_with_its_numbers_settings_tags_and_files(server, tmp_path, capsys):
    import mlflow

    (tmp_path / "verdict.json").write_text(json.dumps(VERDICT))
    arguments = ["publish", str(RUNS / "monday"), "--mlflow", server, "--verdict", str(tmp_path / "verdict.json")]
    assert cli.main(arguments) == 0
    first = capsys.readouterr().out
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == first and first.endswith(" in heatbeam\n")

    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name("heatbeam")
    (found,) = client.search_runs([experiment.experiment_id])
    manifest = json.loads((RUNS / "monday" / "manifest.json").read_text())
    assert found.info.status == "FINISHED" and found.info.run_name == "monday"
    assert found.data.tags["heatbeam.run_id"] == manifest["run_id"]
    assert found.data.tags["heatbeam.model_digest"] == manifest["model"]["digest"]
    assert found.data.tags["heatbeam.verdict"] == "pass"
    assert found.data.params["model.preprocessing.mode"] == "tf"
    assert found.data.metrics["counts/images_explained"] == 6 and found.data.metrics["verdict/pass"] == 3
    number = found.data.metrics["pointing_game/grad_cam"]
    assert found.data.metrics["pointing_game/grad_cam.lower"] <= number
    assert len(client.get_metric_history(found.info.run_id, "pointing_game/grad_cam")) == 1
    names = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert names == {"manifest.json", "report.html", "verdict.json", "model_card.md"}
    copied = pathlib.Path(client.download_artifacts(found.info.run_id, "report.html", str(tmp_path)))
    assert copied.read_bytes() == (RUNS / "monday" / "report.html").read_bytes()


def test_a_run_that_shares_nothing_is_another(server, capsys):
    import mlflow

    for name in ("monday", "tuesday", "monday"):
        assert cli.main(["publish", str(RUNS / name), "--mlflow", server, "--experiment", "both"]) == 0
    client = mlflow.MlflowClient(server)
    found = client.search_runs([client.get_experiment_by_name("both").experiment_id])
    assert sorted(one.info.run_name for one in found) == ["monday", "tuesday"]


def test_a_server_that_is_not_there_is_told_in_one_line(monkeypatch):
    program = "from heatbeam import process; raise SystemExit(process.start())"
    command = [sys.executable, "-c", program, "publish", str(RUNS / "monday"), "--mlflow", "http://127.0.0.1:9"]
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "cannot publish to MLflow at http://127.0.0.1:9: " in done.stderr


def test_hubs_read_the_metadata_block(tmp_path):
    import huggingface_hub

    card = tmp_path / "README.md"
    assert cli.main(["publish", str(RUNS / "monday"), "--model-card", str(card)]) == 0
    read = huggingface_hub.ModelCard.load(card).data
    assert (read.library_name, read.pipeline_tag, read.model_name) == ("keras", "image-classification", "tiny_gap")
    results = {(one.metric_type, one.metric_name): one.metric_value for one in read.eval_results}
    assert ("accuracy", "Top-1 accuracy") in results and ("pointing_game", "Pointing game of grad_cam") in results
    assert {one.task_type for one in read.eval_results} == {"image-classification"}
