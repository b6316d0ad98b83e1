"""heatbeam as a user gets it: the built wheel, in a folder whose own files are called as heatbeam's folders are."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.support import keras_models, paths, small_runs

_PIPELINE = "OWNER = 'the user'\n"
_TRANSFORMS = f"""
import keras
import pipeline.config

OWNER = pipeline.config.OWNER


def build():
    return keras.models.load_model({keras_models.GAP!r})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """The folder that a wheel of this checkout was installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    for name in ("pipeline", "transforms"):
        shutil.copytree(paths.ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(paths.ROOT / name, source)
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, timeout=240)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True, timeout=120
    )
    return folder / "site"


@pytest.fixture
def users_folder(tmp_path) -> pathlib.Path:
    """A folder with the user's data, configuration, ``pipeline/`` and ``transforms.py``."""
    folder = tmp_path / "project"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "pipeline" / "__init__.py").write_text(_PIPELINE)
    (folder / "pipeline" / "config.py").write_text(_PIPELINE)
    (folder / "transforms.py").write_text(_TRANSFORMS)
    pattern = small_runs.write(folder / "data", [small_runs.record(i) for i in range(12)], 4)
    settings = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "model": {"factory": "transforms:build", "preprocessing": "tf"},
        "explain": {"methods": ["cam", "grad_cam"], "batch_size": 4},
        "evaluate": {"localization": False, "baselines": False},  # whose compilation takes each process half a minute
        "output": {"directory": "run", "overwrite": True, "report": False},
        "runner": {"processes": 2, "workers": 2},
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(settings))
    return folder


def _python(folder: pathlib.Path, installed: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_only_heatbeam_is_installed(installed):
    entries = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert entries == {"heatbeam", "bin"}
    for name in ("py.typed", "pages/templates/report.html", "transforms/methods/cam.py", "job/graph.py"):
        assert (installed / "heatbeam" / name).is_file()
    assert not (installed / "heatbeam" / "benchmarks").exists()


@pytest.mark.runner
@pytest.mark.long
def test_files_of_the_user_with_such_names_are_neither_hidden_nor_in_the_way(installed, users_folder):
    """The factory in ``transforms.py``, which needs ``pipeline/``, is found by launcher and worker processes."""
    done = _python(users_folder, installed, "-m", "heatbeam", "run", "audit.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    manifest = json.loads((users_folder / "run" / "manifest.json").read_text())
    assert manifest["status"] == "succeeded" and manifest["counts"]["images_explained"] == 12


def test_both_can_be_imported_side_by_side(installed, users_folder):
    program = (
        "import pipeline.config, transforms, heatbeam.config, heatbeam.transforms.records as records\n"
        "print(pipeline.config.OWNER, '+', transforms.OWNER, heatbeam.config.__name__, records.__file__)"
    )
    done = _python(users_folder, installed, "-c", program)
    records = installed / "heatbeam" / "transforms" / "records.py"
    assert done.stdout.strip() == f"the user + the user heatbeam.config {records}"
