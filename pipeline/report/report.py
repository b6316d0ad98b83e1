"""``heatbeam report RUN``: one HTML file about a run, with pictures, and the queue of doubtful labels.

The file needs nothing else: images, styles and scripts are inside, and it may not load anything. Tables are streamed,
so memory and size of the file follow the number of classes and methods, not of images; what is only sampled says so.
Images are shown where the source shards of the run can still be read; the report stands without them.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import answers, decided, label_suspects, map_clusters, map_health, map_scan, shortcuts
from heatbeam.pages import map_images, page_templates
from heatbeam.pages.signals import flat
from heatbeam.report import galleries, pictures, report_curves, report_findings, report_sections, report_tables
from heatbeam.runs import manifests, moved_images, reviews, run_directory, run_methods
from heatbeam.transforms import errors
from heatbeam.transforms.errors import harmless
from heatbeam.transforms.metrics import map_statistics, slicing
from heatbeam.transforms.metrics.localization import baselines
from heatbeam.transforms.tables import schemas

REPORT = decided.REPORT

GALLERY_SIZE = 8
SPREAD_STEPS = 4
MAX_SHOWN_SUSPECTS = 4
SUSPECT_IMAGES = 6
MAX_LABEL_SUSPECTS = 12
MAX_MARKS = 60
MAX_LED_CLASSES, MAX_LED_SLICES = 24, 16
"""Rows of the tables of classes and slices that lead to images of their own."""

SECTIONS = (
    ("findings", "Findings"), ("methods", "Methods"), ("audit", "Shortcut audit"), ("classes", "Classes"),
    ("slices", "Slices"), ("curves", "Curves"), ("distributions", "Distributions"), ("galleries", "Images"),
    ("labels", "Label suspects"), ("marks", "Marks"), ("health", "Map health"), ("dead", "Dead letters"),
    ("provenance", "Provenance"),
)  # fmt: skip

_STYLES = 8


def write_report(
    run_path: str, *, reference: str | None = None, clusters: Sequence[str] = (), images: str | None = None
) -> str:
    """Write ``report.html`` and ``label_suspects.parquet`` into a run; the path of the report.

    Args:
        run_path: a finished run.
        reference: method whose images, slices and labels are looked at; by default the first of the configuration.
        clusters: names of classes whose maps are to be clustered; suspects of the shortcut audit always are.
        images: where the images are now, if they were moved; see `moved_images.located`.

    Raises:
        run_directory.RunDirectoryError: if the run is not finished or damaged.
        errors.UsageError: if it has no method called `reference`, or no class of a name in `clusters`.
    """
    run = run_directory.RunDirectory(run_path)
    context = _context(run, reference, clusters, images)
    run.write_file(label_suspects.FILE, label_suspects.parquet(context["queue"], context["manifest"].run_id))
    environment = page_templates.environment()
    environment.filters["zip"] = zip
    page = environment.get_template("report.html").render(context)
    return run.write_file(REPORT, harmless.lines(page).encode())


def _context(
    run: run_directory.RunDirectory, reference: str | None, clusters: Sequence[str], images: str | None
) -> dict[str, Any]:
    """Everything the page shows."""
    manifest = run.read_manifest()
    table = run.open_table("explanations")
    summary = report_tables.Summary(run.open_table("summary"))
    methods, controls = _methods(manifest, summary)
    reference = _reference(methods, controls, reference)
    target = manifest.primary_target
    scan, collectors = _scan(table, target, reference, methods)
    queues = {method: collector.result() for method, collector in collectors.items()}
    queue = queues[reference]
    names = _class_names(manifest, table)
    twins = report_findings.coinciding(scan, [reference, *(m for m in methods if m not in {reference, *controls})])
    methods = [m for m in methods if m not in {other for others in twins.values() for other in others}]
    findings = shortcuts.audit([g for g in scan.groups() if g.method in methods and g.method not in controls])
    # An id of several records does not say which image is meant.
    one_record = pc.invert(pc.is_in(scan.scores["image_id"], value_set=pa.array(scan.ambiguous, pa.string())))
    scores = scan.scores.filter(one_record)
    named = manifest.model.probability != "value"
    chosen = galleries.choose(scores, GALLERY_SIZE, SPREAD_STEPS, named=named)
    class_table = report_sections.class_table(summary, methods, reference, names, scan, findings)
    slice_table = report_sections.slices(summary, methods, reference)
    led = galleries.of_rows(scores, chosen.measure, _led(class_table["rows"], slice_table[0][1], reference), names)
    groups = report_findings.clusters(table, findings, names, clusters, reference, target)
    located = moved_images.located(manifest, images)
    marked, unread_marks = reviews.readable(run.path)
    shown = _pictures(located, table, chosen, led, findings, queue, groups, reference, target, scan.ambiguous)
    styles = {name: f"s{i % _STYLES}" for i, name in enumerate(methods)}
    context = {
        "run": run.path,
        "title": run.path.rstrip("/").rsplit("/", 1)[-1] or run.path,
        "source": manifest.config.input.as_source().place,
        "manifest": manifest,
        "reference": reference,
        "target": target,
        "methods": methods,
        "styles": styles,
        "names": names,
        "cards": report_sections.cards(manifest.counts, summary, reference, chosen),
        "method_table": report_tables.method_table(summary, methods, controls),
        "class_table": class_table,
        "slice_table": slice_table,
        "led": {key: f"images-{number}" for number, key in enumerate(led)},
        "twins": twins,
        "named": any(name != f"class_{i}" for i, name in enumerate(names)),
        "curves": report_curves.figures(run, methods, summary, styles),
        "distributions": report_sections.distributions(scan, methods, styles),
        "mean_maps": report_sections.mean_maps(scan, reference, names),
        "audit": report_findings.audit(findings, reference, names, scan),
        **decided.context(run, manifest.run_id),
        "clusters": groups,
        "cluster_maps": {
            i: [pictures.mean_uri(one.mean_map, float(one.mean_map.max())) for one in found]
            for i, found in groups.items()
        },
        "health": report_findings.health(scan, collectors, run_methods.by_label(manifest)),
        "flags": map_statistics.HEALTH_FLAGS,
        "class_independent": map_health.FLAGS[map_health.CLASS_INDEPENDENT],
        "ambiguous": scan.ambiguous,
        "collector": collectors[reference],
        "answers": _about_answers(manifest, table, names),
        "queue": queue,
        "queue_limits": (label_suspects.MIN_PROBABILITY, label_suspects.MAX_OVERLAP),
        "marks": marked.sort_by([("marked_at", "descending")]).to_pylist(),
        "unread_marks": unread_marks,
        "marks_shown": MAX_MARKS,
        "galleries": chosen,
        "measure": galleries.MEASURES.get(chosen.measure, ""),
        "pictures": shown,
        "signals": shown["signals"],
        "photos": shown["photos"],
        "flat_words": flat.WORDS.get(shown["signals"], ""),
        "dead": report_sections.dead_letters(run, manifest.counts),
        "provenance": report_sections.provenance(manifest),
        "gallery_size": GALLERY_SIZE,
        "scale": ["#" + bytes(colour).hex() for colour in map_images.colours(9)],
        "limit_text": f"{shortcuts.Z_LIMIT:g}",
    }
    empty = {"slices": not context["slice_table"][0][1], "curves": not context["curves"]}
    empty |= {"distributions": not context["distributions"], "marks": not context["marks"]}
    context["section_titles"] = dict(SECTIONS)
    context["sections"] = [(key, title) for key, title in SECTIONS if not empty.get(key)]
    context["notes"] = report_findings.notes(context)
    return context


def _led(
    classes: Sequence[report_tables.Row], slices: Sequence[report_tables.Row], reference: str
) -> list[tuple[str, str]]:
    """The rows of classes and slices that lead to their images."""
    by_size = sorted((row for row in classes if row.method == reference), key=lambda row: -row.n)[:MAX_LED_CLASSES]
    kept = {row.key for row in by_size}
    return [
        *(row.key for row in classes if row.method == reference and row.key in kept),
        *[row.key for row in slices if row.method == reference][:MAX_LED_SLICES],
    ]


def _about_answers(manifest: manifests.Finished, table: ds.Dataset, names: Sequence[str]) -> list[str]:
    """What is wrong with the model's answers."""
    model = manifest.model
    if model.pixels is not None:  # the largest area is no guess at one label
        return []
    if model.probability == "value":
        return answers.value_findings(table)
    return answers.findings(answers.of_run(table, model.classes), names)


