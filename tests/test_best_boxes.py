"""The second pass over the rows, by hand; that it agrees with the counts of whole runs is in `test_run`."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests import beam_runs
from transforms import best_boxes, records
from transforms.metrics import protocols

NAMES = ("single_30", "single_50", "single_70", "multi_30", "multi_50", "multi_70")


def rows(*images: tuple[str, str, list[float] | None]) -> pa.Table:
    """One row per image id, method and true boxes: a map of 224 px, 10 in columns 0 to 49, 5 up to 99, in 224 x 448."""
    cells = np.zeros((224, 224), np.int16)
    cells[:, :100], cells[:, :50] = 5, 10
    count = len(images)
    return pa.table({
        "image_id": pa.array([one[0] for one in images], pa.string()),
        "image_width": pa.array([224] * count, pa.int32()),
        "image_height": pa.array([448] * count, pa.int32()),
        "view_x0": pa.array([0] * count, pa.float32()),
        "view_y0": pa.array([0] * count, pa.float32()),
        "view_x1": pa.array([224] * count, pa.float32()),
        "view_y1": pa.array([448] * count, pa.float32()),
        "class_id": pa.array(range(count), pa.int32()),
        "method": pa.array([one[1] for one in images], pa.string()),
        "true_boxes": pa.array([one[2] for one in images], pa.list_(pa.float64())),
        "heatmap": pa.array([cells.ravel()] * count, pa.list_(pa.int16())),
        "heatmap_scale": pa.array([0.25] * count, pa.float32()),
        "heatmap_height": pa.array([224] * count, pa.int16()),
        "heatmap_width": pa.array([224] * count, pa.int16()),
    })  # fmt: skip


def thresholds(stated: float, others: float = 0.6) -> dict[str, float]:
    return {name: stated if name == best_boxes.STATED else others for name in NAMES}


LEFT = [0.0, 0.0, 50.0, 448.0]


def test_each_method_has_its_own_thresholds() -> None:
    table = rows(("a", "cam", LEFT), ("a", "grad_cam", LEFT))
    found = best_boxes.table(table, {"cam": thresholds(0.2), "grad_cam": thresholds(0.6)}, protocols.DEFAULT)
    cam, grad_cam = found.to_pylist()
    # Above 0.2 of the maximum lie 100 columns, above 0.6 of it 50; the truth is 50.
    assert (cam["iou_single_50"], cam["iou_single_30"], cam["best_box_threshold"]) == (0.5, 1, 0.2)
    assert [cam[f"best_box_{edge}"] for edge in ("x0", "y0", "x1", "y1")] == [0, 0, 100, 448]
    assert (grad_cam["iou_single_50"], grad_cam["best_box_x1"], grad_cam["best_box_threshold"]) == (1, 50, 0.6)
    assert (cam["class_id"], grad_cam["class_id"]) == (0, 1)


def test_the_best_of_several_true_boxes_counts() -> None:
    two = [100.0, 0.0, 200.0, 448.0, *LEFT]
    (row,) = best_boxes.table(rows(("a", "cam", two)), {"cam": thresholds(0.6)}, protocols.DEFAULT).to_pylist()
    assert [row[f"iou_{name}"] for name in NAMES] == [1] * 6


def test_rows_without_boxes_or_without_a_best_threshold_are_left_out() -> None:
    table = rows(("a", "cam", None), ("b", "cam", []), ("c", "score_cam", LEFT), ("d", "cam", LEFT))
    assert best_boxes.table(table, {"cam": thresholds(0.5)}, protocols.DEFAULT)["image_id"].to_pylist() == ["d"]
    nothing = best_boxes.table(table.slice(0, 2), {"cam": thresholds(0.5)}, protocols.DEFAULT)
    assert nothing.num_rows == 0 and nothing.schema == best_boxes.schema(protocols.DEFAULT)


def test_a_map_without_a_box_has_none_and_misses() -> None:
    table = rows(("a", "cam", LEFT))
    blank = table.set_column(table.schema.get_field_index("heatmap_scale"), "heatmap_scale", pa.array([-1.0], "float"))
    (row,) = best_boxes.table(blank, {"cam": thresholds(0.5)}, protocols.DEFAULT).to_pylist()
    assert row["best_box_x0"] is None and row["iou_single_50"] == 0


class _Written(beam_runs.beam.PTransform):
    """Any sign that rows are written, to tables under the tags that `beam_runs.collect` knows."""

    def __init__(self, directory: pathlib.Path, found: list[tuple[str, dict[str, float]]]) -> None:
        super().__init__()
        self._directory, self._found = directory, found

    def expand(self, signs):
        pairs = signs.pipeline | beam_runs.beam.Create(self._found)
        tables = signs | best_boxes.BestBoxes(str(self._directory), protocols.DEFAULT, pairs)
        nothing = signs | "Nothing" >> beam_runs.beam.Filter(lambda _: False)
        return {"main": tables, records.DEAD_LETTER_TAG: nothing}


def test_every_row_group_of_every_file_is_read_though_the_writer_names_none(tmp_path: pathlib.Path) -> None:
    for number in range(2):
        table = rows(*((f"{number}{i}", "cam", LEFT) for i in range(5)))
        pq.write_table(table, tmp_path / f"part-{number:05d}-of-00002.parquet", row_group_size=2)
    (tmp_path / "beam-temp-part").mkdir()
    for found, count in (([("cam", thresholds(0.5))], 10), ([], 0)):
        tables, _, _ = beam_runs.collect(_Written(tmp_path, found), [])
        assert (
            sorted(sum((t["image_id"].to_pylist() for t in tables), []))
            == [f"{i}{j}" for i in range(2) for j in range(5)][:count]
        )
        assert len(tables) == (6 if count else 0)
