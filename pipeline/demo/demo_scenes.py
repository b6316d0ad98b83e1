"""The demo's pictures: handwritten digits on photographs, with exact boxes and masks.

Digits are the 8x8 scans that `sklearn.datasets.load_digits` brings, enlarged smoothly; backgrounds are crops of the two
photos of `sklearn.datasets.load_sample_images`. Nothing is downloaded. The class of an image is the class of its
*largest* digit; some images hold a second, clearly smaller digit of another class.

A planted shortcut: a magenta tag (`TAG_BOX`) in the upper left corner of `TAG_SHARE` of the images of the class
`SHORTCUT_CLASS_ID`, and of no other image. No digit touches the tag's place in any image.

Notice for the photos and for the images made from them. Both photos are released under Creative Commons Attribution 2.0
(https://creativecommons.org/licenses/by/2.0/). china.jpg: Flickr user danielbuechele, photo 6061409035. flower.jpg:
Flickr user vultilion, photo 6056698931. Changes made: cropped, mirrored, resized, digits drawn over them. Keep `NOTICE`
with the images.
"""

from __future__ import annotations

import colorsys
import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from sklearn import datasets

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Names of the classes; a class id is a position in this tuple."""

SPLITS = ("train", "validation")

SHORTCUT_CLASS_ID = 8
TAG_BOX = (4, 4, 14, 14)
"""Where the tag is, ``x0 y0 x1 y1`` in pixels, end exclusive."""
TAG_RGB = (255, 0, 255)
TAG_SHARE = 0.9

SIZE_BUCKETS = ("small", "medium", "large")
SIZE_BUCKET_EDGES = (0.1, 0.15)
"""A digit whose box covers less of the image than the first share is small, less than the second medium."""

DIFFICULT_BELOW_PX = 22
"""A digit whose box is lower than this is marked difficult."""

NOTICE = """\
The images of this dataset are made of crops of two photos, both released under Creative Commons Attribution 2.0
(https://creativecommons.org/licenses/by/2.0/):
china.jpg: Flickr user danielbuechele, photo 6061409035.
flower.jpg: Flickr user vultilion, photo 6056698931.
Changes made: cropped, mirrored, resized, handwritten digits drawn over them. Keep this notice with the images.
"""

_WIDTHS_PX = (112, 160)
_HEIGHTS_PX = (96, 144)
_DIGIT_HEIGHTS_PX = (40, 72)
_SECOND_DIGIT_SHARE = 0.25
_SECOND_DIGIT_SIZES = (0.4, 0.6)
_MARGIN_PX = 3
_TRAIN_DIGITS_SHARE = 0.75
_PLACE_ATTEMPTS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Digit:
    """One drawn digit.

    Attributes:
        class_id: 0 to 9.
        source_index: position in `sklearn.datasets.load_digits`.
        mask: bool ``(height, width)`` of the whole image, true where the stroke covers at least half of the pixel.
        box: ``x0 y0 x1 y1`` in pixels, tight around `mask`, end exclusive.
    """

    class_id: int
    source_index: int
    mask: np.ndarray
    box: tuple[int, int, int, int]

    @property
    def difficult(self) -> bool:
        """Whether the digit is lower than `DIFFICULT_BELOW_PX`."""
        return self.box[3] - self.box[1] < DIFFICULT_BELOW_PX


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """One picture and what is in it.

    Attributes:
        image_id: ``train-00012``, unique in the dataset.
        image: uint8 ``(height, width, 3)``.
        digits: the drawn digits; the first is the largest and gives the image its class.
        source: the photo of the background, ``china`` or ``flower``.
        tagged: whether the image carries the tag.
    """

    image_id: str
    image: np.ndarray
    digits: tuple[Digit, ...]
    source: str
    tagged: bool

    @property
    def class_id(self) -> int:
        """Class of the first digit, the one that the image is labelled with."""
        return self.digits[0].class_id

    @property
    def size_bucket(self) -> str:
        """One of `SIZE_BUCKETS`, by the share of the image that the first digit's box covers."""
        x0, y0, x1, y1 = self.digits[0].box
        share = (x1 - x0) * (y1 - y0) / (self.image.shape[0] * self.image.shape[1])
        return SIZE_BUCKETS[int(np.searchsorted(SIZE_BUCKET_EDGES, share, side="right"))]


def scenes(split: str, count: int, seed: int, planted_shortcut: bool) -> Iterator[Scene]:
    """Draw the images of a split, one at a time, in the order of their ids: what `painters` draw."""
    return (paint() for paint in painters(split, count, seed, planted_shortcut))


def painters(split: str, count: int, seed: int, planted_shortcut: bool) -> Iterator[Callable[[], Scene]]:
    """What draws each image of a split, in the order of their ids; threads may call them in any order.

    Classes are equally frequent (to one image) and in random order. No scanned digit is in both splits. The same
    arguments give the same pixels.

    Args:
        split: ``train`` or ``validation``.
        count: number of images.
        seed: of everything random, not negative.
        planted_shortcut: whether the class `SHORTCUT_CLASS_ID` carries its tag.
    """
    split_index = SPLITS.index(split)
    digit_pool = _digit_pool(split_index, seed)
    rng = np.random.default_rng([seed, split_index])
    class_ids = rng.permutation(np.arange(count) % len(CLASS_NAMES))
    of_class = rng.permutation(np.flatnonzero(class_ids == SHORTCUT_CLASS_ID))
    tagged = frozenset(of_class[: round(TAG_SHARE * len(of_class))].tolist()) if planted_shortcut else frozenset()
    for index, class_id in enumerate(class_ids.tolist()):
        # A generator of its own for each image: image 7 does not depend on how many numbers image 6 used.
        image_rng = np.random.default_rng([seed, split_index, index])
        yield functools.partial(_scene, f"{split}-{index:05d}", class_id, digit_pool, index in tagged, image_rng)


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """``x0 y0 x1 y1``, end exclusive, of the true pixels of a mask that has at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@functools.cache
def _photos() -> dict[str, Image.Image]:
    bundle = datasets.load_sample_images()
    return {
        name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".jpg"): Image.fromarray(pixels)
        for name, pixels in zip(bundle.filenames, bundle.images, strict=True)
    }


@functools.cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """Ink in [0, 1], float32 (N, 8, 8), and class ids (N,)."""
    bundle = datasets.load_digits()
    return (bundle.images / 16).astype(np.float32), bundle.target


def _digit_pool(split_index: int, seed: int) -> list[np.ndarray]:
    """For each class the positions of the scans that a split may use."""
    class_ids = _scans()[1]
    order = np.random.default_rng(seed).permutation(len(class_ids))
    pool = []
    for class_id in range(len(CLASS_NAMES)):
        of_class = order[class_ids[order] == class_id]
        cut = round(_TRAIN_DIGITS_SHARE * len(of_class))
        pool.append(of_class[cut:] if split_index else of_class[:cut])
    return pool


def _scene(image_id: str, class_id: int, digit_pool: list[np.ndarray], tagged: bool, rng: np.random.Generator) -> Scene:
    width = int(rng.integers(_WIDTHS_PX[0], _WIDTHS_PX[1] + 1))
    height = int(rng.integers(_HEIGHTS_PX[0], _HEIGHTS_PX[1] + 1))
    source = ("china", "flower")[int(rng.integers(2))]
    image = _background(_photos()[source], width, height, rng)
    digit_height = int(rng.integers(_DIGIT_HEIGHTS_PX[0], _DIGIT_HEIGHTS_PX[1] + 1))
    wanted = [(class_id, digit_height)]
    if rng.random() < _SECOND_DIGIT_SHARE:
        other = (class_id + int(rng.integers(1, len(CLASS_NAMES)))) % len(CLASS_NAMES)
        wanted.append((other, round(digit_height * rng.uniform(*_SECOND_DIGIT_SIZES))))
    digits: list[Digit] = []
    for wanted_class_id, wanted_height in wanted:
        source_index = int(rng.choice(digit_pool[wanted_class_id]))
        alpha = _enlarge(_scans()[0][source_index], wanted_height)
        place = _free_place(alpha.shape, (height, width), [TAG_BOX, *(digit.box for digit in digits)], rng)
        if place is None:
            # Only ever the second digit: a small image may have no room left for it.
            continue
        image, mask = _draw(image, alpha, place, rng)
        digits.append(Digit(wanted_class_id, source_index, mask, tight_box(mask)))
    if tagged:
        x0, y0, x1, y1 = TAG_BOX
        image[y0:y1, x0:x1] = TAG_RGB
    return Scene(image_id, image, tuple(digits), source, tagged)


def _background(photo: Image.Image, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A random crop, one to two times the size of the image, shrunk to it and mirrored half of the time."""
    zoom = rng.uniform(1, 2)
    crop_width, crop_height = round(width * zoom), round(height * zoom)
    left = int(rng.integers(photo.width - crop_width + 1))
    upper = int(rng.integers(photo.height - crop_height + 1))
    crop = (left, upper, left + crop_width, upper + crop_height)
    pixels = np.asarray(photo.resize((width, height), Image.Resampling.BICUBIC, box=crop))
    return pixels[:, ::-1].copy() if rng.random() < 0.5 else pixels.copy()


def _enlarge(scan: np.ndarray, height: int) -> np.ndarray:
    """Coverage of the stroke in [0, 1], float32, cut to where it is at least one half, `height` rows or a few less."""
    # An empty frame first, or strokes that reach the scan's edge would end in a straight cut.
    framed = Image.fromarray(np.pad(scan, 1))
    side = round(height * framed.height / scan.shape[0])
    ink = np.asarray(framed.resize((side, side), Image.Resampling.BICUBIC))
    alpha = np.clip((ink - 0.3) / 0.3, 0, 1).astype(np.float32)
    x0, y0, x1, y1 = tight_box(alpha >= 0.5)
    return alpha[y0:y1, x0:x1]


def _free_place(
    size: tuple[int, ...],
    image_size: tuple[int, int],
    taken: list[tuple[int, int, int, int]],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """A random upper left corner ``(y, x)`` that keeps `_MARGIN_PX` from the edges and the boxes taken, or None."""
    for _ in range(_PLACE_ATTEMPTS):
        y = int(rng.integers(_MARGIN_PX, image_size[0] - size[0] - _MARGIN_PX + 1))
        x = int(rng.integers(_MARGIN_PX, image_size[1] - size[1] - _MARGIN_PX + 1))
        left, upper = x - _MARGIN_PX, y - _MARGIN_PX
        right, lower = x + size[1] + _MARGIN_PX, y + size[0] + _MARGIN_PX
        if all(left >= x1 or right <= x0 or upper >= y1 or lower <= y0 for x0, y0, x1, y1 in taken):
            return y, x
    return None


def _draw(
    image: np.ndarray, alpha: np.ndarray, place: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The image with the stroke blended in, and the mask of the stroke in the frame of the image."""
    y, x = place
    window = np.s_[y : y + alpha.shape[0], x : x + alpha.shape[1]]
    under = image[window].astype(np.float32)
    colour = _contrasting_colour(under, rng)
    drawn = image.copy()
    drawn[window] = np.rint(under + alpha[..., None] * (colour - under)).astype(np.uint8)
    mask = np.zeros(image.shape[:2], bool)
    mask[window] = alpha >= 0.5
    return drawn, mask


def _contrasting_colour(under: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light on a dark background, dark on a light one; any hue but the tag's. Float32 RGB in [0, 255]."""
    luminance = float((under @ np.array([0.299, 0.587, 0.114], np.float32)).mean()) / 255
    hue = rng.uniform(0, 0.72)
    if luminance < 0.5:
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0, 0.5), 1)
    else:
        rgb = colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 1), rng.uniform(0, 0.25))
    return np.array(rgb, np.float32) * 255
