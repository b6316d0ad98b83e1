from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import time

import pytest
import yaml

from heatbeam import cli
from heatbeam.demo import demo
from heatbeam.listing import lists
from heatbeam.transforms.methods import registry
from tests.support import paths, small_runs

ROOT = paths.ROOT


@pytest.fixture
def config_file(tmp_path) -> str:
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(3)], 1)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(small_runs.settings(pattern, tmp_path / "run").as_dict()))
    return str(path)


def test_run_prints_what_was_written_and_where(config_file, tmp_path, capsys):
    assert cli.main(["run", config_file, "--set", "explain.methods=[grad_cam]", "--set", "output.report=true"]) == 0
    shown = capsys.readouterr()
    assert "3 images explained, 0 skipped (no target), 0 dead letters" in shown.out
    assert str(tmp_path / "run" / "explanations") in shown.out
    assert f"  {tmp_path / 'run' / 'report.html'}\n" in shown.out
    assert "report written in" in shown.err
    assert "grad_cam" in (tmp_path / "run" / "report.html").read_text()
    assert cli.main(["run", config_file]) == 2  # the directory is taken
    assert "already holds a heatbeam run" in capsys.readouterr().err


def test_check_and_run_answer_in_json_alone(config_file, tmp_path, capsys):
    assert cli.main(["check", config_file, "--records", "2", "--set", "explain.methods=[grad_cam]", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["works"], found["problems"], found["lost"]) == (True, [], [])
    assert found["input"]["shards"] == 1
    assert found["methods"] == [{"name": "grad_cam", "forward_passes": 0, "head_passes": 0}]
    assert [(one["image_id"], one["label_ids"]) for one in found["records"]] == [("image0000", [0]), ("image0001", [1])]
    assert [one["method"] for one in found["maps"]] == ["grad_cam"] and found["maps"][0]["maps"] >= 2
    assert found["estimate"]["records"] == 3
    assert (found["machine"]["processes"], found["machine"]["launcher_too"]) == (1, False)

    arguments = ["run", config_file, "--set", "explain.methods=[grad_cam]", "--set", "output.report=true"]
    arguments += ["--no-report", "--json"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr()
    done = json.loads(shown.out)
    assert done["directory"] == str(tmp_path / "run") and done["status"] == "succeeded" and done["removed"] == []
    assert done["report"] is None and not (tmp_path / "run" / "report.html").exists()
    assert done["counts"] == {
        "records_read": 3, "images_explained": 3, "images_reused": 0, "images_skipped": 0, "dead_letters": 0, "lost": 0,
        "lost_is_estimate": False,
    }  # fmt: skip
    assert done["tables"]["explanations"]["rows"] >= 3
    assert done["model"]["digest"] == found["model"]["digest"]
    assert "opening the data and the model ..." in shown.err

    assert cli.main(arguments) == 2 and capsys.readouterr().out == ""
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] != done["run_id"]


def test_wrong_use_says_what_is_wrong_without_a_traceback(config_file, capsys):
    assert cli.main(["run", config_file, "--set", "explain.batch_size=none"]) == 2
    assert "explain.batch_size" in capsys.readouterr().err
    assert cli.main(["run", config_file, "--", "--direct_num_wokers=2"]) == 2
    assert "did you mean --direct_num_workers?" in capsys.readouterr().err
    assert cli.main(["run", "/nowhere.yaml"]) == 2
    assert "cannot read /nowhere.yaml" in capsys.readouterr().err
    assert cli.main(["run", config_file, "--set", "model.path=/nowhere.keras"]) == 2
    assert "model file /nowhere.keras does not exist" in capsys.readouterr().err


def test_a_failed_run_has_exit_status_1(config_file, tmp_path, capsys):
    (tmp_path / "data" / "data-00000-of-00001.tfrecord").write_bytes(b"")
    assert cli.main(["run", config_file]) == 1
    assert "no record was read" in capsys.readouterr().err


def test_methods_lists_the_whole_registry(capsys):
    assert cli.main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in (*registry.METHODS, *registry.WRAPPERS):
        assert name in out


def test_the_demo_configuration_in_the_repository_is_the_demos():
    written = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
    assert written == demo.config_text("runs/demo_data", "runs/demo")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configurations_in_the_repository_are_valid(path):
    from heatbeam import config

    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "input" in settings:  # gate.yaml is another kind
        config.parse(path.read_text(encoding="utf-8"))


@pytest.mark.long
def test_scheduled_runs_go_into_dated_directories_of_which_the_newest_are_kept(config_file, tmp_path, capsys):
    root = tmp_path / "audits"
    overrides = ["--set", "output.directory=null", "--set", f"output.root={root}", "--set", "output.keep=1"]
    for _ in range(2):
        assert cli.main(["run", config_file, "--set", "explain.methods=[grad_cam]", *overrides]) == 0
        time.sleep(1.1)  # directories are named by the second
    assert len(list(root.iterdir())) == 1
    assert "removed" in capsys.readouterr().out
    assert cli.main(["history", str(root)]) == 0
    assert "pointing_game" in capsys.readouterr().out


def test_a_run_compared_with_itself_passes_a_gate_of_changes(config_file, tmp_path, capsys):
    assert cli.main(["run", config_file, "--set", "explain.methods=[grad_cam]"]) == 0
    rules = tmp_path / "gate.yaml"
    rules.write_text("min_n: 1\nrules:\n  - {method: grad_cam, metric: pointing_game, lower: 0.0}\n")
    same = str(tmp_path / "run")
    files = ["--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html"), "--junit", str(tmp_path / "j.xml")]
    assert cli.main(["compare", same, same, "--gate", str(rules), *files]) == 0
    assert (tmp_path / "c.html").stat().st_size > 1000
    assert "<testsuite" in (tmp_path / "j.xml").read_text()
    rules.write_text("min_n: 1\nrules:\n  - {method: grad_cam, metric: pointing_game, lower: 1.01}\n")
    assert cli.main(["compare", same, "--gate", str(rules)]) == 1


