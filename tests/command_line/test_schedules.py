"""The schedules of ``configs``: the line of cron in a shell, the DAG in a local Airflow, the workflow by actionlint.

A stand-in for ``heatbeam`` says how it was called and ends as it is told to; whether the real one takes such a call is
asked of its parser. Airflow and actionlint are in environments of their own (``make test-integrations``).
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from heatbeam import cli
from tests.support import paths

CONFIGS = paths.ROOT / "configs"
INTEGRATIONS = paths.ROOT / "build" / "integrations"
CRON = (CONFIGS / "crontab").read_text(encoding="utf-8").splitlines()[-1]
WORKFLOW = (CONFIGS / "github_workflow.yml").read_text(encoding="utf-8")
DAG = (CONFIGS / "airflow_dag.py").read_text(encoding="utf-8")

_STAND_IN = """#!/bin/sh
echo "$@" >> "{folder}/calls"
echo "heatbeam $1 was here"
test "$1" != "{failing}"
"""


def stand_in(program: pathlib.Path, folder: pathlib.Path, failing: str = "") -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_STAND_IN.format(folder=folder, failing=failing))
    program.chmod(0o755)


def calls(folder: pathlib.Path) -> list[str]:
    return [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize("text", [CRON, WORKFLOW, DAG], ids=["cron", "workflow", "dag"])
def test_heatbeam_takes_the_calls(text):
    found = re.findall(r"\bheatbeam ((?:run|history|compare) [^&'\n]*(?:\n +--[^\n]*)?)", text)
    assert len(found) >= 2
    for call in found:
        options = cli._parser().parse_args(shlex.split(call.replace('"', "").rstrip(",)")))
        assert options.command in cli.COMMANDS


def test_the_first_page_shows_the_line_of_cron():
    assert f"\n{CRON}\n" in (paths.ROOT / "README.md").read_text(encoding="utf-8")


def cron_ran(folder: pathlib.Path, failing: str) -> str:
    """What the mail said; empty without one. The line is run as cron does, by ``sh`` in a bare environment."""
    if shutil.which("flock") is None:
        pytest.skip("flock (util-linux) is not here")
    stand_in(folder / ".venv" / "bin" / "heatbeam", folder, failing)
    mail = folder / "bin" / "mail"
    mail.parent.mkdir()
    mail.write_text(f'#!/bin/sh\necho "$@" > "{folder}/mail"\ncat >> "{folder}/mail"\n')
    mail.chmod(0o755)
    line = re.sub(r"^(\S+ +){5}", "", CRON).replace("/srv/audit", str(folder))
    subprocess.run(["sh", "-c", line], env={"PATH": f"{mail.parent}:{os.defpath}"}, timeout=60, check=True)
    return (folder / "mail").read_text() if (folder / "mail").exists() else ""


def test_cron_runs_and_compares_without_a_word(tmp_path):
    assert cron_ran(tmp_path, failing="nothing") == ""
    assert calls(tmp_path) == ["run", "compare"]


@pytest.mark.parametrize(("failing", "called"), [("run", ["run"]), ("compare", ["run", "compare"])])
def test_cron_mails_the_log_where_a_run_or_the_gate_fails(tmp_path, failing, called):
    assert cron_ran(tmp_path, failing).splitlines() == [
        "-s heatbeam audit failed team@example.com", *(f"heatbeam {one} was here" for one in called)
    ]  # fmt: skip
    assert calls(tmp_path) == called


def test_the_commands_of_the_workflow_run_in_its_order(tmp_path):
    stand_in(tmp_path / ".venv" / "bin" / "heatbeam", tmp_path)
    steps = [step["run"] for step in yaml.safe_load(WORKFLOW)["jobs"]["audit"]["steps"] if "run" in step]
    for step in steps[1:]:  # the first installs
        subprocess.run(["bash", "-e", "-c", step], cwd=tmp_path, timeout=60, check=True)
    assert calls(tmp_path) == ["run", "compare"]


@pytest.mark.integration
def test_actionlint_has_nothing_to_say(tmp_path):
    program = INTEGRATIONS / "actionlint"
    if not program.exists():
        pytest.skip("actionlint is not here; make test-integrations builds it where Go is")
    workflow = tmp_path / "audit.yml"
    workflow.write_text(WORKFLOW)
    done = subprocess.run([program, "-no-color", workflow], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.integration
def test_airflow_runs_the_tasks_one_after_the_other(tmp_path):
    programs = INTEGRATIONS / "airflow" / "bin"
    stand_in(tmp_path / "bin" / "heatbeam", tmp_path)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "audit.py").write_text(DAG)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{programs}:{os.environ['PATH']}", "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }  # fmt: skip
    for command in (["db", "migrate"], ["dags", "test", "heatbeam_audit", "2026-01-05"]):
        done = subprocess.run(
            [programs / "airflow", *command], env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        "run /srv/audit/audit.yaml",
        "history /data/audits --keep 12",
        "compare --newest /data/audits --gate /srv/audit/gate.yaml --html /srv/audit/2026-01-05.html",
    ]
