"""What the figures of an agreement are, of engines that are given."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

from heatbeam.transforms.engine.compute import agreements

MAP = np.array([[0.0, 1.0], [2.0, 3.0]])


def fake(scores: list[list[float]], maps: dict[str, list[np.ndarray]]) -> Any:
    """An engine by its scores of images, and by the map of each image's class of each method."""

    def explain(images, labels, selected, _inputs):
        assert selected["slow"].tolist() == [False] * len(images)
        return [
            types.SimpleNamespace(
                class_ids=np.array(classes), maps=[(name, "layer", of[i][None]) for name, of in maps.items()]
            )
            for i, classes in enumerate(labels)
        ]

    answers = [np.array(scores, np.float32), np.ones((len(scores), 2, 2, 1), np.float32)]
    return types.SimpleNamespace(further=("slow",), answers=lambda *_, whole: answers, explain=explain)


def test_figures_of_an_agreement(monkeypatch):
    expected = fake([[4.0, -8.0], [1.0, 2.0]], {"one": [MAP, MAP], "other": [MAP, np.zeros((2, 2))]})
    found = fake([[4.0, -7.0], [3.0, 2.0]], {"one": [2 * MAP + 1, -MAP], "other": [MAP, MAP]})
    monkeypatch.setattr(agreements, "reference", lambda _engine: expected)
    one = agreements.measured(found, np.zeros((2, 4, 4, 3)), maps=True)
    assert (one.images, one.difference, one.same_class) == (2, 2 / 8, 0.5)
    assert one.map_correlation == pytest.approx(0)  # of `one` 1 and -1, of `other` 1: what does not vary has none
    assert agreements.measured(found, np.zeros((2, 4, 4, 3)), maps=False).map_correlation is None


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 5, 7)).astype(np.float32)
    assert agreements.correlation(one, other) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    assert agreements.correlation(one, 0 * other) is None
    tenths = np.full(one.shape, 0.1, np.float32)  # whose mean is not quite one of them
    assert agreements.correlation(one, tenths) is None
    assert agreements.correlation(one, other * np.nan) is None
