"""What was found of the reasons, in words and as plain values."""

from __future__ import annotations

import math
from typing import Any, TextIO

from heatbeam.compare.drift import moved

_LISTED = 5


def in_short(drift: moved.Drift) -> tuple[str, str]:
    """Level (``alert``, ``good`` or ``note``) and a sentence of what is decided."""
    if drift.why_not:
        return "note", f"Whether the model's reasons moved was not tested: {drift.why_not}."
    if not drift.moved:
        return "good", f"No sign that the model's reasons moved (p = {drift.p_value:.3g}, over different images)."
    classes = [one.class_name for one in drift.classes if one.p_value <= moved.LEVEL]
    which = f", {'above all of' if len(classes) > 1 else 'of'} {', '.join(classes[:3])}" if classes else ""
    said = f"The model's reasons moved{which} (p = {drift.p_value:.3g})"
    return "alert", f"{said}: {_share(drift)} of the new images are explained as none of the baseline's were."


def _share(drift: moved.Drift) -> str:
    return f"at least {drift.share:.1%}" if drift.share > 0 else "some"


def feature(one: moved.Feature) -> str:
    """A feature and its two means, in a line."""
    if one.kind == "channel":
        return f"channel {one.name}: {one.baseline:+.3f} -> {one.candidate:+.3f} of the evidence"
    if one.kind == "place":
        return f"energy at {one.name}: {one.baseline:.1%} -> {one.candidate:.1%}"
    return f"{one.name}: {one.baseline:.3g} -> {one.candidate:.3g}"


def write(drift: moved.Drift, stream: TextIO) -> None:
    """The test, the classes, what is other about the unlike images, and their ids."""
    stream.write(f"\nreasons, over different images\n  {in_short(drift)[1]}\n")
    if drift.why_not:
        return
    sample = ", a fixed sample" if drift.sampled else ""
    what = f"place and statistics of the maps of {drift.method} for {drift.target}"
    what += f", {drift.channels} channels" if drift.channels else "; no channels: other models, or no evidence kept"
    stream.write(f"  {drift.images[0]:,} and {drift.images[1]:,} images{sample}; {what}\n")
    share = f", {_share(drift)} of the images" if drift.share > 0 else ""
    stream.write(f"  held-out AUC {drift.auc:.3f} (0.5: nothing tells the runs apart){share}\n")
    for one in drift.classes[:_LISTED]:
        counts = f"{one.images[0]:,} and {one.images[1]:,} images"
        stream.write(f"  class {one.class_name:<24} p {one.p_value:.3g}  share {one.share:.1%}  {counts}\n")
    if len(drift.classes) > _LISTED:
        stream.write(f"  and {len(drift.classes) - _LISTED} more classes (p corrected for their number)\n")
    if drift.moved:
        stream.write("  what is other about the images that are least like the baseline's\n")
        stream.writelines(f"    {feature(one)} ({one.deviations:+.1f} deviations)\n" for one in drift.features)
        stream.write(f"    images: {', '.join(one.image_id for one in drift.examples[:_LISTED])}\n")


def document(drift: moved.Drift | None) -> dict[str, Any] | None:
    """Plain values for JSON; None where there is nothing."""
    if drift is None:
        return None
    if drift.why_not:
        return {"tested": False, "why_not": drift.why_not}
    return {
        "tested": True,
        "moved": drift.moved,
        "p_value": drift.p_value,
        "auc": _number(drift.auc),
        "share": drift.share,
        "method": drift.method,
        "target": drift.target,
        "images": list(drift.images),
        "sampled": drift.sampled,
        "channels": drift.channels,
        "classes": [{**one._asdict(), "images": list(one.images), "auc": _number(one.auc)} for one in drift.classes],
        "features": [one._asdict() for one in drift.features],
        "examples": [{"image_id": one.image_id, "class_name": one.class_name} for one in drift.examples],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
