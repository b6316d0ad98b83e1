"""What a page or a terminal says of the proofs of a run: in words, with the pictures of each as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from heatbeam.audit.evidence import proofs
from heatbeam.runs import run_directory

MOST_SHOWN = 12
PICTURES = (
    "an image, the region of its evidence outlined",
    "the region filled from its neighbourhood",
    "an image of another class",
    "with the region",
)


def section(run: run_directory.RunDirectory, run_id: str | None) -> dict[str, Any] | None:
    """What the template ``proofs.html`` takes; None where the run was not tried."""
    table = proofs.read(run, run_id)
    if table is None:
        return None
    rows = table.to_pylist()
    shown = [row for row in rows if row["verdict"] != proofs.REFUTED][:MOST_SHOWN]
    return {
        "summary": summary(rows) + ".",
        "shown": [
            {
                "name": row["class_name"],
                "verdict": verdict(row),
                "lines": [f"suspected: {row['reason']}", *effects_of(row)],
                "pictures": [
                    ("data:image/png;base64," + base64.b64encode(png).decode(), text)
                    for png, text in zip(row["pictures"], PICTURES, strict=False)
                ],
            }
            for row in shown
        ],
        "level": proofs.LEVEL,
        "counts": proofs.COUNTS,
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """How many suspects have which verdict: ``2 proved, 1 undecided, 4 refuted``."""
    names = (proofs.PROVED, proofs.UNDECIDED, proofs.REFUTED)
    return ", ".join(f"{sum(row['verdict'] == name for row in rows):,} {name}" for name in names)


def verdict(row: Mapping[str, Any]) -> str:
    """The verdict of a suspect, with what it rests on."""
    said: str = row["verdict"]
    if row["images_to_decide"]:
        said += f" ({row['images_to_decide']:,} images would decide)"
    if not row["on_object_known"]:
        said += "; without boxes it may be the object: look at it"
    return said


def effects_of(row: Mapping[str, Any]) -> list[str]:
    """What the interventions showed, a line each, and what they could not be tried on."""
    lines = _measured(row)
    if unread := row.get("unread"):  # older runs do not say
        what, left = ("image", "is") if unread == 1 else ("images", "are")
        lines.append(f"{unread:,} {what} could not be read and {left} left out")
    return lines


def _measured(row: Mapping[str, Any]) -> list[str]:
    if not row["against_controls"]:
        if not row["passes"]:
            return ["its images have neither a place nor a look in common, so it is taken for the object"]
        if not row["transplant_n"]:
            return ["no region of evidence off the object was found in its images"]
        return [f"its region changes the class probability of images of other classes by {_effect(row, 'transplant')}"]
    beyond = ", beyond what the regions of usual images of the class do" if row["source"] == "other_kind" else ""
    return [
        f"in images of other classes its region moves the class probability by {_effect(row, 'transplant')}{beyond}",
        f"of them, the share taken for the class changes by {_effect(row, 'decision')}",
        f"where it is removed from its own images, the class probability falls by {_effect(row, 'removal')}",
    ]


def _effect(row: Mapping[str, Any], name: str) -> str:
    value, lower, upper = (row[f"{name}_{end}"] for end in ("effect", "lower", "upper"))
    if value is None:
        return "an amount that could not be measured"
    interval = "" if lower is None else f" ({lower:+.2f} to {upper:+.2f})"
    return f"{value:+.2f}{interval}, {row[f'{name}_n']} images"
