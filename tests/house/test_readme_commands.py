"""The commands that the README files show, run as they stand there, over a few drawn images."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest
import uvicorn

from heatbeam import cli
from tests.prepare import drawn_images
from tests.support import keras_models, paths, small_runs

_CLUSTERS = ("configs/flink.yaml", "configs/dataflow.yaml", "runner.name=portable", "heatbeam finish gs://")
"""In commands for what a test has not got. They are run by hand, or are not, as the page says beside them."""

_PLACEHOLDERS = {
    "RUN": "runs/flowers", "DIR": "datasets", "BASELINE": "runs/old", "CANDIDATE": "runs/flowers", "ROOT": "runs",
    "GATE.yaml": "configs/gate.yaml", "FILE": "out.html", "FILE.parquet": "pairs.parquet",
    "/data/audits": "runs", "runs/2026-11-15": "runs/old", "runs/audit": "runs/flowers",
}  # fmt: skip


def _blocks(name: str, language: str) -> list[str]:
    """The code blocks of a page that are in `language`; empty for those that name none."""
    blocks = re.findall(
        r"^```(\w*)\n(.*?)^```$", (paths.ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [block for named, block in blocks if named == language]


def _commands() -> list[tuple[str, str]]:
    """Every line of a code block that starts with ``heatbeam``, its continuations joined, and the page it stands on."""
    found = []
    for page in paths.READMES:
        for block in _blocks(page, ""):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(page, line) for line in lines if line.startswith("heatbeam ")]
    return found


COMMANDS = [(page, line) for page, line in _commands() if not any(mark in line for mark in _CLUSTERS)]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    """A folder as the first page describes it: ``audit.yaml`` as shown there with data and model of ours, and a run."""
    folder = tmp_path_factory.mktemp("project")
    small_runs.write(folder / "data", [small_runs.record(i) for i in range(12)], 1)
    for number in range(4):
        drawn_images.draw(folder / "photos" / f"flower {number % 2}" / f"{number}.jpg", seed=number)
    (folder / "configs").mkdir()
    for gate in ("gate.yaml", "gate_sequential.yaml"):
        (folder / "configs" / gate).write_text((paths.ROOT / "configs" / gate).read_text())
    (folder / "class_names.txt").write_text("".join(f"flower {i}\n" for i in range(10)))
    (shown,) = (block for block in _blocks("README.md", "yaml") if "\ninput:" in block)
    shown = re.sub(r"tfrecord: \S+", f"tfrecord: {folder}/data/*.tfrecord", shown)
    shown = re.sub(r"path: gs:\S+", f"path: {keras_models.GAP}", shown)
    (folder / "audit.yaml").write_text(shown)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for run in ("old", "flowers"):
            methods = "[cam, grad_cam]"
            arguments = [
                "run",
                "audit.yaml",
                "--set",
                f"output.directory=runs/{run}",
                "--no-report",
                "--set",
                f"explain.methods={methods}",
            ]
            assert cli.main(arguments) == 0
    return folder


def _arguments(line: str, number: int) -> list[str]:
    """The words of a command after ``heatbeam``: without its comment, options in brackets as given, names filled in."""
    words = shlex.split(re.sub(r"[\[\]]", "", line), comments=True)[1:]
    words = [_PLACEHOLDERS.get(word, word) for word in words]
    if words[0] == "run":  # each into a directory of its own
        words += ["--set", f"output.directory=runs/again{number}", "--no-report"]
    if words[0] == "shards":
        words[words.index("--out") + 1] = f"shards{number}"
    if words[0] == "init":  # over what the project has, beside the configuration that is shown
        data = ["--data", "data/*.tfrecord", "--model", keras_models.GAP, "--class-names", "class_names.txt"]
        words = ["init", *data, "-o", f"first{number}.yaml"]
    if words[0] == "export":
        words[words.index("--to") + 1] = f"dataset{number}"
    if words[0] == "explore":
        words += ["--no-browser", "--port", "0"]
    return words


@pytest.mark.parametrize(
    ("page", "line", "number"),
    [(*command, number) for number, command in enumerate(COMMANDS)],
    ids=[f"{page}-{' '.join(line.split()[1:3])}-{number}" for number, (page, line) in enumerate(COMMANDS)],
)
def test_the_command_runs(project, monkeypatch, page, line, number, capsys):
    monkeypatch.chdir(project)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)  # it would wait for Ctrl-C
    status = cli.main(_arguments(line, number))
    # A gate may fail, and a check may find that maps of an untrained network are sick; what is shown is how to ask.
    assert status == 0 or (status == 1 and ("--gate" in line or " check " in line)), capsys.readouterr().err


def test_what_is_not_run_is_about_clusters():
    left = [line for page, line in _commands() if (page, line) not in COMMANDS]
    assert left and all("--" in line or "finish" in line for line in left)
