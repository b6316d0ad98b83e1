"""Choosing by hash of the image id."""

from __future__ import annotations

import hashlib
import math

import pytest

from heatbeam.transforms import sampling

IDS = [f"shard-{number // 100:03d}__{number}" for number in range(10_000)]


def test_position_is_the_hash_as_a_fraction() -> None:
    digest = hashlib.blake2b(b"cat.jpg", digest_size=8, key=(7).to_bytes(8, "big")).digest()
    assert sampling.position("cat.jpg", 7) == pytest.approx(int.from_bytes(digest, "big") / 2**64, abs=2**-52)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.9])
def test_sample_has_the_binomial_size(fraction: float) -> None:
    chosen = sum(sampling.in_sample(image_id, fraction, 0) for image_id in IDS)
    assert abs(chosen - 10_000 * fraction) < 4 * math.sqrt(10_000 * fraction * (1 - fraction))


def test_a_part_is_of_an_order_of_its_own_and_grows() -> None:
    tenth = {image_id for image_id in IDS if sampling.Part(0.1, 0).has(image_id)}
    fifth = {image_id for image_id in IDS if sampling.Part(0.2, 0).has(image_id)}
    assert tenth < fifth and abs(len(tenth) - 1000) < 4 * 30 and abs(len(fifth) - 2000) < 4 * 40
    # Of the images that a method explains, or another seed draws, it has no more and no less than of all.
    for other in (
        {image_id for image_id in IDS if sampling.in_sample(image_id, 0.1, 0)},
        {image_id for image_id in IDS if sampling.Part(0.1, 1).has(image_id)},
    ):
        assert abs(len(tenth & other) - 100) < 4 * 9.5
    assert all(sampling.Part(1.0, 0).has(image_id) for image_id in IDS[:100])
    digest = hashlib.blake2b(b"cat.jpg", digest_size=8, key=(7).to_bytes(8, "big"), person=b"order").digest()
    at = int.from_bytes(digest, "big") / 2**64
    assert sampling.Part(at + 1e-9, 7).has("cat.jpg") and not sampling.Part(at - 1e-9, 7).has("cat.jpg")


def test_positions_fill_ten_bins_evenly() -> None:
    bins = [0] * 10
    for image_id in IDS:
        bins[int(10 * sampling.position(image_id, 3))] += 1
    # Chi-squared with 9 degrees of freedom: 27.9 is exceeded once in 1000 draws of uniform numbers.
    assert sum((count - 1000) ** 2 / 1000 for count in bins) < 27.9


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    small = {image_id for image_id in IDS if sampling.in_sample(image_id, 0.1, 5)}
    large = {image_id for image_id in IDS if sampling.in_sample(image_id, 0.2, 5)}
    assert small < large


def test_all_and_none() -> None:
    assert all(sampling.in_sample(image_id, 1.0, 0) for image_id in IDS[:1000])
    assert not any(sampling.in_sample(image_id, 0.0, 0) for image_id in IDS[:1000])


def test_the_greatest_hash_stays_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_hash", lambda *_: 2**64 - 1)
    assert sampling.position("x", 0) == 1 - 2**-53
    assert sampling.in_sample("x", 1.0, 0)


def test_seeds_give_independent_samples() -> None:
    both = sum(sampling.in_sample(i, 0.5, 1) and sampling.in_sample(i, 0.5, 2) for i in IDS)
    assert abs(both - 2500) < 4 * math.sqrt(10_000 * 0.25 * 0.75)


@pytest.mark.parametrize("fraction", [-0.1, 1.5, math.nan])
def test_a_fraction_outside_0_and_1_is_an_error(fraction: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        sampling.in_sample("x", fraction, 0)


def test_other_class_is_uniform_over_the_others() -> None:
    counts = [0] * 5
    for image_id in IDS:
        counts[sampling.other_class(image_id, 2, 5, 0)] += 1
    assert counts[2] == 0
    expected, deviation = 2500, math.sqrt(10_000 * 0.25 * 0.75)
    assert all(abs(count - expected) < 4 * deviation for place, count in enumerate(counts) if place != 2)


@pytest.mark.parametrize(("class_id", "other"), [(0, 1), (1, 0)])
def test_other_of_two_classes(class_id: int, other: int) -> None:
    assert {sampling.other_class(image_id, class_id, 2, 9) for image_id in IDS[:50]} == {other}


@pytest.mark.parametrize(("class_id", "classes"), [(0, 1), (5, 5), (-1, 5)])
def test_other_class_needs_two_classes_and_a_class(class_id: int, classes: int) -> None:
    with pytest.raises(ValueError, match="no class other than"):
        sampling.other_class("x", class_id, classes, 0)


def test_draws_do_not_follow_the_sample() -> None:
    """Images in a sample must not share the high bits of their noise seeds."""
    seeds = [sampling.image_seed(i, 0) / 2**64 for i in IDS if sampling.in_sample(i, 0.1, 0)]
    assert abs(sum(seeds) / len(seeds) - 0.5) < 4 * math.sqrt(1 / 12 / len(seeds))
    assert len(set(seeds)) == len(seeds)
