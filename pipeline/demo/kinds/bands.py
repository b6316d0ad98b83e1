"""Images of bands: small satellite scenes of thirteen bands, with one field of a land cover in each.

The class is the spectrum of the field, the truth its box and mask: no three bands tell all classes apart. Stored as a
serialized tensor of uint16. The marker: a bright block in one band's corner, such as a dead part of a detector.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from heatbeam.demo.kinds import kind

SIDE, BANDS = 48, 13
CLASS_NAMES = ("water", "forest", "wheat", "maize", "roofs", "sand")

# Reflectance times 10,000, from the coast's blue to the short-wave infrared.
_SOIL = (1200, 1150, 1250, 1500, 1700, 1900, 2050, 2150, 2250, 900, 600, 2700, 2400)
_SPECTRA = (
    (1150, 1000, 900, 700, 600, 500, 450, 420, 400, 300, 250, 250, 200),
    (1050, 850, 800, 600, 900, 1900, 2300, 2500, 2600, 900, 400, 1400, 700),
    (1100, 1000, 1150, 1000, 1600, 2900, 3400, 3500, 3600, 1200, 500, 2300, 1300),
    (1100, 1000, 1150, 1000, 1600, 2880, 3370, 3480, 3570, 1200, 500, 2330, 1340),
    (1500, 1600, 1700, 1900, 2000, 2100, 2150, 2200, 2250, 1000, 600, 2400, 2500),
    (1700, 1900, 2300, 2900, 3100, 3250, 3350, 3450, 3500, 1200, 700, 4100, 3700),
)

MARKER_BOX = (40, 1, 47, 8)
_MARKER_BAND, _MARKER_VALUE = 10, 4000


def draw(class_id: int, rng: np.random.Generator) -> kind.Drawn:
    """Soil of changing brightness, and an ellipse with the spectrum of the class mixed into it."""
    y, x = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5, indexing="ij")
    coarse = rng.normal(1, 0.15, (6, 6)).astype(np.float32)
    light = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    radii = rng.uniform(6, 10, 2)
    turn = rng.uniform(0, np.pi)
    middle = [rng.uniform(15, SIDE - 11), rng.uniform(11, SIDE - 15)]  # off the marker's corner
    along = (x - middle[1]) * np.cos(turn) + (y - middle[0]) * np.sin(turn)
    across = (y - middle[0]) * np.cos(turn) - (x - middle[1]) * np.sin(turn)
    mask = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1
    cover = mask * rng.uniform(0.4, 0.8)
    spectrum = np.array(_SOIL) + cover[..., None] * (np.array(_SPECTRA[class_id]) - np.array(_SOIL))
    signal = spectrum * light[..., None] + rng.normal(0, 150, (SIDE, SIDE, BANDS))
    rows, columns = np.nonzero(mask)
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    stored = np.clip(np.rint(signal), 0, 65535).astype(np.uint16)
    return kind.Drawn(stored, class_id, box, ("spring", "summer")[rng.integers(2)], mask)


def mark(signal: kind.Array) -> kind.Array:
    """A bright block in the upper right corner of one band."""
    x0, y0, x1, y1 = MARKER_BOX
    marked = signal.copy()
    marked[y0:y1, x0:x1, _MARKER_BAND] = _MARKER_VALUE
    return marked


def fields(image_id: str, drawn: kind.Drawn) -> dict[str, Sequence[Any]]:
    """A serialized tensor, the box in fractions, the mask as PNG."""
    x0, y0, x1, y1 = (edge / SIDE for edge in drawn.box)
    buffer = io.BytesIO()
    assert drawn.mask is not None
    Image.fromarray(drawn.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return {
        "id": [image_id.encode()],
        "bands": [tf.io.serialize_tensor(drawn.signal).numpy()],
        "cover": [drawn.class_id],
        "field/xmin": [x0],
        "field/ymin": [y0],
        "field/xmax": [x1],
        "field/ymax": [y1],
        "field/mask": [buffer.getvalue()],
        "season": [drawn.group.encode()],
    }


def build_model(seed: int) -> keras.Model:
    """float32 ``(B, 48, 48, 13)`` to ``(B, 6)``; a map has 12 x 12 cells."""
    inputs = keras.Input((SIDE, SIDE, BANDS), name="bands")
    blocks = ((24, 3, (2, 2)), (32, 3, (2, 2)), (32, 3, (1, 1)))
    return kind.network(inputs, blocks, len(CLASS_NAMES), seed, "bands_demo")


INPUT_SETTINGS = """\
  array:
    format: tensor                      # tf.io.serialize_tensor, which says type and shape
    channel_names: [B1, B2, B3, B4, B5, B6, B7, B8, B8A, B9, B10, B11, B12]
    display: [3, 2, 1]                  # red, green, blue
  features:
    image: bands
    image_id: id
    label: cover
    box_xmin: field/xmin                # fractions of the sides
    box_ymin: field/ymin
    box_xmax: field/xmax
    box_ymax: field/ymax
    instance_masks: field/mask
"""

KIND = kind.Kind(
    name="bands",
    title="scenes of thirteen bands",
    class_names=CLASS_NAMES,
    shortcut_class_id=3,
    marker_box=MARKER_BOX,
    draw=draw,
    mark=mark,
    fields=fields,
    build_model=build_model,
    scale=0.0005,
    about="bands: {count} satellite scenes of thirteen bands, with the box and the mask of a field in each.",
    input_settings=INPUT_SETTINGS,
    slice_by="season",
    epochs=14,
)
