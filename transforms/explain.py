"""Explain images in batches; the only step that touches a model.

The model is loaded once per worker process and shared by its threads and by every step that names the same
specification. A batch that fails is halved until only the bad record is lost; running out of memory halves the
batches from then on.

An image whose maps all come from an earlier run passes by the model and takes no place in a batch. Where some do, the
shared pass is run and only the other methods are computed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import cv2
import numpy as np
import threadpoolctl
from apache_beam import metrics
from apache_beam.transforms import window
from apache_beam.utils import shared, windowed_value

from heatbeam.transforms import heatmaps, records, sampling, tally
from heatbeam.transforms.engine import assess, computing, explained, fitting, specs
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading, model_files

STAGE = "explain"
MAIN_TAG = "main"
SKIPPED_TAG = "skipped"
REUSED_TAG = "reused"
COMPUTED_TAG = "computed"

# One handle for the process: a handle of its own in each DoFn would load the model once per step.
_HANDLES: dict[specs.EngineSpec, shared.Shared] = {}
_HANDLES_LOCK = threading.Lock()


def acquire_engine(spec: specs.EngineSpec, like: engines.Engine | None = None) -> tuple[engines.Engine, bool]:
    """The process's engine for `spec`, loaded and warm, and whether this call loaded it.

    Args:
        spec: of the engine.
        like: an engine whose specification differs in `compute` alone: its model is shared, not loaded again, where
            its layers compute in the same precision.
    """
    with _HANDLES_LOCK:
        handle = _HANDLES.setdefault(spec, shared.Shared())
    loaded: list[bool] = []

    def load() -> engines.Engine:
        if spec.intra_op_threads == 1:
            # One batch per core already: threads inside an operation would only take the cores from one another.
            cv2.setNumThreads(1)
            threadpoolctl.threadpool_limits(1)
        local = _with_local_files(spec)
        with model_files.named_as_given(_copies(spec, local)):
            shared_model = like.model if like is not None and computing.shares_model(like.spec, spec) else None
            engine = engines.Engine(local, shared_model)
            engine.warm_up()
        loaded.append(True)
        return engine

    return handle.acquire(load), bool(loaded)


def stacked_inputs(examples: Sequence[records.Example]) -> dict[str, np.ndarray]:
    """The model's other inputs that come with N images, ``(N, ...)`` by name; empty where none does."""
    names = [name for name, _ in examples[0].inputs]
    return {name: np.stack([dict(e.inputs)[name] for e in examples]) for name in names}


def unfit_methods(spec: specs.EngineSpec) -> dict[str, str]:
    """As `fitting.unfit`, wherever the model's files are."""
    local = _with_local_files(spec)
    with model_files.named_as_given(_copies(spec, local)):
        return fitting.unfit(local)


def _with_local_files(spec: specs.EngineSpec) -> specs.EngineSpec:
    """`spec` with remote model and weights files fetched, once per machine."""
    source = spec.model
    path = model_files.local_copy(source.path) if source.path is not None else None
    weights = model_files.local_copy(source.weights) if source.weights is not None else None
    constants = tuple(
        (name, model_files.local_copy(value) if model_source.is_array_file(value) else value)
        for name, value in source.constants
    )
    return dataclasses.replace(spec, model=dataclasses.replace(source, path=path, weights=weights, constants=constants))


def _copies(spec: specs.EngineSpec, local: specs.EngineSpec) -> dict[str, str]:
    """What was fetched of a specification's model, with what each is a copy of."""
    pairs = [
        (local.model.path, spec.model.path),
        (local.model.weights, spec.model.weights),
        *zip(dict(local.model.constants).values(), dict(spec.model.constants).values(), strict=True),
    ]
    return {copy: given for copy, given in pairs if isinstance(copy, str) and isinstance(given, str) and copy != given}


