"""What a record holds as an array, in one form: ``(*positions, channels)``, in the array's order, little-endian."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources.arrays import array_options, npy_bytes
from heatbeam.transforms.sources.pixels import image_files, tensor_protos

_OF_BYTES: tuple[array_options.Format, ...] = ("raw", "zlib")
"""Formats whose bytes are the numbers alone, without a shape."""
_RGB = 3
_BYTES_OF_FOUR = b"\x08\x06"
"""Bit depth and colour type in the header of a PNG of red, green, blue and alpha."""


def is_clip(values: Sequence[Any], form: array_options.ArrayForm) -> bool:
    """Whether the values of a feature are encoded frames, as `read` takes them."""
    if form.format != "auto":
        return form.format == "frames"
    return isinstance(values[0], bytes) and all(map(image_files.looks_like_one, values))


def read(
    values: Sequence[Any],
    form: array_options.ArrayForm,
    name: str,
    shape: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> np.ndarray:
    """The array of a feature, ``(*positions, channels)``, C-contiguous and little-endian, of its stored type.

    Args:
        values: of the feature: bytes, floats or integers.
        form: how they hold an array.
        name: of the feature, for messages.
        shape: that the record gives for it, where `form` names a feature of shapes.
        steps: of a feature list, how many of `values` each step has. The steps are the first axis of the array: a list
            of numbers or an array each, or a frame.

    Raises:
        DataError: ``missing_feature``, ``wrong_type``, ``ambiguous_array``, ``corrupt_array``, ``array_shape``,
            ``array_too_large``, or what `image_files.decoded` says of frames.
    """
    if not len(values):
        raise records.DataError("missing_feature", f"feature {name} holds no array")
    wanted = form.shape if shape is None else tuple(shape)
    kind, tensor = (form.format, None) if form.format != "auto" else _recognised(values, form, name, wanted, steps)
    is_bytes = isinstance(values[0], bytes)
    if is_bytes == (kind == "values"):
        holds, expected = ("bytes", "numbers") if is_bytes else ("numbers", "bytes")
        raise records.DataError(
            "wrong_type", f"feature {name} holds {holds}; input.array.format {kind} expects {expected}"
        )
    count = None if steps is None else _each(steps, name, one=is_bytes)
    if kind == "frames":
        channels = 1 if form.channels == "none" else (wanted or (_RGB,))[-1] or _RGB
        array = _frames(values, channels, form, name)
    elif kind == "values":
        array = _typed(np.asarray(values), form.dtype, name)
        array = array if count is None else array.reshape(len(array) // count, count)
    elif steps is not None:
        array = _stacked([_of_bytes(value, kind, form, name) for value in values], name)
    elif len(values) > 1:
        raise records.DataError(
            "multiple_values",
            f"feature {name} holds {len(values)} values; expected one {kind} array (or format frames)",
        )
    else:
        array = _of_bytes(values[0], kind, form, name) if tensor is None else tensor
    if count == 1 and kind == "values" and form.channels == "none" and wanted is None:
        wanted = array.shape[:1]
    has_shape = kind not in ("values", *_OF_BYTES) or (steps is not None and wanted is None)
    shaped = _shaped(array, wanted, name, flat=not has_shape)
    if steps is not None and len(shaped) != len(steps):
        raise records.DataError(
            "array_shape",
            f"feature list {name} has {len(steps)} steps; expected {len(shaped)}, as in {_text(shaped.shape)}",
        )
    return _canonical(shaped, form, name)


def _each(steps: Sequence[int], name: str, *, one: bool) -> int:
    """How many values each step of a feature list has: as many each, and of bytes one."""
    if len(set(steps)) > 1 or (one and steps[0] != 1):
        expected = "one" if one else "as many"
        raise records.DataError(
            "array_shape",
            f"the {len(steps)} steps of feature list {name} hold from {min(steps)} to {max(steps)} values; expected "
            f"{expected} in each",
        )
    return steps[0]


def _stacked(arrays: Sequence[np.ndarray], name: str) -> np.ndarray:
    """The arrays of all steps as one, the steps first."""
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise records.DataError(
            "array_shape",
            f"the {len(arrays)} steps of feature list {name} have shapes from {_text(shapes[0])} to "
            f"{_text(shapes[-1])}",
        )
    return np.stack(arrays)


def unchanged(values: Sequence[Any]) -> np.ndarray:
    """The values of a feature as they are, ``(n,)``: float32, int64, or bytes as objects."""
    if isinstance(values[0], bytes):
        return np.array(values, object)
    return np.asarray(values, np.float32 if isinstance(values[0], float) else np.int64)


def _recognised(
    values: Sequence[Any],
    form: array_options.ArrayForm,
    name: str,
    shape: tuple[int | None, ...] | None,
    steps: Sequence[int] | None,
) -> tuple[array_options.Format, np.ndarray | None]:
    """The format that the values can be, and the tensor where it had to be read; two formats, or none, are an error."""
    if not isinstance(values[0], bytes):
        return "values", None
    if all(map(image_files.looks_like_one, values)):
        if len(values) > 1 or steps is not None:
            return "frames", None
        raise records.DataError(
            "ambiguous_array",
            f"feature {name} holds one encoded image: leave input.array out for images, or set input.array.format: "
            "frames for a clip of one frame",
        )
    data = values[0]
    if data.startswith(npy_bytes.MAGIC):
        return "npy", None
    may_be: list[array_options.Format] = []
    tensor = tensor_protos.decode(data)
    if tensor is not None:
        may_be.append("tensor")
    if form.dtype is not None and shape is not None and _may_fill(sum(map(len, values)), shape, form.dtype):
        may_be.append("raw")
    if (len(values) == 1 or steps is not None) and len(may_be) == 1:
        return may_be[0], tensor
    what = "may be a tensor or raw" if may_be else "are no .npy, serialized tensor or images"
    raise records.DataError(
        "ambiguous_array",
        f"the {len(data)} bytes of feature {name} {what}; set input.array.format (raw needs dtype and shape)",
    )


def _may_fill(size: int, shape: tuple[int | None, ...], dtype: str) -> bool:
    known = math.prod(axis for axis in shape if axis is not None) * np.dtype(dtype).itemsize
    return size == known if None not in shape else known > 0 and size % known == 0


def _of_bytes(data: bytes, kind: str, form: array_options.ArrayForm, name: str) -> np.ndarray:
    if kind == "float_png":
        return _float_png(data, form, name)
    if kind == "npy":
        try:
            return npy_bytes.decode(data)
        except ValueError as error:
            raise records.DataError("corrupt_array", f"feature {name} is no .npy that can be read: {error}") from error
    if kind == "tensor":
        found = tensor_protos.decode(data)
        if found is None:
            raise records.DataError(
                "corrupt_array",
                f"the {len(data)} bytes of feature {name} are no serialized tensor of numbers (tf.io.serialize_tensor)",
            )
        return found
    if form.dtype is None:
        raise records.DataError(
            "wrong_type", f"feature {name} holds {len(data)} raw bytes: set input.array.dtype, such as float32"
        )
    if kind == "zlib":
        data = _inflated(data, np.dtype(form.dtype).itemsize * form.max_samples, name)
    return raw_numbers(data, form.dtype, f"feature {name}")


def raw_numbers(data: bytes, dtype: array_options.Dtype, what: str) -> np.ndarray:
    """The numbers of little-endian bytes, ``(n,)``, read-only; `what` holds them, for messages.

    Raises:
        DataError: ``corrupt_array``.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    if len(data) % stored.itemsize:
        raise records.DataError("corrupt_array", f"{what} holds {len(data)} bytes, no whole number of {dtype} values")
    return np.frombuffer(data, stored)


