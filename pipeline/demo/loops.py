"""Compiling the loops of a run beside the training of the demo: ``python -m heatbeam.demo.loops``.

A new installation's first run waits some 15 seconds for Numba, which keeps what it compiled (`contours.compiled`), and
a training leaves processors idle. So a process of its own scores one drawn map, as a run over images with boxes and
masks scores its own. It takes no TensorFlow.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.metrics import map_statistics, protocols, summary
from heatbeam.transforms.metrics.localization import localization

_WAIT_S = 60
"""What is not compiled by then is left to the run."""


def compile_all() -> None:
    """Score one map by every group, at a few thresholds and for the sums of a dataset: whatever a run calls."""
    source = records.Source("drawn", "", 0, "", (40, 30), (0, 0, 40, 30), (0,))
    box, mask = np.array([[5.0, 5, 20, 20]]), np.zeros((1, 30, 40), np.bool_)
    mask[0, 5:20, 5:20] = True
    ids, no_ids = np.array([0]), np.array([records.NO_CLASS])
    truth = records.GroundTruth(box, ids, np.array([False]), mask, no_ids)
    maps = np.array([[[0.0, 0.5, 0.0], [0.5, 2.0, 0.5], [-1.0, 0.5, 1.0]]], np.float32)
    protocol = protocols.DEFAULT
    map_statistics.statistics(maps)
    scores = localization.localize(maps, source, truth, ids, np.array([1]), protocol, tuple(localization.GROUPS))
    localization.boxes_at(maps[0], source, box, protocol, [0.2, 0.5])
    state = summary.MetricState(protocol, replicates=2)
    for _ in range(2):  # the second is added to the first
        state.add(scores.evidence[0], source.image_id)


@contextlib.contextmanager
def compiled_meanwhile() -> Iterator[None]:
    """Have another process compile while the block runs; one that fails or takes too long costs only what it saved."""
    other = subprocess.Popen(
        [sys.executable, "-m", "heatbeam.demo.loops"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        with contextlib.suppress(subprocess.TimeoutExpired):
            other.wait(_WAIT_S)
    finally:
        other.kill()
        other.wait()


if __name__ == "__main__":
    compile_all()
