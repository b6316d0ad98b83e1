"""Explain images in batches; the only step that touches a model.

The model is loaded once per worker process and shared by its threads and by every step that names the same
specification. A batch that fails is halved until only the bad record is lost; running out of memory halves the
batches from then on.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import cv2
import numpy as np
import threadpoolctl
from apache_beam import metrics
from apache_beam.utils import shared

from transforms import assess, model_files, progress, records
from transforms.methods import engine as engines
from transforms.methods import explained, heatmaps
from transforms.metrics import sampling

STAGE = "explain"
MAIN_TAG = "main"
SKIPPED_TAG = "skipped"

# One handle for the process: a handle of its own in each DoFn would load the model once per step.
_HANDLES: dict[engines.EngineSpec, shared.Shared] = {}
_HANDLES_LOCK = threading.Lock()


def acquire_engine(spec: engines.EngineSpec) -> tuple[engines.Engine, bool]:
    """The process's engine for `spec`, loaded and warm, and whether this call loaded it."""
    with _HANDLES_LOCK:
        handle = _HANDLES.setdefault(spec, shared.Shared())
    loaded: list[bool] = []

    def load() -> engines.Engine:
        if spec.intra_op_threads == 1:
            # One batch per core already: threads inside an operation would only take the cores from one another.
            cv2.setNumThreads(1)
            threadpoolctl.threadpool_limits(1)
        engine = engines.Engine(_with_local_files(spec))
        engine.warm_up()
        loaded.append(True)
        return engine

    return handle.acquire(load), bool(loaded)


def _with_local_files(spec: engines.EngineSpec) -> engines.EngineSpec:
    """`spec` with remote model and weights files fetched, once per machine."""
    source = spec.model
    path = model_files.local_copy(source.path) if source.path is not None else None
    weights = model_files.local_copy(source.weights) if source.weights is not None else None
    return dataclasses.replace(spec, model=dataclasses.replace(source, path=path, weights=weights))


