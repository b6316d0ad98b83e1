"""A comparison for people and programs: a table in the terminal, JSON, and one HTML file."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Sequence
from typing import Any, TextIO

from heatbeam.compare import changed_pictures, compare, compare_rows, map_pairs, verdict_files, verdicts
from heatbeam.compare.drift import words
from heatbeam.pages import page_templates
from heatbeam.runs import moved_images, remote_files, run_directory, run_methods, settings_diff
from heatbeam.transforms.errors import harmless
from heatbeam.transforms.metrics import registry, slicing

_TABLE_LIMIT = 40
_ALWAYS_TOLD = ("images_in_both", "decision_flips", "map_flips")


def as_dict(comparison: compare.Comparison) -> dict[str, Any]:
    """Plain values for JSON; a number that does not exist is None. Maps are left out of the examples."""
    flips = [
        {
            "image_id": one.image_id, "class_name": one.class_name, "method": one.method, "change": one.change,
            "baseline_choice": _class(one.first_choices[0], comparison.class_names),
            "candidate_choice": _class(one.first_choices[1], comparison.class_names),
            "baseline_probability": one.probabilities[0], "candidate_probability": one.probabilities[1],
            "marks": list(comparison.marks.get(one.place[2], ())),
        }
        for one in comparison.flips
    ]  # fmt: skip
    examples = [
        {
            "image_id": one.image_id, "class_name": one.class_name, "method": one.method,
            "decision_flip": one.decision_flip, "baseline_probability": one.probabilities[0],
            "candidate_probability": one.probabilities[1], **verdicts.plain(one.similarity),
        }
        for one in comparison.examples
    ]  # fmt: skip
    return {
        "format": "heatbeam-comparison",
        "format_version": 1,
        "baseline": comparison.baseline,
        "candidate": comparison.candidate,
        "settings": [setting._asdict() for setting in comparison.settings],
        "incomparable": list(comparison.incomparable),
        "unread_marks": list(comparison.unread_marks),
        "counts": comparison.counts,
        "only_baseline": list(comparison.only_baseline),
        "only_candidate": list(comparison.only_candidate),
        "repeated": list(comparison.repeated),
        "methods_only_baseline": list(comparison.methods_only_baseline),
        "methods_only_candidate": list(comparison.methods_only_candidate),
        "differences": [verdicts.plain(row._asdict()) for row in comparison.differences],
        "agreements": [verdicts.plain(row._asdict()) for row in comparison.agreements],
        "histograms": comparison.histograms,
        "examples": examples,
        "flips": flips,
        "options": {
            "replicates": comparison.options.replicates,
            "map_flip_overlap": comparison.options.map_flip_overlap,
        },
        "drift": words.document(comparison.drift),
    }


def write_json(
    comparison: compare.Comparison, path: str | os.PathLike[str], verdict: verdicts.Verdict | None = None
) -> None:
    """The whole comparison as JSON, with the verdict of a gate if there was one."""
    content = as_dict(comparison) | {"gate": None if verdict is None else verdicts.as_dict(verdict)}
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    remote_files.write(path, text.encode("utf-8", errors="replace"))


def headlines(comparison: compare.Comparison) -> list[compare.Difference]:
    """The differences over everything that a reader wants first; the others are in the JSON."""
    return [row for row in _wanted(comparison) if row.slice_name == slicing.ALL]


def _wanted(comparison: compare.Comparison) -> list[compare.Difference]:
    """The rows of no baseline, and of a metric by its plain name that can get better or worse."""
    return [
        row
        for row in comparison.differences
        if row.metric in registry.METRICS
        and row.better != "none"
        and not run_methods.is_baseline(row.method, comparison.controls)
    ]


def changed_images(comparison: compare.Comparison) -> str:
    """A warning where images of one id are not the same; empty where they are."""
    changed, both = comparison.counts["images_changed"], comparison.counts["images_in_both"]
    if not changed:
        return ""
    return f"{changed:,} of {both:,} images have other bytes in the candidate: their pairs share an id, not a picture"


def repeated_images(comparison: compare.Comparison) -> str:
    """A warning where an image id stands for several records of a run; empty where none does."""
    count = comparison.counts["images_repeated"]
    if not count:
        return ""
    return (
        f"{count:,} image id{'s stand' if count > 1 else ' stands'} for several records of a run"
        f" ({', '.join(comparison.repeated[:3])}{', ...' if count > 3 else ''}): which of them is meant cannot be told,"
        " so their rows are left out of every pair; give input.features.image_id a feature that is unique"
    )


def noticed(comparison: compare.Comparison, limit: int = _TABLE_LIMIT) -> tuple[list[compare.Difference], int]:
    """The differences of single slices whose interval leaves out 0, the surest first; and how many there are."""
    rows = [row for row in _wanted(comparison) if row.noticed and row.slice_name != slicing.ALL]
    # How far the interval stays from 0, in half widths: what is surest comes first.
    rows.sort(key=lambda row: (-_sureness(row), row[:4]))
    return rows[:limit], len(rows)


def _sureness(row: compare.Difference) -> float:
    half = (row.upper - row.lower) / 2
    return math.inf if half == 0 else abs(row.difference) / half


def worse(row: compare.Difference) -> bool:
    """Whether a difference is for the worse, its interval leaving out 0."""
    return row.noticed and ((row.better == "higher") == (row.difference < 0)) and row.better != "none"


def print_comparison(comparison: compare.Comparison, stream: TextIO) -> None:
    """What differs in the settings first, then images, flips, and the metrics over everything."""
    stream.write(f"baseline   {comparison.baseline}\ncandidate  {comparison.candidate}\n\n")
    stream.write("settings that differ\n" if comparison.settings else "no setting differs\n")
    for one in comparison.settings[:_TABLE_LIMIT]:
        values = f"{settings_diff.shown(one.baseline, 30)} -> {settings_diff.shown(one.candidate, 30)}"
        stream.write(f"  {one.path:<44} {values}   ({one.effect})\n")
    if len(comparison.settings) > _TABLE_LIMIT:
        stream.write(f"  and {len(comparison.settings) - _TABLE_LIMIT} more\n")
    stream.write("\n")
    stream.writelines(f"  {count:>12,}  {text}\n" for text, count in _counts(comparison))
    if comparison.counts["images_changed"]:
        stream.write(f"  warning: {changed_images(comparison)}\n")
    if comparison.counts["images_repeated"]:
        stream.write(f"  warning: {repeated_images(comparison)}\n")
    stream.writelines(f"  warning: marks are not shown: {why}\n" for why in comparison.unread_marks)
    for side, methods in (
        ("baseline", comparison.methods_only_baseline), ("candidate", comparison.methods_only_candidate)
    ):  # fmt: skip
        if methods:
            stream.write(f"  methods only in the {side}: {', '.join(methods)}\n")
    if comparison.drift is not None:
        words.write(comparison.drift, stream)
    _print_agreements(comparison, stream)
    _print_differences(comparison, stream)


def _print_agreements(comparison: compare.Comparison, stream: TextIO) -> None:
    rows = [row for row in comparison.agreements if row.slice_name == slicing.ALL]
    if rows:
        stream.write("\nhow alike (95 % interval)\n")
    stream.writelines(
        f"  {row.method:<22} {row.measure:<28} {row.value:>8.4f} {_ends(row.lower, row.upper, sign='')}  n {row.n:,}\n"
        for row in rows
    )


def _print_differences(comparison: compare.Comparison, stream: TextIO) -> None:
    if comparison.incomparable:
        stream.write("\nthe metrics of these runs must not be compared:\n")
        stream.writelines(f"  {why}\n" for why in comparison.incomparable)
        return
    stream.write("\ncandidate - baseline, over everything (95 % interval; ! worse, + better, beyond noise)\n")
    for row in headlines(comparison):
        mark = "!" if worse(row) else "+" if row.noticed and row.better != "none" else " "
        values = f"{row.baseline:>8.4f} -> {row.candidate:>8.4f} {row.difference:>+8.4f}"
        ends = f"{_ends(row.lower, row.upper)}  n {row.n:,} {row.interval}"
        stream.write(f"{mark} {row.method:<22} {row.metric:<28} {values} {ends}\n")
    rows, count = noticed(comparison, 10)
    if count:
        stream.write(f"\n{count:,} differences of single slices are beyond noise; the surest\n")
        for row in rows:
            place = f"{row.slice_name}={row.slice_value}"
            stream.write(
                f"{'!' if worse(row) else '+'} {row.method:<22} {place:<28} {row.metric:<24} {row.difference:>+8.4f}"
                f" {_ends(row.lower, row.upper)}  n {row.n:,}\n"
            )


def _ends(lower: float, upper: float, sign: str = "+") -> str:
    return "(no interval)      " if math.isnan(lower) else f"({lower:{sign}.4f} to {upper:{sign}.4f})"


def write_html(
    comparison: compare.Comparison,
    path: str | os.PathLike[str],
    verdict: verdicts.Verdict | None = None,
    images: str | None = None,
) -> None:
    """One self-contained HTML file; it shows at most some dozens of rows and says how many there are.

    Args:
        comparison: what to show.
        path: of the file.
        verdict: of a gate, if there was one.
        images: where the images are now, if they were moved; see `moved_images.located`.
    """
    environment = page_templates.environment()
    environment.filters |= {"signed": _number, "setting": settings_diff.shown}
    rows, count = noticed(comparison)
    page = environment.get_template("compare.html").render(
        comparison=comparison,
        drift=comparison.drift,
        reasons=_reasons(comparison, images),
        counts=_counts(comparison),
        agreements=_agreements(comparison),
        short=sorted(_in_short(comparison), key=lambda one: one[0] != "alert"),
        told=verdict_files.told(verdict) if verdict is not None else None,
        measures=compare.MEASURES,
        map_measures=list(map_pairs.MEASURES),
        headlines=headlines(comparison),
        slices=rows,
        slices_count=count,
        tested=sum(row.slice_name != slicing.ALL for row in _wanted(comparison)),
        warnings=[text for text in (changed_images(comparison), repeated_images(comparison)) if text],
        worse=worse,
        histograms=_histograms(comparison),
        **_shown(comparison, images),
        listed=compare_rows.LISTED_IMAGES,
        verdict=verdict,
    )
    remote_files.write(path, harmless.lines(page).encode())


def _counts(comparison: compare.Comparison) -> list[tuple[str, int]]:
    """What is told of the images: every count that is not 0, and those that say something when they are."""
    told = ("images_in_both",) if comparison.different_images else _ALWAYS_TOLD
    counts = comparison.counts
    return [(text, counts[name]) for name, text in compare_rows.COUNTS.items() if counts[name] or name in told]


def _agreements(comparison: compare.Comparison) -> dict[str, dict[str, compare.Agreement]]:
    """Per method the measures of its maps over everything."""
    found: dict[str, dict[str, compare.Agreement]] = {}
    for row in comparison.agreements:
        if row.slice_name == slicing.ALL and row.measure in map_pairs.MEASURES:
            found.setdefault(row.method, {})[row.measure] = row
    return found


def _in_short(comparison: compare.Comparison) -> list[tuple[str, str]]:
    """What a reader wants to know first, as ``(level, sentence)``: settings, decisions, maps, metrics."""
    counts = comparison.counts
    matter = [one.path for one in comparison.settings if one.effect != settings_diff.HARMLESS]
    listed = f": {', '.join(matter[:4])}{', ...' if len(matter) > 4 else ''}" if matter else ""
    many = f"{len(matter)} setting{'s differ' if len(matter) != 1 else ' differs'}"
    said = [words.in_short(comparison.drift)] if comparison.drift is not None else []
    said.append(("note" if matter else "good", f"{many} that can change a number{listed}."))
    flips = f"{counts['decision_flips']:,} of {counts['images_in_both']:,} images have another first choice"
    if counts["decision_flips"]:
        marked = f"; {counts['decision_flips_marked']:,} marked in a review" if counts["decision_flips_marked"] else ""
        flips += f" ({counts['decisions_fixed']:,} now right, {counts['decisions_broken']:,} now wrong{marked})"
    if comparison.different_images:
        flips = "The runs are over different images: numbers are compared as those of independent samples"
    said.append(("note" if counts["decision_flips"] else "good", f"{flips}."))
    moved = {
        method: rows["map_flip"].value
        for method, rows in _agreements(comparison).items()
        if "map_flip" in rows and not run_methods.is_baseline(method, comparison.controls)
    }
    if moved:
        shares = ", ".join(f"{value:.1%} of {method}" for method, value in list(moved.items())[:6])
        text = f"Maps that moved, so that their strongest areas share less than half: {shares}."
        said.append(("note" if any(moved.values()) else "good", text))
    said += [("alert", f"The marks of a run are not shown: {why}.") for why in comparison.unread_marks]
    if comparison.incomparable:
        return [*said, ("alert", "The metrics of these runs mean different things and are not subtracted.")]
    rows = headlines(comparison)
    for level, text, chosen in (
        ("alert", "Worse beyond noise", [row for row in rows if worse(row)]),
        ("good", "Better beyond noise", [row for row in rows if row.noticed and not worse(row)]),
    ):
        if chosen:
            names = [f"{row.metric} of {row.method} ({row.difference:+.3f})" for row in chosen]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said.append((level, f"{text}: {', '.join(names[:3])}{more}."))
    if not any(row.noticed for row in rows):
        said.append(("good", "No metric over all images changed beyond noise."))
    return said


def _number(value: float, signed: bool = False) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def _reasons(comparison: compare.Comparison, images_path: str | None) -> dict[str, Any] | None:
    if comparison.drift is None:
        return None
    from heatbeam.compare.drift import page  # brings compiled loops, which no other comparison needs

    return page.content(comparison.drift, comparison.candidate, images_path)


def _shown(comparison: compare.Comparison, images_path: str | None) -> dict[str, Any]:
    """The flips of one method, the most changed pairs of all, and their pictures."""
    manifest = moved_images.located(run_directory.RunDirectory(comparison.baseline).read_manifest(), images_path)
    methods = list(dict.fromkeys(one.method for one in comparison.flips))
    method = next((m for m in methods if not run_methods.is_baseline(m, comparison.controls)), (methods or [""])[0])
    flips = [one for one in comparison.flips if one.method == method]
    drawn = changed_pictures.draw(manifest, [*flips, *comparison.examples])
    names = comparison.class_names
    return {
        "flips": [
            {"pair": one, "frames": frames, "choices": [_class(i, names) for i in one.first_choices]}
            for one, frames in zip(flips, drawn.frames, strict=False)
        ],
        "flips_method": method,
        "examples": [
            {"pair": one, "frames": frames}
            for one, frames in zip(comparison.examples, drawn.frames[len(flips) :], strict=True)
        ],
        "photos": drawn.photos,
    }


def _class(class_id: int, names: Sequence[str]) -> str:
    return names[class_id] if 0 <= class_id < len(names) else f"class {class_id}"


def _histograms(comparison: compare.Comparison) -> list[dict[str, Any]]:
    """Bars as SVG paths, per method and measure."""
    plots = []
    for method, measures in sorted(comparison.histograms.items()):
        for measure, counts in measures.items():
            low, high = map_pairs.BINS[measure]
            plots.append({
                "method": method, "measure": measure, "low": f"{low:g}", "high": f"{high:g}", "total": sum(counts),
                "svg": _bars(counts, f"{measure} of {method}: {sum(counts)} pairs"),
            })  # fmt: skip
    return plots


def _bars(counts: Sequence[int], title: str) -> str:
    top = max(counts, default=0) or 1
    bars = "".join(
        f'<rect x="{12 * i}" y="{60 - 60 * count / top:.2f}" width="11" height="{60 * count / top:.2f}"/>'
        for i, count in enumerate(counts)
    )
    return f'<svg viewBox="0 0 {12 * len(counts)} 60" role="img" aria-label="{html.escape(title)}">{bars}</svg>'
