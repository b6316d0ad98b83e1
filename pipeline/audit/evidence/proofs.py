"""The table of what interventions showed, ``RUN/proofs``: its columns, the verdicts, and how it is read again.

Verdicts, over all suspects of a run that were tried:

============= ========================================================================================================
``proved``     the region raises the class probability of images of other classes: p, one-sided and corrected by Holm
               over the suspects, is at most `LEVEL`, and the effect at least `COUNTS`
``refuted``    the 95 % interval of the effect ends below `COUNTS`, or no image has evidence where it may be moved from,
               or, without boxes, its images have neither a place nor a look in common
``undecided``  neither; ``images_to_decide`` says how many images would settle it
============= ========================================================================================================

Both ends of a 95 % interval are one-sided tests at 2.5 %, and correction makes p no smaller: so the interval of what is
proved lies above 0, as that of what is refuted lies below `COUNTS`.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.runs import run_directory
from heatbeam.transforms.metrics import effects
from heatbeam.transforms.metrics.alarms import corrections
from heatbeam.transforms.tables import schemas

FILE = run_directory.PROOFS

LEVEL = 0.025
"""Of the corrected, one-sided p-value: that of one end of a 95 % interval."""

COUNTS = 0.1
"""Effect on a class probability that counts."""

LOOKS = 3
"""How often the growing sample of a transplant is looked at (`audit.proving.trial`)."""

PROVED, REFUTED, UNDECIDED = "proved", "refuted", "undecided"


def _column(name: str, arrow_type: pa.DataType, description: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, arrow_type, nullable=nullable, metadata={"description": description})


def _list(value_type: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("element", value_type, nullable=False))


_EFFECTS = {
    "transplant": "of images of other classes that take the region, against an equal region of the same image and, "
    "without boxes, against the regions of usual images of the class",
    "decision": "on how often those are taken for the class",
    "removal": "of the carriers whose region is filled in, against an equal region elsewhere in them",
}


def _effect_fields() -> list[pa.Field]:
    fields = []
    for name, text in _EFFECTS.items():
        fields += [
            _column(f"{name}_effect", pa.float64(), f"mean effect on the class probability {text}", nullable=True),
            _column(f"{name}_n", pa.int32(), "images it is a mean of"),
            _column(
                f"{name}_lower",
                pa.float64(),
                "lower end of its 95 % interval over all looks (t)",
                nullable=True,
            ),
            _column(f"{name}_upper", pa.float64(), "upper end", nullable=True),
            _column(f"{name}_p", pa.float64(), "one-sided p-value of no effect, over all looks", nullable=True),
        ]
    return fields


SCHEMA = pa.schema([
    _column("class_id", pa.int32(), "the class whose shortcut is suspected"),
    _column("class_name", pa.string(), "its name"),
    _column("source", pa.string(), "off_object, component, other_kind or fixed_place: what raised the suspicion"),
    _column("component", pa.int32(), "number of the component of the class's evidence; -1 without one"),
    _column("suspicion", pa.float64(), "suspects were tried in falling order of it"),
    _column("reason", pa.string(), "the suspicion in words"),
    _column("verdict", pa.string(), "proved, refuted or undecided"),
    _column("p_corrected", pa.float64(), "p of the transplant after Holm over all suspects tried", nullable=True),
    _column("images_to_decide", pa.int32(), "images that would decide; 0 where it is decided or nothing is known"),
    *_effect_fields(),
    _column("against_controls", pa.bool_(), "whether the transplant was measured against controls on fresh images; if "
            "not, no image carried the effect and it is the mean rise of those that were looked at"),
    _column("on_object_known", pa.bool_(), "whether boxes say that the region is off the object"),
    _column("area", pa.float64(), "mean share of the image that the region takes"),
    _column("tried", _list(pa.string()), "ids of the images whose regions were looked at"),
    _column("carriers", _list(pa.string()), "ids of those whose region raises the class probability elsewhere"),
    _column("passes", pa.int32(), "images that the model was asked about"),
    _column("unread", pa.int32(), "images of it and of other classes that were left out: they could not be read as the "
            "run read them"),
    _column("pictures", _list(pa.binary()), "PNG: an image with its region marked, without it, another image before "
            "and after it took the region; empty where they cannot be drawn"),
])  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Tried:
    """A suspect that was tried.

    Attributes:
        facts: the columns of `SCHEMA` that are known before all are tried.
        transplant, decision, removal: the effects.
    """

    facts: Mapping[str, Any]
    transplant: effects.Effect
    decision: effects.Effect
    removal: effects.Effect


def table(tried: Sequence[Tried], skipped: int = 0) -> pa.Table:
    """Verdicts over all suspects; proved ones first, then by falling effect.

    Args:
        tried: the suspects.
        skipped: those that were not tried because another of their class was proved first: they count as if they had
            shown nothing, so that stopping early makes no proof easier.
    """
    controlled = [place for place, one in enumerate(tried) if one.facts["against_controls"]]
    adjusted = corrections.holm([*(tried[place].transplant.p_value for place in controlled), *[1.0] * skipped])
    corrected = np.full(len(tried), np.nan)
    corrected[controlled] = adjusted[: len(controlled)]
    rows = []
    count = len(adjusted)
    for one, p in zip(tried, corrected.tolist(), strict=True):
        verdict = verdict_of(one.transplant, p)
        needed = 0
        if verdict == UNDECIDED:
            looks = LOOKS if one.facts["against_controls"] else 1
            needed = effects.images_to_decide(one.transplant, level=LEVEL / max(count, 1), limit=COUNTS, looks=looks)
        row = {**one.facts, "verdict": verdict, "p_corrected": p, "images_to_decide": needed}
        for name in _EFFECTS:
            effect: effects.Effect = getattr(one, name)
            row |= {f"{name}_effect": effect.value, f"{name}_n": effect.n, f"{name}_lower": effect.lower,
                    f"{name}_upper": effect.upper, f"{name}_p": effect.p_value}  # fmt: skip
        rows.append(row)
    order = (PROVED, UNDECIDED, REFUTED)
    rows.sort(key=lambda r: (order.index(r["verdict"]), -_number(r["transplant_effect"]), r["class_id"], r["source"]))
    return schemas.table_from_rows(SCHEMA, rows)


def _number(value: float) -> float:
    return value if math.isfinite(value) else -1.0


def verdict_of(effect: effects.Effect, corrected: float) -> str:
    """The verdict of an effect whose p-value, corrected, is `corrected`; NaN where there were no controls."""
    if corrected <= LEVEL and effect.value >= COUNTS:
        return PROVED
    return REFUTED if not effect.n or effect.upper < COUNTS else UNDECIDED


def parquet(found: pa.Table, run_id: str | None) -> bytes:
    """The table as a file; `run_id` stands in every row."""
    sink = io.BytesIO()
    pq.write_table(schemas.stamped(found, run_id), sink, compression="zstd")
    return sink.getvalue()


def read(run: run_directory.RunDirectory, run_id: str | None) -> pa.Table | None:
    """What interventions showed of this run; None where it was not tried, or another run lay there when it was."""
    content = run.read_file(FILE)
    if content is None:
        return None
    found = pq.read_table(io.BytesIO(content))
    return found if set(found["run_id"].to_pylist()) <= {run_id} else None
