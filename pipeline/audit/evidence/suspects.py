"""Which parts of a class's evidence are worth an intervention.

Suspects come from three places, and are tried in the order of `Suspect.suspicion`:

============== =======================================================================================================
``off_object``  the images of the class that it is surest of by what lies off the object, where there is ground truth
``component``   a component (`components`) whose images look off the object more than the others of the class do
``other_kind``  without ground truth: images whose evidence lies in other channels than the class's usual one (`kinds`)
``fixed_place`` the class is a suspect of the audit of places (`audit.shortcuts`)
============== =======================================================================================================

With ground truth the suspicion of a group of images is the mean share of the energy off the object, less the
median of all classes' images; a component must differ from the rest of its class by `LEAST_T` standard errors too.
Without, it is s / (1 + s), s the strength of the other evidence in units of the logit; what is suspected then comes
with images of the class that do not show it, as the object is in those too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.audit.evidence import components, kinds, sample

Floats = npt.NDArray[np.float64]

IMAGES = 8
"""Images of a suspect that are tried, at most."""

JUDGED = 5
"""Of these, the first so many say how suspicious it is: a cue may be in few images of a class."""

LEAST_T = 3.0
LEAST_EXCESS = 0.02
"""Of the share of energy off the object over the usual one, of the images of a component."""

LEAST_OFF = -0.1
"""The same of the images that a class is surest of by what lies off the object: to try them costs a few images, and
cues are missed where all classes look off the object."""

MOST_OF_CLASS = 3
"""Suspects of a class, at most."""

SUSPICION_OF_PLACE = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Suspect:
    """What may be a shortcut of a class.

    Attributes:
        class_id: the class.
        source: ``off_object``, ``component``, ``other_kind`` or ``fixed_place``.
        component: its number; -1 without one.
        channels, weights: of the evidence whose place is changed; empty for all of it.
        images: that show it most, the most first.
        suspicion: the order in which suspects are tried; larger is more suspicious.
        reason: in words.
        usual: images of the class that do not show it, where nothing else says what the object is; else none.
        one_place: whether its images are known to have their evidence at one place.
    """

    class_id: int
    source: str
    component: int
    channels: tuple[int, ...]
    weights: tuple[float, ...]
    images: tuple[sample.Image, ...]
    suspicion: float
    reason: str
    usual: tuple[sample.Image, ...] = ()
    one_place: bool = False


def find(
    samples: Sequence[sample.ClassSample], of_place: Mapping[int, str], of_kind: Sequence[kinds.Kind] = ()
) -> list[Suspect]:
    """Suspects of all classes, the most suspicious first.

    Args:
        samples: of every class.
        of_place: why the audit of places suspects a class, by class id.
        of_kind: kinds of evidence of classes without ground truth (`kinds.seek`).
    """
    shares = np.array([image.off_object for one in samples for image in one.images])
    known = shares[np.isfinite(shares)]
    usual = float(np.median(known)) if len(known) else np.nan
    of_class: dict[int, list[kinds.Kind]] = {}
    for kind in of_kind:
        of_class.setdefault(kind.class_id, []).append(kind)
    found = [
        suspect
        for one in samples
        for suspect in _of_class(one, usual, of_place.get(one.class_id), of_class.get(one.class_id, ()))
    ]
    return sorted(found, key=lambda s: (-s.suspicion, s.class_id, s.source, s.component))


def _of_class(one: sample.ClassSample, usual: float, place: str | None, of_kind: Sequence[kinds.Kind]) -> list[Suspect]:
    found = [] if np.isnan(usual) else _off_object(one, usual)
    found += [suspect for kind in of_kind if (suspect := _of_kind(kind)) is not None]
    for component in components.of_class(one.images) if kinds.is_known(one) else ():
        found += _of_component(one, component, usual)
    if place is not None:
        images = one.off_object or _by_probability(one)
        suspect = Suspect(one.class_id, "fixed_place", -1, (), (), images[:IMAGES], SUSPICION_OF_PLACE, place)
        if not kinds.is_known(one):
            probability = float(np.nanmedian([image.probability for image in one.images]))
            suspect = dataclasses.replace(suspect, usual=kinds.most_usual(one.images, probability), one_place=True)
        found.append(suspect)
    found = _distinct(sorted(found, key=lambda s: (-s.suspicion, s.source, s.component)))
    return found[:MOST_OF_CLASS]


def _by_probability(one: sample.ClassSample) -> tuple[sample.Image, ...]:
    return tuple(sorted(one.images, key=lambda image: (-np.nan_to_num(image.probability), image.place)))


def _off_object(one: sample.ClassSample, usual: float) -> list[Suspect]:
    images = one.off_object[:IMAGES]
    if len(images) < 3:
        return []
    judged = images[:JUDGED]
    excess = float(np.mean([image.off_object for image in judged])) - usual
    if excess < LEAST_OFF:
        return []
    most = f"the {len(judged)} images that look off it most have {usual + excess:.0%} of their energy off the object"
    reason = f"{most} (usually {usual:.0%})"
    return [Suspect(one.class_id, "off_object", -1, (), (), images, excess, reason)]


def _of_component(one: sample.ClassSample, component: components.Component, usual: float) -> list[Suspect]:
    order = np.argsort(-component.scores, kind="stable")
    top = order[: min(IMAGES, max(3, len(order) // 4))]
    shares = np.array([image.off_object for image in one.images])
    suspicion = _off_in_top(shares, top, usual) if np.isfinite(shares[top]).sum() >= 3 else None
    if suspicion is None:
        return []
    value, reason = suspicion
    images = tuple(one.images[i] for i in top.tolist())
    more = component.weights > 0  # what its images have more of; of what they have less, nothing is there to be moved
    return [Suspect(one.class_id, "component", component.number, tuple(component.channels[more].tolist()),
                    tuple(component.weights[more].tolist()), images, value, reason)]  # fmt: skip


def _off_in_top(shares: Floats, top: npt.NDArray[np.int64], usual: float) -> tuple[float, str] | None:
    """Whether the images that show a component look off the object, and more so than the others of the class."""
    rest = np.setdiff1d(np.flatnonzero(np.isfinite(shares)), top)
    mine = shares[top][np.isfinite(shares[top])]
    excess = float(mine.mean()) - usual
    if len(rest) < 3 or excess < LEAST_EXCESS:
        return None
    error = np.sqrt(mine.var(ddof=1) / len(mine) + shares[rest].var(ddof=1) / len(rest))
    if mine.mean() - shares[rest].mean() < LEAST_T * error:
        return None
    return excess, f"images that show it have {mine.mean():.0%} of their energy off the object (usually {usual:.0%})"


def _of_kind(kind: kinds.Kind) -> Suspect | None:
    """Without ground truth: evidence of another kind, by the images that show it most of all rows."""
    if not kinds.is_of_another_kind(kind) or len(kind.images) < 3:
        return None
    cosine, strength = kind.difference
    reason = (
        f"the images that show it are surer of the class by {kind.surer:.2f}, by {strength:.1f} of the logit in other "
        f"channels than its usual ones (cosine {cosine:.2f})"
    )
    return Suspect(kind.class_id, "other_kind", kind.number, (), (), kind.images, strength / (1 + strength), reason,
                   kind.usual, kinds.one_place(kind))  # fmt: skip


def _distinct(found: Sequence[Suspect]) -> list[Suspect]:
    """Without those most of whose images an earlier one has."""
    kept: list[Suspect] = []
    for one in found:
        places = {image.place for image in one.images}
        if all(len(places & {image.place for image in other.images}) <= len(places) / 2 for other in kept):
            kept.append(one)
    return kept
