"""Components of channel evidence, as arithmetic, and which of them are suspected."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit.evidence import components, sample, suspects


def image(number: int, values: dict[int, float], off_object: float = np.nan) -> sample.Image:
    return sample.Image(
        place=("shard", number, f"{number:064x}"),
        image_id=f"i{number}",
        probability=0.9,
        off_object=off_object,
        evidence=sample.packed(np.array(list(values), np.int32), np.array(list(values.values()), np.float32)),
    )


def of_class(images: list[sample.Image], class_id: int = 3) -> sample.ClassSample:
    off = sorted((one for one in images if np.isfinite(one.off_evidence)), key=lambda one: -one.off_evidence)
    return sample.ClassSample(class_id, len(images), tuple(images), tuple(off[: sample.OFF_OBJECT]))


def with_cue(off_object: bool = True) -> list[sample.Image]:
    """40 images that channels 2 and 5 speak for; of every eighth channel 9 does too, and its map is off the object."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(40):
        noise = rng.normal(0, 0.1, 2)
        cue = {9: 4.0} if number % 8 == 0 else {}
        share = (0.8 if cue else 0.2) if off_object else np.nan
        found.append(image(number, {2: 3.0 + noise[0], 5: 2.0 + noise[1], **cue}, share))
    return found


def test_an_image_keeps_its_evidence_in_few_bytes():
    one = image(0, {300: 2.0, 7: -1.0}, 0.25)
    assert one.channels.tolist() == [300, 7]
    assert one.values.tolist() == [2.0, -1.0]
    assert one.off_evidence == pytest.approx(0.25 * 0.9)
    assert len(one.evidence) == 16


def test_evidence_becomes_a_matrix_of_the_channels_that_matter():
    channels, psi = components.matrix([image(0, {7: 2.0, 1: -1.0}), image(1, {7: 1.0})])
    assert channels.tolist() == [1, 7]
    assert psi.tolist() == [[-1.0, 2.0], [0.0, 1.0]]


def test_the_first_component_is_the_direction_of_the_cue_and_its_scores_are_the_projections():
    images = with_cue()
    first = components.of_class(images)[0]
    channels, psi = components.matrix(images)
    assert first.adds
    assert first.weights[channels.tolist().index(9)] == pytest.approx(1.0, abs=0.01)
    assert first.scores == pytest.approx((psi - psi.mean(axis=0)) @ first.weights, abs=1e-9)
    centred = psi - psi.mean(axis=0)
    assert first.variance == pytest.approx((first.scores**2).sum() / (centred**2).sum())
    assert set(np.argsort(-first.scores)[:5].tolist()) == {0, 8, 16, 24, 32}


def test_each_direction_has_two_ends():
    found = components.of_class(with_cue())
    assert [one.adds for one in found[:2]] == [True, False]
    assert (found[0].weights == -found[1].weights).all()


def test_too_few_images_are_not_taken_apart():
    assert components.of_class(with_cue()[:9]) == []


def test_a_component_whose_images_look_off_the_object_is_suspected():
    found = suspects.find([of_class(with_cue())], {})
    assert {one.source for one in found} <= {"off_object", "component"}
    assert found[0].class_id == 3
    assert {one.place[1] for one in found[0].images[:5]} == {0, 8, 16, 24, 32}


def test_a_class_that_looks_at_its_object_is_not_suspected():
    images = [image(number, {2: 3.0, 5: 2.0 + number % 3}, 0.2 + 0.01 * (number % 4)) for number in range(40)]
    # Its images that look away most are tried where other classes look as far away, and not where they look further.
    usual, further = ([image(100 + n, {2: 3.0}, share) for n in range(80)] for share in (0.3, 0.34))
    assert [one.class_id for one in suspects.find([of_class(images), of_class(usual, 4)], {})] == [4, 3]
    assert [one.class_id for one in suspects.find([of_class(images), of_class(further, 4)], {})] == [4]


def test_what_the_audit_of_places_suspects_is_tried_too():
    images = [image(number, {2: 3.0, 5: 2.0 + number % 3}, 0.2) for number in range(40)]
    (found,) = suspects.find([of_class(images)], {3: "in the corner"})
    assert (found.source, found.reason) == ("fixed_place", "in the corner")


def test_suspicion_is_the_energy_off_the_object_beyond_the_usual():
    found = suspects.find([of_class(with_cue())], {})
    # The five with the cue have 0.8 off the object; the median of all 40 is 0.2.
    (most,) = (one for one in found if one.source == "off_object")
    assert most.suspicion == pytest.approx(0.8 - 0.2)
