"""What the report finds wrong with a run: suspects of a shortcut, sick maps, and the list of what stands out."""

from __future__ import annotations

import collections
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as ds

from heatbeam.audit import label_suspects, map_clusters, map_health, map_scan, shortcuts
from heatbeam.pages import report_text
from heatbeam.report import pictures
from heatbeam.runs import run_methods
from heatbeam.transforms import errors
from heatbeam.transforms.metrics import registry, slicing

MAX_RANKED = 12
MAX_CLUSTERED = 4
CLUSTER_IMAGES = 3
_HEADLINES = frozenset(one.shown_name for one in registry.shown("findings"))


def audit(
    findings: Sequence[shortcuts.Finding], reference: str, names: Sequence[str], scan: map_scan.Scan
) -> dict[str, Any]:
    """The ranked classes of the reference method, and slices in which a class is suspected though not overall."""
    mine = [f for f in findings if f.method == reference]
    overall = [f for f in mine if f.scope == slicing.EVERYTHING]
    suspects = {f.class_id for f in overall if f.suspect}
    flagged = collections.Counter(
        f.class_id for f in findings if f.suspect and f.scope == slicing.EVERYTHING and f.method != reference
    )
    in_slices = collections.defaultdict(list)
    for f in mine:
        if f.suspect and f.scope != slicing.EVERYTHING:
            in_slices[f.class_id].append(f)
    others = len({f.method for f in findings}) - 1
    ranked = [
        {
            "finding": f,
            "name": names[f.class_id],
            "agree": flagged[f.class_id],
            "others": max(others, 0),
            "slices": sorted(" = ".join(s.scope) for s in in_slices.get(f.class_id, ())),
            "maps": _finding_maps(f) if f.suspect else [],
        }
        for f in overall[:MAX_RANKED]
    ]
    only_slices = [
        {"finding": f, "name": names[class_id]}
        for class_id, fs in in_slices.items()
        if class_id not in suspects
        for f in fs
    ]
    return {
        "ranked": ranked, "suspects": len(suspects), "judged": len(overall), "only_slices": only_slices,
        "too_small": sum(1 for g in scan.groups(reference, slicing.ALL) if g.n < shortcuts.MIN_IMAGES),
        "indicators": shortcuts.INDICATORS, "min_images": shortcuts.MIN_IMAGES, "limit": shortcuts.Z_LIMIT,
        "z_fixed": shortcuts.Z_FIXED, "z_other": shortcuts.Z_OTHER,
    }  # fmt: skip


def _finding_maps(finding: shortcuts.Finding) -> list[str]:
    """Mean map, the others' mean map and the energy of its own, on one scale."""
    top = max(float(finding.mean_map.max()), 1e-12)
    return [pictures.mean_uri(one, top) for one in (finding.mean_map, finding.others_map, finding.excess)]


def clusters(
    table: ds.Dataset,
    findings: Sequence[shortcuts.Finding],
    names: Sequence[str],
    wanted: Sequence[str],
    reference: str,
    target: str,
) -> dict[int, list[map_clusters.Cluster]]:
    """Clusters of the maps of suspects and of the classes named in `wanted`, per class id.

    Raises:
        errors.UsageError: if a class is not there.
    """
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        near = [one for name in unknown for one in difflib.get_close_matches(name, names, 1)]
        hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(names[:12])}"
        more = f" and {len(names) - 12} more" if len(names) > 12 and not near else ""
        raise errors.UsageError(f"the run has no class {', '.join(map(repr, unknown))}; {hint}{more}")
    suspects = [f.class_id for f in findings if f.suspect and f.method == reference and f.scope == slicing.EVERYTHING]
    chosen = dict.fromkeys([*suspects[:MAX_CLUSTERED], *(names.index(name) for name in wanted)])
    found = {i: map_clusters.cluster_class(table, reference, target, i, CLUSTER_IMAGES) for i in chosen}
    return {i: groups for i, groups in found.items() if groups}


def coinciding(scan: map_scan.Scan, methods: Sequence[str]) -> dict[str, list[str]]:
    """Methods whose maps are the same: the first of them, and the others.

    They are the same where both halves of the images of every class have the same mean energy, to a thousandth of its
    greatest cell.
    """
    maps = {method: {group.class_id: group for group in scan.groups(method, slicing.ALL)} for method in methods}
    found: dict[str, list[str]] = {}
    for method in methods:
        first = next((one for one in found if _same_maps(maps[one], maps[method])), None)
        found.setdefault(first or method, []).extend([method] if first else [])
    return {first: others for first, others in found.items() if others}


