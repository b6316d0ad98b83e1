"""Kinds of evidence in a class without boxes: images whose evidence lies in other channels than the class's usual one.

Nothing says where the object is, but most images of a class show it. So what is sought differs from the usual in kind,
not in strength. For the images of a class with evidence psi_i (`components`) and the usual evidence m, their median,

    psi_i - mean(psi) less its part along m = sum_l t_il u_l

by singular value decomposition. Either end of u_l is a kind; of the images T that show it most, against the others R,

    delta = mean_T(psi) - median_R(psi),  cosine(delta, median_R(psi)) <= `MOST_COSINE`,  mean_T(p) > median(p)

and its strength is the length of what delta has beyond the usual evidence, of positive parts, in units of the logit. A
cue in 5 % of a class is in three images of a sample; the images that show a kind most are sought in all rows.

A class may have two kinds of objects too. A cue of one look is told from these by what its images share: the place of
their maps (`one_place`) or the colours there (`audit.proving.likeness`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.audit.evidence import components, sample
from heatbeam.runs import source_images
from heatbeam.transforms.tables import stored_evidence, stored_maps

Floats = npt.NDArray[np.float64]

IMAGES = 8
"""Images that show a kind most, of all rows of the class."""

FIRST = 5
"""Of the sample, the images by which kinds are chosen: a cue may be in few."""

DIRECTIONS = 5
MOST = 4
"""Kinds of a class, the strongest."""

MOST_COSINE = 0.8

USUAL = 16
"""Images that do not show a kind, of those the ones with the most usual class probability."""

GRID = 7
"""Sides of the maps that are kept of images, at most."""

MANY = 100
"""Classes with which memory counts."""

SPARED = 16
"""Sampled images of a class that are then kept, once its kinds were sought: others are tried on them."""

ONE_PLACE = 0.3
"""Images have one place where their maps' mean cosine is so much above that of the usual images."""


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """Evidence of another kind than a class's usual one.

    Attributes:
        class_id: the class.
        number: of the direction.
        channels: int64 ``(C,)``, of the target layer.
        direction: float64 ``(C,)``, of length 1; images with large scores show it.
        others: float64 ``(C,)``, the median evidence of the sampled images that do not show it most.
        probability: the median over all sampled images.
        images: that show it most, the most first; of the sample, until `seek` was called.
        usual: images that do not show it.
    """

    class_id: int
    number: int
    channels: npt.NDArray[np.int64]
    direction: Floats
    others: Floats
    probability: float
    images: tuple[sample.Image, ...]
    usual: tuple[sample.Image, ...]

    @property
    def difference(self) -> tuple[float, float]:
        """Cosine of what its images have more of to the usual evidence, and the strength of what lies beyond that."""
        return difference(components.of_channels(self.images, self.channels), self.others)

    @property
    def surer(self) -> float:
        """How much larger the class probability of its images is than that of the class."""
        return float(np.nanmean([image.probability for image in self.images])) - self.probability


def difference(shown: Floats, usual: Floats) -> tuple[float, float]:
    """`Kind.difference` of the evidence ``(N, C)`` of images to the usual ``(C,)``."""
    delta, along = shown.mean(axis=0) - usual, _direction(usual)
    whole = float(np.linalg.norm(delta))
    beyond = delta - (delta @ along) * along
    return float(delta @ along) / whole if whole > 0 else 1.0, float(np.linalg.norm(np.maximum(beyond, 0)))


def _direction(evidence: Floats) -> Floats:
    """Evidence ``(C,)`` of length 1; zeros if there is none."""
    length = float(np.linalg.norm(evidence))
    return evidence / length if length > 0 else evidence


def is_known(one: sample.ClassSample) -> bool:
    """Whether ground truth says where the object is, in at least three images of a class."""
    return int(np.isfinite([image.off_object for image in one.images]).sum()) >= 3


def most_usual(images: Sequence[sample.Image], probability: float) -> tuple[sample.Image, ...]:
    """`USUAL` images whose class probability is nearest to this."""
    order = sorted(images, key=lambda one: (abs(np.nan_to_num(one.probability) - probability), one.place))
    return tuple(order[:USUAL])


