"""The channel evidence of a run, gathered in one pass: of each class a sample of its images, and where they look most.

Of a class at most `SAMPLED` images are kept, those of the smallest hash, whatever the order of the rows; and the
`OFF_OBJECT` images with most evidence off the object, whose evidence is needed however rare they are. An entry takes
about 750 bytes, so 1,000 classes take less than 64 MiB.
"""

from __future__ import annotations

import dataclasses
import heapq
import sys
import zlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.runs import source_images
from heatbeam.transforms.tables import stored_evidence

Floats = npt.NDArray[np.float64]

SAMPLED = 64
OFF_OBJECT = 20

_PAIR = 8  # bytes of a channel and its value

_COLUMNS = ("image_id", "image_sha256", "shard", "record_index", "label_ids", "targets", "class_id", "probability",
            "energy_share", "true_boxes")  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Image:
    """An image of a class, in few bytes: a run has many.

    Attributes:
        place: where its record is.
        image_id: its id.
        probability: of the class.
        off_object: share of the energy of its map off the object, 0 to 1; NaN without boxes or masks.
        evidence: its channels and what each puts into the class score (`packed`).
        corners: of the boxes of the class, float32; None where not annotated.
        labels: ids of all its labels; none where it has none.
        energy: of its map, where a component was sought without boxes (`packed_energy`).
    """

    place: source_images.Place
    image_id: str
    probability: float
    off_object: float
    evidence: bytes
    corners: bytes | None = None
    labels: tuple[int, ...] = ()
    energy: bytes | None = None

    @property
    def channels(self) -> npt.NDArray[np.int32]:
        """Of its evidence, the strongest first."""
        return np.frombuffer(self.evidence, np.int32, len(self.evidence) // _PAIR)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """What each channel puts into the class score, in units of the logit."""
        return np.frombuffer(self.evidence, np.float32, offset=4 * (len(self.evidence) // _PAIR))

    @property
    def boxes(self) -> npt.NDArray[np.float64] | None:
        """``(N, 4)``, ``x0 y0 x1 y1`` in pixels of the original; None where not annotated."""
        if self.corners is None:
            return None
        return np.frombuffer(self.corners, np.float32).astype(np.float64).reshape(-1, 4)

    @property
    def energy_map(self) -> Floats | None:
        """The energy of its map, the strongest cell 1; None where it was not kept."""
        if self.energy is None:
            return None
        return np.frombuffer(self.energy, np.uint8, offset=1).reshape(self.energy[0], -1) / 255.0

    @property
    def off_evidence(self) -> float:
        """How far the model is sure by what lies off the object: its share times the probability; NaN if not known."""
        return self.off_object * self.probability


def packed(channels: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> bytes:
    """Channels and values as `Image.evidence` keeps them: 8 bytes each."""
    return channels.astype(np.int32).tobytes() + values.astype(np.float32).tobytes()


def packed_energy(energy: Floats) -> bytes:
    """A map ``(h, w)`` without negative cells, h below 256, as `Image.energy` keeps it: h, then cells in 255 steps."""
    top = energy.max()
    steps = np.rint(energy * (255 / top if top > 0 else 0.0)).astype(np.uint8)
    return bytes([energy.shape[0]]) + steps.tobytes()


def columns(names: Collection[str]) -> list[str]:
    """What `images` reads of a table with columns of these names."""
    return [*(name for name in _COLUMNS if name in names), *stored_evidence.COLUMNS]


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
        keep(self.sampled, (-key, image.place, image), SAMPLED)
        if np.isfinite(image.off_evidence):
            keep(self.off, (image.off_evidence, image.place, image), OFF_OBJECT)


def keep(heap: list[Any], entry: Any, most: int) -> None:
    """Add an entry (number, place, image) to a heap of the `most` greatest."""
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
    kept: dict[int, _Kept] = {}
    for batch in map_scan.batches(table, columns(table.schema.names)):
        rows = stored_evidence.given(batch)
        for class_id, image in images(rows.filter(pa.array(map_scan.has_target(rows["targets"], target)))):
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


def images(rows: pa.Table) -> Iterator[tuple[int, Image]]:
    """The image and class of each row of a table with `columns`; every row has evidence."""
    found = stored_evidence.decoded(rows)
    read = {name: rows[name].to_pylist() for name in ("shard", "record_index", "image_sha256", "image_id")}
    classes, probability = rows["class_id"].to_numpy(), rows["probability"].cast(pa.float64()).to_pylist()
    shares: list[float | None]
    boxes: list[list[float] | None]
    shares = rows["energy_share"].to_pylist() if "energy_share" in rows.column_names else [None] * rows.num_rows
    boxes = rows["true_boxes"].to_pylist() if "true_boxes" in rows.column_names else [None] * rows.num_rows
    labels = rows["label_ids"].to_pylist() if "label_ids" in rows.column_names else [()] * rows.num_rows
    alike: dict[tuple[int, ...], tuple[int, ...]] = {}  # images of the same labels hold one tuple
    for row, class_id in enumerate(classes.tolist()):
        own = tuple(labels[row])
        entries = slice(int(found.ends[row]), int(found.ends[row + 1]))
        yield (
            class_id,
            Image(
                place=(sys.intern(read["shard"][row]), read["record_index"][row], read["image_sha256"][row]),
                image_id=read["image_id"][row],
                probability=np.nan if probability[row] is None else probability[row],
                off_object=np.nan if (share := shares[row]) is None else 1 - share,
                evidence=packed(found.channels[entries], found.values[entries]),
                corners=None if (corners := boxes[row]) is None else np.array(corners, np.float32).tobytes(),
                labels=alike.setdefault(own, own),
            ),
        )
