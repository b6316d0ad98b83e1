"""``heatbeam report RUN``: one HTML file about a run, with pictures, and the queue of doubtful labels.

The file needs nothing else: images, styles and scripts are inside, and it may not load anything. Tables are streamed, so
memory and size of the file follow the number of classes and methods, not of images; what is only sampled says so.
Images are shown where the source shards of the run can still be read; the report stands without them.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
import pyarrow.dataset as ds

from pipeline import galleries, label_suspects, map_scan, pictures, plots, report_tables, run_directory, shortcuts
from transforms.metrics import map_statistics, registry

REPORT = "report.html"

GALLERY_SIZE = 8
SPREAD_STEPS = 4
MAX_CLASSES = 2000
MAX_CLASS_ROWS = 6000
MAX_MEAN_MAPS = 60
MAX_SUSPECTS = 12
MAX_SHOWN_SUSPECTS = 4
SUSPECT_IMAGES = 6
MAX_LABEL_SUSPECTS = 12
MAX_DEAD_LETTERS = 20
DISTRIBUTIONS = ("energy_share", "box_iou", "mask_iou", "insertion_auc", "deletion_auc", "border_share", "area")

SECTIONS = (
    ("findings", "Findings"), ("methods", "Methods"), ("audit", "Shortcut audit"), ("classes", "Classes"),
    ("curves", "Curves"), ("distributions", "Distributions"), ("galleries", "Images"), ("labels", "Label suspects"),
    ("health", "Map health"), ("dead", "Dead letters"), ("provenance", "Provenance"),
)  # fmt: skip

_STYLES = 8


def write_report(run_path: str, *, reference: str | None = None) -> str:
    """Write ``report.html`` and ``label_suspects.parquet`` into a run; the path of the report.

    Args:
        run_path: a finished run.
        reference: method whose images, slices and labels are looked at; by default the first of the configuration.

    Raises:
        run_directory.RunDirectoryError: if the run is not finished or damaged.
        ValueError: if it has no method called `reference`.
    """
    run = run_directory.RunDirectory(run_path)
    context = _context(run, reference)
    run.write_file(label_suspects.FILE, label_suspects.parquet(context["queue"]))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": share, "count": count, "nice": _nice, "zip": zip}
    page = environment.get_template("report.html").render(context)
    return run.write_file(REPORT, page.encode("utf-8", "replace"))


def _context(run: run_directory.RunDirectory, reference: str | None) -> dict[str, Any]:
    """Everything the page shows."""
    manifest = run.read_manifest()
    table = run.open_table("explanations")
    summary = report_tables.Summary(run.open_table("summary"))
    methods = _methods(manifest, summary)
    reference = _reference(methods, reference)
    target = manifest.get("conventions", {}).get("primary_target", "label")
    scan, queue, collector = _scan(table, target, reference)
    names = _class_names(manifest, table)
    findings = shortcuts.audit([g for g in scan.groups() if g.method in methods])
    chosen = galleries.choose(scan.scores, GALLERY_SIZE, SPREAD_STEPS)
    shown = _pictures(manifest, table, chosen, findings, queue, reference, target)
    styles = {name: f"s{i % _STYLES}" for i, name in enumerate(methods)}
    context = {
        "run": run.path,
        "manifest": manifest,
        "reference": reference,
        "target": target,
        "methods": methods,
        "styles": styles,
        "names": names,
        "cards": _cards(manifest, summary, reference, chosen),
        "method_table": report_tables.method_table(summary, methods),
        "class_table": _class_table(summary, methods, reference, names, scan, findings),
        "slice_table": _slices(summary, methods, reference),
        "curves": _curves(run, methods, summary, styles),
        "distributions": _distributions(scan, methods, styles),
        "mean_maps": _mean_maps(scan, reference, names),
        "audit": _audit(findings, reference, names, scan),
        "health": _health(scan),
        "flags": map_statistics.HEALTH_FLAGS,
        "collector": collector,
        "queue": queue,
        "queue_limits": (label_suspects.MIN_PROBABILITY, label_suspects.MAX_OVERLAP),
        "galleries": chosen,
        "measure": galleries.MEASURES.get(chosen.measure, ""),
        "pictures": shown,
        "dead": _dead_letters(run),
        "provenance": _provenance(manifest),
        "gallery_size": GALLERY_SIZE,
        "limit_text": f"{shortcuts.Z_LIMIT:g}",
        "sections": SECTIONS,
    }
    context["notes"] = _notes(context)
    return context


def _methods(manifest: Mapping[str, Any], summary: report_tables.Summary) -> list[str]:
    """The methods of the run, in the order of the configuration."""
    configured = []
    for one in manifest.get("config", {}).get("explain", {}).get("methods", ()):
        wrapped = f"{one['wrapper']}_{one['method']}" if one.get("wrapper") else one["method"]
        configured.append(one.get("name") or wrapped)
    known = [m for m in summary.methods if m != report_tables.MODEL and not m.startswith("baseline_")]
    return [m for m in configured if m in known] + sorted(set(known) - set(configured))


def _reference(methods: Sequence[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in methods:
        raise ValueError(f"the run has no method {wanted!r}; it has {', '.join(methods) or 'none'}")
    return wanted if wanted is not None else (methods[0] if methods else "")


def _scan(table: ds.Dataset, target: str, reference: str) -> tuple[map_scan.Scan, Any, label_suspects.Collector]:
    """One pass over the explanations."""
    scanner = map_scan.Scanner(table.schema, target, reference, galleries.SCORE_COLUMNS, DISTRIBUTIONS)
    collector = label_suspects.Collector(reference)
    columns = list(dict.fromkeys([*scanner.columns, *collector.columns]))
    for batch in map_scan.batches(table, columns):
        scanner.add(batch)
        collector.add(batch)
    return scanner.result(), collector.result(), collector


def _class_names(manifest: Mapping[str, Any], table: ds.Dataset) -> list[str]:
    """Names as the summary has them, by class id."""
    names = list(manifest.get("model", {}).get("class_names", ()))
    if not names:
        rows = table.to_table(columns=["class_id", "class_name"]).group_by(["class_id", "class_name"]).aggregate([])
        found = dict(zip(rows["class_id"].to_pylist(), rows["class_name"].to_pylist(), strict=True))
        names = [found.get(i, f"class_{i}") for i in range(max(found, default=-1) + 1)]
    return report_tables.distinct_names(names)


@dataclasses.dataclass(frozen=True)
class Card:
    """A headline number."""

    title: str
    value: str
    detail: str
    about: str


def _cards(
    manifest: Mapping[str, Any], summary: report_tables.Summary, reference: str, chosen: galleries.Galleries
) -> list[Card]:
    counts = manifest.get("counts", {})
    detail = f"{count(counts.get('images_skipped', 0))} skipped, {count(counts.get('dead_letters', 0))} dead letters"
    cards = [
        Card("Images explained", count(counts.get("images_explained", 0)), detail, "Every record is accounted for.")
    ]
    own = summary.number(report_tables.MODEL, "top1_accuracy")
    if own.exists:
        about = report_tables.column("top1_accuracy").about
        cards.append(Card("Top-1 accuracy", share(own.value), _interval(own), about))
    wanted = ("energy_pointing_game", "pointing_game", "max_box_acc_v2", "pxap", "insertion", "average_drop")
    for name in summary.present(wanted, [reference])[:4]:
        shown, found = report_tables.column(name), summary.number(reference, name)
        best = _best_baseline(summary, shown)
        cards.append(Card(shown.title, share(found.value), f"{_interval(found)}{best}", shown.about))
    if chosen.right_n:
        value = chosen.wrong_place_n / chosen.right_n
        about = "The first choice is right, but the strongest pixel of its map is off the object."
        detail = f"{count(chosen.wrong_place_n)} of {count(chosen.right_n)} images with the right first choice"
        cards.append(Card("Right class, wrong place", share(value), detail, about))
    return cards


def _best_baseline(summary: report_tables.Summary, shown: report_tables.Column) -> str:
    names = [name for name in summary.methods if name.startswith("baseline_")]
    values = {name: summary.number(name, shown.name).value for name in names}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if not finite or shown.better == "none":
        return ""
    best = (max if shown.better == "higher" else min)(finite, key=lambda name: finite[name])
    return f"; {_nice(best)} {share(finite[best])}"


def _class_table(
    summary: report_tables.Summary,
    methods: Sequence[str],
    reference: str,
    names: Sequence[str],
    scan: map_scan.Scan,
    findings: Sequence[shortcuts.Finding],
) -> dict[str, Any]:
    """Classes by falling number of images, with mean map and score of the audit for the reference method."""
    groups = {g.class_id: g for g in scan.groups(reference, "all")}
    listed = sorted(groups, key=lambda i: (-groups[i].n, i))[:MAX_CLASSES]
    shown = list(methods) if len(listed) * len(methods) <= MAX_CLASS_ROWS else [reference]
    slices = [("class", names[i]) for i in sorted(listed)]
    columns, rows = report_tables.slice_table(summary, shown, slices, with_model=True)
    top = _top(list(groups.values()))
    maps = {names[i]: pictures.mean_uri(groups[i].mean_map, top) for i in listed}
    scores = {(f.method, names[f.class_id]): f for f in findings if f.scope == map_scan.EVERYTHING}
    return {
        "columns": columns, "rows": rows, "methods": shown, "maps": maps, "scores": scores,
        "total": len(groups), "listed": len(listed),
    }  # fmt: skip


def _slices(summary: report_tables.Summary, methods: Sequence[str], reference: str) -> Any:
    slices = [(name, value) for name in summary.slice_names() for value in summary.values_of(name)]
    shown = list(methods) if len(slices) * len(methods) <= MAX_CLASS_ROWS else [reference]
    return report_tables.slice_table(summary, shown, slices[:MAX_CLASSES], with_model=True), shown


def _top(groups: Sequence[map_scan.Group]) -> float:
    """Brightness of mean maps: the 90th percentile of their strongest cells, so that one class does not dim all."""
    peaks = [float(group.mean_map.max()) for group in groups if group.n]
    return float(np.percentile(peaks, 90)) if peaks else 0.0


def _mean_maps(scan: map_scan.Scan, reference: str, names: Sequence[str]) -> dict[str, Any]:
    groups = sorted(scan.groups(reference, "all"), key=lambda g: (-g.n, g.class_id))
    shown = sorted(groups[:MAX_MEAN_MAPS], key=lambda g: g.class_id)
    top = _top(groups)
    listed = [{"name": names[g.class_id], "n": g.n, "map": pictures.mean_uri(g.mean_map, top)} for g in shown]
    return {"listed": listed, "total": len(groups)}


def _curves(
    run: run_directory.RunDirectory, methods: Sequence[str], summary: report_tables.Summary, styles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Plots of what the run has: box accuracy over thresholds, precision over recall, insertion, deletion."""
    lines = [*methods, *(name for name in summary.methods if name.startswith("baseline_"))]
    points = report_tables.curve_points(run.open_table("curves"), lines)
    plotted = []
    for curve, title, x_label in (
        ("box_acc_v2_iou50", "Box accuracy at IoU 0.5, all contours (MaxBoxAccV2)", "threshold"),
        ("box_acc_iou50", "Box accuracy at IoU 0.5, largest contour (MaxBoxAcc)", "threshold"),
        ("insertion", "Insertion: probability while pixels appear", "share of pixels"),
        ("deletion", "Deletion: probability while pixels vanish", "share of pixels"),
    ):
        found = [(m, *points[m, curve]) for m in lines if (m, curve) in points]
        plotted.append((title, x_label, "share of images" if curve.startswith("box") else "probability", found))
    pairs = [m for m in lines if (m, "pixel_precision") in points and (m, "pixel_recall") in points]
    found = [(m, points[m, "pixel_recall"][1], points[m, "pixel_precision"][1]) for m in pairs]
    plotted.insert(2, ("Precision and recall of pixels (PxAP)", "recall", "precision", found))
    result = []
    for title, x_label, y_label, found in plotted:
        series = [plots.Series(_nice(m), np.array(x), np.array(y), styles.get(m, "base")) for m, x, y in found]
        if series:
            text = f"{title}: {', '.join(one.name for one in series)}"
            svg = plots.curves(series, title=text, x_label=x_label, y_label=y_label)
            result.append({"title": title, "svg": svg, "legend": [(one.name, one.style) for one in series]})
    return result


