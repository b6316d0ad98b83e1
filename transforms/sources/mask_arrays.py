"""Masks as records hold them: PNG, ``.npy``, a serialized tensor, bytes, or integers; one value for each sample.

A picture's mask is a PNG in most data sets. A series or a volume has no PNG: its masks are arrays of its own shape, and
so may a picture's be. What it is, the bytes say: `decode` looks at their beginning and their number.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources import images
from heatbeam.transforms.sources.arrays import npy_bytes
from heatbeam.transforms.sources.pixels import image_files, tensor_protos


def packed(values: Sequence[int]) -> bytes:
    """Integers of a record as the bytes of a flat ``.npy``, which `decode` brings into shape.

    Raises:
        DataError: ``invalid_mask``, values that are no 64-bit integers.
    """
    try:
        array = np.array(values, np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise records.DataError("invalid_mask", f"a mask of numbers that are no integers: {error}") from error
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def may_be_several(masks: Sequence[bytes]) -> bool:
    """Whether the instance masks of a record may all be in one array, whose shape says how many they are."""
    if len(masks) != 1 or image_files.looks_like_one(masks[0]):
        return False
    return masks[0].startswith(npy_bytes.MAGIC) or tensor_protos.decode(masks[0]) is not None


def decode_one(data: bytes, size: tuple[int, ...], what: str) -> np.ndarray:
    """A single mask, of the image's shape; else as `decode`."""
    masks = decode(data, size, what)
    if len(masks) != 1:
        raise records.DataError("mask_size_mismatch", f"{what} holds {len(masks)} masks; expected one")
    one: np.ndarray = masks[0]
    return one


def decode(data: bytes, size: tuple[int, ...], what: str) -> np.ndarray:
    """The masks in an array, ``(M, *shape)``, as stored: integers, booleans or floats.

    An array may have the shape of its image, a single channel behind it, or a number of masks before it; or be flat.
    Bytes of no format are uint8, one for each sample.

    Args:
        data: as a record holds it.
        size: of the image, x first.
        what: what it is, for messages.

    Raises:
        DataError: ``corrupt_mask``, ``mask_size_mismatch`` or ``invalid_mask``.
    """
    shape = size[::-1]
    is_picture = len(size) == 2 and image_files.looks_like_one(data)
    if not is_picture:
        if data.startswith(npy_bytes.MAGIC):
            return _shaped(_npy(data, what), shape, what)
        if len(data) == math.prod(shape):
            return np.frombuffer(data, np.uint8).reshape(1, *shape)
        tensor = tensor_protos.decode(data)
        if tensor is not None:
            return _shaped(tensor, shape, what)
    if len(size) == 2:
        return images.decode_grey(data, size, what)[None]
    raise records.DataError(
        "invalid_mask",
        f"{what} has {len(data)} bytes, no .npy and no serialized tensor; expected one of these, or uint8 of the "
        f"input's {_text(shape)} samples",
    )


def whole_numbers(values: np.ndarray, what: str) -> np.ndarray:
    """Values as integers.

    Raises:
        DataError: ``invalid_mask``, they are no whole numbers.
    """
    if values.dtype.kind in "biu":
        return values
    whole = values.astype(np.int64)
    if not (whole == values).all():
        raise records.DataError("invalid_mask", f"{what} holds fractions; expected whole numbers, the ids of classes")
    return whole


def _npy(data: bytes, what: str) -> np.ndarray:
    """The array of an ``.npy``; its size is checked before anything is made of that size."""
    try:
        return npy_bytes.decode(data)
    except ValueError as error:
        raise records.DataError("corrupt_mask", f"{what} is no .npy that can be read: {error}") from error


def _shaped(values: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    given = values.shape[:-1] if values.shape[-1:] == (1,) and values.ndim > len(shape) else values.shape
    fits = given in (shape, (values.shape[0] if values.ndim else 0, *shape))
    if not fits and (values.ndim != 1 or values.size % math.prod(shape)):
        raise records.DataError(
            "mask_size_mismatch", f"{what} has the shape {_text(values.shape)}; its input has {_text(shape)} samples"
        )
    return values.reshape(-1, *shape)


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
