"""The bytes of an ``.npy`` file: numbers only, never pickles, and nothing is made that the bytes do not fill."""

from __future__ import annotations

import io
import math

import numpy as np

MAGIC = b"\x93NUMPY"


def decode(data: bytes) -> np.ndarray:
    """The array, read-only.

    Raises:
        ValueError: they are no ``.npy``, of other values than numbers, or of another length than the header says.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (SyntaxError, TypeError, EOFError) as error:
        raise ValueError(str(error)) from error
    left = len(data) - stream.tell()
    if dtype.kind not in "biuf":
        raise ValueError(f"values of {dtype}; expected numbers")
    if min(shape, default=1) < 0 or left != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{left} bytes of values for {dtype} of shape {shape}")
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