def of_class(one: sample.ClassSample) -> list[Kind]:
    """The kinds of a class without ground truth, the strongest first; none of too few images."""
    if len(one.images) < max(components.LEAST_IMAGES, 2 * FIRST) or is_known(one):
        return []
    channels, psi = components.matrix(one.images)
    if not len(channels):
        return []
    probability = float(np.nanmedian([image.probability for image in one.images]))
    along = _direction(np.median(psi, axis=0))
    centred = psi - psi.mean(axis=0)
    rest = centred - np.outer(centred @ along, along)
    _, sizes, right = np.linalg.svd(rest, full_matrices=False)
    whole = float((sizes**2).sum())
    found = []
    for number in range(min(DIRECTIONS, len(sizes))):
        if not whole > 0 or sizes[number] ** 2 / whole < components.LEAST_SHARE:
            break
        for end in (right[number], -right[number]):
            order = np.argsort(-(psi @ end), kind="stable")
            first, low = order[:FIRST], order[-(len(order) // 2) :]
            chosen = tuple(one.images[i] for i in first.tolist())
            reference = most_usual([one.images[i] for i in low.tolist()], probability)
            others = np.median(psi[order[FIRST:]], axis=0)
            kind = Kind(one.class_id, number, channels, end.copy(), others, probability, chosen, reference)
            if is_of_another_kind(kind):
                found.append(kind)
    return sorted(found, key=lambda kind: -kind.difference[1])[:MOST]


def spared(samples: Sequence[sample.ClassSample]) -> list[sample.ClassSample]:
    """The samples, where they are of many classes with fewer images of those without ground truth."""
    if len(samples) < MANY:
        return list(samples)
    return [one if is_known(one) else dataclasses.replace(one, images=one.images[:SPARED]) for one in samples]


def is_of_another_kind(kind: Kind) -> bool:
    """Whether its images are surer of the class by other evidence than the usual one."""
    cosine, strength = kind.difference
    return cosine <= MOST_COSINE and strength > 0 and kind.surer > 0


def seek(table: ds.Dataset, target: str, kinds: Sequence[Kind]) -> list[Kind]:
    """The same kinds with the images that show each most of all rows, and the maps of these and of usual ones.

    Args:
        table: the explanations.
        target: rows of which count.
        kinds: of any classes; a second pass over the rows of these.
    """
    if not kinds:
        return []
    by_class: dict[int, list[tuple[Kind, list[Any]]]] = {}
    for kind in kinds:
        by_class.setdefault(kind.class_id, []).append((kind, []))
    wanted = {image.place for kind in kinds for image in kind.usual}
    usual: dict[source_images.Place, sample.Image] = {}
    names = [*sample.columns(table.schema.names), *stored_maps.columns(table.schema.names)]
    classes = pa.array(sorted(by_class), pa.int32())
    for batch in map_scan.batches(table, names, pc.field("class_id").isin(classes)):
        rows = stored_evidence.given(batch)
        rows = rows.filter(pa.array(map_scan.has_target(rows["targets"], target)))
        energies = _energies(rows)
        for row, (class_id, image) in enumerate(sample.images(rows)):
            seen = dataclasses.replace(image, energy=energies.get(row))
            if image.place in wanted:
                usual[image.place] = seen
            of_kind = by_class[class_id]
            # All kinds of a class are of the same channels.
            psi = components.of_channels([image], of_kind[0][0].channels)[0]
            for kind, heap in of_kind:
                sample.keep(heap, (float(psi @ kind.direction), image.place, seen), IMAGES)
    return [
        dataclasses.replace(
            kind,
            images=tuple(image for _, _, image in sorted(heap, key=lambda entry: (-entry[0], entry[1]))),
            usual=tuple(usual.get(image.place, image) for image in kind.usual),
        )
        for some in by_class.values()
        for kind, heap in some
    ]


def _energies(rows: pa.Table) -> Mapping[int, bytes]:
    """The energy of each row's map of two axes, on at most `GRID` cells a side, as `sample.Image` keeps it."""
    found = {}
    for places, energy in map_scan.energies(rows):
        if energy.ndim != 3:
            continue
        small = map_scan.resized(energy, (min(energy.shape[1], GRID), min(energy.shape[2], GRID)))
        for place, one in zip(places.tolist(), small, strict=True):
            found[place] = sample.packed_energy(one)
    return found


def one_place(kind: Kind) -> bool:
    """Whether the maps of the images that show a kind lie at one place, and those of usual images less so."""
    shown, usual = (_alike([image.energy_map for image in some]) for some in (kind.images, kind.usual))
    return shown - usual >= ONE_PLACE


def _alike(maps: Sequence[Floats | None]) -> float:
    """The mean cosine of two of these maps; NaN of fewer than two of one shape."""
    known = [one.ravel() / np.linalg.norm(one) for one in maps if one is not None and one.any()]
    if len(known) < 2 or len({len(one) for one in known}) > 1:
        return float("nan")
    n = len(known)
    return float(((np.sum(known, axis=0) ** 2).sum() - n) / (n * (n - 1)))
