"""Mean and deviation of each channel from a file, in the forms in which trainings leave them.

JSON and ``.npz`` name them: ``mean`` and ``std``, or ``variance`` in its place (the weights of Keras'
``Normalization``), or ``image_mean`` and ``image_std`` (``preprocessor_config.json`` of Transformers, whose
``rescale_factor`` comes before). An ``.npy`` has two rows, means and deviations.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

_DEVIATIONS = ("std", "image_std")
_VARIANCES = ("variance", "var")
_MEANS = ("mean", "image_mean")
_NPY, _ZIP = b"\x93NUMPY", b"PK"


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Of channels, in their order.

    Attributes:
        mean: of each.
        std: standard deviation of each, above 0.
        scale: of the values before `mean` is taken off; None where they are the data's own.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float | None = None


def parsed(data: bytes, name: str) -> Statistics:
    """The statistics in the bytes of a file, of the format that they begin as.

    Args:
        data: of the file.
        name: of it, for messages.

    Raises:
        ValueError: it holds none.
    """
    try:
        found = _named(data)
        mean = _numbers(found, _MEANS)
        std = _numbers(found, _DEVIATIONS, _VARIANCES)
        _check(mean, std)
        rescaled = found.get("rescale_factor") is not None and found.get("do_rescale", True)
        return Statistics(mean, std, float(found["rescale_factor"]) if rescaled else None)
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{name} holds no mean and std of channels: {error}; expected JSON or .npz with mean and std (or "
            "variance), or .npy of two rows"
        ) from error


def _named(data: bytes) -> Mapping[str, Any]:
    if data.startswith(_NPY):
        rows = np.load(io.BytesIO(data), allow_pickle=False)
        if rows.ndim != 2 or len(rows) != 2:
            raise ValueError(f"an array of shape {rows.shape}")
        return {"mean": rows[0], "std": rows[1]}
    if data.startswith(_ZIP):
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)
    try:
        found = json.loads(data)
    except ValueError as error:
        what = "the file is empty" if not data.strip() else "its bytes are neither JSON nor .npz nor .npy"
        raise ValueError(what) from error
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} at the top")
    return found


def _numbers(found: Mapping[str, Any], names: tuple[str, ...], squares: tuple[str, ...] = ()) -> tuple[float, ...]:
    for name in (*names, *squares):
        if found.get(name) is not None:
            numbers = np.asarray(found[name], np.float64).ravel().tolist()
            return tuple(math.sqrt(number) if name in squares else number for number in numbers)
    raise ValueError(f"no {' or '.join((*names, *squares))} among {', '.join(sorted(found)) or 'nothing'}")


def _check(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    if len(mean) != len(std) or not mean:
        raise ValueError(f"{len(mean)} means and {len(std)} deviations")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError(f"means {list(mean)}, deviations {list(std)}, which are not all finite and above 0")