def _frames(values: Sequence[bytes], channels: int, form: array_options.ArrayForm, name: str) -> np.ndarray:
    """Encoded images as ``(frames, height, width, channels)``: uint8, or float32 levels where one has 16 bits."""
    first = _frame(values[0], channels, form, name)
    _check_samples(len(values) * first.shape[0] * first.shape[1], form, name)
    frames = [first, *(_frame(value, channels, form, name) for value in values[1:])]
    if form.channels == "none":
        frames = [frame[:, :, 0] for frame in frames]
    sizes = sorted({frame.shape for frame in frames})
    if len(sizes) > 1:
        raise records.DataError(
            "array_shape", f"the {len(frames)} frames of feature {name} have sizes from {sizes[0]} to {sizes[-1]}"
        )
    return np.stack(frames)


def _frame(data: bytes, channels: int, form: array_options.ArrayForm, name: str) -> np.ndarray:
    """A frame ``(height, width, channels)``, decoded as images are; of `form.dtype` uint16 as it is stored."""
    how = dataclasses.replace(form.frame, channels=channels)
    if form.dtype != "uint16":
        return image_files.decoded(data, None, how).array
    values = image_files.sixteen_bit_values(data, how)
    if values is None or values.shape[2] != channels:
        held = "8 bits a channel" if values is None else f"{values.shape[2]} channels"
        raise records.DataError(
            "wrong_type",
            f"a frame of feature {name} holds {held}; expected {channels} channels of 16 bits (input.array.dtype and "
            "shape)",
        )
    return values


