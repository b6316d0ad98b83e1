"""Time and memory of the job on a Flink session cluster of this machine, against the size of the dataset.

From the repository's root; starts the cluster, runs one job after another on it and stops it. A line for each job::

    python -m tests.support.flink_scale --task-managers 2 --images 1000 10000

Tiny JPEGs and a model that costs next to nothing (`tests.benchmarks.scaling.SETTINGS`), so that what is measured is
what surrounds the model. Each TaskManager has one slot and one Python worker, whose TensorFlow has one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import pathlib
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

from heatbeam import config
from heatbeam.job import run
from tests.benchmarks import samples, scaling
from tests.support import flink_cluster

SHARDS = 16
_SAMPLED_EVERY_S = 0.25


@dataclasses.dataclass(frozen=True)
class Measured:
    """One job.

    Attributes:
        images: in the dataset.
        seconds: from handing the job over to its end.
        explaining_s: of these, from the start to the end of the stage that reads, explains and writes.
        peaks: the most memory that each Python worker held at once, in bytes, by process id.
    """

    images: int
    seconds: float
    explaining_s: float
    peaks: dict[int, int]

    def __str__(self) -> str:
        largest = max(self.peaks.values(), default=0) / 2**20
        return (
            f"{self.images:>8,} images {self.seconds:7.1f} s, of which explaining {self.explaining_s:6.1f} s "
            f"({self.images / self.explaining_s:4.0f}/s); {len(self.peaks)} workers, the largest {largest:,.0f} MiB"
        )


def measure(cluster: flink_cluster.Cluster, images: int, folder: pathlib.Path) -> Measured:
    """Run the job over `images` new images below `folder`.

    Raises:
        run.RunFailed: the job failed, or did not explain every image.
    """
    pattern = samples.write_shards(
        folder / "data", samples.tiny(images), SHARDS, scaling.SETTINGS["model"]["arguments"]["classes"]
    )
    settings = config.RunConfig.model_validate(
        {
            **scaling.SETTINGS,
            "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
            "output": {"directory": str(folder / "run"), "max_dead_letter_ratio": 0},
            "runner": {"name": "flink"},
        }
    )
    options = [*cluster.options, f"--parallelism={len(cluster.task_managers)}"]
    with _peaks(cluster) as peaks:
        manifest = run.run(settings, options, io.StringIO()).manifest
    if manifest.counts.images_explained != images:
        raise run.RunFailed(f"expected {images} explained images, got {manifest.counts}")
    return Measured(images, manifest.timings.pipeline_s, _explaining_s(cluster), peaks)


def _explaining_s(cluster: flink_cluster.Cluster) -> float:
    """Duration of the newest job's longest stage: with any real number of images, the one that explains."""
    newest = max(cluster.rest("jobs/overview")["jobs"], key=lambda job: job["start-time"])
    return max(vertex["duration"] for vertex in cluster.rest(f"jobs/{newest['jid']}")["vertices"]) / 1000


@contextlib.contextmanager
def _peaks(cluster: flink_cluster.Cluster) -> Iterator[dict[int, int]]:
    """Peak memory of the cluster's Python workers while the block runs; Flink starts new ones for each stage."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLED_EVERY_S):
            for process in cluster.workers():
                with contextlib.suppress(OSError):  # it has ended
                    status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="ascii")
                    if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                        peaks[process] = 1024 * int(found[1])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; its exit status."""
    parser = argparse.ArgumentParser(description="Time and memory of the job on a Flink cluster of this machine.")
    parser.add_argument("--task-managers", type=int, default=2)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000], help="sizes of the dataset")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="heatbeam-scale-") as name:
        folder = pathlib.Path(name)
        try:
            with flink_cluster.running(folder / "cluster", options.task_managers) as cluster:
                for images in options.images:
                    sys.stdout.write(
                        f"{options.task_managers} TaskManagers {measure(cluster, images, folder / str(images))}\n"
                    )
                    sys.stdout.flush()
        except flink_cluster.Unavailable as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
