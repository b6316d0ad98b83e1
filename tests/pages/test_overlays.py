"""Layers of a map over its image: their colours by arithmetic, the line at half of the evidence, the size of photos."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from heatbeam.pages import map_images, overlays
from heatbeam.transforms import heatmaps

VEIL = np.array([14, 16, 26])


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


@pytest.mark.parametrize(
    ("heat", "colour", "veil"),
    [(0.0, 0.0, 0.5), (0.2, 0.45 * 0.4, 0.25), (0.4, 0.45 * 0.8, 0), (0.5, 0.45, 0), (1.0, 0.45, 0)],
)
def test_what_a_step_of_heat_lays_over_an_image(heat, colour, veil):
    picture = np.array([200.0, 40.0, 90.0])
    laid = map_images.layer(101)[round(heat * 100)]
    mixed = picture * (1 - laid[3]) + laid[:3] * laid[3]
    below = picture * (1 - veil) + VEIL * veil
    expected = below * (1 - colour) + map_images.colours(101)[round(heat * 100)] * colour
    np.testing.assert_allclose(mixed, expected, atol=1e-9)


def test_under_the_hottest_spot_more_than_half_of_the_picture_is_seen():
    raw = np.array([[0.0, 2.0]], np.float32)
    picture = np.full((1, 2, 3), 100, np.uint8)
    alone = map_images.overlay(raw, (0, 0, 2, 1), (2, 1), (1, 2))
    mixed = map_images.overlay(raw, (0, 0, 2, 1), (2, 1), (1, 2), picture)
    np.testing.assert_array_equal(mixed[0, 1], np.rint(100 * 0.55 + alone[0, 1] * 0.45))
    np.testing.assert_array_equal(mixed[0, 0], np.rint(100 * 0.5 + VEIL * 0.5))
    assert alone[0, 0].tolist() == [68, 1, 84] and alone[0, 1].tolist() == [253, 231, 37]  # ends of viridis


def test_the_outline_is_white_where_the_heat_is_half():
    heat = np.tile(np.linspace(0, 1, 101), (20, 1))
    mixed = map_images.coloured(heat, np.full((20, 101, 3), 120, np.uint8)).astype(int)
    bright = np.flatnonzero(mixed[10].min(axis=1) > 200)
    assert bright.tolist() == [50]
    flat = map_images.coloured(np.zeros((20, 20)), np.full((20, 20, 3), 120, np.uint8))
    assert len(np.unique(flat.reshape(-1, 3), axis=0)) == 1  # a map without evidence has none


def test_the_path_of_the_outline_in_pixels_of_the_image():
    heat = np.tile(np.linspace(0, 1, 5), (4, 1))  # half at the middle of 5 columns
    points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", map_images.edge(heat, (50, 8)))
    assert {x for x, _ in points} == {"25.00"}
    assert {float(y) for _, y in points} == {1, 3, 5, 7}  # at the middles of the rows
    large = np.tile(np.linspace(0, 1, 200), (100, 1))
    xs = [float(x) for x, _ in re.findall(r"([\d.]+) ([\d.]+)", map_images.edge(large, (400, 200)))]
    assert xs and max(abs(x - 200) for x in xs) < 1
    assert map_images.edge(np.zeros((4, 4)), (4, 4)) == "" and map_images.edge(np.ones((1, 4)), (4, 1)) == ""


def test_the_layer_of_heat_is_the_documented_heatmap():
    raw = np.array([[0, 1], [0, 0]], np.float32)
    layers = overlays.of_map(raw, (0, 0, 40, 20), (40, 20), image="#photo-x")
    shown = np.asarray(opened(layers.heat).convert("RGBA"))
    heat = np.rint(heatmaps.heatmap(raw, (20, 40)) * 47).astype(int)
    np.testing.assert_allclose(shown[..., 3] / 255, map_images.layer(48)[heat][..., 3], atol=0.003)
    np.testing.assert_allclose(shown[..., :3], map_images.layer(48)[heat][..., :3], atol=1)
    alone = np.asarray(opened(overlays.of_map(raw, (0, 0, 40, 20), (40, 20)).heat).convert("RGBA"))
    assert (alone[..., 3] == 255).all()


def test_what_the_model_did_not_see_has_no_evidence():
    raw = np.array([[1, 1], [1, 2]], np.float32)
    shown = np.asarray(opened(overlays.of_map(raw, (20, 0, 40, 20), (40, 20), image="#x").heat).convert("RGBA"))
    assert (np.abs(shown[:, :20] - (*VEIL, 127.5)) <= 1).all() and (shown[-1, -1, :3] == (253, 231, 37)).all()


def test_photos_are_kept_small_sharp_and_in_order(monkeypatch):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 256, (400, 800, 3), dtype=np.uint8) for _ in range(2)]

    def sizes(order):
        photos = overlays.Photos()
        assert [photos.add(name, noisy[i]) for i, name in order] == [f"#photo-{name}" for _, name in order]
        found = re.findall('<image id="photo-(.)"[^>]* href="([^"]*)"', photos.markup())
        assert [name for name, _ in found] == ["a", "b"]
        return {opened(uri).size for _, uri in found}, photos.markup()

    (large, one), (_, other) = sizes([(0, "a"), (1, "b")]), sizes([(1, "b"), (0, "a")])
    assert large == {(640, 320)} and one == other
    total = len(one)
    monkeypatch.setattr(overlays, "PHOTO_BYTES", total // 2)
    small, page = sizes([(0, "a"), (1, "b")])
    assert small < {(480, 240), (360, 180), (240, 120), (160, 80)} and len(page) < total // 2 + 300
    tiny = overlays.Photos()
    tiny.add("a", noisy[0][:8, :8])
    assert 'href="data:image/jpeg' in tiny.markup() and overlays.Photos().markup() == ""


def test_texts_of_a_picture_are_escaped():
    layers = overlays.Layers(4, 2, "/i?a=1&b=2", "data:x", "M0 0", ((0.0, 0.0, 1.0, 1.0),), None)
    page = overlays.markup(layers, '"><script>')
    assert "<script" not in page and 'src="/i?a=1&amp;b=2"' in page and page.count("<rect") == 2
