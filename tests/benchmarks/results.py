"""What was measured, kept by group and part with the machine, the commit and the day; and as tables of Markdown."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from heatbeam.job.fitting import kept_choices
from tests.benchmarks import figures
from tests.benchmarks.families import summary
from tests.support import paths

BEGIN = "<!-- figures of `python -m tests.benchmarks --markdown`: what stands between these lines is written by it -->"
END = "<!-- end of the figures -->"

_PACKAGES = ("tensorflow", "openvino", "onnxruntime", "xplique")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where and of what figures are: those of one file share it.

    Attributes:
        machine: its processor and how many of its cores may be used.
        commit: of the working tree, with ``-dirty`` where that is changed.
        versions: of what computes, by name of the package; what is not installed is not there.
    """

    machine: str
    commit: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls) -> Place:
        """Of this machine and working tree."""
        return cls(_machine(), commit(), {name: v for name in _PACKAGES if (v := _version(name)) is not None})


@dataclasses.dataclass
class Results:
    """The figures of one place.

    Attributes:
        place: see there.
        date: of the newest of them.
        groups: the figures by group and part; of a group without parts the part is empty.
    """

    place: Place
    date: str
    groups: dict[str, dict[str, list[figures.Figure]]]

    def has(self, group: str, part: str) -> bool:
        """Whether that is measured."""
        return part in self.groups.get(group, {})

    def add(self, group: str, part: str, found: list[figures.Figure]) -> None:
        """Put in what was measured today, in the place of what was there."""
        self.groups.setdefault(group, {})[part] = found
        self.date = _today()

    def figures(self, group: str) -> list[figures.Figure]:
        """Of a group, and what its parts give together."""
        found = [figure for part in self.groups.get(group, {}).values() for figure in part]
        return found + summary.together(group, found)

    def all(self) -> list[figures.Figure]:
        """Of every group."""
        return [figure for group in self.groups for figure in self.figures(group)]


def read(path: str, place: Place) -> Results:
    """The results of a file, or none at all where it is missing or of another place."""
    if pathlib.Path(path).exists():
        found = read_any(path)
        if found.place == place:
            return found
    return Results(place, _today(), {})


def read_any(path: str) -> Results:
    """The results of a file, whatever place they are of; none where it has another form."""
    document = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        return Results(Place("", "", {}), "", {})
    groups = {
        group: {part: [figures.from_dict(one) for one in found] for part, found in parts.items()}
        for group, parts in document["groups"].items()
    }
    return Results(Place(**document["place"]), document["date"], groups)


def write(results: Results, path: str) -> None:
    """All of it as a JSON file, in a folder that is made where it is missing."""
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    groups = {
        group: {part: [one.as_dict() for one in found] for part, found in parts.items()}
        for group, parts in results.groups.items()
    }
    document = {"place": dataclasses.asdict(results.place), "date": results.date, "groups": groups}
    together = [one.as_dict() for group in results.groups for one in summary.together(group, _flat(results, group))]
    new = file.with_suffix(".new")
    new.write_text(json.dumps({**document, "together": together}, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    new.replace(file)  # a run that is stopped leaves the file of the part before


def _flat(results: Results, group: str) -> list[figures.Figure]:
    return [one for found in results.groups[group].values() for one in found]


def written_into(page: str, results: Results) -> str:
    """A page of Markdown with the tables between `BEGIN` and `END`.

    Raises:
        ValueError: the page does not have these lines.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}"


def markdown(results: Results) -> str:
    """Where and when, a table for the families, and one for all other figures."""
    place = results.place
    versions = ", ".join(f"{name} {version}" for name, version in place.versions.items())
    parts = [f"Of {place.machine}, commit {place.commit}, {results.date}; {versions}.\n"]
    families = results.figures("families")
    if families:
        parts += [_families_table(families), _steps_table(families)]
    others = [one for group in results.groups if group != "families" for one in results.figures(group)]
    if others:
        parts.append(_figures_table(others))
    return "\n".join(parts)


def _families_table(found: Sequence[figures.Figure]) -> str:
    rows = []
    for one in found:
        ratio, goal = f"{one.ratio:.2f}", _goal(one)
        family = one.name.rpartition(", ")[2]
        if family not in summary.FAMILIES:
            rows.append((f"**{family}**, each at most {summary.CAP:g}", "", "", "", f"**{ratio}**", "", goal))
            continue
        sides = (_side(one.measured, side) for side in ("job", "loop", "Xplique"))
        rows.append((family, *sides, ratio, _spread(one), goal))
    head = ("images a second", "heatbeam's job", "hand-written loop", "Xplique", "over the faster", "spread", "goal")
    return _table(head, rows)


def _side(measured: Mapping[str, Any], side: str) -> str:
    if f"{side}_images_per_s" in measured:
        return f"{_number(measured[f'{side}_images_per_s'], '.3g')} ({measured[f'{side}_way']})"
    return str(measured.get(f"{side}_left_out", ""))


def _number(value: object, how: str) -> str:
    """A number as it is to be written; nothing for one that every disturbed round left unknown."""
    return format(value, how) if isinstance(value, (int, float)) else ""


_STEPS = ("explain", "parse", "decode", "localize", "aggregate", "rows", "write", "other")


def _steps_table(found: Sequence[figures.Figure]) -> str:
    families = [one for one in found if "explain_ms" in one.measured]
    rows = [
        (one.name.rpartition(", ")[2], *(_number(one.measured.get(f"{s}_ms", 0.0), ".2f") for s in _STEPS))
        for one in families
    ]
    return _table(("milliseconds of a worker thread, an image", *_STEPS), rows)


def _figures_table(found: Sequence[figures.Figure]) -> str:
    rows = [(one.name, f"{one.ratio:.3g}", _spread(one), _goal(one), one.how) for one in found]
    return _table(("figure", "ratio", "spread", "goal", "how"), rows)


def _spread(one: figures.Figure) -> str:
    low, high = one.spread
    return "" if low == high else f"{low:.2f} to {high:.2f}"


def _goal(one: figures.Figure) -> str:
    return "" if one.goal is None else f"{one.goal}" + ("" if one.met else ", missed")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine() -> str:
    facts = kept_choices.device()
    name = facts.get("model") or facts["processor"] or facts["machine"]
    widest = next((flag for flag in ("avx512_bf16", "avx512f", "avx2") if flag in facts.get("features", ())), "")
    return f"{name}{f' ({widest})' if widest else ''}, {facts['cores']} cores"


def commit() -> str:
    """Of the working tree, with ``-dirty`` where that is changed; ``unknown`` where git does not say."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str | None:
    search = [os.fspath(summary.PEERS)] if package == "xplique" else None
    found = metadata.distributions(name=package, **({"path": search} if search else {}))
    return next((one.version for one in found), None)


def _today() -> str:
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
