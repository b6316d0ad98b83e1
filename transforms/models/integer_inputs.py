"""Models that declare integer inputs, made to take the same numbers as floats: a cast to integers has no gradient."""

from __future__ import annotations

import keras
import numpy as np

from heatbeam.transforms.models.files import input_constants

_TOLERANCE = 1e-5  # of the largest output


def declared(model: keras.Model) -> str | None:
    """The integer type of a model's own input, such as ``uint8``; None for floats and where nothing is declared."""
    return next((tensor.dtype for tensor in getattr(model, "_inputs", None) or () if _is_integer(tensor)), None)


def taken_as_floats(model: keras.Model, size: tuple[int, ...]) -> bool:
    """Have `model` and the models inside it take floats where they declare integers, if its answers stay the same.

    They do not where it rounds on the way, as a layer that resizes integers does; then nothing is changed.

    Args:
        model: the loaded copy; it is changed.
        size: height, width and channels of its input.

    Returns:
        Whether no cast to a declared integer is left.
    """
    parts = model._flatten_layers()  # noqa: SLF001 - no public way to the models inside a model
    whole, constant = (model.whole, model.constants) if isinstance(model, input_constants.OneInput) else (None, {})
    tensors = [
        t
        for part in parts
        for t in getattr(part, "_inputs", None) or ()
        if _is_integer(t) and not (part is whole and t.name in constant)
    ]
    if not tensors:
        return True
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size)).astype(np.float32)
    before, types = _answers(model, pixels), [tensor.dtype for tensor in tensors]
    for tensor in tensors:
        _set_type(tensor, "float32")
    try:
        after = _answers(model, pixels)
    except (TypeError, ValueError):
        after = []
    scale = max((float(np.abs(one).max(initial=0)) for one in before), default=0)
    if len(after) == len(before) and all(
        np.allclose(one, other, rtol=0, atol=_TOLERANCE * scale) for one, other in zip(before, after, strict=True)
    ):
        return True
    for tensor, dtype in zip(tensors, types, strict=True):
        _set_type(tensor, dtype)
    return False


def _answers(model: keras.Model, pixels: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(one, np.float32) for one in keras.tree.flatten(model(pixels, training=False))]


def _is_integer(tensor: keras.KerasTensor) -> bool:
    return keras.backend.is_int_dtype(tensor.dtype)  # type: ignore[no-any-return]


def _set_type(tensor: keras.KerasTensor, dtype: str) -> None:
    # Functional models cast what they are given to the type of the tensor that stands for it, which has no setter.
    tensor._dtype = dtype  # noqa: SLF001
