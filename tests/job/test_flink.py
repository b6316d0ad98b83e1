"""The whole job on Flink: its embedded cluster, a cluster of processes, and that cluster while parts of it die.

Run by ``make test-flink``; everything else deselects the marker.
"""

from __future__ import annotations

import io
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from heatbeam import config
from heatbeam.job import run
from heatbeam.runs import run_directory
from tests.support import cluster_models, flink_cluster, sample_shards, small_runs

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]

COUNT, SHARDS, BATCH = 48, 6, 4


def settings(
    data: str, directory: pathlib.Path, journal: pathlib.Path, seconds: float, runner: str
) -> config.RunConfig:
    return config.RunConfig.model_validate(
        {
            "input": {"tfrecord": data, "decoder": "pillow", "resampler": "pillow"},
            "model": {
                "factory": "tests.support.cluster_models:journalled",
                "arguments": {"journal": str(journal), "seconds": seconds},
                "preprocessing": "none",
            },
            "explain": {"methods": ["cam", "grad_cam"], "targets": ["label", "predicted"], "batch_size": BATCH},
            "evaluate": {"slices": ["camera"], "replicates": 20},
            "output": {"directory": str(directory), "max_dead_letter_ratio": 0.2},
            "runner": {"name": runner},
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return small_runs.write(tmp_path_factory.mktemp("data"), [small_runs.record(i) for i in range(COUNT)], SHARDS)


@pytest.fixture(scope="module")
def reference(tmp_path_factory, data) -> run_directory.RunDirectory:
    """The same job on the direct runner."""
    folder = tmp_path_factory.mktemp("reference")
    return run.run(settings(data, folder / "run", folder / "journal", 0, "direct"), (), io.StringIO()).directory


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[flink_cluster.Cluster]:
    """One JobManager and two TaskManagers of two slots."""
    with flink_cluster.running(tmp_path_factory.mktemp("cluster"), task_managers=2, slots=2) as started:
        yield started


def assert_same(one: run_directory.RunDirectory, other: run_directory.RunDirectory) -> None:
    """Rows, summary and counts are equal; nothing but the promised files is there."""
    small_runs.assert_same_rows(small_runs.rows(one), small_runs.rows(other))
    small_runs.assert_same_rows(
        *(each.open_table("localizations").to_table().sort_by(small_runs.SORT) for each in (one, other))
    )
    mine, yours = small_runs.numbers(one), small_runs.numbers(other)
    assert mine.keys() == yours.keys()
    for key, row in mine.items():
        assert row["n"] == yours[key]["n"], key
        np.testing.assert_allclose(
            np.array(row["value"], float), np.array(yours[key]["value"], float), rtol=1e-4, atol=1e-5, err_msg=str(key)
        )
    assert one.read_manifest().counts == other.read_manifest().counts
    for directory in (one, other):
        assert_clean(directory)


def assert_clean(directory: run_directory.RunDirectory) -> None:
    """Exactly the manifest and the files it lists."""
    root = pathlib.Path(directory.path)
    listed = {f.path for table in directory.read_manifest().tables.values() for f in table.files}
    assert {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} == listed | {"manifest.json"}
    assert {p.name for p in root.iterdir() if p.is_dir()} == set(run_directory.TABLES)


def test_embedded_cluster_gives_the_direct_runners_rows(tmp_path, data, reference):
    server = flink_cluster.job_server()
    options = ["--flink_master=[local]", "--environment_type=LOOPBACK", "--parallelism=2", *server.options]
    configured = settings(data, tmp_path / "run", tmp_path / "journal", 0, "flink")
    assert_same(reference, run.run(configured, options, io.StringIO()).directory)


def test_session_cluster_gives_the_direct_runners_rows_and_loads_once_per_worker(tmp_path, data, reference, cluster):
    journal = tmp_path / "journal"
    configured = settings(data, tmp_path / "run", journal, 0, "flink")
    finished = run.run(configured, [*cluster.options, "--parallelism=2"], io.StringIO()).directory
    assert_same(reference, finished)
    launcher_load, *loads = [pid for word, pid, *_ in cluster_models.read_journal(journal) if word == "load"]
    callers = {pid for word, pid, *_ in cluster_models.read_journal(journal) if word == "call"}
    assert len(loads) == len(set(loads)) == 2  # one worker process in each TaskManager, one load in each process
    assert callers == {*loads, launcher_load}
    assert finished.read_manifest().metrics["model_loads"] == 2


def test_poisoned_records_cost_one_dead_letter_each(tmp_path, reference, cluster):
    records = [small_runs.record(i) for i in range(COUNT)]
    records[7] = small_runs.record(7, **{"image/encoded": [b"\x89PNG\r\n\x1a\n broken"]})
    white = np.full((20, 24, 3), cluster_models.POISON, np.uint8)
    records[20] = small_runs.record(20, **{"image/encoded": [sample_shards.encode(white)]})
    pattern = small_runs.write(tmp_path / "data", records, SHARDS)
    configured = settings(pattern, tmp_path / "run", tmp_path / "journal", 0, "flink")
    finished = run.run(configured, [*cluster.options, "--parallelism=2"], io.StringIO()).directory
    letters = finished.open_table("dead_letters").to_table().sort_by("image_id").to_pylist()
    assert [(letter["image_id"], letter["stage"]) for letter in letters] == [
        ("image0007", "decode"),
        ("image0020", "explain"),
    ]
    whole = small_runs.rows(reference)
    kept = [name not in ("image0007", "image0020") for name in whole["image_id"].to_pylist()]
    small_runs.assert_same_rows(whole.filter(kept), small_runs.rows(finished))


def test_full_disk_fails_the_run_and_says_so(tmp_path, data, cluster):
    """Workers may write files of 2 KiB only: what they see is a write that fails, as on a full disk."""
    limits = cluster.folder / "limits"
    limits.write_text("ulimit -f 4\n")  # blocks of 512 bytes
    configured = settings(data, tmp_path / "run", tmp_path / "journal", 0, "flink")
    try:
        with pytest.raises(Exception, match="File too large"):
            run.run(configured, [*cluster.options, "--parallelism=2"], io.StringIO())
    finally:
        limits.unlink()
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    manifest = directory.read_any_manifest()
    assert manifest.status == "failed" and "File too large" in manifest.error
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != "manifest.json"]


def _when_half_done(journal: pathlib.Path, calls: int, action: Callable[[], None]) -> threading.Thread:
    """Do `action` as soon as the workers have called the model `calls` times."""

    def watch() -> None:
        for _ in range(3000):
            lines = cluster_models.read_journal(journal)
            launcher = lines[0][1] if lines else ""
            if sum(word == "call" and pid != launcher for word, pid, *_ in lines) >= calls:
                action()
                return
            time.sleep(0.1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    return watcher


def _explaining(journal: pathlib.Path, cluster: flink_cluster.Cluster) -> list[int]:
    """The workers that call the model. Others may be of a stage that is over: nobody misses those."""
    callers = {int(pid) for word, pid, *_ in cluster_models.read_journal(journal) if word == "call"}
    return [process for process in cluster.workers() if process in callers]


def _restarts(cluster: flink_cluster.Cluster) -> int:
    """How often the newest job went back to its start."""
    newest = max(cluster.rest("jobs/overview")["jobs"], key=lambda job: job["start-time"])
    return int(cluster.rest(f"jobs/{newest['jid']}")["timestamps"]["RESTARTING"] > 0)


def _run_disturbed(
    tmp_path: pathlib.Path, data: str, cluster: flink_cluster.Cluster, action: Callable[[Sequence[int]], None]
) -> run_directory.RunDirectory:
    journal = tmp_path / "journal"
    configured = settings(data, tmp_path / "run", journal, 0.6, "flink")
    watcher = _when_half_done(journal, 6, lambda: action(_explaining(journal, cluster)))
    finished = run.run(configured, [*cluster.options, "--parallelism=2"], io.StringIO()).directory
    watcher.join(timeout=5)
    assert not watcher.is_alive(), "the job ended before it could be disturbed"
    return finished


def test_killed_python_worker(tmp_path, data, reference, cluster):
    killed: list[int] = []

    def kill(workers: Sequence[int]) -> None:
        killed.append(workers[0])
        flink_cluster.kill(workers[0])

    finished = _run_disturbed(tmp_path, data, cluster, kill)
    assert killed and _restarts(cluster) == 1
    assert_same(reference, finished)


def test_killed_task_manager(tmp_path, data, reference, cluster):
    """Last of all: the cluster has one TaskManager less from then on."""
    finished = _run_disturbed(tmp_path, data, cluster, lambda workers: cluster.kill_task_manager(0))
    assert _restarts(cluster) == 1
    assert cluster.rest("overview")["taskmanagers"] == 1
    assert_same(reference, finished)
