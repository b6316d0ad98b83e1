"""One suspect tried: its region moved into images of other classes, and removed from its own, against equal regions.

1. Looking: the region of each of the suspect's images is pasted into a few images of other classes, each region into
   others, so that no few images decide for all. Images whose region raises the class probability there are carriers;
   the others of the suspect show something else. A few images at a time, as long as one in each few is a carrier, until
   there are enough.
2. Transplant: carriers' regions are pasted into *other* images, which the first step has not seen, against a region of
   the same form from elsewhere in the *receiving* image, at the same place: what lies elsewhere in the carrier may be
   more of the cue, where that is a frame, a tint or scattered. An image of another class takes one carrier's region, in
   turn, and is one measurement, p(class | region) - p(class | control). The first step chooses the carriers and cannot
   make this one significant, because the images are fresh. The sample grows as `LOOKED` says and stops
   where the effect is decided; p and interval are those of all looks (`effects.paired`).
3. Removal: the region of each carrier is filled as its neighbourhood is, by two fills, against an equal region of it
   elsewhere: mean over the fills of p(class | control filled) - p(class | region filled). A carrier is one measurement.

Without boxes the region may be the object, which moves the class too. Then images of the class that do not show what is
suspected say what the object does. First, without asking the model: the suspect's images must have a place in common
or a look (`likeness`). Then the regions of `USUAL` usual images are pasted as those of the suspect are; a carrier must
exceed their mean rise by `LEAST_RISE`, and step 2 has two controls, the equal region and a usual image's region. What
is told is the weaker of both effects with the larger p: both must be there (Berger, Technometrics 1982).

With fewer than `LEAST_CARRIERS` carriers there is nothing to transplant; then the mean rise of step 1 over all images
of the suspect, each one measurement, says how large an effect can still be.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.audit.evidence import proofs, suspects
from heatbeam.audit.proving import likeness, regions
from heatbeam.transforms import heatmaps
from heatbeam.transforms.engine import channel_maps
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.metrics import effects

Floats = npt.NDArray[np.float64]

SEEN = 8
"""Images of other classes that the first step may look at; the others are fresh."""

LOOKED_AT = 2
"""Of those, into how many each region is pasted."""

FIRST = 4
"""Images of the suspect whose regions are looked at together."""

LEAST_RISE = 0.05
"""Of the class probability, from which on an image is a carrier."""

USUAL = 4
"""Images that do not show the suspect whose regions are pasted, where boxes do not say what the object is."""

CARRIERS = 6
ENOUGH = 4
"""Carriers with which looking ends."""

LEAST_CARRIERS = 3
"""A shortcut is systematic: what fewer of the suspect's images carry is tried no further."""

LOOKED = (12, 24, 48)
"""Fresh images after which an effect is looked at; fewer where there are fewer."""

assert len(LOOKED) == proofs.LOOKS

WORTH_GOING_ON = proofs.COUNTS / 2
"""Of an effect that is not decided: where the mean is less, more images would hardly prove it."""

REMOVED = 4
"""Carriers whose region is removed, at most."""

WORTH_REMOVING = 0.05
"""Regions are removed where the transplant has at most this p, not corrected for other suspects."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the model takes it.

    Attributes:
        image_id: its id.
        pixels: uint8 or float32 ``(H, W, C)``, levels 0 to 255.
        boxes: float64 ``(N, 4)``, of its class, in pixels of the input; None where not annotated.
        energy: float64 ``(h, w)``, of its map in the run; None where it was not kept.
    """

    image_id: str
    pixels: regions.Pixels
    boxes: npt.NDArray[np.float64] | None
    energy: Floats | None = None


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


_NOTHING = Outcome(
    (), (), 0.0, effects.paired([]), effects.paired([]), effects.paired([]), fresh=False, passes=0, pictures=()
)
"""Of a suspect of which the model is not asked."""


