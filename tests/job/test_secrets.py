"""What a run leaves and says holds no secret, wherever it was given."""

from __future__ import annotations

import json
import logging
import pathlib
import subprocess
import sys

import pytest
import yaml

from heatbeam import cli
from heatbeam.report import report
from heatbeam.runs import run_directory, settings_diff
from tests.support import manifests, small_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> run_directory.RunDirectory:
    folder = tmp_path_factory.mktemp("secrets")
    pattern = small_runs.write(folder / "data", [small_runs.record(i) for i in range(3)], 1)
    options = '["--s3_secret_access_key=HUSH1", "--s3_session_token", "HUSH2", "--project=my-project"]'
    settings = small_runs.settings(
        pattern, folder / "run", "explain.methods=[cam]", f"runner.options={options}", "runner.workers=1"
    )
    return small_runs.run_quietly(settings, "--s3_access_key_id=HUSH3")


def texts(folder: str) -> list[tuple[str, str]]:
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    return [(path.name, path.read_bytes().decode("latin-1")) for path in files]


def test_no_file_of_a_run_holds_a_secret_that_was_an_option(finished):
    report.write_report(finished.path)
    found = texts(finished.path)
    assert {"manifest.json", "report.html"} <= {name for name, _ in found}
    assert not [name for name, text in found if "HUSH" in text]
    manifest = finished.read_manifest()
    assert manifest.config.runner.options == ("--s3_secret_access_key=...", "--s3_session_token", "...",
                                              "--project=my-project")  # fmt: skip
    assert manifest.beam_options[-1] == "--s3_access_key_id=..."
    assert "--project=my-project" in dict(found)["manifest.json"]


def test_a_manifest_of_an_older_heatbeam_is_shown_without_them(finished, tmp_path):
    document = json.loads((pathlib.Path(finished.path) / "manifest.json").read_text())
    document["config"]["runner"]["options"] = ["--s3_secret_access_key=HUSH"]
    document["config"]["input"]["tfrecord"] = ["/nowhere/a-*?access_token=HUSH"]
    document["beam_options"] = ["--s3_session_token", "HUSH"]
    path = pathlib.Path(finished.path) / "manifest.json"
    before = path.read_text()
    path.write_text(json.dumps(document))
    page = pathlib.Path(report.write_report(finished.path)).read_text()
    path.write_text(before)
    assert "HUSH" not in page and "/nowhere/a-*?access_token=..." in page


def test_a_failure_is_written_down_without_them(tmp_path):
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    directory.create(manifests.manifest(), overwrite=False)
    error = "OSError: GET https://h/x?X-Amz-Signature=HUSH\nCaused by: password=HUSH"
    directory.fail(manifests.manifest(error=error))
    assert "HUSH" not in (tmp_path / "run" / "manifest.json").read_text()


def test_settings_that_differ_are_shown_without_them():
    one, other = (manifests.manifest(beam_options=[f"--password=HUSH{i}", f"--zone={i}"]) for i in range(2))
    (found,) = settings_diff.differences(one, other)
    assert found.baseline == ["--password=...", "--zone=0"]


@pytest.mark.parametrize(
    "options",
    [
        ["--s3_secret_acess_key=HUSH"],
        ["--s3_secret_acess_key", "HUSH"],
        ["--passwrd", "HUSH", "--num_workers=x"],
        ["--num_workers=x", "--password=HUSH"],
    ],
)
def test_an_error_about_options_names_them_without_their_values(tmp_path, capsys, options):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0)], 1)
    settings = small_runs.settings(pattern, tmp_path / "run")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(json.loads(settings.model_dump_json())))
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--", *options]) == 2
    said = capsys.readouterr().err
    assert "Beam option" in said and "HUSH" not in said


def test_whatever_is_logged_is_logged_without_them(capsys):
    with cli._shown_safely():
        handler = logging.StreamHandler(sys.stderr)
        logger = logging.getLogger("heatbeam.tests.secrets")
        logger.propagate = False
        logger.addHandler(handler)
        logger.warning("retrying %s", "https://me:HUSH@host/x?sig=HUSH")
        logger.removeHandler(handler)
    assert capsys.readouterr().err == "retrying https://...@host/x?sig=...\n"


def test_a_traceback_is_shown_without_them():
    code = "import sys; from heatbeam import process; sys.excepthook = process._show_traceback\n"
    code += "raise RuntimeError('PUT s3://u:' + 'HUSH' + '@b/x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RuntimeError: PUT s3://...@b/x" in done.stderr and "HUSH@" not in done.stderr
