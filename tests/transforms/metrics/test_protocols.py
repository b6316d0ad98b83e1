"""Protocols are data."""

from __future__ import annotations

import json

import pytest

from heatbeam.transforms.metrics import protocols


@pytest.mark.parametrize("name", protocols.PROTOCOLS)
def test_a_protocol_survives_json(name: str) -> None:
    protocol = protocols.get(name)
    values = json.loads(json.dumps(protocol.as_dict()))
    assert values.pop("heatmap").endswith("resize to the frame, min_max, 8 bits")
    assert values.pop("box_ends") in ("inclusive", "exclusive")
    assert protocols.Protocol(**{**values, "iou_limits": tuple(values["iou_limits"])}) == protocol
    assert values["name"] == name


def test_wsolevaluation_keeps_negative_evidence_and_default_does_not() -> None:
    assert not protocols.get("wsolevaluation").rectify and protocols.get("default").rectify
    assert protocols.get("wsolevaluation").interpolation == "bicubic"


def test_the_order_of_the_steps_and_the_box_ends_are_written_down() -> None:
    default, wsol = protocols.get("default").as_dict(), protocols.get("wsolevaluation").as_dict()
    assert (default["heatmap"], default["box_ends"]) == ("positive, resize to the frame, min_max, 8 bits", "exclusive")
    assert (wsol["heatmap"], wsol["box_ends"]) == ("resize to the frame, min_max, 8 bits", "inclusive")


def test_unknown_protocol() -> None:
    with pytest.raises(ValueError, match="'coco'; expected one of default, wsolevaluation, torchray"):
        protocols.get("coco")
