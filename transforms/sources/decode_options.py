"""How images and masks are decoded, as values: their names and bounds, and no decoder."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from heatbeam.transforms import errors

Resize = Literal["squash", "crop", "pad"]
Interpolation = Literal["nearest", "area", "bilinear", "hamming", "bicubic", "lanczos"]
RESIZES: tuple[str, ...] = get_args(Resize)
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)
CHANNELS = (1, 3)


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """How an image becomes the model's input.

    Example::

        >>> ImageOptions(224, 224, resize="crop", crop_fraction=0.875).interpolation
        'bilinear'

    Attributes:
        height, width: of the model's input, in pixels.
        channels: 3 (RGB) or 1 (grey, ITU-R 601 luma).
        resize: ``squash`` shows the whole image and changes its proportions; ``crop`` shows the largest centred
            rectangle with the input's proportions, times `crop_fraction`; ``pad`` shows the whole image, centred, with
            `pad_value` around it.
        interpolation: one of `INTERPOLATIONS`. ``area`` averages the pixels that an output pixel covers.
        crop_fraction: for ``crop``, the share of that rectangle's sides to show, in (0, 1]; 0.875 is the customary
            "resize to 256, crop 224".
        pad_value: for ``pad``, the grey value around the image, 0 to 255.
        exif: whether to apply the EXIF orientation. Boxes and masks then have to be those of the turned image.
        draft: whether a JPEG that is at least four times as large as needed may be decoded at 1/2, 1/4 or 1/8 of its
            size, leaving twice the needed one: faster, with slightly other pixels. Not for images that `exif` turns.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        ValueError: a value is out of its range; all of them are named.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "squash"
    interpolation: Interpolation = "bilinear"
    crop_fraction: float = 1.0
    pad_value: int = 0
    exif: bool = False
    draft: bool = False
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        problems = []
        if self.height < 1 or self.width < 1:
            problems.append(f"height and width must be positive; got {self.height} x {self.width}")
        if self.channels not in CHANNELS:
            problems.append(f"channels must be 1 or 3; got {self.channels}")
        if self.resize not in RESIZES:
            problems.append(f"resize must be one of {', '.join(RESIZES)}; got {self.resize!r}")
        if self.interpolation not in INTERPOLATIONS:
            problems.append(f"interpolation must be one of {', '.join(INTERPOLATIONS)}; got {self.interpolation!r}")
        if not 0 < self.crop_fraction <= 1:
            problems.append(f"crop_fraction must be above 0 and at most 1; got {self.crop_fraction}")
        if not 0 <= self.pad_value <= 255:
            problems.append(f"pad_value must be from 0 to 255; got {self.pad_value}")
        if self.max_pixels < 1:
            problems.append(f"max_pixels must be positive; got {self.max_pixels}")
        if problems:
            raise errors.UsageError("image options: " + "; ".join(problems))


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """How the grey values of a semantic mask are read.

    Attributes:
        background: grey value that belongs to no class, or None.
        ignore: grey value of pixels that must not be scored (255 in Pascal VOC), or None.
        offset: subtracted from a grey value to get the class id.
    """

    background: int | None = 0
    ignore: int | None = 255
    offset: int = 0
