"""Which feature of a record holds an input of the model beside the explained one, and how, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal

from heatbeam.transforms import errors
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.arrays import array_options

Format = Literal["auto", "values", "raw", "tensor", "npy", "image"]
TEXT = "string"


@dataclasses.dataclass(frozen=True)
class InputForm:
    """How a record holds one of the model's other inputs.

    Attributes:
        name: of the model's input.
        feature: of the record.
        format: ``values`` is a list of numbers or texts; ``raw``, ``tensor`` and ``npy`` as of
            `array_options.ArrayForm`; ``image`` an encoded image. ``auto`` tells them apart by their first bytes.
        dtype: of ``raw`` bytes.
        shape: of the input, where the model leaves it open.
        categories: the values that there are, in the order of their ids: texts or integers. None: values are numbers.
        one_hot: whether each value is an id that becomes a row with a 1 in its place.
        scale, offset: number * scale + offset, one each or one for each of the last axis.
    """

    name: str
    feature: str
    format: Format = "auto"
    dtype: array_options.Dtype | None = None
    shape: tuple[int, ...] | None = None
    categories: tuple[str | int, ...] | None = None
    one_hot: bool = False
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """How what a record holds becomes a model's input.

    Attributes:
        form: how it is stored.
        shape: of the input, without the batch axis.
        dtype: NumPy's name of what the model takes, or `TEXT`.
        image: how encoded images become it; None where its shape is no image's.

    Raises:
        errors.UsageError: form and input do not fit each other; all problems are named.
    """

    form: InputForm
    shape: tuple[int, ...]
    dtype: str
    image: decode_options.ImageOptions | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise errors.UsageError("; ".join(problems))

    @property
    def scales(self) -> bool:
        """Whether the numbers are changed by `InputForm.scale` and `InputForm.offset`."""
        return (self.form.scale, self.form.offset) != ((1.0,), (0.0,))

    def _problems(self) -> Iterator[str]:
        form, place = self.form, f"model.inputs.{self.form.name}"
        takes = f"input {form.name} takes {self.dtype} {self.shape}"
        if form.shape is not None and form.shape != self.shape:
            yield f"{place}.shape is {list(form.shape)}, and {takes}"
        if self.dtype == TEXT and (form.one_hot or self.scales or form.categories is not None):
            yield f"{place}: one_hot, categories, scale and offset make numbers, and {takes}"
        if form.one_hot and not self.shape:
            yield f"{place}.one_hot makes rows of numbers, and {takes}"
        elif form.one_hot and form.categories is not None and len(form.categories) != self.shape[-1]:
            yield f"{place} has {len(form.categories)} categories for one_hot, and {takes}"
        for setting in ("scale", "offset"):
            count = len(getattr(form, setting))
            if count != 1 and (not self.shape or count != self.shape[-1]):
                yield f"{place}.{setting} has {count} numbers, and {takes}; give one, or one for each of the last axis"
        if form.format == "image" and self.image is None:
            yield f"{place}.format is image, and {takes}; an image is (height, width, channels)"
        if self.scales and self.dtype != "bool" and not self.dtype.startswith(("float", "bfloat", TEXT)):
            yield f"{place}: scale and offset make fractions, and {takes}"
