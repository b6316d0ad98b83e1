"""Small finished runs with real measurements, for the tests of the report: drawn maps, true boxes, source shards."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.runs import manifests as run_manifests
from heatbeam.runs import run_directory
from heatbeam.transforms import aggregate, records
from heatbeam.transforms.metrics import image_evidence, protocols, registry, summary
from heatbeam.transforms.metrics.localization import localization
from heatbeam.transforms.sources import tfexample
from heatbeam.transforms.tables import rows, schemas
from tests.support import manifests, sample_shards

WIDTH, HEIGHT, CELLS = 48, 40, 8
SHARD = "photos-00000-of-00001.tfrecord"
GROUPS = ("statistics", "boxes", "pointing", "energy")
PROTOCOL = protocols.DEFAULT


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to draw.

    Attributes:
        classes: names of the classes.
        images: of each class.
        methods: names of the methods.
        planted: class id whose maps lie in the upper left corner, or None.
        mistaken: every so-many-th image is taken for the next class; 0 for none.
        truth: whether there are boxes.
        shard: whether the source shard is written.
        id_format: of image ids.
        class_independent: whether the map of the first choice is that of the label.
        twins: whether the maps of all methods are the same; else each is a little more peaked than the one before.
    """

    classes: tuple[str, ...] = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
    images: int = 14
    methods: tuple[str, ...] = ("cam", "layer_cam")
    planted: int | None = 2
    mistaken: int = 7
    truth: bool = True
    shard: bool = True
    id_format: str = "image-{:04d}"
    class_independent: bool = False
    twins: bool = False


def write(folder: pathlib.Path, plan: Plan, dead_letters: tuple[records.DeadLetter, ...] = ()) -> str:
    """A finished run in ``folder / "run"``; its path."""
    drawn = [_image(plan, number) for number in range(len(plan.classes) * plan.images)]
    if plan.shard:
        (folder / SHARD).write_bytes(sample_shards.shard_bytes([record for _, record in drawn]))
    localized = [image_evidence.localize(e, PROTOCOL, GROUPS, plan.truth) for e, _ in drawn]
    numbers, curves = _numbers(plan, [evidence for _, evidence in localized])
    known = registry.COLUMNS
    values = [schemas.ValueColumn(known[name].name, known[name].description) for name in localization.columns(GROUPS)]
    schema = schemas.explanations(values, ["camera"], heatmap_dtype="int16")
    directory = run_directory.RunDirectory(str(folder / "run"))
    manifest = _manifest(folder, plan, len(dead_letters))
    directory.create(manifest, overwrite=False)
    _write(directory, "explanations", rows.explanation_table([one for one, _ in localized], schema, plan.classes))
    _write(directory, "summary", numbers)
    _write(directory, "curves", curves)
    _write(directory, "dead_letters", schemas.dead_letter_table(dead_letters))
    directory.finish(manifest)
    return directory.path


