"""Choose by a hash of the image's id: the same images, seeds and classes in every run, whatever order and shards.

The hash is BLAKE2b with the run's seed as its key and the purpose as its personalisation, so the sample, the noise and
the random class of an image are independent of each other.
"""

from __future__ import annotations

import dataclasses
import hashlib


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the images, drawn at random: the first of the order in which a sequential audit reads them.

    Attributes:
        share: of the images, above 0 and at most 1. A smaller part of the same seed is part of a larger one.
        seed: another seed gives another, independent order.
    """

    share: float
    seed: int

    def has(self, image_id: str) -> bool:
        """Whether an image is in it; independent of every `in_sample`."""
        return self.share >= 1 or _position(image_id, self.seed, b"order") < self.share


def position(image_id: str, seed: int) -> float:
    """Where an image stands in [0, 1): uniform over ids, fixed for an id and a seed."""
    return _position(image_id, seed, b"")


def _position(image_id: str, seed: int, purpose: bytes) -> float:
    # A float64 holds 53 bits; more would round the highest positions up to 1.
    return (_hash(image_id, seed, purpose) >> 11) / 2**53


def in_sample(image_id: str, fraction: float, seed: int) -> bool:
    """Whether an image is in a sample of that fraction. A smaller sample is part of a larger one of the same seed.

    Args:
        image_id: id of the image.
        fraction: of the images, 0 (none) to 1 (all). The sample's size is binomial: n images give n fraction of them,
            with standard deviation sqrt(n fraction (1 - fraction)).
        seed: another seed gives another, independent sample.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a sample of fraction {fraction}; expected 0 to 1")
    return position(image_id, seed) < fraction


def image_seed(image_id: str, seed: int) -> int:
    """A seed of 64 bits for random draws that belong to one image, so that its batch does not matter."""
    return _hash(image_id, seed, b"draw")


def other_class(image_id: str, class_id: int, classes: int, seed: int) -> int:
    """A class other than `class_id`, each of the others equally likely, fixed for an image, a class and a seed.

    Args:
        image_id: id of the image.
        class_id: the class not to choose, 0 to ``classes - 1``.
        classes: number of classes of the model, at least 2.
        seed: of the run.
    """
    if classes < 2 or not 0 <= class_id < classes:
        raise ValueError(f"no class other than {class_id} of {classes}; expected two classes and an id of one")
    drawn = _hash(f"{class_id}/{image_id}", seed, b"class") % (classes - 1)
    return drawn + (drawn >= class_id)


def _hash(text: str, seed: int, purpose: bytes) -> int:
    key = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=key, person=purpose).digest(), "big")
