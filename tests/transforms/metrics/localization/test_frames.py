"""A map in the frame, in fewer passes over its pixels: what the plain functions give, to the bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import box_accuracy, frames

VIEWS = {"squash": (0.0, 0.0, 90.0, 60.0), "crop": (15.0, 0.0, 75.0, 60.0), "pad": (0.0, -15.0, 90.0, 75.0)}


def odd_maps() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    with_nan, with_infinity = noise.copy(), noise.copy()
    with_nan[1, 2], with_infinity[3, 3] = np.nan, np.inf
    return {
        "noise": noise,
        "float64": noise.astype(np.float64),
        "negative": -abs(noise),
        "constant": np.full((7, 5), 2.5, np.float32),
        "vast": noise / abs(noise).max() * np.float32(3e38),  # the greatest less the least is infinite
        "tiny": noise * np.float32(1e-44),
        "nan": with_nan,
        "infinity": with_infinity,
    }


@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", odd_maps())
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_as_the_plain_functions(kind, view, rectify):
    raw, source = odd_maps()[kind], records.Source("", "", 0, "", (90, 60), VIEWS[view])
    protocol = dataclasses.replace(protocols.DEFAULT, rectify=rectify, frame_px=32)
    got = frames.frame(raw, source, protocol)
    where = {"view": VIEWS[view], "image_size": (90, 60)}
    placed = heatmaps.place(heatmaps.positive(raw) if rectify else raw, (32, 32), **where)
    heatmap = heatmaps.heatmap(raw, (32, 32), rectify=rectify, **where)
    for mine, plain in ((got.placed, placed), (got.heatmap, heatmap), (got.image, box_accuracy.to_bytes(heatmap))):
        assert mine.dtype == plain.dtype
        np.testing.assert_array_equal(mine, plain)
    if kind == "noise":
        assert got.image.max() == 255 and got.heatmap.min() == 0


def test_a_ramp_is_cut_to_whole_steps():
    raw = np.array([[0, 1], [0, 1]], np.float32)
    protocol = dataclasses.replace(protocols.DEFAULT, frame_px=4)
    got = frames.frame(raw, records.Source("", "", 0, "", (4, 4), (0.0, 0.0, 4.0, 4.0)), protocol)
    # Pixel centres lie at -1/4, 1/4, 3/4 and 5/4 of the way from one cell to the other: 0, 1/4, 3/4, 1.
    assert got.heatmap[0].tolist() == [0, 0.25, 0.75, 1] and got.image[0].tolist() == [0, 63, 191, 255]
