"""Image files opened and decoded, in the model's channels and in 8 bits or, of 16 bits a channel, as float levels.

The size is known before anything is decoded, and `max_pixels` alone bounds it: Pillow's own limit, which is one number
for the whole process, is neither asked nor changed.
"""

from __future__ import annotations

import dataclasses
import io
import struct

import cv2
import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.pixels import geometry, not_images, plain_jpegs

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
READ_BY_TENSORFLOW = {1: ("JPEG", "PNG"), 3: ("JPEG", "PNG", "GIF", "BMP", "WEBP"), 4: ("PNG",)}
"""Of `FORMATS`, those that ``tf.io.decode_image`` gives in as many channels; what it never gave to a training, Pillow
reads for every decoder."""

_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_AVIF_BRANDS = (b"avif", b"avis")
_ORIENTATION = 0x0112  # EXIF tag
_BITS_PER_SAMPLE = 258  # TIFF tag
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_RAW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's conversion to grey
_LARGEST = 65535


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded image.

    Attributes:
        image: of 8 bits and by Pillow, its image in the model's mode; else an array ``(H, W, channels)``, uint8 or, of
            16 bits a channel, float32 from 0 to 255.
        size: ``(width, height)`` of the original.
        extent: the part of `image` that the original covers, as ``(width, height)`` in its pixels: all of it, but for a
            draft, whose last row and column may be partly empty.
    """

    image: Image.Image | np.ndarray
    size: tuple[int, int]
    extent: tuple[float, float]

    @property
    def array(self) -> np.ndarray:
        """``(H, W, channels)``, uint8 or float32."""
        if isinstance(self.image, np.ndarray):
            return self.image
        return np.asarray(self.image).reshape(self.image.height, self.image.width, -1)


def decoded(data: bytes, raw_shape: tuple[int, ...] | None, options: decode_options.ImageOptions) -> Decoded:
    """An image in the model's channels, not resized; a draft may be smaller than the original.

    Raises:
        DataError: ``corrupt_image``, ``image_too_large`` or ``unsupported_image``.
    """
    if raw_shape is not None:
        return _from_raw(data, raw_shape, options)
    _check_channels(options.channels)
    plain = _plain(data, options)
    if plain is not None:
        return plain
    with reported_as("corrupt_image", f"the image of {len(data)} bytes", data):
        opened = opened_file(data)
        _check_size(opened.size, options)
        orientation = opened.getexif().get(_ORIENTATION, 1) if options.exif else 1
        deep = options.value_range != "upper_byte" and is_sixteen_bit(opened, data)
        if options.decoder == "tensorflow" and opened.format in READ_BY_TENSORFLOW[options.channels]:
            return _by_tensorflow(data, orientation, options, deep=deep)
        if deep:
            return _turned(_scaled(_sixteen_bit(opened, data), options), orientation)
        return _by_pillow(opened, orientation, options)


def _plain(data: bytes, options: decode_options.ImageOptions) -> Decoded | None:
    """A plain JPEG as the decoder would give it, in less time; None of what has to go the whole way."""
    if options.exif or options.draft:
        return None
    found = plain_jpegs.pixels(data, options.channels, options.decoder, options.max_pixels)
    if found is None:
        return None
    size = found.shape[1], found.shape[0]
    if options.decoder == "tensorflow":
        return Decoded(found, size, size)
    return Decoded(Image.fromarray(found if options.channels == 3 else found[:, :, 0]), size, size)


def looks_like_one(data: bytes) -> bool:
    """Whether bytes begin as an image file does; what they hold may still be damaged, or something else."""
    if data[4:8] == b"ftyp":
        return data[8:12] in _AVIF_BRANDS
    return data.startswith(_STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def opened_file(data: bytes) -> ImageFile.ImageFile:
    """A file of one of `FORMATS`, its header read; as ``PIL.Image.open``, but of any size.

    Raises:
        PIL.UnidentifiedImageError: it is none.
    """
    Image.preinit()
    file = io.BytesIO(data)
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        if name not in Image.OPEN:  # a Pillow without it
            continue
        factory, accepts = Image.OPEN[name]
        known = accepts is None or accepts(data[:16])
        if not known or isinstance(known, str):  # a text says what this Pillow lacks to read it
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise PIL.UnidentifiedImageError("unknown format")


def load(opened: ImageFile.ImageFile) -> None:
    """Decode what was opened; check its size first."""
    if opened.format == "TIFF":  # Pillow would ask its limit once more, unless the memory is there
        opened.im = Image.new(opened.mode, getattr(opened, "_tile_size", opened.size)).im
    opened.load()


def is_sixteen_bit(opened: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether the file holds 16 bits a channel."""
    if opened.mode.startswith("I"):
        return True
    if opened.format == "PNG":
        return data[24:25] == b"\x10"  # bit depth of the header
    if opened.format == "TIFF":
        return 16 in tuple(getattr(opened, "tag_v2", {}).get(_BITS_PER_SAMPLE, ()))
    return False


def sixteen_bit_values(data: bytes, options: decode_options.ImageOptions) -> np.ndarray | None:
    """The values of an image of 16 bits a channel, ``(H, W, 1 or 3)``, as stored; None of any other.

    Raises:
        DataError: as `decoded`.
    """
    _check_channels(options.channels)
    with reported_as("corrupt_image", f"the image of {len(data)} bytes", data):
        opened = opened_file(data)
        _check_size(opened.size, options)
        return _sixteen_bit(opened, data) if is_sixteen_bit(opened, data) else None