class Trial:
    """Tries suspects with one model.

    Args:
        engine: the model.
    """

    def __init__(self, engine: engines.Engine):
        self._engine = engine
        self._maps = channel_maps.ChannelMaps(engine)
        self._passes = 0
        self._known: dict[bytes, Floats] = {}

    def run(
        self,
        suspect: suspects.Suspect,
        images: Sequence[Prepared],
        others: Sequence[Prepared],
        level: float,
        usual: Sequence[Prepared] = (),
    ) -> Outcome:
        """Try a suspect.

        Args:
            suspect: of the class.
            images: those that show it, at least one.
            others: images of other classes, more than `SEEN`.
            level: p at which an effect is decided whatever other suspects show; no more images are asked about then.
            usual: images of the class that do not show it; none where boxes say what the object is.
        """
        self._passes = 0
        if suspect.usual and not (suspect.one_place or _one_look(images, usual)):
            return _NOTHING
        class_id = suspect.class_id
        seen, fresh_ones = others[:SEEN], others[SEEN:]
        objects = self._sources(suspect, usual[:USUAL]) if usual else []
        of_object = float(np.mean(self._looked_at(class_id, objects, seen, 0))) if objects else 0.0
        sources: list[_Source] = []
        rises = np.zeros(0)
        looked_at: list[Prepared] = []
        for number, start in enumerate(range(0, len(images), FIRST)):
            if not number <= (rises >= LEAST_RISE).sum() < ENOUGH:
                break
            some = images[start : start + FIRST]
            looked_at += some
            found = self._sources(suspect, some)
            risen = self._looked_at(class_id, found, seen, LOOKED_AT * len(sources)) - max(of_object, 0.0)
            rises = np.concatenate([rises, risen])
            sources += found
        order = np.argsort(-rises, kind="stable").tolist()
        carriers = [sources[i] for i in order if rises[i] >= LEAST_RISE][:CARRIERS]
        fresh = len(carriers) >= LEAST_CARRIERS
        decision = removal = effects.paired([])
        if fresh:
            transplant, decision = self._transplanted(class_id, carriers, objects, fresh_ones, level)
            if transplant.p_value <= WORTH_REMOVING:
                removal = self._removed(class_id, carriers[:REMOVED])
        else:
            transplant = effects.paired(rises)
        shown = carriers[:1] if fresh else [sources[i] for i in order[:1]]
        return Outcome(
            tried=tuple(image.image_id for image in looked_at),
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
        maps, gradients = self._maps.maps(inputs, suspect.class_id, suspect.channels, suspect.weights)
        found = [_source(*one) for one in zip(images, maps, inputs, gradients, strict=True)]
        bare = [i for i, one in enumerate(found) if one is None]
        if bare and suspect.channels:  # nothing of the component is off the object: what else is there?
            self._passes += 2 * len(bare)
            maps, gradients = self._maps.maps(inputs[bare], suspect.class_id, (), ())
            for number, i in enumerate(bare):
                found[i] = _source(images[i], maps[number], inputs[i], gradients[number])
        return [one for one in found if one is not None]

    def _looked_at(self, class_id: int, sources: Sequence[_Source], others: Sequence[Prepared], first: int) -> Floats:
        """For each source the mean rise of the class probability in images of other classes, from number `first` on."""
        if not sources:
            return np.zeros(0)
        before = self._before(others)[:, class_id]
        chosen = (first + np.arange(len(sources) * LOOKED_AT)).reshape(-1, LOOKED_AT) % len(others)
        pasted = [
            regions.pasted(others[i].pixels, one.image.pixels, one.region)
            for one, numbers in zip(sources, chosen.tolist(), strict=True)
            for i in numbers
        ]
        after = self._probabilities(pasted)[:, class_id].reshape(chosen.shape)
        rises: Floats = (after - before[chosen]).mean(axis=1)
        return rises

    def _transplanted(
        self,
        class_id: int,
        carriers: Sequence[_Source],
        objects: Sequence[_Source],
        others: Sequence[Prepared],
        level: float,
    ) -> tuple[effects.Effect, effects.Effect]:
        """The effect on the class probability, and on the decision, of images that were not looked at before."""
        controls = 2 if objects else 1
        rises, turned = np.zeros((0, controls)), np.zeros((0, controls))
        effect = _weaker(rises)
        for start, end in itertools.pairwise((0, *LOOKED)):
            pictures = []
            some = others[start:end]
            for number, other in enumerate(some, start):
                one = carriers[number % len(carriers)]
                pictures.append(regions.pasted(other.pixels, one.image.pixels, one.region))
                pictures.append(regions.pasted(other.pixels, other.pixels, one.region, _apart(one.region, other)))
                if objects:
                    usual = objects[number % len(objects)]
                    pictures.append(regions.pasted(other.pixels, usual.image.pixels, usual.region))
            if not pictures:
                break
            found = self._probabilities(pictures).reshape(len(some), 1 + controls, -1)
            of_class = found[:, :, class_id]
            taken = (found.argmax(axis=-1) == class_id).astype(np.float64)
            rises = np.concatenate([rises, of_class[:, :1] - of_class[:, 1:]])
            turned = np.concatenate([turned, taken[:, :1] - taken[:, 1:]])
            effect = _weaker(rises)
            decided = proofs.verdict_of(effect, effect.p_value * proofs.LEVEL / level) != proofs.UNDECIDED
            if decided or effect.value < WORTH_GOING_ON:
                break
        return effect, _weaker(turned)

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
        """What the model says of images as they are; asked once, for classes are tried on much the same images."""
        keys = [hashlib.blake2b(one.pixels.tobytes()).digest() for one in others]
        if new := {key: one for key, one in zip(keys, others, strict=True) if key not in self._known}:
            found = self._probabilities([one.pixels for one in new.values()])
            self._known.update(zip(new, found, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _probabilities(self, pictures: Sequence[regions.Pixels]) -> Floats:
        self._passes += len(pictures)
        return self._engine.predict(self._engine.preprocess(np.stack(pictures))).astype(np.float64)


def _source(
    image: Prepared,
    raw: npt.NDArray[np.float32],
    inputs: npt.NDArray[np.float32],
    gradients: npt.NDArray[np.float32],
) -> _Source | None:
    """An image with the region of its map; None where the map has no evidence off the object."""
    shape = image.pixels.shape[0], image.pixels.shape[1]
    heat = regions.sharpened(heatmaps.resize(np.maximum(raw, 0), shape), inputs, gradients)
    allowed = regions.outside(image.boxes, shape)
    region = regions.of_evidence(heat, allowed)
    if region is None or not region.any():
        return None
    return _Source(image, region, regions.elsewhere(region, heat, allowed))


def _weaker(differences: Floats) -> effects.Effect:
    """Of the effects against each control, one a column: the smaller, with the larger p and the lower lower end."""
    found = [effects.paired(some, proofs.LOOKS) for some in differences.T]
    least = min(found, key=lambda one: one.value)
    return least._replace(lower=min(one.lower for one in found), p_value=max(one.p_value for one in found))


def _one_look(images: Sequence[Prepared], usual: Sequence[Prepared]) -> bool:
    """Whether images have a look in common where their evidence is, which usual images of the class do not have."""
    shown, others = (
        [likeness.look(one.pixels, one.energy) for one in some if one.energy is not None and one.energy.any()]
        for some in (images, usual)
    )
    return likeness.one_look(shown, others)


def _apart(region: regions.Region, other: Prepared) -> tuple[int, int]:
    """How far from a region lies its control in an image that receives it."""
    return regions.elsewhere(region, np.zeros(region.shape), regions.outside(other.boxes, region.shape))


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
