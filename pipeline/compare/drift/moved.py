"""Whether the reasons of a model moved from one run to another, and what moved: which class, where, which channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from heatbeam.compare import pairs
from heatbeam.runs import decisions, manifests, run_methods
from heatbeam.transforms.metrics import two_sample

if TYPE_CHECKING:
    from heatbeam.compare.drift import reasons

Floats = npt.NDArray[np.float64]

MIN_IMAGES = 50
"""With fewer images of either run nothing is tested: a few odd images would have to be most of them."""

LEVEL = decisions.LEVEL
CHANNELS = 64
EXAMPLES = 12
FEATURES = 6


class Feature(NamedTuple):
    """A number that is another in the images which look unlike the baseline's.

    Attributes:
        kind: ``place``, ``statistic`` or ``channel``.
        name: cell of the grid (``x 0.93, y 0.07``, centre of the cell in the model's view), statistic, or number of the
            channel of the target layer.
        baseline: its mean over the baseline's images of the same classes.
        candidate: its mean over the unlike images.
        deviations: their difference in standard deviations between images of a class.
    """

    kind: str
    name: str
    baseline: float
    candidate: float
    deviations: float


class ClassShift(NamedTuple):
    """A class tested by itself; `p_value` is corrected for the number of classes.

    Attributes:
        class_name: of the explained class.
        images: ``(2,)``, of baseline and candidate.
        p_value, auc, share: as of `two_sample.Shift`.
    """

    class_name: str
    images: tuple[int, int]
    p_value: float
    auc: float
    share: float


class Example(NamedTuple):
    """An image of the candidate that looks least like the baseline's."""

    image_id: str
    class_id: int
    class_name: str
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class Drift:
    """What was found.

    Attributes:
        why_not: why nothing was tested; empty where it was, and then the rest says nothing.
        method: whose maps.
        target: that they were explained for.
        images: tested, of baseline and candidate.
        sampled: whether these are a sample of more.
        channels: how many channels were looked at; 0 where the models differ or there is no evidence.
        p_value: that no reason moved.
        auc, share: over everything, as of `two_sample.Shift`.
        classes: those that were tested by themselves, the surest first.
        features: in what the unlike images differ, the most first.
        places: ``(2, *grid)``, mean energy of the baseline's images and of the unlike ones.
        examples: the most unlike images first.
    """

    why_not: str
    method: str = ""
    target: str = ""
    images: tuple[int, int] = (0, 0)
    sampled: bool = False
    channels: int = 0
    p_value: float = float("nan")
    auc: float = float("nan")
    share: float = float("nan")
    classes: tuple[ClassShift, ...] = ()
    features: tuple[Feature, ...] = ()
    places: Floats | None = None
    examples: tuple[Example, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether the p-value is at most `LEVEL`."""
        return not self.why_not and self.p_value <= LEVEL


def between(
    both: Sequence[manifests.Finished],
    tables: Sequence[ds.Dataset],
    class_ids: npt.NDArray[np.int64] | None,
    permutations: int = two_sample.PERMUTATIONS,
) -> Drift:
    """Test the reasons of two runs.

    Args:
        both: manifests of baseline and candidate.
        tables: their explanations.
        class_ids: the baseline's id of each class of the candidate; None if the ids mean the same.
        permutations: of the test.
    """
    from heatbeam.compare.drift import reasons  # brings compiled loops, which no other comparison needs

    method, why_not = _method(both)
    if why_not:
        return Drift(why_not)
    target = _target(both)
    statistics = [name for name in reasons.statistics_of(tables[0].schema.names) if name in tables[1].schema.names]
    with_channels = _same_model(both) and all("evidence_channels" in table.schema.names for table in tables)
    read = [reasons.read(table, method, target, statistics, channels=with_channels) for table in tables]
    few = min(read, key=lambda one: len(one.image_ids))
    if len(few.image_ids) < MIN_IMAGES:
        return Drift(f"a run has {len(few.image_ids)} maps of {method} for {target}; a test needs {MIN_IMAGES}")
    if read[0].places.shape[1:] != read[1].places.shape[1:]:
        shapes = " and ".join("x".join(map(str, one.places.shape[1:])) for one in read)
        return Drift(f"the maps of {method} have other shapes, here on grids of {shapes} cells")
    if class_ids is not None:
        read[1] = dataclasses.replace(read[1], class_ids=pairs.of_baseline(read[1].class_ids, class_ids))
    if not np.isin(read[1].class_ids, read[0].class_ids).any():
        return Drift(f"no class was explained for {target} in both runs, and reasons are compared class by class")
    return _tested(read, method, target, statistics, permutations)


def _method(both: Sequence[manifests.Finished]) -> tuple[str, str]:
    """The first method of the candidate that the baseline has too; or why there is none."""
    controls = run_methods.controls(both[0]) | run_methods.controls(both[1])
    first, second = (run_methods.by_label(one) for one in both)
    for label, method in second.items():
        if label not in controls and first.get(label) == method:
            return label, ""
    return "", f"the runs share no method: {', '.join(first)} and {', '.join(second)}"


def _target(both: Sequence[manifests.Finished]) -> str:
    """``predicted``, which needs no label, where both runs explained it; else the primary target."""
    explained = [one.config.explain.targets for one in both]
    return "predicted" if all("predicted" in targets for targets in explained) else both[0].primary_target


def _same_model(both: Sequence[manifests.Finished]) -> bool:
    first, second = (one.model for one in both)
    return bool(first.digest) and first.digest == second.digest and first.target_layer == second.target_layer


def _tested(
    read: Sequence[reasons.Reasons], method: str, target: str, statistics: Sequence[str], permutations: int
) -> Drift:
    kinds, names, values = _features(read, statistics)
    second = np.repeat([False, True], [len(one.image_ids) for one in read])
    strata = np.concatenate([one.class_ids for one in read])
    found = two_sample.shifts(values, second, strata, permutations)
    class_names = {
        int(number): name for one in reversed(read) for number, name in zip(one.class_ids, one.class_names, strict=True)
    }
    classes = [
        ClassShift(class_names[number], shift.rows, shift.p_value, shift.auc, shift.share)
        for number, shift in found.strata.items()
    ]
    scores = found.everything.scores
    unlike = _unlike(found, second, strata)
    places = np.concatenate([one.places for one in read])
    like = ~second & np.isin(strata, strata[unlike])
    ids = [name for one in read for name in one.image_ids]
    return Drift(
        why_not="",
        method=method,
        target=target,
        images=(len(read[0].image_ids), len(read[1].image_ids)),
        sampled=any(one.sampled for one in read),
        channels=kinds.count("channel"),
        p_value=found.p_value,
        auc=found.everything.auc,
        share=found.everything.share,
        classes=tuple(sorted(classes, key=lambda one: (one.p_value, -one.share, one.class_name))),
        features=_differing(kinds, names, values, strata, like, unlike),
        places=np.stack([places[like].mean(axis=0), places[unlike].mean(axis=0)]),
        examples=tuple(
            Example(ids[row], int(strata[row]), class_names[int(strata[row])], float(scores[row]))
            for row in unlike[:EXAMPLES]
        ),
    )


def _unlike(
    found: two_sample.Shifts, second: npt.NDArray[np.bool_], strata: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Rows of the candidate that look least like the baseline's, the most unlike first.

    Where classes moved by themselves it is theirs, by their own classifiers: the one over everything may not see them.
    """
    moved = {number: shift for number, shift in found.strata.items() if shift.p_value <= LEVEL}
    whole = found.everything.p_value <= LEVEL or not moved
    scores = np.full(len(second), -np.inf)
    count = 0.0
    if whole:
        scores = found.everything.scores.copy()
        count = found.everything.share * second.sum()
    else:
        for number, shift in moved.items():
            rows = np.flatnonzero(strata == number)
            scores[rows] = shift.scores / (shift.scores.std() or 1)
            count += shift.share * second[rows].sum()
    # What the baseline has no images of is new, not moved, and there is nothing to hold it against.
    candidates = np.flatnonzero(second & np.isfinite(scores) & np.isin(strata, strata[~second]))
    ordered = candidates[np.argsort(-scores[candidates], kind="stable")]
    return ordered[: max(EXAMPLES, round(count))]


def _features(read: Sequence[reasons.Reasons], statistics: Sequence[str]) -> tuple[list[str], list[str], Floats]:
    """Kind and name of each feature, and the features of all rows ``(N, F)``, the baseline's first."""
    places = np.sqrt(np.concatenate([one.places for one in read]))
    grid = places.shape[1:]
    letters, sides = "xyz"[: len(grid)], grid[::-1]
    cells = [
        ", ".join(f"{letter} {(at + 0.5) / side:.2f}" for letter, at, side in zip(letters, cell, sides, strict=True))
        for cell in (cell[::-1] for cell in np.ndindex(*grid))
    ]  # fmt: skip
    blocks = [places.reshape(len(places), -1), np.concatenate([one.statistics for one in read])]
    kinds = ["place"] * len(cells) + ["statistic"] * len(statistics)
    names = [*cells, *statistics]
    evidence = [one.channels for one in read if one.channels is not None]
    if len(evidence) == 2:
        chosen = strongest_channels(evidence)
        blocks += [np.concatenate([_columns(one, chosen) for one in evidence])]
        kinds += ["channel"] * len(chosen)
        names += [str(channel) for channel in chosen]
    return kinds, names, np.hstack(blocks)


def strongest_channels(both: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.int64]:
    """The `CHANNELS` channels with the greatest sum of absolute shares over both runs together, in their order.

    They are chosen without a look at which run a row is from, so that the choice is no evidence of a difference.
    """
    width = max(one.shape[1] for one in both)
    sums = np.zeros(width)
    for one in both:
        sums[: one.shape[1]] += np.nansum(np.abs(one), axis=0)
    strongest = np.argsort(-sums, kind="stable")[:CHANNELS]
    return np.sort(strongest[sums[strongest] > 0])


def _columns(channels: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64]) -> Floats:
    """Columns of a matrix; zero beyond its width, but NaN in rows without evidence."""
    wide = np.zeros((len(channels), max(channels.shape[1], int(chosen.max(initial=-1)) + 1)))
    wide[:, : channels.shape[1]] = channels
    wide[np.isnan(channels[:, 0])] = np.nan
    found: Floats = wide[:, chosen]
    return found


def _differing(
    kinds: Sequence[str],
    names: Sequence[str],
    values: Floats,
    strata: npt.NDArray[np.int64],
    like: npt.NDArray[np.bool_],
    unlike: npt.NDArray[np.int64],
) -> tuple[Feature, ...]:
    groups = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    points = two_sample.standardized(values, groups)
    apart = points[unlike].mean(axis=0) - points[like].mean(axis=0)
    found = []
    for i in np.argsort(-np.abs(apart), kind="stable"):
        # Places are square roots for the test; a reader wants the shares.
        column = values[:, i] ** 2 if kinds[i] == "place" else values[:, i]
        parts = [column[rows][np.isfinite(column[rows])] for rows in (like, unlike)]
        if all(map(len, parts)):  # what one side does not have at all is no difference of means
            means = [float(part.mean()) for part in parts]
            found.append(Feature(kinds[i], names[i], means[0], means[1], float(apart[i])))
        if len(found) == FEATURES:
            break
    return tuple(found)
