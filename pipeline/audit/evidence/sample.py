"""The channel evidence of a run, gathered in one pass: of each class a sample of its images, and where they look most.

Of a class at most `SAMPLED` images are kept, those of the smallest hash, whatever the order of the rows; and the
`OFF_OBJECT` images with most evidence off the object, whose evidence is needed however rare they are. An entry takes
about 300 bytes, so 1,000 classes take less than 64 MiB.
"""

from __future__ import annotations

import dataclasses
import heapq
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.runs import source_images
from heatbeam.transforms.tables import stored_evidence

Floats = npt.NDArray[np.float64]

SAMPLED = 192
OFF_OBJECT = 24

_COLUMNS = ("image_id", "image_sha256", "shard", "record_index", "targets", "class_id", "probability", "energy_share",
            "true_boxes")  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Image:
    """An image of a class.

    Attributes:
        place: where its record is.
        image_id: its id.
        probability: of the class.
        off_object: share of the energy of its map off the object, 0 to 1; NaN without boxes or masks.
        channels: int32, of its evidence, the strongest first.
        values: float32, what each puts into the class score.
        total: of all channels.
        boxes: of the class, ``x0 y0 x1 y1`` one behind the other, in pixels of the original; None where not annotated.
    """

    place: source_images.Place
    image_id: str
    probability: float
    off_object: float
    channels: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    total: float
    boxes: tuple[float, ...] | None = None

    @property
    def off_evidence(self) -> float:
        """Evidence that lies off the object, in units of the logit; NaN without ground truth."""
        return self.off_object * max(float(self.values[self.values > 0].sum()), 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassSample:
    """Images of a class.

    Attributes:
        class_id: of it.
        seen: how many images of the class the run has.
        images: a sample of them, by hash.
        off_object: those with most evidence off the object, the most first; none without ground truth.
    """

    class_id: int
    seen: int
    images: tuple[Image, ...]
    off_object: tuple[Image, ...]


class _Kept:
    """Of one class: the images of the smallest hash, and those with most evidence off the object."""

    def __init__(self) -> None:
        self.seen = 0
        # Sorted by a number and then by place, so that no two entries are equal before the image is reached.
        self.sampled: list[tuple[int, source_images.Place, Image]] = []
        self.off: list[tuple[float, source_images.Place, Image]] = []

    def add(self, image: Image) -> None:
        self.seen += 1
        key = zlib.crc32("\0".join(map(str, image.place)).encode())
        _keep(self.sampled, (-key, image.place, image), SAMPLED)
        if np.isfinite(image.off_evidence):
            _keep(self.off, (image.off_evidence, image.place, image), OFF_OBJECT)


def _keep(heap: list[Any], entry: Any, most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, entry)
    elif entry[:2] > heap[0][:2]:
        heapq.heapreplace(heap, entry)


def gather(table: ds.Dataset, target: str) -> list[ClassSample]:
    """The evidence of every class of a run, by class id; none in a run without evidence.

    Args:
        table: the explanations.
        target: rows of which count (`manifests.Manifest.primary_target`).
    """
    names = [*(name for name in _COLUMNS if name in table.schema.names), *stored_evidence.COLUMNS]
    kept: dict[int, _Kept] = {}
    for batch in map_scan.batches(table, names):
        rows = stored_evidence.given(batch)
        for class_id, image in _images(rows.filter(pa.array(map_scan.has_target(rows["targets"], target)))):
            kept.setdefault(class_id, _Kept()).add(image)
    return [
        ClassSample(
            class_id,
            one.seen,
            tuple(image for _, _, image in sorted(one.sampled, key=lambda entry: (-entry[0], entry[1]))),
            tuple(image for _, _, image in sorted(one.off, key=lambda entry: (-entry[0], entry[1]))),
        )
        for class_id, one in sorted(kept.items())
    ]


def _images(rows: pa.Table) -> Iterator[tuple[int, Image]]:
    found = stored_evidence.decoded(rows)
    columns = {name: rows[name].to_pylist() for name in ("shard", "record_index", "image_sha256", "image_id")}
    classes, probability = rows["class_id"].to_numpy(), rows["probability"].cast(pa.float64()).to_pylist()
    shares: list[float | None]
    boxes: list[list[float] | None]
    shares = rows["energy_share"].to_pylist() if "energy_share" in rows.column_names else [None] * rows.num_rows
    boxes = rows["true_boxes"].to_pylist() if "true_boxes" in rows.column_names else [None] * rows.num_rows
    for row, class_id in enumerate(classes.tolist()):
        entries = slice(int(found.ends[row]), int(found.ends[row + 1]))
        yield (
            class_id,
            Image(
                place=(columns["shard"][row], columns["record_index"][row], columns["image_sha256"][row]),
                image_id=columns["image_id"][row],
                probability=np.nan if probability[row] is None else probability[row],
                off_object=np.nan if (share := shares[row]) is None else 1 - share,
                channels=found.channels[entries].copy(),
                values=found.values[entries].copy(),
                total=float(found.total[row]),
                boxes=None if (corners := boxes[row]) is None else tuple(corners),
            ),
        )
