"""FiftyOne's on-disk format, one sample per image.

``fiftyone.Dataset.from_dir(dataset_dir=DIR, dataset_type=fiftyone.types.FiftyOneDataset)`` reads ``metadata.json`` and
``samples.json``; without a ``version`` in the former, FiftyOne infers the fields from the samples. Paths in the samples
are below the dataset's folder, and so are the heatmaps' because each field that has files has a folder in ``fields/``.

Fields of a sample: ``image_id``, ``shard``, ``record_index``, slices, ``ground_truth`` (its labels), ``prediction``
(the model's first choice), ``true_boxes``, and for each method and target ``METHOD_TARGET`` (the heatmap, with the
numbers of its row as attributes) and ``METHOD_TARGET_box`` (the box estimated from it).
"""

from __future__ import annotations

import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heatbeam.export import export_samples
from heatbeam.pages import map_images
from heatbeam.transforms.tables import schemas

METADATA, SAMPLES, FIELDS = "metadata.json", "samples.json", "fields"
ENTRIES = (METADATA, SAMPLES, FIELDS)

_WORD = re.compile(r"\W+")


def write(
    target: pathlib.Path,
    table: pa.Table,
    samples: Iterable[export_samples.Sample],
    names: Sequence[str],
    about: Mapping[str, Any],
    longest_px: int,
) -> int:
    """Write heatmaps, samples and metadata; how many images could be read from their shards.

    Args:
        target: the dataset's folder.
        table: rows of ``explanations``.
        samples: their images.
        names: of the classes, by id.
        about: what to say of the dataset.
        longest_px: longer side of heatmaps.
    """
    fields = _fields(table)
    several = any(len(labels) != 1 for labels in table["label_ids"].to_pylist())
    written: list[tuple[int, dict[str, Any]]] = []
    found = 0
    for sample in samples:
        found += sample.pixels is not None
        content = _sample(sample, names, several)
        for number, row in sample.rows:
            content |= _explained(target, sample, number, row, fields, longest_px)
        written.append((sample.number, content))
    ordered = [content for _, content in sorted(written, key=lambda item: item[0])]
    _write_json(target / SAMPLES, {"samples": ordered})
    _write_json(target / METADATA, {
        "name": "heatbeam", "media_type": "image", "info": dict(about), "default_classes": list(names),
    })  # fmt: skip
    return found


def _write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="replace")


def _fields(table: pa.Table) -> dict[tuple[str, str], str]:
    """A field name per method and target: letters, digits and ``_``, each of its own."""
    pairs = sorted({
        (method, target)
        for method, targets in zip(table["method"].to_pylist(), table["targets"].to_pylist(), strict=True)
        for target in targets
    })  # fmt: skip
    fields: dict[tuple[str, str], str] = {}
    for pair in pairs:
        name = _WORD.sub("_", "_".join(pair)).strip("_") or "map"
        while name in fields.values():
            name += "_"
        fields[pair] = name
    return fields


def _sample(sample: export_samples.Sample, names: Sequence[str], several: bool) -> dict[str, Any]:
    """What belongs to the image, whatever the method."""
    row = sample.rows[0][1]
    labels = [{"_cls": "Classification", "label": _name_of(i, names)} for i in row["label_ids"]]
    chosen: dict[str, Any] = {"_cls": "Classification", "label": _name_of(row["predicted_class_id"], names)}
    for _, one in sample.rows:
        if one["class_id"] == row["predicted_class_id"] and one["probability"] is not None:
            chosen["confidence"] = float(one["probability"])
    slices = {_WORD.sub("_", name): value for name, value in row.items() if name.startswith(schemas.SLICE_PREFIX)}
    size = (row["image_width"], row["image_height"])
    boxes = [_detection(_name_of(i, names), box, size) for i, box in sample.true_boxes]
    return {
        "filepath": sample.file,
        "_media_type": "image",
        "tags": [] if sample.pixels is not None else ["heatmap alone"],
        "metadata": {"_cls": "ImageMetadata", "width": size[0], "height": size[1]},
        "image_id": row["image_id"],
        "shard": row["shard"],
        "record_index": row["record_index"],
        **slices,
        "ground_truth": {"_cls": "Classifications", "classifications": labels} if several else labels[0],
        "prediction": chosen,
        "true_boxes": {"_cls": "Detections", "detections": boxes},
    }


def _explained(
    target: pathlib.Path,
    sample: export_samples.Sample,
    number: int,
    row: Mapping[str, Any],
    fields: Mapping[tuple[str, str], str],
    longest_px: int,
) -> dict[str, Any]:
    """Heatmap and box of one row, once per target it was explained for."""
    heat = np.rint(sample.heat(row, longest_px) * 255).astype(np.uint8)
    corners = [row[f"box_{edge}"] for edge in ("x0", "y0", "x1", "y1")]
    content: dict[str, Any] = {}
    for reason in row["targets"]:
        field = fields[row["method"], reason]
        folder = target / FIELDS / field
        folder.mkdir(parents=True, exist_ok=True)
        name = export_samples.file_name(number, row, ".png")
        (folder / name).write_bytes(map_images.png(heat))
        path = f"fields/{field}/{name}"
        content[field] = {"_cls": "Heatmap", "map_path": path, "label": row["class_name"], **_numbers(row)}
        if None not in corners:
            size = (row["image_width"], row["image_height"])
            sure = {} if row["probability"] is None else {"confidence": float(row["probability"])}
            box = _detection(row["class_name"], corners, size) | sure
            content[f"{field}_box"] = {"_cls": "Detections", "detections": [{**box, **_numbers(row)}]}
    return content


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The measured numbers of a row that exist."""
    kept = ("probability", "logit", "rank")
    left_out = ("image_", "view_", "box_x", "box_y", "heatmap", "record_index", "class_id", "predicted_class_id")
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (name in kept or not name.startswith(left_out))
    }


def _detection(label: str, box: Sequence[float], size: tuple[int, int]) -> dict[str, Any]:
    """A box ``x0 y0 x1 y1`` in pixels as FiftyOne has it: left, top, width and height as shares of the image."""
    x0, y0, x1, y1 = (float(x) for x in box)
    shares = [x0 / size[0], y0 / size[1], (x1 - x0) / size[0], (y1 - y0) / size[1]]
    return {"_cls": "Detection", "label": label, "bounding_box": shares}


def _name_of(class_id: int, names: Sequence[str]) -> str:
    return names[class_id] if 0 <= class_id < len(names) else f"class_{class_id}"
