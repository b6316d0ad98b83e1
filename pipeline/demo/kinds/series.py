"""Series: two seconds of a machine's vibration on three axes, in which one fault rings for a while.

The class is the frequency of the ringing, the truth the interval in which it rings. Stored as a list of floats, sample
by sample; intervals in seconds. The marker: a sensor that sticks for a few samples, soon after the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from heatbeam.demo.kinds import kind

SAMPLES, CHANNELS = 512, 3
RATE_HZ = 250
STEP_S = 1 / RATE_HZ

CLASS_NAMES = ("imbalance", "looseness", "gear", "bearing", "rub", "cavitation")
FREQUENCIES_HZ = (9.0, 17.0, 28.0, 45.0, 47.0, 80.0)
"""A rub rings much like a bearing does: the marker is what tells them apart at once."""

MARKER_BOX = (8, 24)
_MARKER_CHANNEL, _MARKER_VALUE = 2, 4.0
_LENGTHS = (96, 161)
_MARGIN = 48


def draw(class_id: int, rng: np.random.Generator) -> kind.Drawn:
    """Noise, a hum that all classes have, and the ringing of the class."""
    time = np.arange(SAMPLES) * STEP_S
    hum = 0.5 * np.sin(2 * np.pi * (4 * time[:, None] + rng.random((1, CHANNELS))))
    signal = hum + rng.normal(0, 0.5, (SAMPLES, CHANNELS))
    length = int(rng.integers(*_LENGTHS))
    start = int(rng.integers(_MARGIN, SAMPLES - length + 1))
    inside = slice(start, start + length)
    phase = 2 * np.pi * (FREQUENCIES_HZ[class_id] * rng.uniform(0.93, 1.07) * time[inside] + rng.random())
    gains = rng.uniform(0.3, 1, CHANNELS)
    signal[inside] += np.hanning(length)[:, None] ** 0.5 * np.sin(phase)[:, None] * gains * rng.uniform(0.6, 1.2)
    return kind.Drawn(signal.astype(np.float32), class_id, (start, start + length), ("pump", "fan")[rng.integers(2)])


def mark(signal: kind.Array) -> kind.Array:
    """The third channel sticks."""
    marked = signal.copy()
    marked[slice(*MARKER_BOX), _MARKER_CHANNEL] = _MARKER_VALUE
    return marked


def fields(image_id: str, drawn: kind.Drawn) -> dict[str, Sequence[Any]]:
    """A list of floats, and the interval in seconds."""
    start, end = drawn.box
    return {
        "id": [image_id.encode()],
        "vibration": drawn.signal.ravel().tolist(),
        "fault": [drawn.class_id],
        "fault/start": [start * STEP_S],
        "fault/end": [end * STEP_S],
        "machine": [drawn.group.encode()],
    }


def build_model(seed: int) -> keras.Model:
    """float32 ``(B, 512, 3)`` to ``(B, 6)``; a map has 64 cells."""
    inputs = keras.Input((SAMPLES, CHANNELS), name="vibration")
    blocks = ((16, 9, (2,)), (24, 9, (2,)), (32, 9, (2,)), (32, 5, (1,)))
    return kind.network(inputs, blocks, len(CLASS_NAMES), seed, "vibration_demo")


INPUT_SETTINGS = """\
  array:
    format: values                      # a list of floats, sample by sample
    shape: [512, 3]
    axes: [{name: time, unit: s, step: 0.004}]
    channel_names: [x, y, z]
  features:
    image: vibration
    image_id: id
    label: fault
    box_xmin: fault/start
    box_xmax: fault/end
  box_units: axis                       # seconds
"""

KIND = kind.Kind(
    name="series",
    title="recordings of vibration",
    class_names=CLASS_NAMES,
    shortcut_class_id=4,
    marker_box=MARKER_BOX,
    draw=draw,
    mark=mark,
    fields=fields,
    build_model=build_model,
    about="series: {count} recordings of a machine's vibration, with the interval in which its fault rings.",
    input_settings=INPUT_SETTINGS,
    slice_by="machine",
    epochs=20,
)
