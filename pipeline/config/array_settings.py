"""The section ``input.array``: inputs that are arrays of numbers or clips, not image files."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from heatbeam.config import section
from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.arrays import array_options

_Channel = Annotated[int, pydantic.Field(ge=0)]


class AxisConfig(section.Section):
    """A position axis: what a sample of it is."""

    name: str = pydantic.Field(description="such as time or depth")
    unit: str | None = pydantic.Field(None, description="of step and start: s, mm (default: samples)")
    step: Annotated[float, pydantic.Field(gt=0)] = pydantic.Field(1.0, description="extent of one sample, in the unit")
    start: float = pydantic.Field(0.0, description="where the first sample begins, in the unit")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class ArrayConfig(section.Section):
    """Series, volumes, clips and bands: arrays of one to three position axes and any number of channels."""

    format: array_options.Format = pydantic.Field(
        array_options.ArrayForm.format,
        description="how records hold an array: lists of numbers (values), raw bytes, tf.io.serialize_tensor (tensor), "
        "npy files, or encoded images (frames); auto tells them apart, and refuses what may be two of them. zlib: raw "
        "bytes, packed; float_png: a PNG whose pixels are float32, of TFDS",
    )
    dtype: array_options.Dtype | None = pydantic.Field(
        array_options.ArrayForm.dtype,
        description="of the numbers; needed for raw and zlib, what values become, uint16: frames as stored",
    )
    shape: tuple[section.Positive | None, ...] | None = pydantic.Field(
        array_options.ArrayForm.shape,
        description="as stored, channels included, in the order of the array; null for an axis that varies",
    )
    shape_feature: str | None = pydantic.Field(
        array_options.ArrayForm.shape_feature, description="feature whose integers are the shape, instead of shape"
    )
    channels: array_options.Channels = pydantic.Field(
        array_options.ArrayForm.channels, description="where their axis is; none: one channel without an axis"
    )
    axes: tuple[AxisConfig, ...] | None = pydantic.Field(
        None, description="the position axes, in the order of the array: names, or name, unit, step and start"
    )
    channel_names: tuple[str, ...] | None = pydantic.Field(None, description="of the channels, in their order")
    fit: tuple[array_options.Fit, ...] | None = pydantic.Field(
        None,
        description="to the model's input, one rule or one for each axis: refuse other lengths, pad, crop, "
        "pad_or_crop or resize (linear); without it two axes follow input.resize, and others are refused",
    )
    pad_value: float = pydantic.Field(
        array_options.ArrayOptions.pad_value, description="of samples outside the array, in its own numbers"
    )
    pad_side: array_options.Side = pydantic.Field(
        array_options.ArrayOptions.pad_side, description="where an axis is padded and cut"
    )
    display: tuple[_Channel, ...] | None = pydantic.Field(
        None, description="channels that reports show, from 0; [4, 3, 2] for red, green and blue"
    )

    @pydantic.field_validator("fit", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> ArrayConfig:
        given = {} if self.rank is None else {"axes": self.axes, "fit": self.fit if len(self.fit or ()) > 1 else None}
        section.refuse({
            "give either shape or shape_feature, not both": self.shape is not None and self.shape_feature is not None,
            "shape: at most one axis can be null": (self.shape or ()).count(None) > 1,
            f"{self.format} bytes need dtype": self.format in ("raw", "zlib") and self.dtype is None,
            f"an array of {self.rank} position axes: expected 1 to 3": self.rank not in (None, 1, 2, 3),
            **{f"{name}: expected one for each of {self.rank} position axes, as shape has them":
               value is not None and len(value) != self.rank for name, value in given.items()},
        })  # fmt: skip
        return self

    @property
    def rank(self) -> int | None:
        """How many position axes the arrays have; None where only the records say."""
        if self.shape is not None:
            return len(self.shape) - (self.channels != "none")
        if self.format == "frames":
            return 3
        return None if self.axes is None else len(self.axes)

    def as_form(self, frame: decode_options.ImageOptions) -> array_options.ArrayForm:
        """How records hold an array, as the steps know it; `frame`: how one of a clip is decoded."""
        return array_options.ArrayForm(
            self.format, self.dtype, self.shape, self.shape_feature, self.channels, frame.max_pixels, frame
        )

    def as_axes(self, rank: int) -> tuple[records.Axis, ...]:
        """The position axes of inputs of that rank, in the order of the array."""
        plain = records.plain_axes(rank)
        if self.axes is None:
            return plain
        return tuple(
            records.Axis(axis.name, axis.unit or known.unit, axis.step, axis.start)
            for axis, known in zip(self.axes, plain, strict=True)
        )
