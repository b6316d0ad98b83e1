"""Choose images by a hash of their id: the same images in every run, whatever the order, shards or workers."""

from __future__ import annotations

import hashlib


def position(image_id: str, seed: int) -> float:
    """Where an image stands in [0, 1): uniform over ids, fixed for an id and a seed."""
    digest = hashlib.blake2b(image_id.encode(), digest_size=8, key=seed.to_bytes(8, "big", signed=True)).digest()
    return int.from_bytes(digest, "big") / 2**64


def in_sample(image_id: str, fraction: float, seed: int) -> bool:
    """Whether an image is in a sample of that fraction. A smaller sample is part of a larger one of the same seed."""
    return position(image_id, seed) < fraction
