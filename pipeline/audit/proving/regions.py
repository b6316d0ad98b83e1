"""Changing pictures: the region of a suspect, an equal region elsewhere, what fills it, and moving it to other images.

A region is a bool ``(H, W)``. Fills are of the neighbourhood: `road.impute` solves for each pixel the mean of its
neighbours, and Telea's inpainting (Journal of Graphics Tools 2004) goes on with the edges around; neither is grey, and
what only one of them shows is a trace of the fill.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.faithfulness import road

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Heat = npt.NDArray[np.floating]
Region = npt.NDArray[np.bool_]

ENERGY = 0.7
"""Of the evidence that may be taken, the share that a region holds."""

LARGEST = 0.35
"""Of the image, at most."""

MARGIN = 1 / 28
"""Of the image's shorter side, by which a region is widened: maps are coarser than what they point at."""

COARSE = 0.1
"""Of the greatest evidence of a map, what a pixel has where the map has none: a map is coarse and may lie beside."""

_STEPS = 6
"""Places along each axis that are looked at for the control."""

_TELEA_RADIUS = 3


def sharpened(heat: Heat, inputs: npt.NDArray[np.float32], gradients: npt.NDArray[np.float32]) -> Heat:
    """A coarse map times what single pixels say, as Guided Grad-CAM takes the product of both.

        max(G_s * sum_c g_c (x_c - mean x_c), 0) (heat + `COARSE` max heat)

    G_s is a Gaussian of `MARGIN`, g the gradient of the class score: to first order, what the score would lose if the
    pixel had the image's mean colour (gradient times input: Shrikumar et al. 2016, arXiv:1605.01713; the product:
    Selvaraju et al., ICCV 2017, arXiv:1610.02391, section 3.2). A map of 7 x 7 cells finds where a thing is, but of a
    line along an edge the parts that the network happens to see best.

    Args:
        heat: ``(H, W)``, not negative.
        inputs: ``(H, W, C)``, as the model takes them, in any units.
        gradients: of the same shape.

    Returns:
        ``(H, W)``; `heat` itself where the gradients say nothing for the class.
    """
    slopes = (gradients * (inputs - inputs.mean(axis=(0, 1)))).sum(axis=-1, dtype=np.float64)
    pixels = cv2.GaussianBlur(np.maximum(slopes, 0), (0, 0), MARGIN * min(heat.shape))
    found: Heat = pixels * (heat + COARSE * heat.max())
    return found if np.isfinite(found).all() and found.max() > 0 else heat


def of_evidence(heat: Heat, allowed: Region) -> Region | None:
    """The strongest pixels that together hold `ENERGY` of the positive evidence where it may be taken, widened.

    Args:
        heat: ``(H, W)``, signed evidence.
        allowed: ``(H, W)``, where a region may lie.

    Returns:
        None where there is no evidence.
    """
    energy = np.where(allowed, np.maximum(heat, 0), 0).astype(np.float64)
    total = energy.sum()
    if not total > 0:
        return None
    order = np.argsort(-energy, axis=None, kind="stable")
    count = 1 + int(np.searchsorted(np.cumsum(energy.ravel()[order]), ENERGY * total))
    most = max(1, int(LARGEST * energy.size))
    region = np.zeros(energy.size, np.uint8)
    region[order[: min(count, most)]] = 1
    width = max(1, round(MARGIN * min(heat.shape)))
    wider = cv2.dilate(region.reshape(heat.shape), np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > 0
    found: Region = wider & allowed
    return found


def outside(boxes: npt.NDArray[np.float64] | None, shape: tuple[int, int]) -> Region:
    """What lies in none of the boxes ``(N, 4)``, in pixels of the input; everything where they are not known."""
    allowed = np.ones(shape, bool)
    for x0, y0, x1, y1 in () if boxes is None else boxes.tolist():
        allowed[max(0, int(np.floor(y0))) : int(np.ceil(y1)), max(0, int(np.floor(x0))) : int(np.ceil(x1))] = False
    return allowed


def elsewhere(region: Region, heat: Heat, allowed: Region) -> tuple[int, int]:
    """How far to move a region for its control: to where it meets least of itself, of the object and of the evidence.

    Args:
        region: to be moved, around the edges of the image.
        heat: ``(H, W)``, the evidence.
        allowed: ``(H, W)``, False on the object.

    Returns:
        Rows and columns, of a grid of `_STEPS` by `_STEPS`; never none at all.
    """
    positive = np.maximum(heat, 0).astype(np.float64)
    top = positive.max()
    blocked = np.maximum(np.where(region | ~allowed, 1.0, 0.0), positive / top if top > 0 else 0.0)
    height, width = region.shape
    best, found = np.inf, (height // 2, width // 2)
    for row in range(_STEPS):
        for column in range(_STEPS):
            moved = (row * height // _STEPS, column * width // _STEPS)
            if moved == (0, 0):
                continue
            cost = float(blocked[np.roll(region, moved, (0, 1))].mean())
            if cost < best - 1e-9:
                best, found = cost, moved
    return found


def moved(region: Region, by: tuple[int, int]) -> Region:
    """The region elsewhere, around the edges."""
    result: Region = np.roll(region, by, (0, 1))
    return result


def pasted(target: Pixels, source: Pixels, region: Region, by: tuple[int, int] = (0, 0)) -> Pixels:
    """`target` with what `source` has in `region`; with `by`, what it has in the region so moved, at the same place."""
    result = target.copy()
    taken = np.roll(source, (-by[0], -by[1]), (0, 1))
    result[region] = taken[region]
    return result


def removed(image: Pixels, region: Region) -> list[Pixels]:
    """The image with a region filled as its neighbourhood is, by each fill that takes its type."""
    diffused = road.impute(image.astype(np.float32), region, noise=0.0, rng=np.random.default_rng(0))
    fills: list[Pixels] = [np.rint(diffused).astype(np.uint8) if image.dtype == np.uint8 else diffused]
    if image.dtype == np.uint8 and image.shape[-1] in (1, 3):
        mask = region.astype(np.uint8)
        filled = cv2.inpaint(np.ascontiguousarray(image), mask, _TELEA_RADIUS, cv2.INPAINT_TELEA)
        fills.append(filled.reshape(image.shape).astype(np.uint8))
    return fills
