"""Tab completion in real shells, by what ``heatbeam completion`` prints; a shell that is not here is skipped."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from heatbeam import cli
from heatbeam.transforms.methods import registry

_BASH = """
source {script}
COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_KEY=9
COMP_WORDS=($COMP_LINE); [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p heatbeam | sed 's/.*-F \\([^ ]*\\).*/\\1/') heatbeam
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

# Only a line editor completes, so the keys go to a shell with a terminal; it writes what Tab adds to them.
_ZSH = """
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "PS1=; autoload -Uz compinit; compinit -u -D; source {script}; print rea''dy"
zpty -r inner said '*ready*'
zpty -n -w inner $'heatbeam rep\\t'
zpty -r inner said '*heatbeam report*'
print "heatbeam report${{said##*heatbeam report}}"
zpty -d inner
"""


@pytest.fixture(scope="module")
def heatbeam(tmp_path_factory) -> pathlib.Path:
    """A folder with a program called heatbeam, as the console script is one."""
    program = tmp_path_factory.mktemp("bin") / "heatbeam"
    program.write_text(f"#!{sys.executable}\nfrom heatbeam import process\nraise SystemExit(process.start())\n")
    program.chmod(0o755)
    return program.parent


def completed(folder: pathlib.Path, tmp_path: pathlib.Path, shell: str, program: str) -> list[str]:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [found, "-c", program], capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def script(tmp_path: pathlib.Path, shell: str, capsys) -> pathlib.Path:
    assert cli.main(["completion", shell]) == 0
    path = tmp_path / f"completion.{shell}"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("heatbeam rep", {"report"}),
        ("heatbeam run audit.yaml --over", {"--overwrite"}),
        ("heatbeam methods grad_cam_", {"grad_cam_plus_plus"}),
        ("heatbeam run audit.yaml --set output.over", {"output.overwrite="}),
        ("heatbeam metrics energy_p", {"energy_pointing_game"}),
    ],
)
def test_bash_completes(heatbeam, tmp_path, capsys, line, some):
    program = _BASH.format(script=script(tmp_path, "bash", capsys), line=line)
    assert set(completed(heatbeam, tmp_path, "bash", program)) == some


def test_bash_offers_every_method(heatbeam, tmp_path, capsys):
    program = _BASH.format(script=script(tmp_path, "bash", capsys), line="heatbeam methods ")
    assert set(registry.METHODS) <= set(completed(heatbeam, tmp_path, "bash", program))


def test_fish_completes(heatbeam, tmp_path, capsys):
    program = f"source {script(tmp_path, 'fish', capsys)}; complete -C 'heatbeam rep'"
    assert [line.split("\t")[0] for line in completed(heatbeam, tmp_path, "fish", program)] == ["report"]


def test_zsh_completes(heatbeam, tmp_path, capsys):
    program = _ZSH.format(script=script(tmp_path, "zsh", capsys))
    assert completed(heatbeam, tmp_path, "zsh", program) == ["heatbeam report"]
