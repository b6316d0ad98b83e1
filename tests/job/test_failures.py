from __future__ import annotations

import io
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from heatbeam import cli, config
from heatbeam.job import failures, parts
from heatbeam.runs import run_directory
from heatbeam.transforms import explain
from heatbeam.transforms.models.files import load_failures
from tests.support import small_runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("finished")
    pattern = small_runs.write(folder / "data", [small_runs.record(i) for i in range(6)], 1)
    settings = small_runs.settings(pattern, folder / "run", "explain.methods=[grad_cam]", "model.scores=softmax")
    small_runs.run_quietly(settings)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings.as_dict()))
    (folder / "a_file").write_text("x")
    (folder / "latin.yaml").write_bytes("input: caf\xe9".encode("latin-1"))
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    ("output", "grows", "how"),
    [
        ({"directory": "{0}"}, False, "--resume, or with --reuse {0},"),
        ({"directory": "{0}", "overwrite": True}, False, "--set output.overwrite=false --resume"),
        ({"root": "runs"}, False, "--reuse newest"),
        ({"root": "runs"}, True, "--reuse {0}"),  # of a sequential run, which has no newest one
        ({"directory": "{0}"}, True, "--resume, or with --reuse {0},"),
    ],
)
def test_an_interrupt_says_how_the_run_is_gone_on_with(output, grows, how, tmp_path, monkeypatch):
    monkeypatch.setattr(run_directory.RunDirectory, "unfinished_files", lambda _: ["a.arrow"])
    given = config.OutputConfig.model_validate(
        {key: value.format(tmp_path) if isinstance(value, str) else value for key, value in output.items()}
    )
    directory = run_directory.RunDirectory(str(tmp_path))
    with (
        pytest.raises(failures.Interrupted) as interrupted,
        failures.told_how_to_go_on(directory, given, io.StringIO(), grows=grows),
    ):
        raise KeyboardInterrupt
    kept = f"interrupted; what was explained so far is kept in {tmp_path}/unfinished"
    assert str(interrupted.value) == f"{kept}; run again with {how.format(tmp_path)} to go on from there"


