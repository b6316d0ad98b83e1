"""Energy on padding, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.metrics.localization import localization, padding


def _measured(raw: np.ndarray, size: tuple[int, ...], view: tuple[float, ...]) -> float:
    return padding.padding_energy(np.asarray(raw, np.float32), records.Source("", "", 0, "", size, view))


def test_cells_count_by_the_part_of_them_that_is_outside() -> None:
    # A series of 6 samples, padded to 8: cells of 2 samples, the last one is padding.
    assert _measured(np.array([1.0, 2, -3, 5]), (6,), (0, 8)) == 5 / 8
    # A picture of 60 x 40, padded above and below to 60 x 60: of three rows of cells the outer ones lie half on it.
    rows = np.array([[2.0, 0], [1, 5], [2, -9]])
    assert _measured(rows, (60, 40), (0, -10, 60, 50)) == pytest.approx((1 + 1) / 10)
    # A corner cell of a volume, of which half of each side is inside: 1/8 of it.
    cube = np.zeros((2, 2, 2))
    cube[0, 0, 0], cube[1, 1, 1] = 8, 1
    assert _measured(cube, (6, 6, 6), (-2, -2, -2, 6, 6, 6)) == pytest.approx(8 * 7 / 8 / 9)


def test_without_padding_or_energy_there_is_none() -> None:
    assert math.isnan(_measured(np.ones((3, 3)), (60, 40), (0, 0, 60, 40)))
    assert math.isnan(_measured(np.ones((3, 3)), (60, 40), (10, 0, 50, 40)))
    assert math.isnan(_measured(np.ones((3, 3)), (60, 40), (0, 0, float(np.float32(60.000001)), 40)))
    assert math.isnan(_measured(-np.ones((3, 3)), (60, 40), (0, -10, 60, 50)))
    assert math.isnan(_measured(np.full((3, 3), np.nan), (60, 40), (0, -10, 60, 50)))
    assert _measured(np.ones((3, 3)), (60, 40), (0, -10, 60, 50)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("shape", [(1, 5, 7), (5, 1, 7), (5, 7, 1)])
def test_a_flat_volume_has_the_value_of_its_image(shape: tuple[int, ...]) -> None:
    raw = np.random.default_rng(0).normal(size=(5, 7))
    flat = 2 - shape.index(1)
    size, view = [60, 40], [-5.0, 0.0, 65.0, 44.0]
    deep = [*view[:2][:flat], 0.0, *view[:2][flat:], *view[2:][:flat], 1.0, *view[2:][flat:]]
    got = _measured(raw.reshape(shape), (*size[:flat], 1, *size[flat:]), tuple(deep))
    assert got == pytest.approx(_measured(raw, (60, 40), tuple(view)), abs=1e-12)


def test_it_is_a_column_of_every_run_and_the_mean_of_the_images_that_have_padding() -> None:
    assert "padding_energy" in localization.columns(registry.WITHOUT_TRUTH)
    padded = records.Source("", "", 0, "", (60, 40), (0.0, -10.0, 60.0, 50.0))
    whole = records.Source("", "", 0, "", (60, 40), (0.0, 0.0, 60.0, 40.0))
    for source, known in ((padded, True), (whole, False)):
        found = localization.localize(
            np.ones((1, 3, 3), np.float32), source, records.GroundTruth(), [3], [1], protocols.DEFAULT, ["padding"]
        )
        assert dict(found.values)["padding_energy"] == pytest.approx([1 / 3 if known else math.nan], nan_ok=True)
        assert ("padding_energy" in found.evidence[0].values) == known
