"""Kinds of evidence in classes without boxes: planted in the channels, so that what is suspected is arithmetic."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from heatbeam.audit.evidence import kinds, sample, suspects
from tests.audit.evidence import test_components as planted
from tests.audit.evidence import test_sample


def of_class(images: list[sample.Image]) -> sample.ClassSample:
    return sample.ClassSample(3, len(images), tuple(images), ())


def with_cue(p_of_cue: float = 0.9, off_object: float = np.nan) -> list[sample.Image]:
    """40 images that channel 2 speaks for, by strengths of 2, 3 and 4; in every eighth channel 9 does too, by 4."""
    found = []
    for number in range(40):
        cue = {9: 4.0} if number % 8 == 0 else {}
        one = planted.image(number, {2: 2.0 + number % 3, 5: 0.01 * (number % 5), **cue}, off_object)
        found.append(dataclasses.replace(one, probability=p_of_cue if cue else 0.4))
    return found


def places(images: tuple[sample.Image, ...]) -> set[int]:
    return {image.place[1] for image in images}


def test_what_comes_beside_the_usual_evidence_is_a_kind_and_its_strength_is_what_it_adds():
    (found,) = kinds.of_class(of_class(with_cue()))
    assert places(found.images) == {0, 8, 16, 24, 32}
    assert found.channels.tolist() == [2, 5, 9]
    assert abs(found.direction[2]) == pytest.approx(1.0, abs=0.01)
    cosine, strength = found.difference
    # Of the five channel 2 has the mean of 2, 4, 3, 2 and 4 = 3, which is the median of the others; channel 9 has 4.
    assert (cosine, strength) == (pytest.approx(0.0, abs=0.01), pytest.approx(4.0, abs=0.01))
    assert found.surer == pytest.approx(0.9 - 0.4)
    assert not places(found.usual) & {0, 8, 16, 24, 32}


def test_more_of_the_usual_evidence_is_no_kind():
    stronger = [planted.image(n, {2: 3.0 + 3.0 * (n % 8 == 0), 5: 1.0 + 1.0 * (n % 8 == 0)}) for n in range(40)]
    assert kinds.of_class(of_class(stronger)) == []


def test_what_makes_the_class_no_surer_is_no_kind():
    assert kinds.of_class(of_class(with_cue(p_of_cue=0.3))) == []


def test_cosine_and_strength_of_a_difference():
    usual = np.array([2.0, 0.0, 0.0])
    # The mean is (3, 4, -3), so the difference (1, 4, -3); less what lies along the usual, 4 of it is positive.
    shown = np.array([[4.0, 5.0, -3.0], [2.0, 3.0, -3.0]])
    assert kinds.difference(shown, usual) == pytest.approx((1 / np.sqrt(26), 4.0))
    assert kinds.difference(usual[None], usual) == (1.0, 0.0)  # no difference, and no other kind


def test_where_boxes_are_known_and_of_few_images_no_kind_is_sought():
    assert kinds.of_class(of_class(with_cue(off_object=0.2))) == []
    assert kinds.of_class(of_class(with_cue()[:9])) == []


def table_of(images: list[sample.Image], corner: set[int]) -> ds.Dataset:
    """Rows of class 3; the maps of images in `corner` have all their energy in one cell, others one cell each."""
    maps = [[0] * 9 for _ in images]
    for row, one in enumerate(images):
        maps[row][0 if one.place[1] in corner else 1 + row % 7] = 500
    steps = [np.rint(one.values * 100).astype(np.int16) for one in images]
    count = len(images)
    return ds.dataset(pa.table({
        "image_id": [one.image_id for one in images], "image_sha256": [one.place[2] for one in images],
        "shard": ["shard"] * count, "record_index": [one.place[1] for one in images],
        "targets": [["label"]] * count, "class_id": pa.array([3] * count, pa.int32()),
        "probability": pa.array([one.probability for one in images], pa.float32()),
        "heatmap": pa.array(maps, pa.list_(pa.int16())), "heatmap_scale": pa.array([0.1] * count, pa.float32()),
        "heatmap_height": pa.array([3] * count, pa.int16()), "heatmap_width": pa.array([3] * count, pa.int16()),
        "evidence_channels": [one.channels for one in images], "evidence_steps": steps,
        "evidence_scale": pa.array([0.01] * count, pa.float32()),
        "evidence_total": pa.array([1.0] * count, pa.float32()),
        "evidence_magnitude": pa.array([9.0] * count, pa.float32()),
    }))  # fmt: skip


def test_the_images_that_show_a_kind_are_sought_in_all_rows_with_their_maps():
    images = with_cue()
    more = [planted.image(n, {2: 3.0, 9: 5.0}) for n in (100, 101, 102)]
    rows = images + [dataclasses.replace(one, probability=0.9) for one in more]
    (found,) = kinds.seek(table_of(rows, {100, 101, 102}), "label", kinds.of_class(of_class(images)))
    assert [one.place[1] for one in found.images[:3]] == [100, 101, 102]
    assert places(found.images) == {100, 101, 102, 0, 8, 16, 24, 32}
    assert found.images[0].energy_map is not None
    assert found.images[0].energy_map.tolist() == [[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert len(found.usual) == kinds.USUAL and all(one.energy is not None for one in found.usual)


@pytest.mark.parametrize(("corner", "one_place"), [({0, 8, 16, 24, 32}, True), (set(), False)])
def test_maps_at_one_place_are_told_from_maps_anywhere(corner, one_place):
    """Five share a cell, or have one of seven each, as the usual images do."""
    images = with_cue()
    (found,) = kinds.seek(table_of(images, corner), "label", kinds.of_class(of_class(images)))
    assert kinds.one_place(dataclasses.replace(found, images=found.images[:5])) == one_place


def test_without_boxes_a_kind_is_suspected_with_usual_images_beside_it():
    images = with_cue()
    samples = [of_class(images)]
    of_kind = kinds.seek(table_of(images, set()), "label", kinds.of_class(samples[0]))
    (found,) = suspects.find(samples, {}, of_kind)
    assert (found.source, found.channels) == ("other_kind", ())
    # Three of the eight do not have the cue: on average channel 9 adds 4 * 5 / 8 = 2.5.
    assert found.suspicion == pytest.approx(2.5 / 3.5, abs=0.01)
    assert "surer of the class by 0.31, by 2.5 of the logit in other channels" in found.reason
    assert found.usual == of_kind[0].usual and not found.one_place
    (of_place,) = suspects.find(samples, {3: "in the corner"})
    assert (of_place.source, of_place.one_place, len(of_place.usual)) == ("fixed_place", True, kinds.USUAL)


def test_the_kinds_of_a_thousand_classes_take_less_than_64_mib(monkeypatch):
    monkeypatch.setattr(kinds, "MANY", 0)
    classes = 4
    rows = test_sample.run_of(classes, 100).to_table().drop_columns(["energy_share", "true_boxes"])
    count, rng = rows.num_rows, np.random.default_rng(1)
    sides = pa.array([7] * count, pa.int16())
    drawn = {
        "probability": pa.array(rng.random(count), pa.float32()),
        "evidence_steps": pa.array(list(rng.integers(-50, 2000, (count, 24)).astype(np.int16))),
        "heatmap": pa.array(list(rng.integers(0, 999, (count, 49)).astype(np.int16))),
        "heatmap_scale": pa.array([0.1] * count, pa.float32()), "heatmap_height": sides, "heatmap_width": sides,
    }  # fmt: skip
    for name, column in drawn.items():
        rows = rows.drop_columns([name]) if name in rows.column_names else rows
        rows = rows.append_column(name, column)
    table = ds.dataset(rows)
    tracemalloc.start()
    samples = sample.gather(table, "label")
    found = [kind for one in samples for kind in kinds.of_class(one)]
    samples = kinds.spared(samples)
    found = kinds.seek(table, "label", found)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(samples) == classes and len(found) > 2 * classes
    assert {len(one.images) for one in samples} == {kinds.SPARED}
    assert kept / classes * 1000 < 64 * 2**20