def _methods(manifest: manifests.Finished, summary: report_tables.Summary) -> tuple[list[str], frozenset[str]]:
    """The methods of the run in the order of the configuration, and which of them are `run_methods.CONTROLS`."""
    configured = list(run_methods.by_label(manifest))
    known = [m for m in summary.methods if m != slicing.MODEL and m not in baselines.BASELINES]
    ordered = [m for m in configured if m in known] + sorted(set(known) - set(configured))
    return ordered, run_methods.controls(manifest)


def _reference(methods: Sequence[str], controls: Collection[str], wanted: str | None) -> str:
    if wanted is not None and wanted not in methods:
        raise errors.UsageError(f"the run has no method {wanted!r}; it has {', '.join(methods) or 'none'}")
    usual = [*(m for m in methods if m not in controls), *methods]
    return wanted if wanted is not None else (usual[0] if usual else "")


def _scan(
    table: ds.Dataset, target: str, reference: str, methods: Sequence[str]
) -> tuple[map_scan.Scan, dict[str, label_suspects.Collector]]:
    """One pass over the explanations; a collector per method."""
    score_columns = [*galleries.SCORE_COLUMNS, *schemas.column_names(table.schema, "slice")]
    scanner = map_scan.Scanner(table.schema, target, reference, score_columns, list(report_sections.DISTRIBUTIONS))
    collectors = {method: label_suspects.Collector(method) for method in methods or [reference]}
    columns = list(dict.fromkeys([*scanner.columns, *label_suspects.Collector.columns]))
    for batch in map_scan.batches(table, columns):
        scanner.add(batch)
        for collector in collectors.values():
            collector.add(batch)
    return scanner.result(), collectors