class reported_as:  # noqa: N801 - reads as a phrase
    """Turns what Pillow raises for bad bytes into a `DataError`.

    Inside, Pillow reads from memory only, so none of these errors can mean a broken machine. Its readers take what a
    file says for what it should be: a rational for a width is a TypeError, and the AVIF library's errors are
    RuntimeErrors.
    """

    def __init__(self, error_type: str, what: str, data: bytes):
        self._error_type = error_type
        self._what = what
        self._data = data

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise records.DataError("image_too_large", f"{self._what}: {error}") from error
        if isinstance(error, PIL.UnidentifiedImageError):
            found = not_images.description(self._data)
            start = self._data[:8].hex(" ")
            said = (
                f"it is {found}" if found else f"unknown format, starting with {start}; raw pixels need input.raw_shape"
            )
            raise records.DataError(self._error_type, f"{self._what} cannot be decoded: {said}") from error
        if isinstance(error, not_images.DAMAGE):
            raise records.DataError(self._error_type, f"{self._what} cannot be decoded: {error}") from error


def size_text(size: tuple[int, ...]) -> str:
    """A ``(width, height)`` in words."""
    return f"{size[0]} x {size[1]} pixels"


def _check_size(size: tuple[int, int], options: decode_options.ImageOptions) -> None:
    if size[0] * size[1] > options.max_pixels:
        raise records.DataError(
            "image_too_large", f"the image is {size_text(size)}, more than max_pixels ({options.max_pixels}) allows"
        )


def _by_pillow(opened: ImageFile.ImageFile, orientation: int, options: decode_options.ImageOptions) -> Decoded:
    size = opened.size
    draft = None
    if options.draft and orientation == 1:
        draft = opened.draft(None, geometry.needed_size(size, options))
    load(opened)
    image: Image.Image = opened
    if orientation != 1:
        image = ImageOps.exif_transpose(opened)
        size = image.size
    extent = (float(size[0]), float(size[1])) if draft is None else (draft[1][2], draft[1][3])
    return Decoded(_convert(image, options), size, extent)


def _by_tensorflow(data: bytes, orientation: int, options: decode_options.ImageOptions, *, deep: bool) -> Decoded:
    from heatbeam.transforms.sources.pixels import tensorflow_images  # takes seconds, and a report may need no image

    if deep:
        return _turned(_scaled(tensorflow_images.decode_sixteen_bit(data), options), orientation)
    return _turned(tensorflow_images.decode(data, options.channels), orientation)


def _turned(pixels: np.ndarray, orientation: int) -> Decoded:
    """Pixels as their EXIF orientation wants them seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    size = pixels.shape[1], pixels.shape[0]
    return Decoded(np.ascontiguousarray(pixels), size, size)


def _sixteen_bit(opened: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    """Values 0 to 65535, ``(H, W, 1 or 3)``; alpha is dropped."""
    if opened.mode.startswith("I"):
        load(opened)
        values = _grey_values(opened)[:, :, np.newaxis]
    else:  # Pillow has no mode of 16 bits for colour
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if stored is None:
            raise records.DataError("corrupt_image", f"the image of {len(data)} bytes cannot be decoded by OpenCV")
        values = np.asarray(stored).reshape(*stored.shape[:2], -1)
        values = values[:, :, 2::-1] if values.shape[2] >= 3 else values[:, :, :1]
    return values


def _grey_values(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > _LARGEST:
        raise records.DataError("unsupported_image", "the image has more than 16 bits per channel")
    return values


def _scaled(values: np.ndarray, options: decode_options.ImageOptions) -> np.ndarray:
    """Values of 16 bits as float32 levels 0 to 255, ``(H, W, options.channels)``, by `ImageOptions.value_range`."""
    if isinstance(options.value_range, tuple):
        low, high = options.value_range
    elif options.value_range == "percentile":
        low, high = np.percentile(values, options.value_percentiles).tolist()
    else:
        low, high = 0.0, float(_LARGEST)
    # The image of one value has no range; it becomes black.
    scale = np.float32(255 / (high - low)) if high > low else np.float32(0)
    if options.channels > 3 and values.shape[2] != options.channels:
        raise records.DataError(
            "unsupported_image",
            f"the image of 16 bits has {values.shape[2]} channels without alpha; the model takes {options.channels}",
        )
    levels = np.clip((values.astype(np.float32) - np.float32(low)) * scale, 0, 255)
    if options.channels == 1 and levels.shape[2] == 3:
        grey: np.ndarray = levels @ _LUMA[:, np.newaxis]
        return grey
    return np.repeat(levels, options.channels, axis=2) if levels.shape[2] < options.channels else levels


def _convert(image: Image.Image, options: decode_options.ImageOptions) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        image = Image.fromarray((_grey_values(image) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise records.DataError("unsupported_image", "the image holds floating-point pixels; expected integers")
    mode = _MODES[options.channels]
    return image if image.mode == mode else image.convert(mode)


def _check_channels(channels: int) -> None:
    if channels not in _MODES:
        raise records.DataError(
            "unsupported_image",
            f"the model takes {channels} channels, and image files give 1, 3 or 4; of arrays, set input.array, or "
            "input.raw_shape of raw uint8 pixels",
        )


def _from_raw(data: bytes, shape: tuple[int, ...], options: decode_options.ImageOptions) -> Decoded:
    height, width, channels = shape
    _check_size((width, height), options)
    converted = channels in _RAW_MODES and options.channels in _MODES
    if channels != options.channels and not converted:
        raise records.DataError(
            "unsupported_image", f"the raw image has {channels} channels; expected {options.channels}, as the model has"
        )
    if len(data) != height * width * channels:
        raise records.DataError("corrupt_image", f"the raw image has {len(data)} bytes; {shape} needs another number")
    if converted:
        image = _convert(Image.frombytes(_RAW_MODES[channels], (width, height), data), options)
        return Decoded(image, image.size, image.size)
    return Decoded(np.frombuffer(data, np.uint8).reshape(shape), (width, height), (width, height))
