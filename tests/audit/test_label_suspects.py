"""The queue of doubtful labels: who is in it, in which order, however the rows come."""

from __future__ import annotations

import io
import math

import pyarrow.parquet as pq
import pytest

from heatbeam.audit import label_suspects
from heatbeam.transforms.tables import rows, schemas
from tests.support import audit_runs

SCHEMA = schemas.explanations([schemas.ValueColumn(n) for n in audit_runs.VALUES], ["weather"], heatmap_dtype="int16")
# Ten cells: the strongest 20 % are two of them.
FIRST = ((9, 8, 0, 1, 2), (3, 4, 5, 6, 7))
LAST = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def pair(image_id, label_map=FIRST, predicted_map=LAST, *, label=0, predicted=1, p=0.9, labels=None, **changes):
    """An image labelled `label` and taken for `predicted`: its two rows."""
    shared = {"predicted": predicted, "labels": (label,) if labels is None else labels} | changes
    return [
        audit_runs.Row(image_id, label_map, class_id=label, probability=0.05, targets=("label",), rank=2, **shared),
        audit_runs.Row(image_id, predicted_map, class_id=predicted, probability=p, targets=("predicted",), **shared),
    ]


def collect(given, pieces=1, method="cam"):
    table = rows.explanation_table([audit_runs.localization(row) for row in given], SCHEMA, audit_runs.CLASS_NAMES)
    collector = label_suspects.Collector(method)
    for i in range(pieces):
        start, end = len(given) * i // pieces, len(given) * (i + 1) // pieces
        collector.add(table.slice(start, end - start))
    return collector, collector.result()


def test_confident_and_elsewhere_is_a_suspect():
    collector, queue = collect(pair("a", p=0.9))
    [row] = queue.to_pylist()
    assert (row["label_name"], row["predicted_name"], row["method"]) == ("cat", "dog", "cam")
    assert row["overlap"] == 0 and row["score"] == pytest.approx(0.9)
    assert (row["label_probability"], row["predicted_probability"]) == (pytest.approx(0.05), pytest.approx(0.9))
    # Ranks 9 8 0 .. 7 against 0 .. 9: 1 - 6 sum d^2 / (n (n^2 - 1)), d = 9, 7 and eight times -2.
    assert row["spearman"] == pytest.approx(1 - 6 * (81 + 49 + 8 * 4) / (10 * 99), abs=1e-6)
    assert (collector.mistaken, collector.same_maps) == (1, 0)


def test_one_of_two_strongest_cells_in_common_is_an_overlap_of_a_third():
    half = ((9, 0, 1, 2, 3), (4, 5, 6, 7, 8))
    _, queue = collect(pair("a", FIRST, half))
    assert queue.num_rows == 0 and label_suspects.MAX_OVERLAP < 1 / 3


def test_the_same_place_is_a_confusion_not_a_suspect():
    collector, queue = collect(pair("a", FIRST, FIRST))
    assert queue.num_rows == 0 and (collector.mistaken, collector.same_maps) == (1, 1)


def test_an_unsure_prediction_is_no_suspect():
    collector, queue = collect(pair("a", p=label_suspects.MIN_PROBABILITY - 0.01))
    assert queue.num_rows == 0 and collector.mistaken == 1


def test_a_constant_map_has_no_overlap_and_is_no_suspect():
    collector, queue = collect(pair("a", ((1, 1), (1, 1)), ((0, 1), (2, 3))))
    assert queue.num_rows == 0 and collector.mistaken == 1


def test_a_right_prediction_and_an_image_without_label_are_not_looked_at():
    right = audit_runs.Row("a", predicted=0, labels=(0,))
    among_labels = pair("b", labels=(0, 1))
    unlabelled = audit_runs.Row("c", predicted=0, labels=())
    collector, queue = collect([right, *among_labels, unlabelled])
    assert (collector.mistaken, queue.num_rows) == (0, 0)


def test_of_several_labels_the_most_probable_is_doubted():
    first, predicted = pair("a", labels=(0, 2))
    second = audit_runs.Row("a", FIRST, class_id=2, predicted=1, labels=(0, 2), probability=0.2, rank=2)
    _, queue = collect([first, second, predicted])
    assert queue["label_name"].to_pylist() == ["owl"]


def test_only_the_chosen_method_counts():
    given = pair("a", method="layer_cam") + pair("b")
    assert collect(given)[1]["image_id"].to_pylist() == ["b"]
    assert collect(given, method="layer_cam")[1]["image_id"].to_pylist() == ["a"]


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 8])
def test_order_is_by_score_and_batches_may_cut_an_image(pieces):
    given = [row for i, p in enumerate((0.7, 0.99, 0.7, 0.8)) for row in pair(f"i{i}", p=p)]
    collector, queue = collect(given, pieces)
    assert queue["image_id"].to_pylist() == ["i1", "i3", "i0", "i2"] and collector.mistaken == 4


def test_queue_is_a_parquet_file_with_its_schema():
    _, queue = collect(pair("a"))
    read = pq.read_table(io.BytesIO(label_suspects.parquet(queue, "run")))
    assert read.schema.equals(schemas.of_run(label_suspects.SCHEMA)) and read["run_id"].to_pylist() == ["run"]
    assert all(field.metadata[b"description"] for field in read.schema)


def test_an_explanation_for_the_label_alone_is_left_out():
    collector, queue = collect(pair("a")[:1] + pair("b"))
    assert collector.mistaken == 1 and queue["image_id"].to_pylist() == ["b"]
    assert not math.isnan(queue["score"][0].as_py())
