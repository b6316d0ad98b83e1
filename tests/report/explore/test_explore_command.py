"""``heatbeam explore`` as a command, and runs that lie elsewhere or are old."""

from __future__ import annotations

import importlib.util
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from pyarrow import fs as pafs

from heatbeam import cli
from heatbeam.explore import commands
from heatbeam.explore import table as tables
from heatbeam.runs import run_directory
from tests.report.explore import explorers
from tests.support import paths, report_runs

PLAN = report_runs.Plan(classes=("ant", "bee"), images=3, shard=False)
KEY_ORDER = "ORDER BY image_id, method, class_id"


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    return report_runs.write(tmp_path_factory.mktemp("command"), PLAN)


def test_it_prints_its_address_first_answers_there_and_ends_by_ctrl_c(run_path):
    command = [sys.executable, "-m", "heatbeam", "explore", run_path, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:") and "/?open=" in address
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(address, timeout=60) as answer:
            assert answer.status == 200 and b"heatbeam" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.partition("/?")[0], timeout=60)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == ("", 130)
    assert "Traceback" not in err and "Ctrl-C" in err


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys, run_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "starlette" else find(name))
    assert cli.main(["explore", run_path]) == 2
    assert capsys.readouterr().err == "explore needs starlette; pip install 'heatbeam[explore]'\n"


def test_the_command_line_needs_nothing_of_the_extra():
    program = "import sys, heatbeam.cli\nprint([m for m in ('starlette', 'uvicorn', 'duckdb') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_port_that_is_taken_is_said_and_the_usual_one_gives_way(run_path, capsys):
    from heatbeam.explore import server

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["explore", run_path, "--port", str(port), "--no-browser"]) == 2
        assert f"--port {port} cannot be used" in capsys.readouterr().err
        with server.listening(None, port) as other:
            assert other.getsockname()[0] == "127.0.0.1" and other.getsockname()[1] not in {0, port}
    assert cli.main(["explore", run_path, "--port", "70000"]) == 2


def test_a_run_that_is_none_is_said_in_one_line(tmp_path, capsys):
    assert cli.main(["explore", str(tmp_path), "--no-browser", "--port", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert commands.EXPLORE.example.startswith("heatbeam explore")


def test_a_run_on_another_file_system_is_read_where_it_lies(run_path):
    root, _, name = run_path.rpartition("/")
    elsewhere = pafs.SubTreeFileSystem(root, pafs.LocalFileSystem())  # stands for an object store
    far = tables.Table(run_directory.RunDirectory(name, elsewhere))
    near = tables.Table(run_directory.RunDirectory(run_path))
    found = [one.select(("image_id", "probability", "heatmap"), KEY_ORDER) for one in (far, near)]
    assert found[0] == found[1] and len(found[0]) > 10
    place = found[0][5]["place"]
    rows = [one.rows_at([place], ("image_id", "heatmap"))[place] for one in (far, near)]
    assert rows[0]["heatmap"].tolist() == rows[1]["heatmap"].tolist() == found[0][5]["heatmap"]
    assert far.count("method = ?", ("cam",)) == near.count("method = ?", ("cam",)) > 0


OLD = sorted((paths.ROOT / "tests" / "runs" / "old" / "runs").glob("*/manifest.json"))


@pytest.mark.parametrize("manifest", OLD, ids=lambda path: path.parent.name)
def test_pages_of_runs_of_older_formats(manifest: pathlib.Path, tmp_path):
    client = explorers.Client(str(manifest.parent))
    page = client.page("/a/grid", sort="probability", order="desc")
    link = page.split('class="view" href="')[1].split('"')[0].replace("&amp;", "&")
    assert client.ask(link).status == 200
    assert client.ask("/a/summary").status == 200
    assert client.ask(page.split('class="heat" loading="lazy" src="')[1].split('"')[0]).status == 200
