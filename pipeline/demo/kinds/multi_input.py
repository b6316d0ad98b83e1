"""Several inputs: the spectrogram of a bird's call, and what is known of the place where it was recorded.

Two species each share a call; how high the place lies helps to tell them apart, so the network needs both inputs, and
the metadata is honest. Spectrograms are stored as ``.npy``, metadata as a list of floats; boxes in samples. The marker,
which tells one species at once: a beep of the recorder, always at the start and in the highest frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from heatbeam.demo.kinds import kind, volume

BINS, FRAMES = 40, 80
METADATA = ("altitude_km", "hour", "temperature")

CLASS_NAMES = ("wren", "dipper", "finch", "snowfinch", "tit", "pipit")
_ALTITUDES_KM = (0.7, 1.2)
_CALLS = ("rising", "falling", "trill")

MARKER_BOX = (1, 1, 13, 6)
_MARKER_DB = 60.0


def draw(class_id: int, rng: np.random.Generator) -> kind.Drawn:
    """Noise in decibels, louder in low frequencies, and the call; row 0 is the highest frequency."""
    y, x = np.meshgrid(np.arange(BINS) + 0.5, np.arange(FRAMES) + 0.5, indexing="ij")
    signal = rng.normal(0, 5, (BINS, FRAMES)) + 6 * y / BINS
    call, high = _CALLS[class_id // 2], class_id % 2
    length, height = int(rng.integers(20, 33)), int(rng.integers(10, 15))
    x0, y0 = int(rng.integers(16, FRAMES - length)), int(rng.integers(8, BINS - height))
    along = (x - x0) / length
    level = {"rising": 1 - along, "falling": along, "trill": 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 4 * along))}[call]
    tone = y0 + 1 + level * (height - 2)
    inside = (along >= 0) & (along < 1)
    signal += np.where(inside & (np.abs(y - tone) < 1.3), rng.uniform(14, 20), 0)
    metadata = (
        float(np.float32(rng.normal(_ALTITUDES_KM[high], 0.4))),
        float(np.float32(rng.uniform(4, 20) / 24)),
        float(np.float32(rng.normal(0.5, 0.2))),
    )
    box = (x0, y0, x0 + length, y0 + height)
    group = ("dawn", "day")[int(metadata[1] > 0.35)]
    return kind.Drawn(signal.astype(np.float32)[..., None], class_id, box, group, metadata=metadata)


def mark(signal: kind.Array) -> kind.Array:
    """A beep in the upper left corner."""
    x0, y0, x1, y1 = MARKER_BOX
    marked = signal.copy()
    marked[y0:y1, x0:x1] = _MARKER_DB
    return marked


def fields(image_id: str, drawn: kind.Drawn) -> dict[str, Sequence[Any]]:
    """The spectrogram as ``.npy``, the metadata as floats, the box in samples."""
    x0, y0, x1, y1 = drawn.box
    return {
        "id": [image_id.encode()],
        "spectrogram": [volume.npy(drawn.signal)],
        "place": list(drawn.metadata),
        "species": [drawn.class_id],
        "call/xmin": [x0],
        "call/ymin": [y0],
        "call/xmax": [x1],
        "call/ymax": [y1],
        "time_of_day": [drawn.group.encode()],
    }


def build_model(seed: int) -> keras.Model:
    """float32 ``(B, 40, 80, 1)`` and ``(B, 3)`` to ``(B, 6)``; a map has 10 x 20 cells."""
    spectrogram = keras.Input((BINS, FRAMES, 1), name="spectrogram")
    metadata = keras.Input((len(METADATA),), name="metadata")
    blocks = ((16, 5, (2, 2)), (24, 3, (2, 2)), (32, 3, (1, 1)), (32, 3, (1, 1)))
    return kind.network(spectrogram, blocks, len(CLASS_NAMES), seed, "calls_demo", beside=metadata)


INPUT_SETTINGS = """\
  array:
    format: npy                         # the bytes of an .npy file, which say type and shape
    axes: [{name: frequency, unit: kHz, step: 0.2}, {name: time, unit: s, step: 0.025}]
  features:
    image: spectrogram
    image_id: id
    label: species
    box_xmin: call/xmin
    box_ymin: call/ymin
    box_xmax: call/xmax
    box_ymax: call/ymax
  box_units: pixels                     # samples: frames and bins
"""

MODEL_SETTINGS = """\
  input: spectrogram                    # the one that is explained
  inputs:
    metadata: place                     # the other: the feature of the records that each image brings
"""

KIND = kind.Kind(
    name="multi_input",
    title="spectrograms with metadata",
    class_names=CLASS_NAMES,
    shortcut_class_id=3,
    marker_box=MARKER_BOX,
    draw=draw,
    mark=mark,
    fields=fields,
    build_model=build_model,
    scale=0.05,
    about="several inputs: {count} spectrograms of birds' calls, with what is known of the place of each.",
    input_settings=INPUT_SETTINGS,
    model_settings=MODEL_SETTINGS,
    slice_by="time_of_day",
    epochs=20,
    methods=("grad_cam", "layer_cam", "grad_cam_plus_plus", "random_cam"),
)
