"""Small finished runs over series, volumes and clips with drawn maps and true boxes, for what shows them."""

from __future__ import annotations

import hashlib
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam import config
from heatbeam.runs import run_directory, source_images
from heatbeam.transforms import aggregate, records
from heatbeam.transforms.metrics import image_evidence, registry, summary
from heatbeam.transforms.metrics.localization import localization
from heatbeam.transforms.tables import rows, schemas
from tests.support import manifests, report_runs

AXES = {
    "series": (records.Axis("time", "s", 0.01),),
    "volume": (records.Axis("z", "mm", 2.0), records.Axis("y", "mm"), records.Axis("x", "mm")),
    "clip": (records.Axis("time", "s", 0.1), records.Axis("y", "px"), records.Axis("x", "px")),
}
SHAPES = {"series": (400,), "volume": (12, 24, 32), "clip": (12, 24, 32)}
CELLS = {"series": (20,), "volume": (4, 6, 8), "clip": (4, 6, 8)}
CLASSES = ("ant", "<b>bee</b>")
GROUPS = ("statistics", "boxes", "pointing", "energy")
SHARD = "signals-00000-of-00001"


def place(number: int) -> source_images.Place:
    """Of record `number`."""
    return SHARD, number, hashlib.sha256(str(number).encode()).hexdigest()


def values(kind: str, number: int) -> np.ndarray:
    """The original of record `number`: noise, and a bright object at `box`."""
    rng = np.random.default_rng(number)
    shape = SHAPES[kind]
    channels = 3 if kind == "series" else 1
    signal = rng.normal(0, 0.1, (*shape, channels)).astype(np.float32)
    start, end = box(kind, number)
    inside = tuple(slice(int(a), int(b)) for a, b in zip(start[::-1], end[::-1], strict=True))
    signal[inside] += 1
    return signal


def box(kind: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of the object of record `number`, x first: a quarter of each side."""
    size = np.array(SHAPES[kind][::-1])
    start = (np.random.default_rng(100 + number).random(len(size)) * 0.7 * size).astype(int)
    return start, start + size // 4


def write(folder: pathlib.Path, kind: str, images: int = 6, methods: tuple[str, ...] = ("cam", "layer_cam")) -> str:
    """A finished run in ``folder / "run"``; its path. Every map is a bump at the object."""
    rank = len(SHAPES[kind])
    found = [_explanation(kind, number, methods) for number in range(images)]
    localized = [image_evidence.localize(one, report_runs.PROTOCOL, GROUPS, True) for one in found]
    columns = localization.columns(GROUPS, rank)
    known = [schemas.ValueColumn(name, registry.COLUMNS[name].description) for name in columns]
    schema = schemas.explanations(known, [], heatmap_dtype="int16", rank=rank)
    directory = run_directory.RunDirectory(str(folder / "run"))
    manifest = manifests.manifest(
        config={"input": {"tfrecord": [str(folder / "signals-*")]}, "explain": {"methods": list(methods)}},
        model={"classes": len(CLASSES), "class_names": list(CLASSES)},
        conventions={
            "protocol": report_runs.PROTOCOL.as_dict(),
            "axes": [vars(axis) for axis in AXES[kind]],
        },
        counts={"records_read": images, "images_explained": images},
    )
    directory.create(manifest, overwrite=False)
    numbers, curves = _numbers([evidence for _, evidence in localized])
    tables = {
        "explanations": rows.explanation_table([one for one, _ in localized], schema, CLASSES),
        "summary": numbers,
        "curves": curves,
        "dead_letters": schemas.dead_letter_table(()),
    }
    for name, table in tables.items():
        _write(directory, name, table)
    directory.finish(manifest)
    return directory.path


def _numbers(images: list[image_evidence.ImageEvidence]) -> tuple[pa.Table, pa.Table]:
    """``summary`` and ``curves`` over everything."""
    found: dict[str, summary.MetricState] = {}
    for image in images:
        for one in image.maps:
            state = found.setdefault(one.method, summary.MetricState(report_runs.PROTOCOL, 0))
            state.add(one.evidence, image.image_id, dict(one.curves))
    states = [((method, "all", "all"), state) for method, state in sorted(found.items())]
    tables = [aggregate.tables([state], aggregate.run_thresholds([state])) for state in states]
    return pa.concat_tables([one for one, _ in tables]), pa.concat_tables([one for _, one in tables])


def _write(directory: run_directory.RunDirectory, name: str, table: pa.Table) -> None:
    pq.write_table(table, directory.path_of(f"{name}/part-00000-of-00001.parquet"))


def _explanation(kind: str, number: int, methods: tuple[str, ...]) -> records.Explanation:
    size = SHAPES[kind][::-1]
    shard, index, digest = place(number)
    label = number % len(CLASSES)
    start, end = box(kind, number)
    source = records.Source(
        f"signal-{number:02d}", shard, index, digest, size, (*(0.0,) * len(size), *map(float, size)), (label,)
    )
    truth = records.GroundTruth(
        boxes=np.array([[*start, *end]], np.float64), box_class_ids=np.array([label]), box_difficult=np.array([False])
    )
    maps = _bump(CELLS[kind], ((start + end) / 2 / np.array(size))[::-1])[None].astype(np.float32)
    return records.Explanation(
        source=source,
        ground_truth=truth,
        class_ids=np.array([label]),
        targets=(("label", "predicted"),),
        logits=np.array([3.0], np.float32),
        probabilities=np.array([0.9], np.float32),
        ranks=np.array([1]),
        predicted_class_id=label,
        methods=tuple(records.MethodMaps(method, "last", maps) for method in methods),
    )


def _bump(cells: tuple[int, ...], at: np.ndarray) -> np.ndarray:
    """A map with one bump; `at` from 0 to 1 along each axis of the array."""
    grid = np.meshgrid(*((np.arange(n) + 0.5) / n for n in cells), indexing="ij")
    return np.exp(-sum((one - place) ** 2 for one, place in zip(grid, at, strict=True)) / (2 * 0.1**2))


class Originals:
    """Stands for `source_images.source_records`: gives `values` where the shards would be read.

    Args:
        kind: of the signals.
        missing: numbers of records that cannot be read.
    """

    def __init__(self, kind: str, missing: tuple[int, ...] = ()):
        self._kind, self._missing = kind, missing

    def __call__(self, manifest, places, problems=None):
        for shard, index, digest in sorted(places):
            if index not in self._missing:
                yield _Record((shard, index, digest), values(self._kind, index), manifest.config.input)


class _Record:
    record, raw_shape = b"", None

    def __init__(self, where: source_images.Place, original: np.ndarray, settings: config.InputConfig):
        self.place, self._original, self.settings = where, original, settings

    def original(self) -> np.ndarray:
        return self._original
