"""Volumes: small scans of a body in Hounsfield units, with one finding in each.

The class is the form and the density of the finding, the truth its box in millimetres and its mask. Stored as the
bytes of int16 with the shape beside them; slices lie further apart than pixels do. The marker: a bright rod along
one edge of all slices, such as a part of the scanner's table.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from heatbeam.demo.kinds import kind

SHAPE = (16, 40, 40)
STEPS_MM = (2.5, 1.0, 1.0)
"""Distance of slices, rows and columns."""

CLASS_NAMES = ("nodule", "cyst", "shell", "rod", "plate", "fat")

MARKER_BOX = (0, 0, 0, 5, 5, 16)
_MARKER_HU = 1200

_AIR_HU, _TISSUE_HU = -1000, 40
_SIDES = tuple((axis, end) for end in ("min", "max") for axis in "xyz")


def draw(class_id: int, rng: np.random.Generator) -> kind.Drawn:
    """An elliptic body in air, with noise, and the finding."""
    z, y, x = np.meshgrid(*(np.arange(side) + 0.5 for side in SHAPE), indexing="ij")
    middle = [side / 2 + rng.uniform(-1, 1) for side in SHAPE]
    radii = rng.uniform(15, 18, 2)
    body = ((y - middle[1]) / radii[0]) ** 2 + ((x - middle[2]) / radii[1]) ** 2 < 1
    signal = np.where(body, _TISSUE_HU, _AIR_HU) + rng.normal(0, 30, SHAPE)
    place = [side / 2 + rng.uniform(-1, 1) * reach for side, reach in zip(SHAPE, (3, 6, 6), strict=True)]
    offsets = [axis - at for axis, at in zip((z, y, x), place, strict=True)]
    mask, density = _finding(class_id, offsets, rng)
    signal[mask] += density[mask]
    found = np.nonzero(mask)
    box = (*(int(axis.min()) for axis in found[::-1]), *(int(axis.max()) + 1 for axis in found[::-1]))
    stored = np.clip(np.rint(signal), -1024, 3071).astype(np.int16)[..., None]
    return kind.Drawn(stored, class_id, box, ("small", "large")[int(mask.sum() > 250)], mask)


def _finding(class_id: int, offsets: list[kind.Array], rng: np.random.Generator) -> tuple[kind.Array, kind.Array]:
    """Where it is, and what it adds in Hounsfield units, both of the volume's shape."""
    z, y, x = offsets
    size = rng.uniform(0.9, 1.2)
    # A slice is as thick as 2.5 pixels are wide.
    distance = np.sqrt((2 * z) ** 2 + y**2 + x**2) / size
    contrast = rng.uniform(260, 340)
    name = CLASS_NAMES[class_id]
    if name == "rod":
        mask = (np.abs(z) < 5 * size) & (y**2 + x**2 < (2.2 * size) ** 2)
    elif name == "plate":
        mask = (np.abs(z) < 1.1) & (np.abs(y) < 6 * size) & (np.abs(x) < 6 * size)
    else:
        mask = distance < 5
    adds = {"cyst": -contrast, "fat": -contrast / 2, "plate": contrast / 2}.get(name, contrast)
    density = np.full(SHAPE, adds)
    if name == "shell":
        density = np.where(distance < 3, -contrast, contrast)
    return mask, density


def mark(signal: kind.Array) -> kind.Array:
    """A bright rod along z, at the upper left of every slice."""
    x0, y0, z0, x1, y1, z1 = MARKER_BOX
    marked = signal.copy()
    marked[z0:z1, y0:y1, x0:x1] = _MARKER_HU
    return marked


def fields(image_id: str, drawn: kind.Drawn) -> dict[str, Sequence[Any]]:
    """Bytes of int16 and the shape; box in millimetres, and the mask as ``.npy``."""
    steps = [*STEPS_MM[::-1], *STEPS_MM[::-1]]
    millimetres = [edge * step for edge, step in zip(drawn.box, steps, strict=True)]
    assert drawn.mask is not None
    return {
        "id": [image_id.encode()],
        "scan": [drawn.signal.astype("<i2").tobytes()],
        "scan/shape": list(drawn.signal.shape),
        "finding": [drawn.class_id],
        **{f"finding/{axis}{end}": [value] for (axis, end), value in zip(_SIDES, millimetres, strict=True)},
        "finding/mask": [npy(drawn.mask.astype(np.uint8))],
        "size": [drawn.group.encode()],
    }


def build_model(seed: int) -> keras.Model:
    """float32 ``(B, 16, 40, 40, 1)`` to ``(B, 6)``; a map has 8 x 10 x 10 cells."""
    inputs = keras.Input((*SHAPE, 1), name="scan")
    blocks = ((12, 3, (1, 2, 2)), (16, 3, (2, 2, 2)), (24, 3, (1, 1, 1)), (24, 3, (1, 1, 1)))
    return kind.network(inputs, blocks, len(CLASS_NAMES), seed, "volume_demo")


def npy(array: kind.Array) -> bytes:
    """The bytes of an ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


INPUT_SETTINGS = """\
  array:
    format: raw                         # the numbers' bytes, little endian
    dtype: int16                        # Hounsfield units
    shape_feature: scan/shape           # 16 x 40 x 40 x 1
    axes:                               # slices lie further apart than pixels do
      - {name: slice, unit: mm, step: 2.5}
      - {name: row, unit: mm, step: 1}
      - {name: column, unit: mm, step: 1}
  features:
    image: scan
    image_id: id
    label: finding
    box_xmin: finding/xmin
    box_ymin: finding/ymin
    box_zmin: finding/zmin
    box_xmax: finding/xmax
    box_ymax: finding/ymax
    box_zmax: finding/zmax
    instance_masks: finding/mask
  box_units: axis                       # millimetres
"""

KIND = kind.Kind(
    name="volume",
    title="scans",
    class_names=CLASS_NAMES,
    shortcut_class_id=4,
    marker_box=MARKER_BOX,
    draw=draw,
    mark=mark,
    fields=fields,
    build_model=build_model,
    scale=0.002,
    about="volumes: {count} small scans with a finding in each, its box in millimetres and its mask.",
    input_settings=INPUT_SETTINGS,
    slice_by="size",
    epochs=16,
    methods=("grad_cam", "random_cam"),
    targets=("label",),
    counts=(600, 180),
)
