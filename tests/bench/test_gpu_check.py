"""The check of a GPU where there is none: what is decided and written, not what is measured."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest

from tests.benchmarks import child
from tests.benchmarks.gpu import __main__ as check
from tests.benchmarks.gpu import device, passes, report, whole_jobs

HERE = {"gpus": 0, "name": "CPU (some)", "compute_capability": "", "cuda": "", "cudnn": ""}
L4 = {"gpus": 1, "name": "NVIDIA L4", "compute_capability": "8.9", "cuda": "12.5", "cudnn": "9"}


def test_differences_of_maps_by_hand(tmp_path):
    """Of the first map 0.1 of 2, of the second 0.5 of 1, of the third nothing."""
    reference = np.array([[[2.0, 0.0]], [[0.0, -1.0]], [[3.0, 1.0]]])
    other = reference + np.array([[[0.0, 0.1]], [[0.5, 0.0]], [[0.0, 0.0]]])
    np.savez(tmp_path / "cpu.npz", cam=reference)
    np.savez(tmp_path / "gpu.npz", cam=other)
    found = passes.differences(str(tmp_path / "gpu.npz"), str(tmp_path / "cpu.npz"))
    assert found == {"cam": pytest.approx((0.05, 0.5))}


def test_the_table_and_the_file(tmp_path):
    lines = [
        report.Line("a", 12345.6, "images/s"),
        report.Line("longer", 0.01234, "x"),
        report.Line("c", math.nan, "y"),
    ]
    assert report.table(lines) == ("a             12,346 images/s\nlonger        0.0123 x\nc          disturbed y\n")
    path = tmp_path / "deep" / "gpu.json"
    report.write_json(str(path), HERE, lines, ["more"])
    written = json.loads(path.read_text())
    assert [one["value"] for one in written["figures"]] == [12345.6, 0.01234, None]
    assert written["device"] == HERE and written["left_out"] == ["more"]


def test_what_was_measured_on(monkeypatch):
    monkeypatch.setattr(device, "asked_of_driver", lambda *fields: ["550.1", "23034"])
    said = device.lines(L4)
    assert said[:2] == [
        "device   NVIDIA L4, compute capability 8.9, the first of 1",
        "driver   550.1, memory 23034 MiB; TensorFlow built for CUDA 12.5, cuDNN 9",
    ]
    assert said[2].startswith("versions Python 3.") and "tensorflow 2." in said[2]
    monkeypatch.setattr(device, "asked_of_driver", lambda *fields: None)
    assert [line.split()[0] for line in device.lines(HERE)] == ["device", "versions"]


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (None, "no GPU is here; everything below is small and runs on the CPU"),
        (["NVIDIA L4", "23034"], "TensorFlow does not see the NVIDIA L4 that is here"),
    ],
)
def test_without_a_gpu_it_is_small_and_says_so(tmp_path, monkeypatch, driver, said):
    text, asked, _ = run(monkeypatch, tmp_path, HERE, driver=driver)
    assert said in text
    sizes = {tuple(task["batches"]) for task in asked if "batches" in task}
    assert sizes == {(1, 8)} and all(task.get("seconds", 0) <= 0.2 for task in asked)


def test_a_gpu_gets_every_part_and_the_cpu_makes_the_reference_once(tmp_path, monkeypatch):
    text, asked, good = run(monkeypatch, tmp_path, L4, driver=["1", "23034"])
    measured = [(task["name"], task["precision"]) for task in asked if task.get("seconds")]
    assert sorted(measured) == sorted((m.name, p) for m in check.MODELS for p in check.FURTHEST)
    on_cpu = [task for task in asked if task.get("seconds") == 0]
    assert [task["name"] for task in on_cpu] == ["ResNet50V2", "MobileNetV2"]
    assert all(task["environment"] == {"CUDA_VISIBLE_DEVICES": "-1"} for task in on_cpu)
    jobs = [task["settings"] for task in asked if "settings" in task]
    assert [(one["runner"]["processes"], one["explain"]["precision"]) for one in jobs] == [
        (1, "float32"), (1, "mixed_bfloat16"), (2, "float32"), (4, "float32")
    ]  # fmt: skip
    assert good and "ResNet50V2, float32: Grad-CAM" in text and "left out" not in text


def test_wrong_maps_and_failed_parts_are_failures(tmp_path, monkeypatch):
    text, _, good = run(monkeypatch, tmp_path / "maps", L4, driver=["1", "23034"], off=0.06)
    assert not good and "FAILED   ResNet50V2, float32: maps of cam are 0.06 of the largest value" in text
    text, _, good = run(monkeypatch, tmp_path / "parts", L4, driver=["1", "23034"], fails="mixed_float16")
    assert not good and "FAILED   MobileNetV2 in mixed_float16: no kernel" in text


def test_nothing_begins_that_would_end_late(tmp_path, monkeypatch):
    text, asked, good = run(monkeypatch, tmp_path, L4, driver=["1", "23034"], seconds=-1)
    assert [task for task in asked if "precision" in task] == []
    assert good and text.count("left out for want of time: ") == 10


def run(monkeypatch, folder, here, *, driver, off=0.0, fails=None, seconds=100):
    """The check with processes that answer at once: what it says, what it asked for, and whether all was well."""
    folder.mkdir(exist_ok=True)
    asked: list[dict] = []

    def spawn(task):
        asked.append(task)
        if task["kind"].endswith(":Device"):
            return {"device": here}
        if "settings" in task:
            return {"seconds": [1.0, 1.0, 3.0]}
        if task["precision"] == fails:
            raise child.ChildFailed("no kernel")
        np.savez(task["maps"], cam=np.ones((2, 1, 1)) + (off if task["seconds"] else 0))
        return {"rates": {"Grad-CAM, batches of 8": 100.0}, "peak_mib": 5.0}

    monkeypatch.setattr(child, "spawn", spawn)
    monkeypatch.setattr(device, "asked_of_driver", lambda *fields: driver)
    monkeypatch.setattr(whole_jobs, "photos", lambda folder, sizes: ["a", "b", "c"])
    stream = io.StringIO()
    good = check.Check(folder, seconds, stream).run(str(folder / "gpu.json"))
    return stream.getvalue(), asked, good