def _distributions(scan: map_scan.Scan, methods: Sequence[str], styles: Mapping[str, str]) -> list[dict[str, Any]]:
    about = {column.name: column.description for column in (*registry.COLUMNS, *registry.SCORE_COLUMNS)}
    result = []
    for name in DISTRIBUTIONS:
        rows = []
        for method in methods:
            counts = scan.histograms.get((method, name))
            if counts is not None and counts.sum():
                quartiles = [plots.quantile(counts, q) for q in (0.25, 0.5, 0.75)]
                title = (
                    f"{_nice(method)}: median {quartiles[1]:.2f}, quartiles {quartiles[0]:.2f} and {quartiles[2]:.2f}"
                )
                svg = plots.histogram(counts, styles[method], title)
                rows.append({"method": method, "svg": svg, "quartiles": quartiles, "n": int(counts.sum())})
        if rows:
            result.append({"name": name, "about": about.get(name, ""), "rows": rows})
    return result


def _audit(
    findings: Sequence[shortcuts.Finding], reference: str, names: Sequence[str], scan: map_scan.Scan
) -> dict[str, Any]:
    """The ranked classes of the reference method, and slices in which a class is suspected though not overall."""
    mine = [f for f in findings if f.method == reference]
    overall = [f for f in mine if f.scope == map_scan.EVERYTHING]
    suspects = {f.class_id for f in overall if f.suspect}
    flagged = collections.Counter(
        f.class_id for f in findings if f.suspect and f.scope == map_scan.EVERYTHING and f.method != reference
    )
    in_slices = collections.defaultdict(list)
    for f in mine:
        if f.suspect and f.scope != map_scan.EVERYTHING:
            in_slices[f.class_id].append(f)
    others = len({f.method for f in findings}) - 1
    ranked = [
        {
            "finding": f, "name": names[f.class_id], "agree": flagged[f.class_id], "others": max(others, 0),
            "slices": [" = ".join(s.scope) for s in in_slices.get(f.class_id, ())],
            "maps": [pictures.mean_uri(m, float(max(f.mean_map.max(), 1e-12))) for m in (f.mean_map, f.others_map, f.excess)]
            if f.suspect else [],
        }
        for f in overall[:MAX_SUSPECTS]
    ]  # fmt: skip
    only_slices = [
        {"finding": f, "name": names[class_id]}
        for class_id, fs in in_slices.items()
        if class_id not in suspects
        for f in fs
    ]
    return {
        "ranked": ranked, "suspects": len(suspects), "judged": len(overall), "only_slices": only_slices,
        "too_small": sum(1 for g in scan.groups(reference, "all") if g.n < shortcuts.MIN_IMAGES),
        "indicators": shortcuts.INDICATORS, "min_images": shortcuts.MIN_IMAGES, "limit": shortcuts.Z_LIMIT,
        "z_fixed": shortcuts.Z_FIXED, "z_other": shortcuts.Z_OTHER,
    }  # fmt: skip


