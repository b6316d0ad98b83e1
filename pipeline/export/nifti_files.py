"""Volumes and what lies over them as NIfTI files, as viewers of medical images open them.

Conventions. The array ``(z, y, x)`` becomes ``(i, j, k) = (x, y, z)``: nothing is flipped, and the three axes of the
array are the three axes of the world (RAS+). The world is that of the axes (`records.Axis`): a place c along x, in
samples, is at ``start + c * step``, so that an edge of a box in the tables is where a viewer shows it, and the middle
of sample i is at ``start + (i + 1/2) * step``. Records do not say how a patient lay: left and right in a viewer are x,
and no statement about a body. Lengths in metres, centimetres, millimetres or micrometres are named in the header
(centimetres as millimetres); of any other unit the header says unknown.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from heatbeam.pages.signals import shown
from heatbeam.transforms import errors, records

HEAT_STEPS = 255
"""Heat is stored as bytes of this many steps; the header's slope makes them [0, 1] again in every reader."""

_UNITS = {"m": "meter", "meter": "meter", "metre": "meter", "mm": "mm", "um": "micron", "µm": "micron"}
_STEPS_OF = {"cm": (10.0, "mm")}
_NAMED_ALIGNED = 2  # NIFTI_XFORM_ALIGNED_ANAT: axes mean what the affine says, of no scanner


class MissingNibabel(errors.UserError, ImportError):
    """The library that writes NIfTI is not installed."""


def check_installed() -> None:
    """Refuse before anything is written.

    Raises:
        MissingNibabel: with what to install.
    """
    try:
        import nibabel  # noqa: F401
    except ImportError:
        raise MissingNibabel(
            "NIfTI files are written by nibabel, which is not installed: pip install 'heatbeam[nifti]'"
        ) from None


def write_values(path: pathlib.Path, values: shown.Values, axes: tuple[records.Axis, ...]) -> None:
    """A volume ``(z, y, x, channels)`` as a file; several channels are its fourth axis.

    Args:
        path: ends in ``.nii.gz``.
        values: of any number type.
        axes: of z, y and x.
    """
    stored = _storable(values)
    _write(path, stored[..., 0] if stored.shape[-1] == 1 else stored, axes)


def write_heat(path: pathlib.Path, heat: shown.Floats, axes: tuple[records.Axis, ...]) -> None:
    """Heat in [0, 1] ``(z, y, x)`` as an overlay, in steps of 1 / `HEAT_STEPS`."""
    _write(path, np.rint(heat * HEAT_STEPS).astype(np.uint8), axes, slope=1 / HEAT_STEPS)


def write_boxes(
    path: pathlib.Path, boxes: tuple[shown.Box, ...], shape: tuple[int, ...], axes: tuple[records.Axis, ...]
) -> None:
    """Boxes as a volume of labels: 1 at samples whose middle is in the first box, 2 in the second; later over earlier.

    Args:
        path: ends in ``.nii.gz``.
        boxes: ``x0 y0 z0 x1 y1 z1`` in samples.
        shape: ``(z, y, x)`` of the volume.
        axes: of z, y and x.
    """
    labels = np.zeros(shape, np.uint8)
    for number, box in enumerate(boxes[:255]):
        starts, ends = box[:3][::-1], box[3:][::-1]
        inside = tuple(
            slice(max(0, int(np.ceil(a - 0.5))), max(0, int(np.ceil(b - 0.5))))
            for a, b in zip(starts, ends, strict=True)
        )
        labels[inside] = number + 1
    _write(path, labels, axes)


def affine(axes: tuple[records.Axis, ...]) -> npt.NDArray[np.float64]:
    """From indices ``(i, j, k)`` to the world, in the unit of the header: float64 ``(4, 4)``."""
    factors = [_STEPS_OF.get(axis.unit, (1.0, ""))[0] for axis in axes]
    steps = [axis.step * factor for axis, factor in zip(axes, factors, strict=True)][::-1]
    starts = [axis.start * factor for axis, factor in zip(axes, factors, strict=True)][::-1]
    place = np.diag([*steps, 1.0])
    place[:3, 3] = np.array(starts) + np.array(steps) / 2
    return place


def _storable(values: shown.Values) -> npt.NDArray[Any]:
    """The same numbers in a type that every reader of NIfTI knows."""
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        small = np.abs(values.astype(np.float64)).max(initial=0) <= np.iinfo(np.int32).max
        return values.astype(np.int32 if small else np.float64)
    return values


def _write(
    path: pathlib.Path, array: npt.NDArray[Any], axes: tuple[records.Axis, ...], slope: float | None = None
) -> None:
    import nibabel

    turned = array.transpose(2, 1, 0, *range(3, array.ndim))
    place = affine(axes)
    image = nibabel.Nifti1Image(turned, place, dtype=turned.dtype)
    image.set_sform(place, code=_NAMED_ALIGNED)
    image.set_qform(place, code=_NAMED_ALIGNED)
    image.header.set_xyzt_units(xyz=_unit(axes))
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    image.to_filename(path)


def _unit(axes: tuple[records.Axis, ...]) -> str:
    units = {_STEPS_OF.get(axis.unit, (1.0, axis.unit))[1] for axis in axes}
    return _UNITS.get(units.pop(), "unknown") if len(units) == 1 else "unknown"
