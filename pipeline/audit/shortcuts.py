"""The shortcut audit: classes whose maps point at the same place, away from the object, unlike those of other classes.

A model that learned a watermark, a tag or a border instead of the object leaves five traces in the maps of that class.
Each is measured per class and held against the other classes of the same method and slice:

======================= ==============================================================================================
``fixed_place``          energy that lies, in both halves of the class's images, where the maps of other classes have
                         less: sum over cells of min(max(A - Q, 0), max(B - Q, 0)), with A and B the mean energy of
                         the two halves and Q the median of the other classes' mean energy. Chance differs between
                         the halves; a shortcut does not.
``outside_share``        mean share of the energy off the object (1 - ``energy_share``), where there is ground truth
``border_share``         mean share of the energy in the outermost ring of cells
``corner_share``         mean share of the energy in the four corner blocks
``centroid_dispersion``  sqrt(var x + var y) of the centroids over the class's images, of the axes that there are:
                         small where all point at one place
======================= ==============================================================================================

    z = direction * (x - median of the others) / sqrt((1.4826 MAD of the others)^2 + floor^2 + (standard error of x)^2)

The others exclude the class itself, so that it cannot widen the spread it is held against. `Indicator.floor` keeps z
from growing without bound where the others happen to agree, and the standard error keeps small classes from being
suspected by chance. The score is the mean over the indicators of z, cut to 0 .. `Z_LIMIT`. A class is a *suspect* if
``fixed_place`` stands out (z >= `Z_FIXED` and at least its ``material`` difference) and so does at least one other
indicator (z >= `Z_OTHER` and its ``material`` difference).

The idea of looking for a systematic strategy over many heatmaps: Lapuschkin et al., Nature Communications 2019 (SpRAy).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.transforms.metrics import slicing

Floats = npt.NDArray[np.float64]

MIN_IMAGES = 10
"""A class with fewer maps is not judged."""

MIN_OTHERS = 4
"""With fewer other classes there is nothing to hold a class against."""

Z_LIMIT = 10.0
Z_FIXED = 3.5
Z_OTHER = 3.0

_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Indicator:
    """One trace of a shortcut.

    Attributes:
        name: as above.
        direction: 1 if large is suspicious, -1 if small is.
        floor: smallest spread that is assumed of the other classes.
        material: smallest difference from their median that counts, however small their spread.
        title: one or two words.
        text: what it is, in a few words.
    """

    name: str
    direction: int
    floor: float
    material: float
    title: str
    text: str


INDICATORS = (
    Indicator("fixed_place", 1, 0.03, 0.15, "Own place", "energy at a place of its own"),
    Indicator("outside_share", 1, 0.03, 0.10, "Off object", "energy off the object"),
    Indicator("border_share", 1, 0.03, 0.10, "Border", "energy at the border"),
    Indicator("corner_share", 1, 0.03, 0.10, "Corners", "energy in the corners"),
    Indicator("centroid_dispersion", -1, 0.015, 0.04, "Centre spread", "spread of the centres"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """One class of one method and slice, held against the others.

    Attributes:
        method, scope, class_id, n: of the group.
        values: value of each indicator; NaN where it does not exist.
        medians: median of the other classes.
        z: robust z of each indicator.
        score: 0 to `Z_LIMIT`.
        suspect: whether it crosses the thresholds.
        place: in words, where the energy of its own lies, such as ``upper left``.
        excess: ``(h, w)``, or of one or three axes, that energy: min(max(A - Q, 0), max(B - Q, 0)).
        mean_map: ``(h, w)``, mean energy of the class.
        others_map: ``(h, w)``, median of the other classes' mean energy.
    """

    method: str
    scope: tuple[str, str]
    class_id: int
    n: int
    values: dict[str, float]
    medians: dict[str, float]
    z: dict[str, float]
    score: float
    suspect: bool
    place: str
    excess: Floats
    mean_map: Floats
    others_map: Floats

    def reasons(self) -> list[str]:
        """Plain words for each indicator that stands out, the place first, then by falling z."""
        names = [i for i in INDICATORS if self.z[i.name] >= Z_OTHER and _material(i, self)]
        return [self._reason(i) for i in sorted(names, key=lambda i: (i is not INDICATORS[0], -self.z[i.name]))]

    def _reason(self, indicator: Indicator) -> str:
        mine, others = self.values[indicator.name], self.medians[indicator.name]
        if indicator.name == "fixed_place":
            place = f"at one place of its own, {self.place}"
            return f"{mine:.0%} of the energy comes back {place} (other classes {others:.0%})"
        if indicator.name == "centroid_dispersion":
            return f"the maps' centres differ by only {mine:.2f} image sides (other classes {others:.2f})"
        where = {"outside_share": "off the object", "border_share": "at the border", "corner_share": "in the corners"}
        return f"{mine:.0%} of the energy lies {where[indicator.name]} (other classes {others:.0%})"


def audit(groups: Sequence[map_scan.Group]) -> list[Finding]:
    """Every class that can be judged, the most suspicious first.

    Args:
        groups: of any methods and slices; each is held against the others of its method and slice.
    """
    together: dict[tuple[str, tuple[str, str]], list[map_scan.Group]] = {}
    for group in groups:
        if group.n >= MIN_IMAGES:
            together.setdefault((group.method, group.scope), []).append(group)
    found = [finding for same in together.values() if len(same) > MIN_OTHERS for finding in _audit(same)]
    return sorted(found, key=lambda f: (not f.suspect, -f.score, f.method, f.scope, f.class_id))


def over_all(table: ds.Dataset, target: str, method: str) -> list[Finding]:
    """Every class that can be judged by the maps of one method over all images, the most suspicious first.

    Args:
        table: the explanations; one pass over the method's rows.
        target: that the maps were explained for.
        method: whose maps.
    """
    scanner = map_scan.Scanner(table.schema, target, method, (), ())
    for batch in map_scan.batches(table, scanner.columns, pc.field("method") == method):
        scanner.add(batch)
    return audit(scanner.result().groups(method, slicing.ALL))


def _audit(groups: list[map_scan.Group]) -> list[Finding]:
    means = np.stack([group.mean_map for group in groups])
    others = medians_of_others(means)
    excesses = np.stack([excess(group.halves, q) for group, q in zip(groups, others, strict=True)])
    columns = {name: np.array(values) for name, values in _values(groups, excesses).items()}
    errors = {name: np.array(values) for name, values in _errors(groups, columns).items()}
    medians, z = {}, {}
    for indicator in INDICATORS:
        medians[indicator.name], z[indicator.name] = robust_z(
            columns[indicator.name], errors[indicator.name], indicator
        )
    return [_finding(group, i, columns, medians, z, excesses[i], means[i], others[i]) for i, group in enumerate(groups)]


def excess(halves: Floats, others: Floats) -> Floats:
    """min(max(A - Q, 0), max(B - Q, 0)) per cell: what both halves have and the other classes have not."""
    result: Floats = np.maximum(halves - others, 0).min(axis=0)
    return result


def medians_of_others(values: Floats) -> Floats:
    """For each of C rows the median of the other rows, element by element; a row of its own kind cannot move it.

    Args:
        values: ``(C, ...)``, C > 1, finite.
    """
    count = len(values)
    ordered = np.sort(values, axis=0)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0)
    total = np.zeros_like(values)
    for place in ((count - 2) // 2, (count - 1) // 2):
        # Without the row itself, the places behind it move up by one.
        total += np.take_along_axis(ordered, place + (ranks <= place), axis=0)
    median: Floats = total / 2
    return median


def _values(groups: Sequence[map_scan.Group], excesses: Floats) -> dict[str, list[float]]:
    return {
        "fixed_place": excesses.sum(axis=tuple(range(1, excesses.ndim))).tolist(),
        "outside_share": [1 - group.means["energy_share"] for group in groups],
        "border_share": [group.means["border_share"] for group in groups],
        "corner_share": [group.means["corner_share"] for group in groups],
        "centroid_dispersion": [_dispersion(group) for group in groups],
    }


def _dispersion(group: map_scan.Group) -> float:
    """Square root of the summed variances along the axes that the maps have."""
    spreads = [group.deviations.get(name, math.nan) for name in map_scan.CENTROIDS]
    known = [spread for spread in spreads if math.isfinite(spread)]
    return math.hypot(*known) if known else math.nan


def _errors(groups: Sequence[map_scan.Group], columns: Mapping[str, Floats]) -> dict[str, list[float]]:
    """Standard errors. A fixed share of energy in [0, 1] varies at most as a proportion does; s / sqrt(2 n) for s."""
    n = [max(group.n, 1) for group in groups]
    fixed = columns["fixed_place"]
    return {
        "fixed_place": [math.sqrt(max(x * (1 - x), 0) / k) for x, k in zip(fixed.tolist(), n, strict=True)],
        "outside_share": [g.deviations["energy_share"] / math.sqrt(k) for g, k in zip(groups, n, strict=True)],
        "border_share": [g.deviations["border_share"] / math.sqrt(k) for g, k in zip(groups, n, strict=True)],
        "corner_share": [g.deviations["corner_share"] / math.sqrt(k) for g, k in zip(groups, n, strict=True)],
        "centroid_dispersion": [
            s / math.sqrt(2 * k) for s, k in zip(columns["centroid_dispersion"].tolist(), n, strict=True)
        ],
    }


def robust_z(values: Floats, errors: Floats, indicator: Indicator) -> tuple[Floats, Floats]:
    """Median of the other values and robust z of each value; NaN where the value or enough others do not exist.

    Args:
        values: ``(C,)``, one per class.
        errors: their standard errors.
        indicator: its direction and floor.
    """
    medians, z = np.full(len(values), np.nan), np.full(len(values), np.nan)
    finite = np.flatnonzero(np.isfinite(values))
    if len(finite) <= MIN_OTHERS:
        return medians, z
    known = values[finite]
    medians[finite] = medians_of_others(known)
    spread = 1.4826 * _deviations_of_others(known, medians[finite])
    scale = np.sqrt(spread**2 + indicator.floor**2 + errors[finite] ** 2)
    z[finite] = indicator.direction * (known - medians[finite]) / scale
    return medians, z


def _deviations_of_others(values: Floats, centres: Floats) -> Floats:
    """For each value the median absolute deviation of the other values from its centre."""
    result = np.empty(len(values))
    for start in range(0, len(values), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(values)))
        deviations = np.abs(values[None, :] - centres[rows, None])
        deviations[np.arange(len(rows)), rows] = np.inf  # the value itself goes last
        ordered = np.sort(deviations, axis=1)
        count = len(values) - 1
        result[rows] = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
    return result


def _finding(
    group: map_scan.Group,
    i: int,
    columns: Mapping[str, Floats],
    medians: Mapping[str, Floats],
    z: Mapping[str, Floats],
    own: Floats,
    mean_map: Floats,
    others_map: Floats,
) -> Finding:
    mine = {name: float(values[i]) for name, values in z.items()}
    cut = [min(max(value, 0.0), Z_LIMIT) for value in mine.values() if math.isfinite(value)]
    finding = Finding(
        method=group.method, scope=group.scope, class_id=group.class_id, n=group.n,
        values={name: float(values[i]) for name, values in columns.items()},
        medians={name: float(values[i]) for name, values in medians.items()},
        z=mine, score=sum(cut) / len(cut) if cut else 0.0, suspect=False, place=place_of(own), excess=own,
        mean_map=mean_map, others_map=others_map,
    )  # fmt: skip
    return dataclasses.replace(finding, suspect=_is_suspect(finding))


def _is_suspect(finding: Finding) -> bool:
    fixed, *others = INDICATORS
    stands_out = finding.z[fixed.name] >= Z_FIXED and _material(fixed, finding)
    return stands_out and any(finding.z[i.name] >= Z_OTHER and _material(i, finding) for i in others)


def _material(indicator: Indicator, finding: Finding) -> bool:
    difference = indicator.direction * (finding.values[indicator.name] - finding.medians[indicator.name])
    return difference >= indicator.material


_THIRDS = {
    "x": ("left", "middle", "right"),
    "y": ("upper", "middle", "lower"),
    "z": ("in the first planes", "in the middle planes", "in the last planes"),
    "series": ("at the start", "in the middle", "at the end"),
}


def place_of(energy: Floats) -> str:
    """Where the strongest cell lies, in thirds: ``upper left``, ``centre``, ``lower middle``, ...

    Of a series ``at the start``, ``in the middle`` or ``at the end``; of a volume ``upper left, in the first planes``.
    """
    if energy.sum() <= 0:
        return "nowhere"
    cell = np.unravel_index(int(np.argmax(energy)), energy.shape)
    third = [min(2, int(3 * (i + 0.5) / side)) for i, side in zip(cell, energy.shape, strict=True)]
    if energy.ndim == 1:
        return _THIRDS["series"][third[0]]
    words = f"{_THIRDS['y'][third[-2]]} {_THIRDS['x'][third[-1]]}"
    plane = "centre" if words == "middle middle" else words
    return plane if energy.ndim == 2 or energy.shape[0] == 1 else f"{plane}, {_THIRDS['z'][third[0]]}"
