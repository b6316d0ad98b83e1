"""Looks that images have in common: colours and textures that are written out."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit.proving import likeness


def looks(colours: list[float], fineness: float = 1.0, step: float = 0.1) -> list[likeness.Look]:
    return [likeness.Look(np.array([c, 0.0, 0.0]), fineness + step * n) for n, c in enumerate(colours)]


def test_a_look_is_the_colour_under_the_map_and_how_fine_it_is():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4, 0] = 200
    energy = np.zeros((8, 8))
    energy[:4, :4] = 1.0
    found = likeness.look(pixels, energy)
    assert found.colour == pytest.approx([200 - 50, 0, 0])  # a quarter of the image is red
    striped = pixels.copy()
    striped[:4, :4:2, 0] = 0
    assert likeness.look(striped, energy).fineness > 3 * found.fineness
    assert likeness.look(np.full((8, 8, 1), 7, np.uint8), energy).fineness == pytest.approx(0, abs=1e-9)


def test_one_look_is_of_equal_colours_or_other_ones_or_a_texture():
    usual = looks([-10.0, 10.0, -10.0, 10.0])  # of spread 10
    assert likeness.one_look(looks([-6.0, 6.0, -6.0, 6.0]), usual)  # 0.6 of it
    assert not likeness.one_look(looks([-7.0, 7.0, -7.0, 7.0]), usual)
    assert likeness.one_look(looks([9.0, 23.0, 9.0, 23.0]), usual)  # 16 away
    assert not likeness.one_look(looks([8.0, 22.0, 8.0, 22.0]), usual)
    # Fineness of 1, 1.1, 1.2 and 1.3: its deviation is 0.1 sqrt(5) / 2 = 0.1118, and eight of it 0.894.
    assert likeness.one_look(looks([-7.0, 7.0, -7.0, 7.0], 1.9), usual)
    assert not likeness.one_look(looks([-7.0, 7.0, -7.0, 7.0], 1.88), usual)


def test_too_few_images_have_no_look():
    assert not likeness.one_look(looks([1.0, 1.0]), looks([-10.0, 10.0, 0.0]))
    assert not likeness.one_look(looks([1.0, 1.0, 1.0]), looks([-10.0, 10.0]))
