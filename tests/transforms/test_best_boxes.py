"""The second pass over the rows, by hand; that it agrees with the counts of whole runs is in `test_run`."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.transforms import best_boxes, records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import box_accuracy
from tests.support import beam_runs, paths

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
        tables = {"written": signs, "thresholds": pairs} | best_boxes.BestBoxes(str(self._directory), protocols.DEFAULT)
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
            sorted(name for table in tables for name in table["image_id"].to_pylist())
            == [f"{i}{j}" for i in range(2) for j in range(5)][:count]
        )
        assert len(tables) == (6 if count else 0)


def test_rows_have_wsolevaluations_ious_at_its_best_threshold() -> None:
    """Heatmaps, true boxes in original pixels and the best IoU of each image at 100 thresholds are that code's."""
    with np.load(paths.GOLDEN / "wsol_public" / "wsol_public.npz") as arrays:
        maps = (np.cumsum(arrays["in/maps_dx_u16"], axis=2, dtype=np.uint16) / 2048).astype(np.float32)
        sizes, boxes, thresholds = arrays["in/image_sizes_wh"], arrays["in/boxes"], arrays["out/thresholds_0.01"]
        want = np.stack([arrays[f"out/multi{mode}/step0.01/best_iou"] for mode in (0, 1)])
    kept = [number for number, one in enumerate(maps) if one.min() == 0 and one.max() == 1]  # min-max changes nothing
    table = pa.concat_tables(
        rows((str(number), "cam", boxes[boxes[:, 0] == number, 1:].ravel().astype(float))) for number in kept
    )
    changed = {
        "image_width": pa.array(sizes[kept, 0], pa.int32()),
        "image_height": pa.array(sizes[kept, 1], pa.int32()),
        "view_x1": pa.array(sizes[kept, 0].astype(np.float32)),
        "view_y1": pa.array(sizes[kept, 1].astype(np.float32)),
        "heatmap": pa.array([maps[number].ravel() for number in kept]),
        "heatmap_scale": pa.array(np.ones(len(kept), np.float32)),
    }
    for name, column in changed.items():
        table = table.set_column(table.column_names.index(name), name, column)
    names = box_accuracy.threshold_names(protocols.WSOLEVALUATION.iou_limits)
    right = {name: want[mode][kept] >= protocols.WSOLEVALUATION.iou_limits[place] for mode, place, name in names}
    best = {name: int(right[name].sum(axis=0).argmax()) for name in right}
    found = best_boxes.table(
        table, {"cam": {name: float(thresholds[place]) for name, place in best.items()}}, protocols.WSOLEVALUATION
    )
    assert found.num_rows == len(kept) > 50
    for mode, place, name in names:
        ious = found[f"iou_{name}"].to_numpy()
        assert (ious == want[mode][kept, best[name]]).all()
        hits = (ious >= protocols.WSOLEVALUATION.iou_limits[place]).sum()
        assert hits == right[name].sum(axis=0).max()