@dataclasses.dataclass
class Explain(beam.PTransform):
    """`records.Example` to `records.Explanation`, with dead letters and a count of images without a target.

    Attributes:
        spec: model, methods and targets.
        sample_seed: of the choice of images for methods that explain a sample.
        exact_maps: keep maps as float32; otherwise they are what 16-bit storage gives back, so that the metrics see
            the maps that the tables hold.
        assessment: faithfulness, stability and sanity to measure, or None.

    Outputs: `MAIN_TAG` (`records.Explanation`), `SKIPPED_TAG` (ids of images without a target) and
    `records.DEAD_LETTER_TAG` (`records.DeadLetter`).

    Counters (namespace ``heatbeam``): ``images_explained``, ``images_skipped``, ``model_loads``, ``batches``,
    ``explain_msec``; distribution ``batch_size``.
    """

    spec: engines.EngineSpec
    sample_seed: int
    exact_maps: bool
    assessment: assess.Assessment | None

    def expand(self, examples: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        size = self.spec.batch_size
        return (
            examples
            | "Batch" >> beam.BatchElements(min_batch_size=size, max_batch_size=size)
            | "Explain"
            >> beam.ParDo(_ExplainFn(self)).with_outputs(records.DEAD_LETTER_TAG, SKIPPED_TAG, main=MAIN_TAG)
        )


@beam.typehints.with_output_types(Any)
class _ExplainFn(beam.DoFn):
    def __init__(self, settings: Explain) -> None:
        self._spec = settings.spec
        self._sample_seed = settings.sample_seed
        self._exact_maps = settings.exact_maps
        self._assessment = settings.assessment
        self._explained = metrics.Metrics.counter("heatbeam", "images_explained")
        self._skipped = metrics.Metrics.counter("heatbeam", "images_skipped")
        self._loads = metrics.Metrics.counter("heatbeam", "model_loads")
        self._batches = metrics.Metrics.counter("heatbeam", "batches")
        self._msec = metrics.Metrics.counter("heatbeam", "explain_msec")
        self._sizes = metrics.Metrics.distribution("heatbeam", "batch_size")

    def setup(self) -> None:
        self._engine, self._loaded_here = acquire_engine(self._spec)
        self._limit = self._spec.batch_size

    def process(self, examples: Sequence[records.Example]) -> Iterator[Any]:
        if self._loaded_here:  # counters outside a bundle are lost, so the load is counted with the first batch
            self._loads.inc()
            self._loaded_here = False
        started = time.monotonic()
        self._batches.inc()
        self._sizes.update(len(examples))
        ready = []
        for example in examples:
            try:
                if self._has_target(example):
                    ready.append(example)
                else:
                    self._skipped.inc()
                    progress.TALLY.add("images_skipped")
                    yield beam.pvalue.TaggedOutput(SKIPPED_TAG, example.source.image_id)
            except records.DataError as error:
                yield _dead_letter(example, error)
        for result in self._explain(ready):
            if not isinstance(result, beam.pvalue.TaggedOutput):
                self._explained.inc()
                progress.TALLY.add("images_explained")
            yield result
        self._msec.inc(round(1000 * (time.monotonic() - started)))

    def _has_target(self, example: records.Example) -> bool:
        classes = self._engine.description.classes
        for class_id in example.source.label_ids:
            if not 0 <= class_id < classes:
                raise records.DataError(
                    "label_out_of_range",
                    f"label {class_id}, but the model has classes 0 to {classes - 1}; see input.label_offset",
                )
        return bool(example.source.label_ids) or any(t not in ("label", "labels") for t in self._spec.targets)

    def _explain(self, examples: Sequence[records.Example]) -> Iterator[Any]:
        """Explain in batches no larger than the device takes; isolate a record that the model fails on."""
        pending = [examples] if examples else []
        while pending:
            batch = pending.pop(0)
            if len(batch) > self._limit:
                pending[:0] = [batch[: self._limit], batch[self._limit :]]
                continue
            try:
                outcome = self._explain_batch(batch)
            except engines.OutOfMemory:
                if len(batch) == 1:
                    raise
                self._limit = -(-len(batch) // 2)
                pending.insert(0, batch)
            except engines.BatchError as error:
                if len(batch) == 1:
                    yield _dead_letter(batch[0], records.DataError("model_failed", f"the model failed on it: {error}"))
                else:
                    half = len(batch) // 2
                    pending[:0] = [batch[:half], batch[half:]]
            else:
                yield from outcome

    def _explain_batch(self, batch: Sequence[records.Example]) -> list[Any]:
        """The explanations of one batch, and dead letters of images whose scores or maps are not finite."""
        images = np.stack([e.image for e in batch])
        results = self._engine.explain(images, [e.source.label_ids for e in batch], self._selected(batch))
        good, explanations, lost = [], [], []
        for number, (example, result) in enumerate(zip(batch, results, strict=True)):
            try:
                explanations.append(_explanation(example, result, self._exact_maps))
                good.append(number)
            except records.DataError as error:
                lost.append(_dead_letter(example, error))
        if self._assessment is not None and explanations:
            explanations = assess.assess(self._engine, images[good], explanations, self._assessment)
        return [*explanations, *lost]

    def _selected(self, batch: Sequence[records.Example]) -> dict[str, np.ndarray]:
        return {
            method.label: np.array(
                [sampling.in_sample(e.source.image_id, method.sample, self._sample_seed) for e in batch], bool
            )
            for method in self._spec.methods
            if method.sample < 1
        }


def _dead_letter(example: records.Example, error: records.DataError) -> beam.pvalue.TaggedOutput:
    source = example.source
    progress.TALLY.add("dead_letters")
    letter = records.DeadLetter.from_error(source.image_id, source.shard, source.index, STAGE, error)
    return beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, letter)


def _explanation(example: records.Example, result: explained.ImageExplanation, exact_maps: bool) -> records.Explanation:
    if not result.finite:
        raise records.DataError(
            "not_a_number", "the model's scores for it are NaN or infinite; check the image and the model"
        )
    return records.Explanation(
        source=example.source,
        ground_truth=example.ground_truth,
        class_ids=result.class_ids,
        targets=result.targets,
        logits=result.logits,
        probabilities=result.probabilities,
        ranks=result.ranks,
        predicted_class_id=result.predicted_class_id,
        methods=tuple(
            records.MethodMaps(label, layer, _stored(maps, exact_maps)) for label, layer, maps in result.maps
        ),
    )


def _stored(maps: np.ndarray, exact: bool) -> np.ndarray:
    """The maps as the table will give them back.

    Raises:
        records.DataError: a map is not finite.
    """
    steps, scale = heatmaps.quantize(maps)
    return maps if exact else heatmaps.dequantize(steps, scale)
