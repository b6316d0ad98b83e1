"""The evidence of a run gathered in one pass: which images are kept, and in how much memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from heatbeam.audit.evidence import sample


def run_of(classes: int, each: int, *, order: int | None = None) -> ds.Dataset:
    """Rows of `classes` classes by two methods; image i of a class has i thousandths of its energy off the object."""
    count, kept = classes * each, 24
    rng = np.random.default_rng(0)
    image = np.arange(count) // classes
    channels = np.argsort(rng.random((count, 64)), axis=1)[:, :kept].astype(np.int32)
    table = pa.table({
        "image_id": [f"image-{i:08d}" for i in range(count)],
        "image_sha256": [f"{i:064x}" for i in range(count)],
        "shard": pa.array(["data-00000-of-00001.tfrecord"] * count),
        "record_index": np.arange(count),
        "label_ids": [[i % classes, classes] for i in range(count)],
        "targets": [["label", "predicted"]] * count,
        "class_id": pa.array(np.arange(count) % classes, pa.int32()),
        "probability": pa.array(np.full(count, 0.5), pa.float32()),
        "energy_share": pa.array(1 - image / 1000, pa.float32()),
        "true_boxes": [[1.0, 2.0, 30.0, 40.0]] * count,
        "evidence_channels": pa.array(list(channels)),
        "evidence_steps": pa.array(list(np.full((count, kept), 100, np.int16))),
        "evidence_scale": pa.array(np.full(count, 0.01), pa.float32()),
        "evidence_total": pa.array(np.full(count, 24.0), pa.float32()),
        "evidence_magnitude": pa.array(np.full(count, 30.0), pa.float32()),
    })  # fmt: skip
    if order is not None:
        table = table.take(pa.array(np.random.default_rng(order).permutation(count)))
    return ds.dataset(table)


def places(one: sample.ClassSample) -> tuple[list[int], list[int]]:
    return [image.place[1] for image in one.images], [image.place[1] for image in one.off_object]


def test_each_class_keeps_a_sample_and_the_images_most_off_the_object():
    found = sample.gather(run_of(2, 100), "label")
    assert [one.class_id for one in found] == [0, 1]
    assert {one.seen for one in found} == {100}
    assert len(found[0].images) == sample.SAMPLED
    assert places(found[1])[1] == [2 * i + 1 for i in range(99, 99 - sample.OFF_OBJECT, -1)]
    first = found[0].off_object[0]
    assert first.labels == (0, 2)
    assert first.off_evidence == pytest.approx(0.099 * 0.5, rel=1e-4)
    assert first.boxes is not None
    assert first.boxes.tolist() == [[1.0, 2.0, 30.0, 40.0]]


def test_the_order_of_the_rows_changes_nothing():
    plain, mixed = (sample.gather(run_of(3, 90, order=order), "label") for order in (None, 7))
    assert [places(one) for one in plain] == [places(one) for one in mixed]


def test_a_layer_may_have_more_channels_than_two_bytes_count():
    channels, values = np.array([70_000, 3], np.int32), np.array([0.5, -0.25], np.float32)
    image = sample.Image(("s", 0, "a"), "i", 0.5, 0.1, sample.packed(channels, values))
    assert (image.channels.tolist(), image.values.tolist()) == ([70_000, 3], [0.5, -0.25])


def test_rows_of_other_targets_do_not_count():
    assert sample.gather(run_of(2, 10), "runner_up") == []


def test_a_thousand_classes_take_less_than_64_mib():
    classes = 25
    table = run_of(classes, 120)
    sample.gather(table, "label")
    tracemalloc.start()
    found = sample.gather(table, "label")
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(found) == classes
    assert kept / classes * 1000 < 64 * 2**20