def _class_names(manifest: manifests.Manifest, table: ds.Dataset) -> list[str]:
    """Names as the summary has them, by class id."""
    names = list(manifest.class_names)
    if not names:
        rows = table.to_table(columns=["class_id", "class_name"]).group_by(["class_id", "class_name"]).aggregate([])
        found = dict(zip(rows["class_id"].to_pylist(), rows["class_name"].to_pylist(), strict=True))
        names = [found.get(i, f"class_{i}") for i in range(max(found, default=-1) + 1)]
    return list(slicing.distinct_names(names))


def _pictures(  # noqa: PLR0913, PLR0917 - what each section chose of the images
    manifest: manifests.Manifest,
    table: ds.Dataset,
    chosen: galleries.Galleries,
    led: Mapping[tuple[str, str], galleries.Chosen],
    findings: Sequence[shortcuts.Finding],
    queue: Any,
    groups: Mapping[int, Sequence[map_clusters.Cluster]],
    reference: str,
    target: str,
    ambiguous: Collection[str],
) -> dict[str, Any]:
    """The images of every section, each shard read once; those of `ambiguous` ids are left out."""
    suspects = [f for f in findings if f.suspect and f.method == reference and f.scope == slicing.EVERYTHING]
    places = {f.class_id: f.excess for f in suspects[:MAX_SHOWN_SUSPECTS]}
    of_suspects = galleries.strongest_at(table, reference, target, places, SUSPECT_IMAGES)
    doubtful = queue.slice(0, MAX_LABEL_SUSPECTS).to_pylist()
    lists = [chosen.best, chosen.median, chosen.worst, chosen.wrong_place]
    single = {name for one in [*lists, *led.values()] for name, _ in one}
    single |= {name for ids in of_suspects.values() for name in ids}
    single |= {row["image_id"] for row in doubtful}
    single |= {name for found in groups.values() for one in found for name in one.image_ids}
    single -= set(ambiguous)
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
        "led": {key: shown(keys) for key, keys in led.items()},
        "suspects": {i: shown([(name, i) for name in ids]) for i, ids in of_suspects.items()},
        "clusters": {i: [shown([(n, i) for n in one.image_ids]) for one in found] for i, found in groups.items()},
        "labels": [
            {"row": row, "pair": shown([(row["image_id"], row["label_id"]), (row["image_id"], row["predicted_id"])])}
            for row in doubtful
        ],
        "grid": [{row["method"]: album.picture(row) for row in line} for line in grid if line],
        "problems": album.problems,
        "photos": album.photos.markup(),
        "wanted": album.wanted,
        "found": album.found,
        "signals": album.kind,
    }


def _most_methods(step: galleries.Chosen, rows: Mapping[tuple[str, str, int], Any]) -> tuple[str, int]:
    """Of a few images the one that most methods explained."""
    explained = collections.Counter((name, class_id) for name, _, class_id in rows)
    return max(step, key=lambda key: (explained[key], -step.index(key)))
