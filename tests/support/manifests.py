"""Manifests for tests: complete ones, of which a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heatbeam.runs import manifests

DOCUMENT: dict[str, Any] = {
    "heatbeam": "0.1.0",
    "config": {
        "input": {"tfrecord": "shards-*"},
        "model": {"path": "m.keras"},
        "output": {"directory": "somewhere"},
    },
    "beam_options": [],
    "versions": {"keras": "3.5"},
    "started": "2026-01-02T03:04:05+00:00",
    "model": {
        "digest": "d1",
        "target_layer": "last",
        "target_layer_choice": "auto",
        "target_layer_shape": [2, 2, 4],
        "scores": "logits: as the model returns them",
        "probability": "softmax",
        "classes": 3,
        "class_names": ["cat", "dog", "owl"],
        "input_size": [8, 8, 3],
        "target_layer_evidence": "",
        "target_layer_warnings": [],
    },
    "conventions": {
        "decode": {"image": {"resize": "squash"}},
        "protocol": {"name": "default", "box_threshold": 0.2},
        "primary_target": "label",
        "heatmap": "value = heatmap * heatmap_scale in float32",
    },
    "counts": {"records_read": 3, "images_explained": 3, "images_skipped": 0, "dead_letters": 0},
    "finished": "2026-01-02T03:05:05+00:00",
}


def manifest(**changes: Any) -> manifests.Manifest:
    """A manifest of a run that could be finished.

    Args:
        changes: of its parts; of a part that is a mapping only the named entries change, at any depth.
    """
    return manifests.Manifest.model_validate(merged(DOCUMENT, changes))


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with `changes`; mappings are merged, other values replaced."""
    both = dict(document)
    for name, value in changes.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return both
