"""What computes whole passes fastest over TensorFlow, in the same code: Score-CAM, and insertion and deletion.

Both engines explain the same images in one process, a thread for each core as the job has, in turns.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from heatbeam import config
from heatbeam.bench import user_job
from heatbeam.job import step_options
from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.engine import assess, engine, specs
from heatbeam.transforms.engine.compute import choice
from tests.benchmarks import figures, models, settings
from tests.benchmarks.families import summary

_CHANNELS = 16
"""Of Score-CAM: random weights leave nearly all alive, and its time is that of its passes."""

_SLOW_S = 5.0
"""Where TensorFlow takes longer there are two rounds, not four."""

_TRIAL_S = 60.0
_THREADS = os.cpu_count() or 1


def measure(options: settings.Options) -> list[figures.Figure]:
    """Of the family that is asked for, or of all."""
    names = (options.part,) if options.part else summary.OF_WHOLE_PASSES
    return [figure for name in names for figure in _measure(name, options)]


def _measure(name: str, options: settings.Options) -> list[figures.Figure]:
    method = models.method("faster_score_cam", channels=2 if options.quick else _CHANNELS)
    spec = models.engine_spec(models.application(name), (method,), settings.TARGETS, intra_op_threads=1)
    backend = options.compute
    if backend == "auto":
        backend = choice.choose(spec, seconds=_TRIAL_S, workers=_THREADS, whole_passes=True).backend
    if backend == "tensorflow":
        return [figures.single(f"{what}, {name}", 1.0, None, "TensorFlow itself") for what in summary.PASSES]
    ours, reference = (_Work(dataclasses.replace(spec, compute=one)) for one in (backend, "tensorflow"))
    how = f"{backend} over TensorFlow, {_THREADS} images at once, one each thread; {user_job.device()}"
    found = []
    for what, work in zip(summary.PASSES, (_Work.score_cam, _Work.insertion_and_deletion), strict=True):
        sides = [functools.partial(one.in_threads, work) for one in (ours, reference)]
        rounds = 1 if options.quick else 2 if figures.seconds(sides[1]) > _SLOW_S else 4
        found.append(figures.speedup(f"{what}, {name}", figures.alternate(*sides, rounds), None, how, work=_THREADS))
    return found


class _Work:
    """An engine, and what is asked of it; the same image for every thread, as every engine gets it."""

    def __init__(self, spec: specs.EngineSpec) -> None:
        self._engine = engine.Engine(spec)
        height, width, channels = self._engine.description.input_size
        self._images = np.random.default_rng(0).uniform(0, 255, (1, height, width, channels)).astype(np.float32)
        self._explanation = _explanation((width, height))
        wanted = {"metrics": ["insertion", "deletion"], "sample": 1.0}
        text = {"input": {"tfrecord": "-"}, "model": {"application": "VGG16"}, "evaluate": {"faithfulness": wanted}}
        self._wanted = step_options.assessment(config.RunConfig.model_validate({**text, "output": {"directory": "-"}}))

    def score_cam(self) -> None:
        self._engine.explain(self._images, [(0,)], {})

    def insertion_and_deletion(self) -> None:
        assert self._wanted is not None
        assess.assess(self._engine, self._images, [self._explanation], self._wanted)

    def in_threads(self, work: Callable[[_Work], None]) -> None:
        """Do that work in every thread at once."""
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda _: work(self), range(_THREADS)))


def _explanation(size: tuple[int, int]) -> records.Explanation:
    """One map of seeded noise, of class 0."""
    raw = np.random.default_rng(0).normal(size=(1, 7, 7)).astype(np.float32)
    return records.Explanation(
        source=records.Source("image", "shard", 0, "", size, (0.0, 0.0, *map(float, size)), (0,)),
        ground_truth=records.GroundTruth(),
        class_ids=np.zeros(1, np.int64),
        targets=(("label",),),
        logits=np.zeros(1, np.float32),
        probabilities=np.full(1, 0.5, np.float32),
        ranks=np.ones(1, np.int64),
        predicted_class_id=0,
        methods=(records.MethodMaps("faster_score_cam", "layer", heatmaps.dequantize(*heatmaps.quantize(raw))),),
    )
