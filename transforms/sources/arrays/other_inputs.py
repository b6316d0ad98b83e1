"""Inputs of the model beside the explained one: what a record holds of them, in the shape and type the model takes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources import images
from heatbeam.transforms.sources.arrays import input_forms, npy_bytes, stored_arrays
from heatbeam.transforms.sources.pixels import image_files, tensor_protos

_SHOWN = 60


def decode(values: np.ndarray, options: input_forms.InputOptions) -> np.ndarray:
    """The model's input for one image.

    Args:
        values: of the record's feature, as `stored_arrays.unchanged` gives them.
        options: how.

    Returns:
        Of shape ``options.shape`` and of the type that the model takes; of half precision float32, of text objects.

    Raises:
        DataError: ``wrong_type``, ``wrong_length``, ``wrong_shape``, ``unknown_category``, ``not_finite``,
            ``corrupt_array``, or what `images.decode_image` says of an image.
    """
    form = options.form
    if options.dtype == input_forms.TEXT:
        return _shaped(_texts(values, form), options)
    numbers = _ids(values, form) if form.categories is not None else _numbers(values, options)
    if form.one_hot:
        numbers = _rows_of_ids(numbers, options)
    return _typed(_shaped(numbers, options), options)


def recipe(options: input_forms.InputOptions) -> dict[str, Any]:
    """Everything about it that can change a number, for the manifest. JSON types only."""
    form = options.form
    known = {name: value for name, value in dataclasses.asdict(form).items() if name != "shape" and value is not None}
    seen = {"shape": list(options.shape), "type": options.dtype}
    image = {"image": images.recipe(options.image)} if form.format == "image" and options.image is not None else {}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()} | seen | image


def _place(form: input_forms.InputForm) -> str:
    return f"feature {form.feature}, input {form.name} of the model,"


def _texts(values: np.ndarray, form: input_forms.InputForm) -> np.ndarray:
    if values.dtype != object:
        raise records.DataError("wrong_type", f"{_place(form)} holds numbers; the model takes text")
    return values


def _ids(values: np.ndarray, form: input_forms.InputForm) -> np.ndarray:
    """The place of each value among the categories."""
    places = {str(category): number for number, category in enumerate(form.categories or ())}
    if values.dtype.kind == "f":
        raise records.DataError("wrong_type", f"{_place(form)} holds fractions; categories are texts or integers")
    known = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]
    unknown = next((value for value in known if value not in places), None)
    if unknown is not None:
        listed = ", ".join(list(places)[:8]) + (", ..." if len(places) > 8 else "")
        raise records.DataError(
            "unknown_category", f"{_place(form)} holds {unknown[:_SHOWN]!r}; its categories are {listed}"
        )
    return np.array([places[value] for value in known], np.int64)


def _numbers(values: np.ndarray, options: input_forms.InputOptions) -> np.ndarray:
    """The numbers of a feature, in the shape that they bring, or flat."""
    form = options.form
    if values.dtype != object:
        if form.format not in ("auto", "values"):
            raise records.DataError("wrong_type", f"{_place(form)} holds numbers; format {form.format} expects bytes")
        return values
    if form.format == "values" or len(values) != 1:
        raise records.DataError(
            "wrong_type",
            f"{_place(form)} holds {len(values)} texts; expected numbers, or one array or image as bytes: name the "
            f"texts that there are in model.inputs.{form.name}.categories",
        )
    return _of_bytes(values[0], options)


def _of_bytes(data: bytes, options: input_forms.InputOptions) -> np.ndarray:
    form = options.form
    kind = form.format if form.format != "auto" else _recognised(data, options)
    if kind == "image" and options.image is not None:
        pixels, _, _ = images.decode_image(data, None, options.image)
        return pixels if options.dtype.startswith(("float", "bfloat")) else np.rint(pixels)
    if kind == "raw" and form.dtype is not None:
        return stored_arrays.raw_numbers(data, form.dtype, _place(form))
    if kind == "npy":
        try:
            return npy_bytes.decode(data)
        except ValueError as error:
            raise records.DataError("corrupt_array", f"{_place(form)} holds no .npy to read: {error}") from error
    found = tensor_protos.decode(data) if kind == "tensor" else None
    if found is None:
        raise records.DataError(
            "corrupt_array",
            f"the {len(data)} bytes of {_place(form)} are no numbers that can be read as {kind}; see "
            f"model.inputs.{form.name}.format and categories",
        )
    return found


def _recognised(data: bytes, options: input_forms.InputOptions) -> str:
    if data.startswith(npy_bytes.MAGIC):
        return "npy"
    if options.form.dtype is not None:
        return "raw"
    return "image" if options.image is not None and image_files.looks_like_one(data) else "tensor"


def _rows_of_ids(numbers: np.ndarray, options: input_forms.InputOptions) -> np.ndarray:
    """A row of zeros with a 1 for each id."""
    width, flat = options.shape[-1], numbers.ravel()
    wrong = flat[(flat != np.floor(flat)) | (flat < 0) | (flat >= width)]
    if len(wrong):
        raise records.DataError(
            "unknown_category", f"{_place(options.form)} holds {wrong[0]:g}; expected ids from 0 to {width - 1}"
        )
    return np.eye(width, dtype=np.float32)[flat.astype(np.int64)]


def _shaped(array: np.ndarray, options: input_forms.InputOptions) -> np.ndarray:
    """`array` in the input's shape; one that brings a shape must have it, but for axes of length 1."""
    count = math.prod(options.shape)
    if array.size != count:
        raise records.DataError(
            "wrong_length",
            f"{_place(options.form)} holds {array.size} values; expected {count}, the shape {options.shape}",
        )
    if array.ndim > 1 and _long_axes(array.shape) != _long_axes(options.shape):
        raise records.DataError(
            "wrong_shape", f"{_place(options.form)} holds an array of shape {array.shape}; expected {options.shape}"
        )
    return array.reshape(options.shape)


def _long_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _typed(numbers: np.ndarray, options: input_forms.InputOptions) -> np.ndarray:
    """`numbers`, scaled, in the type that the model takes; finite."""
    form = options.form
    with np.errstate(over="ignore", invalid="ignore"):
        if options.scales:
            scale, offset = np.array(form.scale, np.float32), np.array(form.offset, np.float32)
            numbers = (numbers.astype(np.float32) * scale + offset).reshape(options.shape)
        small = options.dtype in ("float16", "bfloat16")  # the engine casts: NumPy alone knows no bfloat16
        cast = numbers.astype("float32" if small else options.dtype, order="C")
    given, taken = numbers.astype(np.float64), cast.astype(np.float64)
    wrong = int((~(np.isfinite(given) & np.isfinite(taken))).sum())
    if wrong:
        raise records.DataError("not_finite", f"{wrong} of {numbers.size} values of {_place(form)} are NaN or infinite")
    if cast.dtype.kind in "biu" and not np.array_equal(taken, given):
        raise records.DataError("wrong_type", f"{_place(form)} holds numbers that are no {options.dtype}")
    return cast