def _pictures(
    manifest: Mapping[str, Any],
    table: ds.Dataset,
    chosen: galleries.Galleries,
    findings: Sequence[shortcuts.Finding],
    queue: Any,
    reference: str,
    target: str,
) -> dict[str, Any]:
    """The images of every section, each shard read once."""
    suspects = [f for f in findings if f.suspect and f.method == reference and f.scope == map_scan.EVERYTHING]
    places = {f.class_id: f.excess for f in suspects[:MAX_SHOWN_SUSPECTS]}
    of_suspects = galleries.strongest_at(table, reference, target, places, SUSPECT_IMAGES)
    doubtful = queue.slice(0, MAX_LABEL_SUSPECTS).to_pylist()
    lists = [chosen.best, chosen.median, chosen.worst, chosen.wrong_place]
    single = {name for one in lists for name, _ in one} | {name for ids in of_suspects.values() for name in ids}
    single |= {row["image_id"] for row in doubtful}
    rows = {(r["image_id"], r["method"], r["class_id"]): r for r in galleries.fetch(table, single, reference)}
    compared = {name for step in chosen.spread for name, _ in step}
    every = {(r["image_id"], r["method"], r["class_id"]): r for r in galleries.fetch(table, compared)}
    spread = [_most_methods(step, every) for step in chosen.spread]
    grid = [[every[key] for key in every if key[0] == name and key[2] == class_id] for name, class_id in spread]
    album = pictures.Album(manifest, [*rows.values(), *(row for line in grid for row in line)])

    def shown(keys: Sequence[tuple[str, int]]) -> list[pictures.Picture]:
        return [album.picture(rows[name, reference, i]) for name, i in keys if (name, reference, i) in rows]

    return {
        "galleries": dict(zip(("best", "median", "worst", "wrong_place"), map(shown, lists), strict=True)),
        "suspects": {i: shown([(name, i) for name in ids]) for i, ids in of_suspects.items()},
        "labels": [
            {"row": row, "pair": shown([(row["image_id"], row["label_id"]), (row["image_id"], row["predicted_id"])])}
            for row in doubtful
        ],
        "grid": [{row["method"]: album.picture(row) for row in line} for line in grid if line],
        "wanted": album.wanted,
        "found": album.found,
    }