def _image(plan: Plan, number: int) -> tuple[records.Explanation, bytes]:
    """Image `number`: one object of 16 x 12 pixels on noise, explained for its label and the model's first choice."""
    rng = np.random.default_rng(number)
    label = number % len(plan.classes)
    wrong = plan.mistaken and number % plan.mistaken == 3 % plan.mistaken
    predicted = (label + 1) % len(plan.classes) if wrong else label
    x, y = int(rng.integers(0, WIDTH - 16)), int(rng.integers(0, HEIGHT - 12))
    encoded = sample_shards.encode(sample_shards.noise(HEIGHT, WIDTH, seed=number))
    source = records.Source(
        plan.id_format.format(number), SHARD, number, hashlib.sha256(encoded).hexdigest(), (WIDTH, HEIGHT),
        (0, 0, WIDTH, HEIGHT), (label,), (("camera", ("left", "right")[number // len(plan.classes) % 2]),),
    )  # fmt: skip
    truth = records.GroundTruth(
        boxes=np.array([[x, y, x + 16, y + 12]], np.float64),
        box_class_ids=np.array([label]),
        box_difficult=np.array([False]),
    )
    at_object = _spot((x + 8) / WIDTH, (y + 6) / HEIGHT) + 0.02 * rng.random((CELLS, CELLS))
    of_label = _spot(0.08, 0.08) if label == plan.planted else at_object
    of_first = of_label if plan.class_independent else at_object[::-1, ::-1]
    maps = np.stack([of_label, of_first] if wrong else [of_label]).astype(np.float32)
    explanation = records.Explanation(
        source=source,
        ground_truth=truth if plan.truth else records.GroundTruth(),
        class_ids=np.array([label, predicted] if wrong else [label]),
        targets=(("label",), ("predicted",)) if wrong else (("label", "predicted"),),
        logits=np.array([1.0, 3.0] if wrong else [3.0], np.float32),
        probabilities=np.array([0.1, 0.85] if wrong else [0.9], np.float32),
        ranks=np.array([2, 1] if wrong else [1]),
        predicted_class_id=predicted,
        methods=tuple(
            records.MethodMaps(method, "last", maps ** (1 + number / 4 * (not plan.twins)))
            for number, method in enumerate(plan.methods)
        ),
    )
    features: dict[str, Any] = {
        "image/encoded": [encoded],
        "image/object/bbox/xmin": [x / WIDTH],
        "image/object/bbox/ymin": [y / HEIGHT],
        "image/object/bbox/xmax": [(x + 16) / WIDTH],
        "image/object/bbox/ymax": [(y + 12) / HEIGHT],
        "image/object/class/label": [label],
    }
    return explanation, tfexample.serialize(features)


def _spot(x: float, y: float) -> np.ndarray:
    """A map with one bump; `x` and `y` from 0 to 1."""
    cells = (np.arange(CELLS) + 0.5) / CELLS
    return np.exp(-((cells[None, :] - x) ** 2 + (cells[:, None] - y) ** 2) / (2 * 0.12**2))


def _numbers(plan: Plan, images: list[image_evidence.ImageEvidence]) -> tuple[pa.Table, pa.Table]:
    states: dict[aggregate.Key, summary.MetricState] = {}
    for image in images:
        for one in image.maps:
            if "label" in one.targets:
                slices = [("all", "all"), ("class", plan.classes[one.evidence.class_id]), *image.slices]
                for slice_name, value in slices:
                    state = states.setdefault((one.method, slice_name, value), summary.MetricState(PROTOCOL, 0))
                    state.add(one.evidence, image.image_id, dict(one.curves))
    tables = [
        _tables([item for item in states.items() if item[0][0] == method])
        for method in sorted({key[0] for key in states})
    ]
    tables.append((schemas.SUMMARY.empty_table(), schemas.CURVES.empty_table()))
    return pa.concat_tables([one for one, _ in tables]), pa.concat_tables([one for _, one in tables])


def _tables(states: list[tuple[aggregate.Key, summary.MetricState]]) -> tuple[pa.Table, pa.Table]:
    return aggregate.tables(states, aggregate.run_thresholds(states))


def _manifest(folder: pathlib.Path, plan: Plan, lost: int) -> run_manifests.Manifest:
    total = len(plan.classes) * plan.images
    return manifests.manifest(
        config={
            "input": {"tfrecord": [str(folder / "photos-*.tfrecord")]},
            "explain": {"methods": list(plan.methods)},
        },
        model={"digest": "0123456789abcdef", "classes": len(plan.classes), "class_names": list(plan.classes)},
        conventions={"protocol": PROTOCOL.as_dict()},
        counts={"records_read": total + lost, "images_explained": total, "dead_letters": lost},
        versions={"keras": "3.15"},
    )


def _write(directory: run_directory.RunDirectory, name: str, table: pa.Table) -> None:
    pq.write_table(table, directory.path_of(f"{name}/part-00000-of-00001.parquet"))
