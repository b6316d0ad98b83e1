"""One suspect tried: its region moved into images of other classes, and removed from its own, against equal regions.

1. Looking: the region of each of the suspect's images is pasted into a few images of other classes. Images whose region
   raises the class probability there are carriers; the others of the suspect show something else.
2. Transplant: carriers' regions are pasted into *other* images, which the first step has not seen, against a region of
   the same form from elsewhere in the same carrier at the same place. An image of another class is one measurement: the
   mean over the carriers of p(class | region) - p(class | control). The first step chooses the carriers and cannot make
   this one significant, because the images are fresh.
3. Removal: the region of each carrier is filled as its neighbourhood is, by two fills, against an equal region of it
   elsewhere: mean over the fills of p(class | control filled) - p(class | region filled). A carrier is one measurement.

With fewer than `LEAST_CARRIERS` carriers there is nothing to transplant; then the mean rise of step 1 over all images
of the suspect, each one measurement, says how large an effect can still be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.audit.evidence import suspects
from heatbeam.audit.proving import regions
from heatbeam.transforms import heatmaps
from heatbeam.transforms.engine import channel_maps
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.metrics import effects

Floats = npt.NDArray[np.float64]

SEEN = 12
"""Images of other classes that the first step may look at; the others are fresh."""

LOOKED_AT = 4
"""Of those, into how many each region is pasted: those that the model is least sure of, which show most."""

MOST_HIDDEN = 0.3
"""Of an object by a region; images whose object would be hidden more come last."""

FIRST = 4
"""Images of the suspect whose regions are looked at first: where none of them is a carrier, the others are left."""

LEAST_RISE = 0.04
"""Of the class probability, from which on an image is a carrier."""

CARRIERS = 6
LEAST_CARRIERS = 4
"""A shortcut is systematic: what fewer images carry is tried no further."""

PASTED = 2
"""Carriers whose regions each fresh image takes, one by one."""

WORTH_REMOVING = 0.05
"""Regions are removed where the transplant has at most this p, uncorrected."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the model takes it.

    Attributes:
        image_id: its id.
        pixels: uint8 or float32 ``(H, W, C)``, levels 0 to 255.
        boxes: float64 ``(N, 4)``, of its class, in pixels of the input; None where not annotated.
    """

    image_id: str
    pixels: regions.Pixels
    boxes: npt.NDArray[np.float64] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What was seen.

    Attributes:
        tried: ids of the images whose regions were looked at.
        carriers: ids of those whose region raises the class probability elsewhere.
        area: mean share of the image that their regions take.
        transplant: effect on the class probability of images of other classes.
        decision: effect on how often those are taken for the class.
        removal: effect on the class probability of the carriers.
        fresh: whether `transplant` is against controls on images that chose nothing; else it is of the first step.
        passes: images that the model was asked about.
        pictures: an image with its region marked, without it, and an image of another class before and after; or none.
    """

    tried: tuple[str, ...]
    carriers: tuple[str, ...]
    area: float
    transplant: effects.Effect
    decision: effects.Effect
    removal: effects.Effect
    fresh: bool
    passes: int
    pictures: tuple[npt.NDArray[np.uint8], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Source:
    """An image of the suspect with its region, how far its control is, and where it may lie."""

    image: Prepared
    region: regions.Region
    control: tuple[int, int]


class Trial:
    """Tries suspects with one model.

    Args:
        engine: the model.
    """

    def __init__(self, engine: engines.Engine):
        self._engine = engine
        self._maps = channel_maps.ChannelMaps(engine)
        self._passes = 0
        self._known: tuple[tuple[str, ...], Floats] | None = None

    def run(self, suspect: suspects.Suspect, images: Sequence[Prepared], others: Sequence[Prepared]) -> Outcome:
        """Try a suspect.

        Args:
            suspect: of the class.
            images: those that show it, at least one.
            others: images of other classes, more than `SEEN`.
        """
        self._passes = 0
        class_id = suspect.class_id
        seen, fresh_ones = others[:SEEN], others[SEEN:]
        sources: list[_Source] = []
        rises = np.zeros(0)
        for some in (images[:FIRST], images[FIRST:]):
            if some and (not sources or rises.max() >= LEAST_RISE):
                found = self._sources(suspect, some)
                sources += found
                rises = np.concatenate([rises, self._looked_at(class_id, found, seen)])
        order = np.argsort(-rises, kind="stable").tolist()
        carriers = [sources[i] for i in order if rises[i] >= LEAST_RISE][:CARRIERS]
        fresh = len(carriers) >= LEAST_CARRIERS
        decision = removal = effects.paired([])
        if fresh:
            transplant, decision = self._transplanted(class_id, carriers, fresh_ones)
            if transplant.p_value <= WORTH_REMOVING:
                removal = self._removed(class_id, carriers)
        else:
            transplant = effects.paired(rises)
        shown = carriers[:1] if fresh else [sources[i] for i in order[:1]]
        return Outcome(
            tried=tuple(image.image_id for image in images),
            carriers=tuple(one.image.image_id for one in carriers) if fresh else (),
            area=float(np.mean([one.region.mean() for one in (carriers if fresh else sources)])) if sources else 0.0,
            transplant=transplant,
            decision=decision,
            removal=removal,
            fresh=fresh,
            passes=self._passes,
            pictures=_pictures(shown[0], others[-1]) if shown else (),
        )

    def _sources(self, suspect: suspects.Suspect, images: Sequence[Prepared]) -> list[_Source]:
        """The region of each image that has one: where the suspect's channels put evidence, off the object."""
        inputs = self._engine.preprocess(np.stack([one.pixels for one in images]))
        self._passes += 2 * len(images)  # with a gradient
        maps = self._maps.maps(inputs, suspect.class_id, suspect.channels, suspect.weights)
        found = [_source(image, raw) for image, raw in zip(images, maps, strict=True)]
        bare = [i for i, one in enumerate(found) if one is None]
        if bare and suspect.channels:  # nothing of the component is off the object: what else is there?
            self._passes += 2 * len(bare)
            for i, raw in zip(bare, self._maps.maps(inputs[bare], suspect.class_id, (), ()), strict=True):
                found[i] = _source(images[i], raw)
        return [one for one in found if one is not None]

    def _looked_at(self, class_id: int, sources: Sequence[_Source], others: Sequence[Prepared]) -> Floats:
        """For each source the mean rise of the class probability in the most telling images of other classes."""
        if not sources:
            return np.zeros(0)
        answers = self._before(others)
        before, sure = answers[:, class_id], answers.max(axis=1)
        chosen = [_telling(one.region, others, sure)[:LOOKED_AT] for one in sources]
        pasted = [
            regions.pasted(others[i].pixels, one.image.pixels, one.region)
            for one, numbers in zip(sources, chosen, strict=True)
            for i in numbers
        ]
        after = self._probabilities(pasted)[:, class_id]
        ends = np.cumsum([0, *map(len, chosen)])
        return np.array([
            float(np.mean(after[start:end] - before[numbers]))
            for start, end, numbers in zip(ends[:-1], ends[1:], chosen, strict=True)
        ])  # fmt: skip

    def _transplanted(
        self, class_id: int, carriers: Sequence[_Source], others: Sequence[Prepared]
    ) -> tuple[effects.Effect, effects.Effect]:
        """The effect on the class probability, and on the decision, of images that were not looked at before."""
        pictures, count = [], min(PASTED, len(carriers))
        for number, other in enumerate(others):
            for step in range(count):
                one = carriers[(number * count + step) % len(carriers)]
                pictures.append(regions.pasted(other.pixels, one.image.pixels, one.region))
                pictures.append(regions.pasted(other.pixels, one.image.pixels, one.region, one.control))
        found = self._probabilities(pictures).reshape(len(others), count, 2, -1)
        probability = found[..., class_id]
        decided = (found.argmax(axis=-1) == class_id).astype(np.float64)
        return (
            effects.paired((probability[:, :, 0] - probability[:, :, 1]).mean(axis=1)),
            effects.paired((decided[:, :, 0] - decided[:, :, 1]).mean(axis=1)),
        )

    def _removed(self, class_id: int, carriers: Sequence[_Source]) -> effects.Effect:
        """The effect of each carrier's region on its own class probability."""
        pictures, fills = [], 1
        for one in carriers:
            there = regions.removed(one.image.pixels, one.region)
            fills = len(there)
            pictures += [*there, *regions.removed(one.image.pixels, regions.moved(one.region, one.control))]
        found = self._probabilities(pictures)[:, class_id].reshape(len(carriers), 2, fills).mean(axis=2)
        return effects.paired(found[:, 1] - found[:, 0])

    def _before(self, others: Sequence[Prepared]) -> Floats:
        """What the model says of images as they are; asked once for those of a class."""
        ids = tuple(one.image_id for one in others)
        if self._known is None or self._known[0] != ids:
            self._known = ids, self._probabilities([one.pixels for one in others])
        return self._known[1]

    def _probabilities(self, pictures: Sequence[regions.Pixels]) -> Floats:
        self._passes += len(pictures)
        return self._engine.predict(self._engine.preprocess(np.stack(pictures))).astype(np.float64)


def _source(image: Prepared, raw: npt.NDArray[np.float32]) -> _Source | None:
    """An image with the region of its map; None where the map has no evidence off the object."""
    shape = image.pixels.shape[0], image.pixels.shape[1]
    heat = heatmaps.resize(np.maximum(raw, 0), shape)
    allowed = regions.outside(image.boxes, shape)
    region = regions.of_evidence(heat, allowed)
    if region is None or not region.any():
        return None
    return _Source(image, region, regions.elsewhere(region, heat, allowed))


def _telling(region: regions.Region, others: Sequence[Prepared], sure: Floats) -> npt.NDArray[np.int64]:
    """Numbers of images: those whose object the region leaves to be seen first, of these the least sure first."""
    hidden = []
    for other in others:
        on_object = ~regions.outside(other.boxes, region.shape)
        hidden.append(bool(on_object.any()) and float(region[on_object].mean()) > MOST_HIDDEN)
    return np.lexsort((sure, np.array(hidden)))


def _pictures(source: _Source, other: Prepared) -> tuple[npt.NDArray[np.uint8], ...]:
    """An image with its region marked, without it, and another before and after; of images of 1 or 3 channels."""
    if source.image.pixels.shape[-1] not in (1, 3):
        return ()
    marked = source.image.pixels.copy()
    edge = source.region & ~_shrunk(source.region)
    marked[edge] = 255
    pasted = regions.pasted(other.pixels, source.image.pixels, source.region)
    shown = (marked, regions.removed(source.image.pixels, source.region)[0], other.pixels, pasted)
    return tuple(np.clip(np.rint(one), 0, 255).astype(np.uint8) for one in shown)


def _shrunk(region: regions.Region) -> regions.Region:
    """Without the pixels that have a neighbour outside."""
    padded = np.pad(region, 1, constant_values=True)
    inner: regions.Region = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & region
    return inner