def _most_methods(step: galleries.Chosen, rows: Mapping[tuple[str, str, int], Any]) -> tuple[str, int]:
    """Of a few images the one that most methods explained."""
    explained = collections.Counter((name, class_id) for name, _, class_id in rows)
    return max(step, key=lambda key: (explained[key], -step.index(key)))


def _health(scan: map_scan.Scan) -> list[dict[str, Any]]:
    return [
        {"method": method, "maps": total, "flags": dict(scan.health.get(method, {}))}
        for method, total in sorted(scan.maps.items())
    ]


def _dead_letters(run: run_directory.RunDirectory) -> dict[str, Any]:
    """Causes by falling count, each with an example, and the first few letters."""
    rows = run.open_table("dead_letters").to_table().to_pylist()
    causes: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["shard"], r["record_index"])):
        causes[row["stage"], row["error_type"]].append(row)
    listed = sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
    return {"total": len(rows), "causes": [(*cause, len(found), found[:MAX_DEAD_LETTERS]) for cause, found in listed]}


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Sections of the manifest as indented JSON; long lists of names are counted."""
    model = dict(manifest.get("model", {}))
    if len(model.get("class_names", ())) > 20:
        model["class_names"] = f"{len(model['class_names'])} names"
    sections = {"Model": model, "Conventions": manifest.get("conventions", {}), "Configuration": manifest.get("config", {}),
                "Versions": {"heatbeam": manifest.get("heatbeam"), **manifest.get("versions", {})},
                "Counts": manifest.get("counts", {}), "Timings": manifest.get("timings", {}),
                "Runner metrics": manifest.get("metrics", {}), "Beam options": manifest.get("beam_options", []),
                "Tables": {k: {"rows": t["rows"], "bytes": t["bytes"]} for k, t in manifest.get("tables", {}).items()}}  # fmt: skip
    return [
        (title, json.dumps(content, indent=2, ensure_ascii=False)) for title, content in sections.items() if content
    ]


def _notes(context: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What stands out, as ``(level, sentence, section)``; levels are ``alert``, ``note`` and ``good``."""
    notes = []
    audit = context["audit"]
    suspects = [one for one in audit["ranked"] if one["finding"].suspect]
    for one in suspects:
        notes.append(("alert", f"Class {one['name']} looks like a shortcut: {one['finding'].reasons()[0]}.", "audit"))
    if audit["judged"] and not suspects:
        notes.append(("good", f"None of {count(audit['judged'])} classes looks like a shortcut.", "audit"))
    columns, rows = context["method_table"]
    for i, one in enumerate(columns):
        below = [row.name for row in rows if row.cells[i].below_baseline]
        if below and one.name in ("energy_pointing_game", "max_box_acc_v2", "pxap"):
            notes.append(("alert", f"{one.title}: {', '.join(below)} not better than the best baseline.", "methods"))
    sick = {row["method"]: sum(row["flags"].values()) / max(row["maps"], 1) for row in context["health"]}
    for method, ratio in sick.items():
        if ratio >= 0.01:
            notes.append(("alert", f"{method}: {share(ratio)} of the maps have a health flag.", "health"))
    if sick and not any(sick.values()):
        notes.append(("good", "Every map is healthy.", "health"))
    chosen = context["galleries"]
    if chosen.wrong_place_n:
        text = f"{count(chosen.wrong_place_n)} of {count(chosen.right_n)} correctly classified images are looked at in the wrong place."
        notes.append(("note", text, "galleries"))
    if context["queue"].num_rows:
        notes.append(("note", f"{count(context['queue'].num_rows)} labels may be wrong.", "labels"))
    if context["dead"]["total"]:
        notes.append(("alert", f"{count(context['dead']['total'])} records were lost.", "dead"))
    return notes


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash if there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A fraction in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}"


def _interval(found: report_tables.Number) -> str:
    return f"{share(found.lower)} to {share(found.upper)}" if found.has_interval else "no interval"


def _nice(method: str) -> str:
    return f"{method.removeprefix('baseline_')} (baseline)" if method.startswith("baseline_") else method