def loaded_by(*arguments: str) -> list[str]:
    """What of the heavy packages a process has imported after a command."""
    program = (
        "import sys\nfrom heatbeam import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*(m for m in ('tensorflow', 'keras', 'apache_beam', 'pyarrow', 'pydantic') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["compare", "--help"], ["methods"], ["metrics"]])
def test_help_and_lists_load_neither_tensorflow_nor_beam(arguments):
    needed = {"pydantic"} if "--help" not in arguments else set()  # one of the lists is of the settings
    assert set(loaded_by(*arguments)) <= needed


def test_help_names_every_command_once(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    for one in cli.COMMANDS:
        assert shown.count(f"\n    {one.name} ") == 1
        with pytest.raises(SystemExit, match="0"):
            cli.main([one.name, "--help"])
        assert f"usage: heatbeam {one.name}" in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"heatbeam {importlib.metadata.version('heatbeam')}\n"


@pytest.mark.parametrize("one", cli.COMMANDS, ids=lambda one: one.name)
def test_help_shows_an_example_that_is_right(one, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([one.name, "--help"])
    assert f"\nexample:\n  {one.example.splitlines()[0]}\n" in capsys.readouterr().out
    for line in one.example.splitlines():
        plain = re.sub(r" > [\w./~-]+$", "", re.sub(r'^eval "\$\((.*)\)"', r"\1", line))
        words = shlex.split(plain, comments=True)
        assert words[0] == "heatbeam"
        assert cli._parser().parse_args(words[1:]).command is one


def test_a_run_says_what_it_waits_for_before_it_waits(config_file, tmp_path):
    program = "import sys\nfrom heatbeam import cli\nsys.path.insert(0, sys.argv[1])\ncli.main(sys.argv[2:])"
    (tmp_path / "tensorflow.py").write_text("raise SystemExit(99)")
    command = [sys.executable, "-c", program, str(tmp_path), "run", config_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (99, "loading TensorFlow and Apache Beam ...\n")
    command += ["--set", "explain.batch_size=none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "explain.batch_size" in done.stderr and "loading" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "heatbeam: the following arguments are required: SUBCOMMAND; see heatbeam --help"),
        (["run"], "heatbeam run: the following arguments are required: CONFIG.yaml; see heatbeam run --help"),
        (
            ["render", "r", "--to", "t", "--limit", "x"],
            "heatbeam render: argument --limit: invalid int value: 'x'; see",
        ),
        (["report", "r", "--", "--direct_num_workers=2"], "heatbeam report takes no Beam options after --"),
        (["compare", "one"], "compare: give BASELINE and CANDIDATE, or one run and --gate, or --newest ROOT"),
        (["compare", "one", "--newest", "root"], "compare: give runs or --newest, not both"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, said, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1


def test_a_bug_shows_its_traceback(monkeypatch):
    monkeypatch.setattr(lists, "methods_text", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["methods"])
