"""How arrays are stored and how they become the model's input, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Literal, get_args

from heatbeam.transforms import errors
from heatbeam.transforms.sources import decode_options

Format = Literal["auto", "values", "raw", "zlib", "tensor", "npy", "frames", "float_png"]
Dtype = Literal[
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"
]
Channels = Literal["last", "first", "none"]
Fit = Literal["refuse", "pad", "crop", "pad_or_crop", "resize"]
Side = Literal["end", "start", "both"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


_FRAME = decode_options.ImageOptions(1, 1)


@dataclasses.dataclass(frozen=True)
class ArrayForm:
    """How a record holds an array.

    Attributes:
        format: ``values`` is a list of floats or integers, ``raw`` bytes in the order of the array and little-endian,
            ``zlib`` the same compressed, ``tensor`` what ``tf.io.serialize_tensor`` gives, ``npy`` an ``.npy`` file,
            ``frames`` encoded images of one size, one for each sample of the first axis, ``float_png`` a PNG whose four
            bytes a pixel are a float32 (TFDS's images of that type). ``auto`` tells them apart, but for ``zlib`` and
            ``float_png``, and refuses what may be two of them.
        dtype: of the numbers; needed for ``raw`` and ``zlib``, and what ``values`` become. Frames of ``uint16`` are the
            values that are stored.
        shape: as stored, with the axis of channels where `channels` says; at most one axis is None and follows from
            the number of values. None: what the bytes say, or `shape_feature`.
        shape_feature: integers of the record that are the shape.
        channels: where the axis of channels is: ``last``, ``first``, or ``none``: one channel without an axis.
        max_samples: positions of the largest array that is read.
        frame: how a frame is decoded, into as many channels as `shape` ends in, or three; its size is its own.
    """

    format: Format = "auto"
    dtype: Dtype | None = None
    shape: tuple[int | None, ...] | None = None
    shape_feature: str | None = None
    channels: Channels = "last"
    max_samples: int = 100_000_000
    frame: decode_options.ImageOptions = _FRAME


@dataclasses.dataclass(frozen=True)
class ArrayOptions:
    """How an array becomes the model's input.

    Example::

        >>> ArrayOptions((64, 6), fit=("pad",)).rank
        1

    Attributes:
        shape: of the model's input, ``(*positions, channels)``.
        fit: of each position axis, in the order of the array, or one for all. ``refuse``: another length loses the
            record; ``pad``: a shorter axis gets `pad_value`, ``crop``: a longer one is cut, ``pad_or_crop``: both;
            ``resize``: linear between samples, half a sample off them, as ``tf.image.resize`` without antialias.
            Empty: two axes by the rules of `image`, others are refused. Height and width of frames are resized by the
            resampler of `image`.
        pad_value: of samples outside the array, in its own numbers.
        pad_side: where an axis is padded and cut; of ``both`` the smaller half is at the start.
        image: the images' own rules, of two axes and of clips.

    Raises:
        errors.UsageError: a value is out of its range; all of them are named.
    """

    shape: tuple[int, ...]
    fit: tuple[Fit, ...] = ()
    pad_value: float = 0.0
    pad_side: Side = "end"
    image: decode_options.ImageOptions | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise errors.UsageError("array options: " + "; ".join(problems))

    @property
    def rank(self) -> int:
        """How many position axes the model's input has."""
        return len(self.shape) - 1

    @property
    def fits(self) -> tuple[Fit, ...]:
        """`fit`, one for each axis."""
        fit: tuple[Fit, ...] = self.fit or ("refuse",)
        return fit if len(fit) > 1 else fit * self.rank

    @property
    def image_rules(self) -> decode_options.ImageOptions | None:
        """By which two axes are resized as images are; None where `fits` says how."""
        return self.image if self.rank == 2 and not self.fit else None

    def _problems(self) -> Iterator[str]:
        if not 2 <= len(self.shape) <= 4 or min(self.shape) < 1:
            yield f"shape must be 1 to 3 positive axes and channels; got {self.shape}"
        if len(self.fit) not in (0, 1, self.rank):
            yield f"fit must be one rule, or one for each of {self.rank} position axes; got {list(self.fit)}"
