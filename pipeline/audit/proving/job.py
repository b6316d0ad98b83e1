"""The job of ``heatbeam prove``: suspects of a finished run, each tried where its images can be read.

The suspects of a class are one element: the worker reads the records of their images and of the images of other classes
from their shards, decodes them as the run did and asks the model. Nothing leaves it but the outcomes, with four small
pictures each.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import apache_beam as beam
import cv2
import numpy as np
import pyarrow as pa
from apache_beam.io import filesystem, filesystems
from apache_beam.options import pipeline_options

from heatbeam import command
from heatbeam.audit import decided, shortcuts
from heatbeam.audit.evidence import kinds, proofs, sample, suspects
from heatbeam.audit.proving import trial
from heatbeam.job import failures, plan, step_options, verdict
from heatbeam.job.fitting import unfit_methods
from heatbeam.runners import runner_options
from heatbeam.runs import manifests, moved_images, remote_files, run_directory, run_methods, source_images
from heatbeam.transforms import decode, errors, explain, records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models.backends import packages

OTHERS = trial.SEEN + trial.LOOKED[-1]
"""Images of other classes that a suspect is tried on, at most."""

LEAST_OTHERS = trial.SEEN + 4

PICTURE_PX = 224
"""Longer side of the pictures that are kept, at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """The suspects of a class, the most suspicious first, with the images of other classes that they are tried on."""

    suspects: tuple[suspects.Suspect, ...]
    others: tuple[sample.Image, ...]


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a job found.

    Attributes:
        table: `proofs.SCHEMA` with the id of the run.
        path: where it was written.
        left_out: suspects that were not tried, because there were too many.
    """

    table: pa.Table
    path: str
    left_out: int


def most_of(images: int) -> int:
    """Suspects that are tried, where the user names no number: one for 100 images of the run, at least 20."""
    return max(20, images // 100)


def prove(
    run_path: str,
    *,
    images: str | None = None,
    most: int | None = None,
    beam_options: Sequence[str] = (),
    stream: TextIO | None = None,
) -> Finished:
    """Try the suspects of a finished run; the table is written into the run.

    Args:
        run_path: the run.
        images: where its images are now, if they were moved (`moved_images.located`).
        most: suspects to try, the most suspicious first; None for `most_of`.
        beam_options: Beam's own options.
        stream: where progress goes; None for standard error.

    Raises:
        errors.PathError: the table cannot be written; told before anything is tried where the run is on a disk.
        errors.UsageError: the run has no channel evidence, or its model or inputs cannot be tried like this.
        run_directory.RunDirectoryError: it is not a finished run.
    """
    stream = sys.stderr if stream is None else stream
    run = run_directory.RunDirectory(run_path)
    manifest = run.read_manifest()
    _check(manifest)
    _check_writable(run.path_of(proofs.FILE))
    rows = run.open_table("explanations")
    samples = sample.gather(rows, manifest.primary_target)
    if not samples:
        raise errors.UsageError(
            f"{run.path} has no channel evidence to seek shortcuts in: it is of an older version, was run with "
            "explain.evidence: false, or its model's head has no gradient; run it again with explain.evidence: true"
        )
    of_kind = [kind for one in samples for kind in kinds.of_class(one)]
    samples = kinds.spared(samples)
    of_kind = kinds.seek(rows, manifest.primary_target, of_kind)
    found = suspects.find(samples, _of_place(run, manifest), of_kind)
    limit = most_of(sum(one.seen for one in samples)) if most is None else most
    by_class: dict[int, list[suspects.Suspect]] = {}
    for one in found[:limit]:
        by_class.setdefault(one.class_id, []).append(one)
    pool = _pool(samples)
    tasks = [task for one in by_class.values() if (task := _task(one, pool)) is not None]
    if manifest.drawn is not None:
        stream.write(f"note: the run is of {manifest.drawn.share:.0%} of the images, drawn at random\n")
    stream.write(f"{len(found)} suspects; those of {len(tasks)} of {len(samples)} classes are tried\n")
    if len(tasks) < len(by_class):
        few = f"fewer than {LEAST_OTHERS} images of other classes have evidence"
        stream.write(f"warning: those of {len(by_class) - len(tasks)} classes cannot be tried: {few}\n")
    if tasks:
        _try(run, moved_images.located(manifest, images), manifest.model, tasks, beam_options, stream)
    else:
        _write(run.path_of(proofs.FILE), (), manifest.run_id)
    table = proofs.read(run, manifest.run_id)
    assert table is not None
    if unread := {task.suspects[0].class_id for task in tasks} - set(table["class_id"].to_pylist()):
        images_of = f"their images, or of the {LEAST_OTHERS} of other classes that it takes"
        why = f"too few of {images_of}, could be read as the run read them; give --images if they were moved"
        stream.write(f"warning: the suspects of {len(unread)} classes were not tried: {why}\n")
    decided.renew(run, manifest.run_id)
    if some := [n for n in table["unread"].to_pylist() if n]:
        why = f"some images could not be read as the run read them, up to {max(some):,} of one"
        stream.write(f"warning: {len(some)} suspects were tried on fewer images: {why}\n")
    return Finished(table, run.path_of(proofs.FILE), len(found) - len(found[:limit]))


def _check_writable(path: str) -> None:
    """Refuse a table on a disk that cannot be written there: before the job, not behind it."""
    if remote_files.is_remote(path):
        return
    place = pathlib.Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK):
        raise errors.PathError(f"cannot write {path}: {place} may not be written to; prove keeps its table in the run")


def _check(manifest: manifests.Finished) -> None:
    model = manifest.model
    if model.probability == "value":
        raise errors.UsageError("prove: the model gives values, and a shortcut is proved by a class probability")
    if model.pixels is not None:
        raise errors.UsageError("prove: the model classifies pixels; shortcuts are proved for models of whole images")
    if len(model.input_size) != 3:
        raise errors.UsageError(f"prove: the model takes inputs of shape {model.input_size}; expected pictures")


def _of_place(run: run_directory.RunDirectory, manifest: manifests.Finished) -> dict[int, str]:
    """Why the audit of places suspects a class."""
    methods = [m for m in run_methods.by_label(manifest) if m not in run_methods.controls(manifest)]
    if not methods:
        return {}
    found = shortcuts.over_all(run.open_table("explanations"), manifest.primary_target, methods[0])
    return {one.class_id: "; ".join(one.reasons()) for one in found if one.suspect}


def _pool(samples: Sequence[sample.ClassSample]) -> list[tuple[int, sample.Image]]:
    """Images with the class of each, in an order by hash, class by class in turn: every class is tried on the first."""

    def order(image: sample.Image) -> int:
        return zlib.crc32("\0".join(map(str, ("others", *image.place))).encode())

    rows = [(one.class_id, sorted(one.images, key=order)) for one in samples if one.images]
    rows.sort(key=lambda row: order(row[1][0]))
    deepest = max((len(images) for _, images in rows), default=0)
    return [(class_id, images[depth]) for depth in range(deepest) for class_id, images in rows if len(images) > depth]


def _task(of_class: Sequence[suspects.Suspect], pool: Sequence[tuple[int, sample.Image]]) -> Task | None:
    """With images of other classes."""
    class_id = of_class[0].class_id
    # An image of several labels may be of the class too, and would hide what the region does.
    others = (image for own, image in pool if own != class_id and class_id not in image.labels)
    chosen = tuple(itertools.islice(others, OTHERS))
    return Task(tuple(of_class), chosen) if len(chosen) >= LEAST_OTHERS else None


def _try(
    run: run_directory.RunDirectory,
    manifest: manifests.Manifest,
    model: manifests.Model,
    tasks: Sequence[Task],
    beam_options: Sequence[str],
    stream: TextIO,
) -> None:
    arguments = runner_options.beam_arguments(manifest.config.runner, beam_options)
    with runner_options.connected(arguments):
        command.waiting("opening the data and the model", stream)
        try:
            planned, _held = unfit_methods.fitted(
                _plan(manifest, beam_options), lambda text: stream.write(f"warning: {text}\n")
            )
        except errors.UserError:
            if manifest.started_in not in (None, str(pathlib.Path.cwd())):
                stream.write(f"note: relative paths of the run lead from {manifest.started_in}; call prove there\n")
            raise
        spec = dataclasses.replace(
            planned.engine_spec, methods=(specs.MethodSpec("grad_cam"),), targets=("predicted",), tune_batch=False
        )
        engine, _ = explain.acquire_engine(spec)  # held until the job is over
        _check_engine(engine, model, run.path)
        how = step_options.decode_step(planned.settings, engine.description).image
        chosen = sum(len(task.suspects) for task in tasks)
        pipeline = beam.Pipeline(options=pipeline_options.PipelineOptions(arguments))
        _ = (
            pipeline
            | "Suspects" >> beam.Create(list(tasks), reshuffle=True)
            | "Try" >> beam.ParDo(_TryFn(spec, how, manifest, model.class_names, proofs.LEVEL / chosen))
            | "Together" >> beam.combiners.ToList()
            | "Write" >> beam.ParDo(_WriteFn(run.path_of(proofs.FILE), manifest.run_id, chosen))
        )
        failures.run_to_the_end(pipeline, verdict.RunFailed)
        del engine


def _plan(manifest: manifests.Manifest, beam_options: Sequence[str]) -> plan.Plan:
    """The plan of a run, by what computed its model where that is installed here, else by TensorFlow."""
    backend = manifest.backend if manifest.backend in packages.installed() else "tensorflow"
    explain_section = manifest.config.explain.model_copy(update={"compute": backend, "xla": False})
    return plan.make(manifest.config.model_copy(update={"explain": explain_section}), beam_options)


def _check_engine(engine: engines.Engine, model: manifests.Model, path: str) -> None:
    if engine.description.digest != model.digest:
        raise errors.UsageError(
            f"prove: the model has weights of digest {engine.description.digest[:12]}, and {path} was made with "
            f"{model.digest[:12]}; give the model of the run back its place, or run it again"
        )
    if engine.model.fed:
        raise errors.UsageError(
            f"prove: the model takes {', '.join(engine.model.fed)} beside the picture, and a region that is moved to "
            "another image would come with that image's; such models are not tried"
        )


@beam.typehints.with_output_types(proofs.Tried)
class _TryFn(beam.DoFn):
    """Tries the suspects of a class until one is proved; one none of whose images can be read any more is left out."""

    def __init__(
        self,
        spec: specs.EngineSpec,
        how: decode.InputOptions,
        manifest: manifests.Manifest,
        names: Sequence[str],
        level: float,
    ):
        self._spec = spec
        self._level = level
        self._names = tuple(names)
        self._how = how
        self._manifest = manifest

    def setup(self) -> None:
        self._engine, _ = explain.acquire_engine(self._spec)
        self._trial = trial.Trial(self._engine)
        self._others: dict[source_images.Place, trial.Prepared] = {}

    def process(self, task: Task) -> Iterator[proofs.Tried]:
        wanted = {image.place: image for image in task.others if image.place not in self._others}
        wanted |= {image.place: image for one in task.suspects for image in (*one.images, *one.usual)}
        prepared = _prepared(self._manifest, wanted, self._how)
        places = [image.place for image in task.others]
        # Those of the next class are nearly the same.
        self._others = {place: found for place in places if (found := self._others.get(place) or prepared.get(place))}
        others = list(self._others.values())
        if len(others) < LEAST_OTHERS:
            return
        for suspect in task.suspects:
            images = [prepared[one.place] for one in suspect.images if one.place in prepared]
            if images:
                usual = [prepared[one.place] for one in suspect.usual if one.place in prepared]
                outcome = self._trial.run(suspect, images, others, self._level, usual)
                unread = len(suspect.images) - len(images) + len(task.others) - len(others)
                yield _tried_of(suspect, outcome, images, unread, self._names)
                if (
                    outcome.fresh
                    and outcome.transplant.p_value <= self._level
                    and outcome.transplant.value >= proofs.COUNTS
                ):
                    return


def _prepared(
    manifest: manifests.Manifest, wanted: Mapping[source_images.Place, sample.Image], how: decode.InputOptions
) -> dict[source_images.Place, trial.Prepared]:
    """Those that can still be read, as the model takes them."""
    found = {}
    for one in source_images.source_records(manifest, list(wanted)):
        image = wanted[one.place]
        encoded = records.EncodedExample(
            image.image_id, one.place[0], one.place[1], one.image, raw_shape=one.raw_shape, raw_dtype=one.raw_dtype
        )
        try:
            pixels, _, view = decode.input_of(encoded, how)
        except records.DataError:
            continue  # the run made a dead letter of it too
        boxes = _in_input(image.boxes, view, pixels.shape)
        found[one.place] = trial.Prepared(image.image_id, pixels, boxes, image.energy_map)
    return found


def _in_input(boxes: np.ndarray | None, view: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Boxes in pixels of the model's input, which shows `view` of the original."""
    if boxes is None:
        return None
    x0, y0, x1, y1 = view
    scale = np.array([shape[1] / (x1 - x0), shape[0] / (y1 - y0)])
    corners = boxes.reshape(-1, 2, 2)
    placed: np.ndarray = ((corners - (x0, y0)) * scale).reshape(-1, 4)
    return placed


