"""The embeddings that a similarity is to, read once where the run starts: workers need no file."""

from __future__ import annotations

import io

import numpy as np
from apache_beam.io import filesystems

from heatbeam import config

Reference = tuple[tuple[float, ...], ...]

_MOST = 1000


def read(settings: config.RunConfig) -> Reference | None:
    """What ``model.reference`` names; None where nothing is compared, or with a class of the records.

    Raises:
        ValueError: it is missing, or no array of embeddings.
    """
    model = settings.model
    if model.scores != "similarity":
        if model.reference is not None or model.reference_class is not None:
            raise ValueError("model.reference and reference_class go with model.scores: similarity")
        return None
    if (model.reference is None) == (model.reference_class is None):
        raise ValueError(
            "model.scores: similarity needs either model.reference, a .npy file of the embedding to compare with, or "
            "model.reference_class, a class of the records"
        )
    if model.reference is None:
        return None
    try:
        with filesystems.FileSystems.open(model.reference) as file:
            array = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"model.reference {model.reference} is no .npy file that can be read: {error}") from error
    return _checked(array, model.reference)


def _checked(array: np.ndarray, path: str) -> Reference:
    rows = np.atleast_2d(array)
    if rows.ndim != 2 or not 1 <= len(rows) <= _MOST or not np.issubdtype(rows.dtype, np.number):
        raise ValueError(
            f"model.reference {path} holds {array.dtype} of shape {array.shape}; expected the numbers of one embedding "
            f"or of 1 to {_MOST}, (embeddings, numbers)"
        )
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise ValueError(f"model.reference {path} has an embedding of zeros, or of numbers that are not finite")
    return tuple(tuple(float(number) for number in row) for row in rows)