def _same_maps(one: Mapping[int, map_scan.Group], other: Mapping[int, map_scan.Group]) -> bool:
    return (
        bool(one)
        and one.keys() == other.keys()
        and all(
            group.half_n == other[i].half_n
            and group.halves.shape == other[i].halves.shape
            and np.allclose(group.halves, other[i].halves, rtol=0, atol=1e-3 * group.halves.max())
            for i, group in one.items()
        )
    )


def health(
    scan: map_scan.Scan, collectors: Mapping[str, label_suspects.Collector], by_label: Mapping[str, str]
) -> list[map_health.MethodHealth]:
    """What is wrong with the maps of each method; images of two classes are those with a wrong first choice.

    Args:
        scan: of the run.
        collectors: per method.
        by_label: the method behind each label.
    """
    rows = []
    for label, found in sorted(scan.health.items()):
        collector = collectors.get(label)
        pairs, same = (collector.mistaken, collector.same_maps) if collector else (0, 0)
        free = by_label.get(label) in run_methods.CLASS_FREE
        rows.append(dataclasses.replace(found, pairs=pairs, same=same, class_free=free))
    return rows


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def notes(context: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What stands out, as ``(level, sentence, section)``; ``alert``, ``note`` and ``good`` in this order."""
    notes = [("alert", f"{_capital(text)}.", "methods") for text in context["answers"]]
    if context["names"] and not context["named"]:
        numbered = f"The classes have no names, only numbers such as {context['names'][-1]}"
        asked = "give model.class_names a list, or a file with a name on each line."
        notes.append(("note", f"{numbered}: {asked}", "classes"))
    notes += _about_shortcuts(context["audit"])
    notes += _about_methods(context)
    if context["health"] and not any(one.sick for one in context["health"]):
        notes.append(("good", "No map is blank, constant, saturated or otherwise sick.", "health"))
    chosen = context["galleries"]
    if chosen.wrong_place_n:
        of = f"{report_text.count(chosen.wrong_place_n)} of {report_text.count(chosen.right_n)}"
        text = f"{of} images with the right first choice have their strongest evidence off the object."
        notes.append(("note", text, "galleries"))
    if context["queue"].num_rows:
        doubtful = context["queue"].num_rows
        notes.append(("note", f"{report_text.count(doubtful)} label{'s' * (doubtful > 1)} may be wrong.", "labels"))
    if context["marks"]:
        marks = len(context["marks"])
        made = f"{report_text.count(marks)} mark{'s' * (marks > 1)} of a review {'are' if marks > 1 else 'is'} kept."
        notes.append(("note", made, "marks"))
    if context["unread_marks"]:
        notes.append(("alert", f"The marks of a review are not shown: {context['unread_marks']}.", ""))
    if context["ambiguous"]:
        notes.append(("alert", _about_ambiguous(context["ambiguous"]), "galleries"))
    if context["dead"]["total"]:
        notes.append(("alert", f"Dead letters: {report_text.count(context['dead']['total'])}.", "dead"))
    return sorted(notes, key=lambda one: ("alert", "note", "good").index(one[0]))


def _about_methods(context: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Methods that are no better than a map that knows nothing, that are one, and whose maps are sick."""
    notes = []
    columns, rows = context["method_table"]
    for i, one in enumerate(columns):
        below = [row.name for row in rows if row.cells[i].below_baseline]
        if below and one.name in _HEADLINES:
            notes.append(("alert", f"{one.title}: {', '.join(below)} not better than the best baseline.", "methods"))
    for first, others in context["twins"].items():
        same = f"The maps of {' and '.join([first, *others])} are the same in this run"
        notes.append(
            ("note", f"{same}: {first} stands for {'both' if len(others) == 1 else 'all of them'}.", "methods")
        )
    own = {row.method for row in rows if not row.baseline}
    for found in context["health"]:
        notes += [("alert", f"{_capital(text)}.", "health") for _, text in found.alerts() if found.method in own]
    return notes


def _about_shortcuts(audit: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    suspects = [one for one in audit["ranked"] if one["finding"].suspect]
    if audit["judged"] and not suspects:
        return [("good", f"None of {report_text.count(audit['judged'])} classes looks like a shortcut.", "audit")]
    return [
        ("alert", f"Class {one['name']} looks like a shortcut: {one['finding'].reasons()[0]}.", "audit")
        for one in suspects
    ]


def _about_ambiguous(image_ids: Sequence[str]) -> str:
    count = report_text.count(len(image_ids))
    return (
        f"{count} image id{'s stand' if len(image_ids) > 1 else ' stands'} for several records "
        f"(such as {image_ids[0]}). The numbers count every record; pictures and comparisons leave these images out."
    )
