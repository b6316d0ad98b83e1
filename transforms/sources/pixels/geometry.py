"""Which rectangle of an original the model's input shows, and where it lies there."""

from __future__ import annotations

import dataclasses

import numpy as np

from heatbeam.transforms.sources import decode_options

View = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Placement:
    """How an original comes into the model's input.

    Attributes:
        box: rectangle ``x0 y0 x1 y1`` of the original that is resized, in its pixels.
        size: height and width that it is resized to.
        left, top: where its first column and row lie in the model's input; negative where the input shows less.
    """

    box: View
    size: tuple[int, int]
    left: int = 0
    top: int = 0

    @property
    def resized(self) -> bool:
        """Whether the rectangle has another size than its place."""
        return (self.box[3] - self.box[1], self.box[2] - self.box[0]) != self.size


def placement(size: tuple[int, ...], options: decode_options.ImageOptions) -> Placement:
    """How an original of ``(width, height)`` pixels comes into the model's input."""
    whole, target = (0.0, 0.0, float(size[0]), float(size[1])), (options.height, options.width)
    match options.resize:
        case "squash":
            return Placement(whole, target)
        case "crop":
            return Placement(crop_view(size, options), target)
        case "pad":
            width, height = padded_size(size, options)
            left, top = margins((width, height), options)
            return Placement(whole, (height, width), left, top)
        case "shorter_side_center_crop":
            width, height = _shortened(size, options.shorter_side or min(size))
            left, top = round((width - options.width) / 2), round((height - options.height) / 2)
            return Placement(whole, (height, width), -left, -top)
        case "center_crop":
            if size[0] >= options.width and size[1] >= options.height:
                return Placement(_middle(size, target), target)
            return Placement(_keras_crop(size, options), target)
        case "keras_crop":
            return Placement(_keras_crop(size, options), target)


def view_of(size: tuple[int, ...], options: decode_options.ImageOptions) -> View:
    """The rectangle ``x0 y0 x1 y1`` of an original of ``(width, height)`` pixels that the model's input shows."""
    placed = placement(size, options)
    if options.resize not in ("pad", "shorter_side_center_crop"):
        return placed.box
    step_x, step_y = size[0] / placed.size[1], size[1] / placed.size[0]
    x0, y0 = 0.0 - placed.left * step_x, 0.0 - placed.top * step_y  # never -0.0
    return x0, y0, x0 + options.width * step_x, y0 + options.height * step_y


def crop_view(size: tuple[int, ...], options: decode_options.ImageOptions) -> View:
    """The centred rectangle that ``crop`` shows: exact with Pillow, else of whole pixels and at least one."""
    scale = options.crop_fraction * min(size[0] / options.width, size[1] / options.height)
    if options.resampler != "pillow":
        return _middle(size, (max(1, round(scale * options.height)), max(1, round(scale * options.width))))
    half_width, half_height = scale * options.width / 2, scale * options.height / 2
    x, y = size[0] / 2, size[1] / 2
    right, bottom = min(x + half_width, float(size[0])), min(y + half_height, float(size[1]))
    return max(x - half_width, 0.0), max(y - half_height, 0.0), right, bottom


def _keras_crop(size: tuple[int, ...], options: decode_options.ImageOptions) -> View:
    """The rectangle of ``keras.utils.image_dataset_from_directory(crop_to_aspect_ratio=True)``, and of ``Resizing``."""
    width, height = size
    cropped_height = max(min(height, int(width * options.height / options.width)), 1)
    cropped_width = max(min(width, int(height * options.width / options.height)), 1)
    return _middle(size, (cropped_height, cropped_width))


def _middle(size: tuple[int, ...], cropped: tuple[int, int]) -> View:
    """The ``(height, width)`` pixels in the middle; of an odd margin the smaller half is to the left and on top."""
    left, top = (size[0] - cropped[1]) // 2, (size[1] - cropped[0]) // 2
    return float(left), float(top), float(left + cropped[1]), float(top + cropped[0])


def _shortened(size: tuple[int, ...], shorter: int) -> tuple[int, int]:
    """Width and height as ``torchvision.transforms.Resize`` gives for one number: the longer side is cut to a whole."""
    width, height = size
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def margins(padded: tuple[int, int], options: decode_options.ImageOptions) -> tuple[int, int]:
    """Columns to the left and rows on top of an image that ``pad`` has brought to ``(width, height)``."""
    return (options.width - padded[0]) // 2, (options.height - padded[1]) // 2


def padded_size(size: tuple[int, ...], options: decode_options.ImageOptions) -> tuple[int, int]:
    """The ``(width, height)`` in whole pixels of the model's input that ``pad`` gives to the image."""
    scale = min(options.width / size[0], options.height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def needed_size(size: tuple[int, ...], options: decode_options.ImageOptions) -> tuple[int, int]:
    """The ``(width, height)`` at which the original still has two pixels per output pixel, in both directions.

    Pillow's draft never goes below the size it is given.
    """
    if options.resize == "pad":
        fitted = padded_size(size, options)
        return 2 * fitted[0], 2 * fitted[1]
    view = (0.0, 0.0, *size) if options.resize == "squash" else crop_view(size, options)
    return (
        int(np.ceil(2 * options.width * size[0] / (view[2] - view[0]))),
        int(np.ceil(2 * options.height * size[1] / (view[3] - view[1]))),
    )
