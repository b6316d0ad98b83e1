"""How images and masks are decoded, as values: their names and bounds, and no decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from heatbeam.transforms import errors
from heatbeam.transforms.sources.classes import class_maps

Resize = Literal["squash", "crop", "pad", "keras_crop", "center_crop", "shorter_side_center_crop"]
Interpolation = Literal[
    "nearest", "area", "bilinear", "hamming", "bicubic", "lanczos", "lanczos5", "gaussian", "mitchellcubic"
]
Resampler = Literal["pillow", "tensorflow", "tensorflow_antialias", "opencv", "torchvision"]
Decoder = Literal["pillow", "tensorflow"]
ValueRange = Literal["type", "percentile", "upper_byte"] | tuple[float, float]
RESIZES: tuple[Resize, ...] = get_args(Resize)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
RESAMPLERS: tuple[Resampler, ...] = get_args(Resampler)
DECODERS: tuple[Decoder, ...] = get_args(Decoder)
VALUE_RANGES = ("type", "percentile", "upper_byte")
WITHOUT_ALPHA = (1, 3)
"""Channels of images that Pillow resizes whole; a fourth would be taken for alpha, and weigh the others."""

BOX_TOLERANCE_PX = 1.0
"""A box that sticks out of its image by no more is clipped, unless told otherwise."""

_OF_TENSORFLOW = ("nearest", "area", "bilinear", "bicubic", "lanczos", "lanczos5", "gaussian", "mitchellcubic")
FILTERS: Mapping[str, tuple[str, ...]] = {
    "pillow": ("nearest", "area", "bilinear", "hamming", "bicubic", "lanczos"),
    "tensorflow": _OF_TENSORFLOW,
    "tensorflow_antialias": _OF_TENSORFLOW,
    "opencv": ("nearest", "area", "bilinear", "bicubic", "lanczos"),
    "torchvision": ("nearest", "bilinear", "bicubic"),
}
"""Of `INTERPOLATIONS`, those that the library of each resampler has."""

IN_PILLOW = ("squash", "crop", "pad")
"""Geometries without a rectangle in whole pixels of the original: Pillow does them from an image, a drafted one too."""


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """How an image becomes the model's input.

    Example::

        >>> ImageOptions(224, 224, resize="crop", crop_fraction=0.875).interpolation
        'bilinear'

    Attributes:
        height, width: of the model's input, in pixels.
        channels: 3 (RGB), 1 (grey, ITU-R 601 luma), 4 (RGB and alpha); any number of raw pixels and arrays.
        resize: ``squash`` shows the whole image and changes its proportions; ``crop`` shows the largest centred
            rectangle with the input's proportions, times `crop_fraction`, to a fraction of a pixel with Pillow and in
            whole pixels with any other resampler; ``pad`` shows the whole image, centred, with `pad_value` around it;
            ``keras_crop`` is ``crop`` in whole pixels, rounded as Keras' ``crop_to_aspect_ratio`` does;
            ``center_crop`` is Keras' layer ``CenterCrop``: the middle, not resized, where the image is large enough,
            else ``keras_crop``; ``shorter_side_center_crop`` is torchvision's ``Resize(shorter_side)`` and then
            ``CenterCrop``.
        interpolation: one of `FILTERS` of the resampler. ``area`` averages the pixels that an output pixel covers;
            ``lanczos`` has a radius of 3 (of 4 in OpenCV).
        crop_fraction: for ``crop``, the share of that rectangle's sides to show, in (0, 1]; 0.875 is the customary
            "resize to 256, crop 224".
        pad_value: for ``pad``, the grey value around the image, 0 to 255.
        shorter_side: for ``shorter_side_center_crop``, the shorter side of the resized image in pixels, at least the
            longer side of the model's input.
        resampler: whose code resizes. ``pillow`` and ``torchvision`` (its tensors, ``antialias=True``) widen the filter
            with the reduction and round to whole levels; ``opencv`` rounds and widens only ``area``; ``tensorflow`` is
            ``tf.image.resize``: pixels stay float32 unless the filter is ``nearest``, and only ``area`` averages over
            what an output pixel covers; ``tensorflow_antialias`` is the same with ``antialias=True``.
        decoder: whose code decodes. ``tensorflow`` is ``tf.io.decode_image``, and Pillow for what that does not read;
            see `sources.pixels.tensorflow_images`.
        value_range: of images of 16 bits a channel, which values become 0 and 255, linearly and not rounded: ``type``
            0 and 65535, ``percentile`` the image's own `value_percentiles`, or ``(low, high)``; ``upper_byte`` keeps
            the upper 8 bits, as libraries that decode to 8 bits do.
        value_percentiles: for ``percentile``, in percent.
        exif: whether to apply the EXIF orientation. Boxes and masks then have to be those of the turned image.
        draft: whether a JPEG that is at least four times as large as needed may be decoded at 1/2, 1/4 or 1/8 of its
            size, leaving twice the needed one: faster, with slightly other pixels. Not for images that `exif` turns.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        errors.UsageError: a value is out of its range; all of them are named.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "squash"
    interpolation: Interpolation = "bilinear"
    crop_fraction: float = 1.0
    pad_value: int = 0
    shorter_side: int | None = None
    resampler: Resampler = "tensorflow"
    decoder: Decoder = "tensorflow"
    value_range: ValueRange = "type"
    value_percentiles: tuple[float, float] = (1.0, 99.0)
    exif: bool = False
    draft: bool = False
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        problems = [*self._out_of_range(), *self._contradictions()]
        if problems:
            raise errors.UsageError("image options: " + "; ".join(problems))

    @property
    def gives_fractions(self) -> bool:
        """Whether pixels are float32 levels, of images of 8 bits too: TensorFlow's filters do not round."""
        return self.resampler in ("tensorflow", "tensorflow_antialias") and self.interpolation != "nearest"

    def _out_of_range(self) -> Iterator[str]:
        if self.height < 1 or self.width < 1:
            yield f"height and width must be positive; got {self.height} x {self.width}"
        if self.channels < 1:
            yield f"channels must be positive; got {self.channels}"
        names = {"resize": RESIZES, "interpolation": INTERPOLATIONS, "resampler": RESAMPLERS, "decoder": DECODERS}
        for name, known in names.items():
            if getattr(self, name) not in known:
                yield f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}"
        if isinstance(self.value_range, str) and self.value_range not in VALUE_RANGES:
            yield f"value_range must be {', '.join(VALUE_RANGES)} or low, high; got {self.value_range!r}"
        if not 0 < self.crop_fraction <= 1:
            yield f"crop_fraction must be above 0 and at most 1; got {self.crop_fraction}"
        if not 0 <= self.pad_value <= 255:
            yield f"pad_value must be from 0 to 255; got {self.pad_value}"
        if self.max_pixels < 1:
            yield f"max_pixels must be positive; got {self.max_pixels}"

    def _contradictions(self) -> Iterator[str]:
        """Choices that do not go together."""
        filters = FILTERS.get(self.resampler, ())
        if filters and self.interpolation in INTERPOLATIONS and self.interpolation not in filters:
            yield f"{self.resampler} has no {self.interpolation}; its filters are {', '.join(filters)}"
        by_pillow = self.resampler == "pillow" and self.decoder == "pillow"
        if self.draft and not (by_pillow and self.resize in IN_PILLOW):
            yield f"draft is Pillow's: set resampler and decoder to pillow, and resize to {', '.join(IN_PILLOW)}"
        if (self.resize == "shorter_side_center_crop") != (self.shorter_side is not None):
            yield "shorter_side goes with resize: shorter_side_center_crop, and that with shorter_side"
        if self.shorter_side is not None and self.shorter_side < max(self.height, self.width):
            yield f"shorter_side must be at least {max(self.height, self.width)}, as the model's input is"
        if isinstance(self.value_range, tuple) and not self.value_range[0] < self.value_range[1]:
            yield f"value_range must be low, high with low below high; got {list(self.value_range)}"
        low, high = self.value_percentiles
        if not 0 <= low < high <= 100:
            yield f"value_percentiles must be two numbers from 0 to 100, rising; got {[low, high]}"


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """How the grey values of a semantic mask are read.

    Attributes:
        background: grey value that belongs to no class, or None.
        ignore: grey value of pixels that must not be scored (255 in Pascal VOC), or None.
        offset: subtracted from a grey value to get the class id.
        classes: what that id is in the model.
        labels: whether the label of an image is the class that covers most of its masks, semantic or not.
    """

    background: int | None = 0
    ignore: int | None = 255
    offset: int = 0
    classes: class_maps.ClassMap = class_maps.AS_STORED
    labels: bool = False
