"""Arrays at the model's input: numbers as float32, and each axis refused, padded, cut or resized.

The view says what part of the signal the input shows; what of it lies outside the signal is padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, images
from heatbeam.transforms.sources.arrays import array_options
from heatbeam.transforms.sources.pixels import geometry, resamplers

View = tuple[float, ...]
_LETTERS = "zyx"


def stored(data: bytes, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The array of a record, ``(*positions, channels)``, of its own type; read-only."""
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def decode(
    array: np.ndarray, options: array_options.ArrayOptions, *, is_clip: bool = False
) -> tuple[np.ndarray, tuple[int, ...], View]:
    """The model's view of an array.

    Args:
        array: ``(*positions, channels)`` as stored, of any number type.
        options: how.
        is_clip: whether it is of encoded frames; ``resize`` is then the images' own resampler along height and width.

    Returns:
        The input of shape ``options.shape``, uint8 where the array is and no axis is resized between samples, else
        float32; the original size in samples, x first; and the view, starts and then ends, x first.

    Raises:
        DataError: ``wrong_shape``, ``wrong_length`` or ``not_finite``.
    """
    _check_shape(array.shape, options)
    size = array.shape[-2::-1]
    view = view_of(size, options)
    numbers = _numbers(array)
    if options.image_rules is not None:
        return images.resized_array(numbers, options.image_rules), size, view
    if is_clip and options.image is not None:
        numbers = _frames_resized(numbers, options, options.image)
    for axis, (fit, length) in enumerate(zip(options.fits, options.shape[:-1], strict=True)):
        numbers = _fitted(numbers, axis, length, fit, options)
    return np.ascontiguousarray(numbers), size, view


def _frames_resized(
    frames: np.ndarray, options: array_options.ArrayOptions, image: decode_options.ImageOptions
) -> np.ndarray:
    """A clip whose height and width have the model's length where their rule is to resize."""
    target = tuple(
        length if fit == "resize" else own
        for fit, length, own in zip(options.fits[1:], options.shape[1:-1], frames.shape[1:-1], strict=True)
    )
    if target == frames.shape[1:-1]:
        return frames
    resampled = resamplers.BY_NAME[image.resampler]
    return np.stack([resampled(frame, (target[0], target[1]), image.interpolation) for frame in frames])


def view_of(size: tuple[int, ...], options: array_options.ArrayOptions) -> View:
    """The part of an original of `size`, x first, that the model's input shows: starts and then ends, x first.

    Raises:
        DataError: ``wrong_length``.
    """
    if options.image_rules is not None:
        return geometry.view_of(size, options.image_rules)
    starts, ends = [], []
    for axis, (fit, target) in enumerate(zip(options.fits, options.shape[:-1], strict=True)):
        source = size[::-1][axis]
        _check_length(source, target, fit, axis, options)
        start = 0 if fit == "resize" else -_before(target - source, options)
        starts.append(float(start))
        ends.append(float(source if fit == "resize" else start + target))
    return (*starts[::-1], *ends[::-1])


def recipe(options: array_options.ArrayOptions) -> dict[str, Any]:
    """Everything about fitting that can change a number, for the manifest."""
    if options.image_rules is not None:
        return {"image": images.recipe(options.image_rules)}
    rules = {"fit": list(options.fits), "pad_value": options.pad_value, "pad_side": options.pad_side}
    frames = {} if options.image is None or options.rank == 2 else {"frames": images.recipe(options.image)}
    return {"shape": list(options.shape), **rules, "resize": "linear, half-sample centers", **frames}


def in_words(array: np.ndarray, view: View) -> str:
    """What a check says of an array: its shape, numbers, and what the model is shown beside or without."""
    size, rank = array.shape[-2::-1], array.ndim - 1
    values = array.astype(np.float64)
    said = f"{_text(array.shape)} {array.dtype.name}, values {values.min():.4g} to {values.max():.4g}"
    for axis in range(rank):
        start, end, letter = view[axis], view[rank + axis], _LETTERS[::-1][axis]
        padded = max(0.0, -start) + max(0.0, end - size[axis])
        cut = max(0.0, start) + max(0.0, size[axis] - end)
        said += f", {padded:g} samples of padding along {letter}" if padded else ""
        said += f", {cut:g} samples cut along {letter}" if cut else ""
    return said


def _check_shape(shape: tuple[int, ...], options: array_options.ArrayOptions) -> None:
    if len(shape) != len(options.shape) or shape[-1] != options.shape[-1]:
        axes = "axis" if len(shape) == 2 else "axes"
        raise records.DataError(
            "wrong_shape",
            f"the array has the shape {_text(shape)}, {len(shape) - 1} position {axes} and {shape[-1]} channels; the "
            f"model takes {_text(options.shape)} (see input.array.shape and channels)",
        )


def _check_length(source: int, target: int, fit: str, axis: int, options: array_options.ArrayOptions) -> None:
    allowed = {"refuse": False, "pad": source < target, "crop": source > target}.get(fit, True)
    if source != target and not allowed:
        letter = _LETTERS[len(_LETTERS) - options.rank + axis]
        choice = "pad or resize" if source < target else "crop or resize"
        raise records.DataError(
            "wrong_length",
            f"the array has {source} samples along axis {axis} ({letter}), the model takes {target}, and "
            f"input.array.fit is {fit}; set it to {choice}",
        )


def _numbers(array: np.ndarray) -> np.ndarray:
    """uint8 as it is, all else as float32.

    Raises:
        DataError: ``not_finite``.
    """
    if array.dtype == np.uint8:
        return array
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(wrong))
        raise records.DataError(
            "not_finite",
            f"{int(wrong.sum())} of {numbers.size} values are NaN or infinite as float32, the first at {list(place)}: "
            f"{array[place]}",
        )
    return numbers


def _before(missing: int, options: array_options.ArrayOptions) -> int:
    """Samples to add before an axis of which `missing` are to be added; negative: to cut."""
    half = abs(missing) // 2 * (1 if missing >= 0 else -1)
    return {"end": 0, "start": missing, "both": half}[options.pad_side]


def _fitted(numbers: np.ndarray, axis: int, target: int, fit: str, options: array_options.ArrayOptions) -> np.ndarray:
    source = numbers.shape[axis]
    if source == target:
        return numbers
    if fit == "resize":
        return resamplers.linear(numbers, axis, target)
    before = _before(target - source, options)
    if source > target:
        return numbers.take(range(-before, -before + target), axis)
    pads = [(0, 0)] * numbers.ndim
    pads[axis] = (before, target - source - before)
    if numbers.dtype == np.uint8 and not (options.pad_value % 1 == 0 and 0 <= options.pad_value <= 255):
        numbers = numbers.astype(np.float32)
    return np.pad(numbers, pads, constant_values=numbers.dtype.type(options.pad_value))


def _text(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
