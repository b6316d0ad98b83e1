"""Entropy and Gini index, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import complexity


def test_entropy_and_gini_by_hand() -> None:
    maps = np.array([[[0.25, 0.75], [0, 0]], [[0.5, 0.5], [0.5, 0.5]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]])
    entropy = complexity.complexity_entropy(maps, epsilon=0.0)
    assert entropy[:3] == pytest.approx([-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), np.log(4), 0])
    gini = complexity.sparseness_gini(maps)
    # Ascending 0, 0, 1/4, 3/4: 2 (3/4 + 3) / 4 - 5/4.
    assert gini[:3] == pytest.approx([2 * 3.75 / 4 - 5 / 4, 0, 1 - 1 / 4])
    assert np.isnan(entropy[3]) and np.isnan(gini[3])
