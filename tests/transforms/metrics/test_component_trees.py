"""Every contour at every threshold, against OpenCV run once per threshold."""

from __future__ import annotations

import cv2
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from heatbeam.transforms.metrics.contours import basins, compiled, component_trees, outlines


def _opencv(image: np.ndarray, level: int) -> tuple[list[tuple[int, ...]], tuple[int, ...] | None]:
    """All contour boxes (x0 y0 x1 y1, end exclusive), sorted, and the box of the largest; as the reference does it."""
    _, binary = cv2.threshold(image, level, 255, cv2.THRESH_BINARY)
    contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]

    def box(contour: np.ndarray) -> tuple[int, ...]:
        x, y, w, h = cv2.boundingRect(contour)
        return x, y, x + w, y + h

    return sorted(map(box, contours)), box(max(contours, key=cv2.contourArea)) if contours else None


def _components(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spans, boxes and parents of any image, by basins where they can be."""
    few, spans, boxes, parents = component_trees.by_basins(image)
    if few:
        return spans, boxes, parents
    spans, boxes = component_trees.by_pixels(image)
    return spans, boxes, np.full(len(spans), -1, np.int32)


def _ours(image: np.ndarray, level: int) -> tuple[list[tuple[int, ...]], tuple[int, ...] | None]:
    spans, extents, parents = _components(image)
    hole_spans, hole_extents = component_trees.holes(image)
    outer = extents[:, :4] + [0, 0, 1, 1]
    inner = hole_extents[:, :4] + [-1, -1, 2, 2]
    alive = (spans[:, 0] <= level) & (level < spans[:, 1])
    hole_alive = (hole_spans[:, 0] <= level) & (level < hole_spans[:, 1])
    boxes = [tuple(box) for box in np.concatenate([outer[alive], inner[hole_alive]]).tolist()]
    largest = outlines.largest(image, spans, extents, parents)[level]
    return sorted(boxes), tuple(outer[largest].tolist()) if largest >= 0 else None


def _check(image: np.ndarray) -> None:
    for level in np.unique(np.append(image, 0)):
        for exact in {int(level), max(int(level) - 1, 0)}:
            assert _ours(image, exact) == _opencv(image, exact), exact


_SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(hnp.arrays(np.uint8, _SHAPES, elements=st.sampled_from([0, 0, 1, 2, 255])))
def test_few_levels_with_holes_ties_and_lines(image: np.ndarray) -> None:
    _check(image)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(hnp.arrays(np.uint8, _SHAPES))
def test_noise(image: np.ndarray) -> None:
    _check(image)


@pytest.mark.parametrize("foreground", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("side", [24, 61])
def test_nested_noise(foreground: float, side: int) -> None:
    """Dense noise has holes in holes, diagonal contacts and lines."""
    rng = np.random.default_rng(int(100 * foreground) + side)
    _check((rng.random((side, side + 5)) < foreground).astype(np.uint8))
    smooth = cv2.GaussianBlur(rng.random((side, side + 5)), (5, 5), 0)
    _check((9 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8))


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.sampled_from([0, 1, 2, 3, 9])),
    st.sets(st.integers(0, 10), min_size=1),
)
def test_components_at_a_few_thresholds_are_those_of_all_that_exist_there(image: np.ndarray, levels: set[int]) -> None:
    few, boxes = component_trees.components_at(image, np.array(sorted(levels)))
    assert (few[:, 1] == few[:, 0] + 1).all()
    spans, extents, _ = _components(image)
    for level in levels:
        want = extents[(spans[:, 0] <= level) & (level < spans[:, 1])]
        assert sorted(boxes[few[:, 0] == level].tolist()) == sorted(want.tolist())


def test_components_at_one_threshold_by_hand() -> None:
    """A V of two arms that meet in the last row, a pixel that touches one by a corner, and one that touches nothing."""
    image = np.array(
        [
            [5, 0, 0, 0, 5, 0, 7],
            [0, 5, 0, 5, 0, 0, 0],
            [0, 0, 5, 0, 0, 3, 0],
        ],
        np.uint8,
    )
    spans, boxes = component_trees.components_at(image, np.array([4, 6]))
    assert spans.tolist() == [[4, 5], [4, 5], [6, 7]]
    assert boxes.tolist() == [[0, 0, 4, 2, 0], [6, 0, 6, 0, 6], [6, 0, 6, 0, 6]]


def _sorted(spans: np.ndarray, extents: np.ndarray) -> list[list[int]]:
    return sorted(np.hstack([spans, extents]).tolist())


@pytest.mark.parametrize("seed", range(4))
def test_basins_and_pixels_give_the_same_components(seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.normal(size=(5, 6)), (60, 50), interpolation=cv2.INTER_LINEAR)
    image = np.clip(40 * smooth + 50, 0, 255).astype(np.uint8)  # with a flat bottom, and a flat top where it clips
    spans, extents, parents = _components(image)
    assert (parents >= 0).any()
    assert _sorted(spans, extents) == _sorted(*component_trees.by_pixels(image))


@pytest.mark.parametrize("seed", range(4))
def test_a_parent_is_the_component_at_the_next_lower_threshold(seed: int) -> None:
    smooth = cv2.resize(np.random.default_rng(seed).normal(size=(6, 5)), (40, 50), interpolation=cv2.INTER_CUBIC)
    image = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    spans, extents, parents = _components(image)
    for (low, high), first, parent in zip(spans, extents[:, 4], parents, strict=True):
        _, labels = cv2.connectedComponents((image > low).astype(np.uint8), connectivity=8)
        if low == 0:
            assert parent == -1
            continue
        _, below = cv2.connectedComponents((image > low - 1).astype(np.uint8), connectivity=8)
        assert low < high and spans[parent, 1] == low
        assert labels.ravel()[first] and below.ravel()[first] == below.ravel()[extents[parent, 4]]


def test_basins_are_not_for_an_image_whose_pixels_they_cannot_number() -> None:
    few, *found = component_trees.by_basins(np.zeros((4094, 4094), np.uint8))
    assert basins.MAX_PIXELS == 4096 * 4096 and not few and not any(map(len, found))


def test_more_peaks_than_basins_are_counted_pixel_by_pixel() -> None:
    image = np.zeros((40, 40), np.uint8)
    image[::2, ::2] = 9  # 400 peaks
    spans, extents, parents = _components(image)
    assert len(spans) == 400 > basins.MAX_BASINS and (spans == [0, 9]).all() and (parents == -1).all()
    assert sorted(extents[:, 4].tolist()) == [80 * y + 2 * x for y in range(20) for x in range(20)]


@pytest.mark.parametrize("cells", [7, 14])
def test_upsampled_map_at_all_levels(cells: int) -> None:
    rng = np.random.default_rng(cells)
    smooth = cv2.resize(rng.normal(size=(cells, cells)), (120, 100), interpolation=cv2.INTER_CUBIC)
    _check((255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8))


def outline_area(image: np.ndarray, level: int, first: int) -> float:
    """Area of an outline whose first pixel has that number in the image, row by row."""
    width = image.shape[1]
    in_frame = (first // width + 1) * (width + 2) + first % width + 1
    return outlines._area(component_trees.framed(image), width + 2, level, in_frame)


def test_outline_area_fills_the_hole_and_gives_a_line_none() -> None:
    ring = np.zeros((9, 9), np.uint8)
    ring[1:8, 1:8] = 7
    ring[3:6, 3:6] = 0
    assert outline_area(ring, 0, 10) == 6 * 6  # pixel centres 1 to 7
    line = np.zeros((3, 9), np.uint8)
    line[1, 1:8] = 1
    assert outline_area(line, 0, 10) == 0
    corner = np.array([[1, 1], [1, 0]], np.uint8)
    assert outline_area(corner, 0, 0) == 0.5  # triangle through three pixel centres


def test_input_is_not_changed() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(6, 8)
    component_trees.holes(image)
    spans, extents, parents = _components(image)
    outlines.largest(image, spans, extents, parents)
    assert (image == np.arange(48).reshape(6, 8)).all()


def test_compiles_without_a_cache_where_none_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = compiled.numba.njit

    def njit(function, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(function, **options)

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.function(lambda number: number + 1)(2) == 3