def _float_png(data: bytes, form: array_options.ArrayForm, name: str) -> np.ndarray:
    """A PNG whose red, green, blue and alpha are the bytes of a float32, as ``(height, width, 1)``."""
    if data[24:26] != _BYTES_OF_FOUR:
        raise records.DataError(
            "wrong_type", f"feature {name} holds no PNG of four bytes a pixel; expected one whose pixels are float32"
        )
    options = dataclasses.replace(form.frame, channels=4, decoder="pillow", exif=False)
    return np.ascontiguousarray(image_files.decoded(data, None, options).array).view("<f4")


def _inflated(data: bytes, most: int, name: str) -> bytes:
    """Unpacked bytes, no more than `most`."""
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, most)
    except zlib.error as error:
        raise records.DataError("corrupt_array", f"feature {name} holds no zlib stream: {error}") from error
    if unpacking.unconsumed_tail:
        raise records.DataError(
            "array_too_large", f"the array of feature {name} has more than {most} bytes (input.max_pixels)"
        )
    if not unpacking.eof:
        raise records.DataError("corrupt_array", f"the zlib stream of feature {name} ends too early")
    return found


def _typed(numbers: np.ndarray, dtype: str | None, name: str) -> np.ndarray:
    """A list of numbers as `dtype`; floats are stored with 32 bits."""
    if numbers.dtype == np.float64:
        numbers = numbers.astype(np.float32)
    if dtype is None or numbers.dtype == dtype:
        return numbers
    with np.errstate(invalid="ignore", over="ignore"):
        cast = numbers.astype(dtype)
    if cast.dtype.kind in "biu" and not np.array_equal(cast.astype(np.float64), numbers.astype(np.float64)):
        raise records.DataError("wrong_type", f"feature {name} holds values that are no {dtype} (input.array.dtype)")
    return cast


def _shaped(array: np.ndarray, wanted: tuple[int | None, ...] | None, name: str, *, flat: bool) -> np.ndarray:
    """`array` in the shape that settings or the record say, an open axis filled."""
    if wanted is None:
        if not flat:
            return array
        raise records.DataError(
            "array_shape",
            f"feature {name} holds {array.size} numbers without a shape: set input.array.shape, such as "
            f"[{array.size}, 1], or input.array.shape_feature",
        )
    known = math.prod(axis for axis in wanted if axis is not None)
    open_axes = wanted.count(None)
    fits = open_axes <= 1 and known > 0 and min(axis or 1 for axis in wanted) > 0
    fits = fits and (array.size % known == 0 if open_axes else array.size == known)
    if not flat:  # bytes that have a shape of their own
        fits = fits and len(wanted) == array.ndim
        fits = fits and all(axis in (None, own) for axis, own in zip(wanted, array.shape, strict=True))
    if not fits:
        came = f"{array.size} numbers" if flat else f"an array of shape {_text(array.shape)}"
        raise records.DataError(
            "array_shape", f"feature {name} holds {came}; expected the shape {_text(wanted)} (input.array.shape)"
        )
    return array.reshape([array.size // known if axis is None else axis for axis in wanted])


def _canonical(array: np.ndarray, form: array_options.ArrayForm, name: str) -> np.ndarray:
    if array.dtype.name not in array_options.DTYPES:
        raise records.DataError("wrong_type", f"feature {name} holds {array.dtype} values; expected numbers")
    if form.channels == "none":
        array = array[..., np.newaxis]
    if not 2 <= array.ndim <= 4 or not array.size:
        raise records.DataError(
            "array_shape",
            f"feature {name} holds an array of shape {_text(array.shape)}; expected one to three position axes and "
            "channels (see input.array.shape and channels)",
        )
    if form.channels == "first":
        array = np.moveaxis(array, 0, -1)
    _check_samples(math.prod(array.shape[:-1]), form, name)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _check_samples(samples: int, form: array_options.ArrayForm, name: str) -> None:
    if samples > form.max_samples:
        raise records.DataError(
            "array_too_large", f"the array of feature {name} has {samples} samples, more than input.max_pixels allows"
        )


def _text(shape: Sequence[int | None]) -> str:
    return f"({', '.join('?' if axis is None else str(axis) for axis in shape)})"