def test_a_run_that_grows_says_what_the_user_gave(data_of_nothing, tmp_path, monkeypatch):
    output = {"root": str(tmp_path), "directory": None}
    settings = data_of_nothing.model_copy(update={"output": data_of_nothing.output.model_copy(update=output)})
    given: list[object] = []
    monkeypatch.setattr(parts.run, "run", lambda *all_given: given.extend(all_given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        parts.Growing(settings, (), io.StringIO(), "baseline").explain(0.5)
    assert given[0].output.root is None and given[-1] == settings.output


@pytest.fixture
def data_of_nothing(tmp_path) -> config.RunConfig:
    return small_runs.settings("nowhere/*.tfrecord", tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("report {0}/run --clusters lynx", "the run has no class 'lynx'; it has "),
        ("report {0}/run --reference lime", "the run has no method 'lime'; it has grad_cam"),
        ("report {0}/empty", "is not a heatbeam run"),
        ("report {0}/nowhere", "is not a heatbeam run"),
        ("history {0}/run --keep 0", "keep is 0; expected 1 or more"),
        ("history {0}/empty --plot {0}/x.png", "has no finished run with any of these numbers"),
        ("history {0} --plot {0}/x.bmpp", "no picture has the suffix .bmpp"),
        ("history {0} --plot {0}/a_file/x.png", "cannot write {0}/a_file/x.png: "),
        ("history {0}/a_file", "is not a directory"),
        ("compare --newest {0}/empty", "has no finished run"),
        ("compare {0}/run {0}/empty", "is not a heatbeam run"),
        ("compare {0}/run {0}/run --html {0}/empty", "cannot write {0}/empty: Is a directory"),
        ("compare {0}/run {0}/run --json {0}/a_file/x", "cannot write {0}/a_file/x: "),
        ("compare {0}/run --gate {0}/empty", "Is a directory"),
        ("render {0}/run --to {0}/pictures --limit 0", "--limit is 0; expected 1 or more"),
        ("render {0}/run --to {0}/pictures --longest-px 0", "--longest-px is 0; expected 1 or more"),
        ("render {0}/run --to {0}/a_file/x", "cannot write {0}/a_file/x: Not a directory"),
        ("export {0}/run --to {0}/out --format fiftyone --limit -1", "--limit is -1; expected 1 or more"),
        ("export {0}/run --to {0}/a_file/x --format fiftyone", "cannot write {0}/a_file/x: Not a directory"),
        ("check {0}/run.yaml --records 0", "--records is 0; expected 1 or more"),
        ("demo --directory {0}/a_file/x", "cannot write {0}/a_file/x_data: Not a directory"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(arguments, said, finished, capsys):
    assert cli.main(arguments.format(finished).split()) == 2
    told = capsys.readouterr().err
    assert said.format(finished) in told and "Traceback" not in told
    assert told.count("\n") == (2 if "1 problem" in told else 1)


def test_a_configuration_that_cannot_be_read_says_why(finished, capsys):
    for name, why in (("empty", "Is a directory"), ("latin.yaml", "it is not UTF-8 text"), ("no", "No such file")):
        assert cli.main(["run", str(finished / name)]) == 2
        assert f"cannot read {finished / name}: {why}" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"format": "heatbeam-run", "format_version": 1}'])
def test_a_damaged_manifest_is_told_in_one_line(content, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text(content)
    for command in (["report", str(tmp_path)], ["compare", str(tmp_path), str(tmp_path)], ["finish", str(tmp_path)]):
        assert cli.main(command) == 2
        told = capsys.readouterr().err
        assert "manifest.json" in told and told.count("\n") == 1


def test_a_table_that_was_cut_or_removed_is_told_in_one_line(finished, tmp_path, capsys):
    shutil.copytree(finished / "run", tmp_path / "run")
    part = next((tmp_path / "run" / "explanations").iterdir())
    for change in (lambda: part.write_bytes(part.read_bytes()[:-50]), part.unlink):
        change()
        assert cli.main(["report", str(tmp_path / "run")]) == 2
        told = capsys.readouterr().err
        assert "is not the file the run wrote" in told and told.count("\n") == 1


def limited(*arguments: str, bytes_a_file: int) -> subprocess.CompletedProcess[str]:
    """A command whose files may not grow beyond a size: as a disk that is full."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_a_file}, {bytes_a_file}))"
    command = small_runs.command_after(f"{limit}\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)


def test_a_report_that_does_not_fit_on_the_disk_is_told_in_one_line(finished):
    done = limited("report", str(finished / "run"), bytes_a_file=20_000)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"cannot write {finished}/run/report.html: File too large\n"


@pytest.mark.long
def test_a_run_that_does_not_fit_on_the_disk_fails_in_one_line(finished, tmp_path):
    overrides = ["--set", f"output.directory={tmp_path / 'run'}", "--set", "runner.workers=1"]
    done = limited("run", str(finished / "run.yaml"), *overrides, bytes_a_file=16_000)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"a worker stopped: cannot write {tmp_path}/run/")
    # There is room again: the run that was given up is gone on with, and accounts for every record.
    assert cli.main(["run", str(finished / "run.yaml"), *overrides, "--resume"]) == 0
    manifest = run_directory.RunDirectory(str(tmp_path / "run")).read_manifest()
    counts = manifest.counts
    assert counts.records_read == counts.images_explained == sum(shard.records_read for shard in manifest.shards) == 6


def test_a_model_that_changed_during_the_run_fails_it_in_one_line(finished, tmp_path, capsys, monkeypatch):
    check = explain._ExplainFn._check_weights
    monkeypatch.setattr(explain._ExplainFn, "_check_weights", lambda self, _: check(self, "0" * 64))
    overrides = ["--set", f"output.directory={tmp_path / 'run'}", "--set", "runner.workers=1"]
    assert cli.main(["run", str(finished / "run.yaml"), *overrides]) == 1
    told = capsys.readouterr().err
    told = told.removeprefix("opening the data and the model ...\n")
    assert told.startswith("a worker stopped: this worker's model has weights of digest ")
    assert told.count("\n") == 1
    manifest = run_directory.RunDirectory(str(tmp_path / "run"))
    assert "Traceback" in (pathlib.Path(manifest.path) / "manifest.json").read_text()


def test_standard_output_that_takes_no_more_ends_a_command_without_a_traceback():
    command = f"{sys.executable} -m heatbeam methods"
    shown = subprocess.run(
        ["bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.stderr == "" and shown.stdout.splitlines()[-1] in ("0", "141")
    full = subprocess.run(
        ["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (full.returncode, full.stderr) == (2, "cannot write standard output: No space left on device\n")


def test_what_is_the_users_is_found_in_a_runners_text():
    kind = load_failures.ModelError
    text = f"Traceback (most recent call last):\n{kind.__module__}.{kind.__qualname__}: no [while running 'A']"
    assert failures.users_part(RuntimeError(text)) == "no"
    assert failures.users_part(RuntimeError("Traceback\nValueError: no")) is None