@dataclasses.dataclass
class Explain(beam.PTransform):
    """`records.Example` to `records.Explanation`, with dead letters and a count of images without a target.

    Attributes:
        spec: model, methods and targets.
        sample_seed: of the choice of images for methods that explain a sample.
        exact_maps: keep maps as float32; otherwise they are what 16-bit storage gives back, so that the metrics see
            the maps that the tables hold.
        volume_steps: of that storage, as of `heatmaps.most_steps`.
        assessment: faithfulness, stability and sanity to measure, or None.
        model_digest: of the weights that every worker must have (`exposure.ModelDescription.digest`); None for any.

    Outputs: `MAIN_TAG` (`records.Explanation`), `SKIPPED_TAG` (ids of images without a target) and
    `records.DEAD_LETTER_TAG` (`records.DeadLetter`). Of images that could have been taken from an earlier run, the ids:
    `REUSED_TAG` where all of it was, `COMPUTED_TAG` where the model was asked.

    Counters (namespace ``heatbeam``): ``images_explained`` (by the model), ``images_reused``, ``images_skipped``,
    ``model_loads``, ``batches``, ``explain_msec``; distribution ``batch_size``.
    """

    spec: specs.EngineSpec
    sample_seed: int = specs.EngineSpec.seed
    exact_maps: bool = False
    assessment: assess.Assessment | None = None
    model_digest: str | None = None
    volume_steps: int = heatmaps.VOLUME_STEPS

    def expand(self, examples: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        tags = (records.DEAD_LETTER_TAG, SKIPPED_TAG, REUSED_TAG, COMPUTED_TAG)
        return (
            examples
            | "Batch" >> beam.ParDo(_BatchFn(self.spec.batch_size))
            | "Explain" >> beam.ParDo(_ExplainFn(self)).with_outputs(*tags, main=MAIN_TAG)
        )


_GOLDEN = (math.sqrt(5) - 1) / 2
_THREADS = itertools.count()


def first_batch(size: int, number: int) -> int:
    """Size of the first batch of thread `number` of a process: `size` for thread 0, another share of it for each.

    Threads that start together would decode together, wait for one another's Python together and leave the device idle
    together. After first batches of unlike size one decodes while another computes. Multiples of the golden ratio keep
    any few of them apart.
    """
    return max(1, round(size * (1 - number * _GOLDEN % 1)))


@beam.typehints.with_output_types(list[records.Example])
class _BatchFn(beam.DoFn):
    """Examples to batches of `size`, the last of a bundle and the first of a thread (`first_batch`) smaller.

    An example that needs no model is let by alone.
    """

    def __init__(self, size: int) -> None:
        self._size = self._next = size
        self._waiting: list[records.Example] = []

    def setup(self) -> None:
        self._next = first_batch(self._size, next(_THREADS))

    def start_bundle(self) -> None:
        self._waiting = []

    def process(self, example: records.Example) -> Iterator[list[records.Example]]:
        if example.earlier is not None and example.earlier.complete:
            yield [example]
            return
        self._waiting.append(example)
        if len(self._waiting) == self._next:
            yield self._waiting
            self._waiting = []
            self._next = self._size

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        if self._waiting:
            whole = window.GlobalWindow()
            yield windowed_value.WindowedValue(self._waiting, whole.max_timestamp(), (whole,))
            self._waiting = []


@beam.typehints.with_output_types(Any)
class _ExplainFn(beam.DoFn):
    def __init__(self, settings: Explain) -> None:
        self._spec = settings.spec
        self._sample_seed = settings.sample_seed
        self._stored_steps = None if settings.exact_maps else settings.volume_steps
        self._assessment = settings.assessment
        self._model_digest = settings.model_digest
        self._explained = metrics.Metrics.counter("heatbeam", "images_explained")
        self._reused = metrics.Metrics.counter("heatbeam", "images_reused")
        self._skipped = metrics.Metrics.counter("heatbeam", "images_skipped")
        self._loads = metrics.Metrics.counter("heatbeam", "model_loads")
        self._batches = metrics.Metrics.counter("heatbeam", "batches")
        self._msec = metrics.Metrics.counter("heatbeam", "explain_msec")
        self._sizes = metrics.Metrics.distribution("heatbeam", "batch_size")

    def setup(self) -> None:
        self._engine, self._loaded_here = acquire_engine(self._spec)
        self._check_weights(self._engine.description.digest)
        self._limit = self._engine.batch_size

    def _check_weights(self, digest: str) -> None:
        """Refuse to explain with another model than the run's: its rows would stand among the others, unnoticed."""
        if self._model_digest is not None and self._model_digest != digest:
            raise loading.ModelError(
                f"this worker's model has weights of digest {digest[:12]}, the run's has {self._model_digest[:12]}: a "
                "model file must not change during a run, and a factory must give the same weights each time it is "
                "called; load them from a file, or seed every initializer by itself"
            )

    def process(self, examples: Sequence[records.Example]) -> Iterator[Any]:
        if all(e.earlier is not None and e.earlier.complete for e in examples):
            for example in examples:
                yield from self._take_over(example)
            return
        if self._loaded_here:  # counters outside a bundle are lost, so the load is counted with the first batch
            self._loads.inc()
            self._loaded_here = False
        started = time.monotonic()
        ready = []
        reuses = any(example.earlier is not None for example in examples)
        for example in examples:
            try:
                if self._has_target(example):
                    ready.append(example)
                else:
                    self._skipped.inc()
                    tally.TALLY.add("images_skipped")
                    yield beam.pvalue.TaggedOutput(SKIPPED_TAG, example.source.image_id)
            except records.DataError as error:
                yield _dead_letter(example, error)
        for result in self._explain(ready):
            if isinstance(result, records.Explanation):
                self._explained.inc()
                tally.TALLY.add("images_explained")
                if reuses:
                    yield beam.pvalue.TaggedOutput(COMPUTED_TAG, result.source.image_id)
            yield result
        self._msec.inc(round(1000 * (time.monotonic() - started)))

    def _take_over(self, example: records.Example) -> Iterator[Any]:
        """The explanation of an earlier run."""
        earlier = example.earlier
        assert earlier is not None
        self._reused.inc()
        tally.TALLY.add("images_explained")
        yield beam.pvalue.TaggedOutput(REUSED_TAG, example.source.image_id)
        facts = {name: getattr(earlier, name) for name in _SHARED_FACTS}
        by_label = {maps.method: maps for maps in earlier.methods}
        methods = tuple(by_label[m.label] for m in self._spec.methods if m.label in by_label)
        yield records.Explanation(source=example.source, ground_truth=example.ground_truth, methods=methods, **facts)

    def _has_target(self, example: records.Example) -> bool:
        classes = self._engine.description.classes
        if example.source.values and len(example.source.values) != classes:
            raise records.DataError(
                "value_count",
                f"the record has {len(example.source.values)} values, the model gives {classes}; see "
                "input.features.value",
            )
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
        self._batches.inc()
        self._sizes.update(len(batch))
        images, inputs = np.stack([e.image for e in batch]), stacked_inputs(batch)
        results = self._engine.explain(images, [e.source.label_ids for e in batch], self._selected(batch), inputs)
        good, explanations, others = [], [], []
        for number, (example, result) in enumerate(zip(batch, results, strict=True)):
            try:
                explanation = _explanation(example, result, self._stored_steps)
            except records.DataError as error:
                others.append(_dead_letter(example, error))
                continue
            if _fits(example.earlier, explanation):
                explanations.append(explanation)
                good.append(number)
            else:  # a near tie went the other way: what is known is about other classes, so all is made anew
                others += self._explain_batch([dataclasses.replace(example, earlier=None)])
        if self._assessment is not None and explanations:
            own = {name: rows[good] for name, rows in inputs.items()}
            explanations = assess.assess(self._engine, images[good], explanations, self._assessment, own)
        joined = [self._joined(batch[n].earlier, e) for n, e in zip(good, explanations, strict=True)]
        return [*joined, *others]

    def _joined(self, earlier: records.Earlier | None, explanation: records.Explanation) -> records.Explanation:
        """`explanation` with the maps of an earlier run, and with the scores of that run, which they belong to."""
        if earlier is None or not earlier.methods:
            return explanation
        by_label = {maps.method: maps for maps in (*explanation.methods, *earlier.methods)}
        methods = tuple(by_label[m.label] for m in self._spec.methods if m.label in by_label)
        return dataclasses.replace(
            explanation, methods=methods, **{name: getattr(earlier, name) for name in _SHARED_FACTS}
        )

    def _selected(self, batch: Sequence[records.Example]) -> dict[str, np.ndarray]:
        """Which images each method explains; a method that explains all of them is left out."""
        known = [{m.method for m in e.earlier.methods} if e.earlier is not None else set() for e in batch]
        selected = {}
        for method in self._spec.methods:
            wanted = [
                method.label not in labels and sampling.in_sample(e.source.image_id, method.sample, self._sample_seed)
                for e, labels in zip(batch, known, strict=True)
            ]
            if method.sample < 1 or not all(wanted):
                selected[method.label] = np.array(wanted, bool)
        return selected


# What is said of the classes of an image, whatever the method.
_SHARED_FACTS = ("class_ids", "targets", "logits", "probabilities", "ranks", "predicted_class_id", "evidence")


def _fits(earlier: records.Earlier | None, explanation: records.Explanation) -> bool:
    """Whether the maps of an earlier run are about the same classes."""
    return earlier is None or not earlier.methods or np.array_equal(earlier.class_ids, explanation.class_ids)


def _dead_letter(example: records.Example, error: records.DataError) -> beam.pvalue.TaggedOutput:
    source = example.source
    tally.TALLY.add("dead_letters")
    letter = records.DeadLetter.from_error(source.image_id, source.shard, source.index, STAGE, error)
    return beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, letter)


def _explanation(
    example: records.Example, result: explained.ImageExplanation, stored_steps: int | None
) -> records.Explanation:
    if not result.finite:
        raise records.DataError(
            "not_a_number",
            "the model's scores or activations for it are NaN or infinite; check the image and the model",
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
        evidence=result.evidence,
        methods=tuple(
            records.MethodMaps(label, layer, _stored(maps, stored_steps)) for label, layer, maps in result.maps
        ),
    )


def _stored(maps: np.ndarray, volume_steps: int | None) -> np.ndarray:
    """The maps as the table will give them back; as they are where `volume_steps` is None.

    Raises:
        records.DataError: a map is not finite.
    """
    rank = maps.ndim - 1
    most = heatmaps.most_steps(maps.shape[1:], volume_steps or heatmaps.INT16_STEPS)
    steps, scale = heatmaps.quantize(maps, rank, most)
    return maps if volume_steps is None else heatmaps.dequantize(steps, scale, rank)