def _tried_of(
    suspect: suspects.Suspect,
    outcome: trial.Outcome,
    images: Sequence[trial.Prepared],
    unread: int,
    names: Sequence[str],
) -> proofs.Tried:
    facts = {
        "class_id": suspect.class_id,
        "class_name": names[suspect.class_id],
        "source": suspect.source,
        "component": suspect.component,
        "suspicion": suspect.suspicion,
        "reason": suspect.reason,
        "against_controls": outcome.fresh,
        "on_object_known": all(one.boxes is not None for one in images),
        "area": outcome.area,
        "tried": list(outcome.tried),
        "carriers": list(outcome.carriers),
        "passes": outcome.passes,
        "unread": unread,
        "pictures": [_png(picture) for picture in outcome.pictures],
    }
    return proofs.Tried(facts, outcome.transplant, outcome.decision, outcome.removal)


def _png(picture: np.ndarray) -> bytes:
    """Of a picture, no larger than `PICTURE_PX`."""
    shrink = PICTURE_PX / max(picture.shape[:2])
    if shrink < 1:
        size = max(1, round(picture.shape[1] * shrink)), max(1, round(picture.shape[0] * shrink))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    colours = picture if picture.ndim == 2 or picture.shape[-1] == 1 else picture[..., ::-1]
    return cv2.imencode(".png", np.ascontiguousarray(colours))[1].tobytes()


class _WriteFn(beam.DoFn):
    """Writes the table of all outcomes, of `chosen` suspects."""

    def __init__(self, path: str, run_id: str | None, chosen: int):
        self._path = path
        self._chosen = chosen
        self._run_id = run_id

    def process(self, tried: list[proofs.Tried]) -> None:
        _write(self._path, tried, self._run_id, self._chosen - len(tried))


def _write(path: str, tried: Sequence[proofs.Tried], run_id: str | None, skipped: int = 0) -> None:
    """The table, by Beam's file systems, which make the folder."""
    content = proofs.parquet(proofs.table(tried, skipped), run_id)
    plain = filesystem.CompressionTypes.UNCOMPRESSED
    with errors.about(path, "write"), filesystems.FileSystems.create(path, compression_type=plain) as stream:
        stream.write(content)
