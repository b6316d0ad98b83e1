"""Which images are shown: by arithmetic on a few scores, the same for any order of rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from heatbeam.report import galleries
from heatbeam.runs import run_directory
from tests.support import report_runs


def scores(**columns):
    count = len(next(iter(columns.values())))
    given = {"image_id": [f"i{k}" for k in range(count)], "class_id": [0] * count, "rank": [1] * count} | columns
    types = {"image_id": pa.string(), "class_id": pa.int32()}
    return pa.table({name: pa.array(values, types.get(name, pa.float32())) for name, values in given.items()})


def names(chosen):
    return [name for name, _ in chosen]


def test_best_median_and_worst():
    found = galleries.choose(scores(energy_share=[0.5, 0.1, 0.9, 0.4, None, 0.6]), 2, 0)
    assert (found.measure, found.n) == ("energy_share", 5)
    assert names(found.best) == ["i2", "i5"] and names(found.worst) == ["i1", "i3"]
    assert names(found.median) == ["i0", "i3"]  # the median of .1 .4 .5 .6 .9 is .5; .4 and .6 are as near: by id


def test_the_first_measure_that_exists_orders():
    assert galleries.choose(scores(energy_share=[None, None], box_iou=[0.1, 0.2]), 1, 0).measure == "box_iou"
    assert galleries.choose(scores(probability=[0.1, 0.2]), 1, 0).measure == "probability"
    assert galleries.choose(scores(rank=[1, 1]), 1, 0).measure == ""


def test_right_class_wrong_place():
    found = galleries.choose(
        scores(
            energy_share=[0.3, 0.1, 0.2, 0.0, 0.05],
            rank=[1, 1, 2, 1, 1],
            pointing_hit=[0, 0, 0, 1, None],
        ), 8, 0,
    )  # fmt: skip
    # i2 is taken for another class, i3 points at the object, of i4 the point is not known.
    assert names(found.wrong_place) == ["i1", "i0"]
    assert (found.wrong_place_n, found.right_n) == (2, 3)


def test_the_worst_are_not_shown_twice():
    given = scores(energy_share=[0.1, 0.2, 0.3, 0.4], pointing_hit=[0, 1, 0, 1])
    found = galleries.choose(given, 2, 0)
    assert names(found.wrong_place) == ["i0", "i2"] and names(found.worst) == ["i1", "i3"]
    values = galleries.choose(given, 2, 0, named=False)  # nothing is right or wrong
    assert (values.wrong_place, values.wrong_place_n, values.right_n) == ([], 0, 0) and names(values.worst)[0] == "i0"


def test_worst_median_and_best_of_a_class_and_of_a_slice():
    given = scores(energy_share=[0.5, 0.1, 0.9, 0.4, 0.6, None], class_id=[0, 0, 0, 0, 1, 1])
    given = given.append_column("slice_camera", pa.array(["left", "right", "right", None, "left", "left"]))
    wanted = [("class", "ant"), ("class", "bee"), ("camera", "right"), ("camera", "up"), ("country", "x")]
    found = galleries.of_rows(given, "energy_share", wanted, ["ant", "bee"])
    # The median of .1 .4 .5 .9 is .45; .4 and .5 are as near: by id.
    assert {key: names(chosen) for key, chosen in found.items()} == {
        ("class", "ant"): ["i1", "i0", "i2"], ("class", "bee"): ["i4"], ("camera", "right"): ["i1", "i2"],
    }  # fmt: skip
    assert galleries.of_rows(given, "", wanted, ["ant", "bee"]) == {}


def test_without_the_point_the_box_decides():
    found = galleries.choose(scores(box_iou=[0.1, 0.9], box_hit=[0, 1]), 8, 0)
    assert names(found.wrong_place) == ["i0"] and found.right_n == 2


def test_equal_scores_go_by_image_whatever_the_order():
    table = scores(energy_share=[0.5] * 40)
    shuffled = table.take(np.random.default_rng(0).permutation(40))
    one, other = galleries.choose(table, 3, 2), galleries.choose(shuffled, 3, 2)
    assert one == other and names(one.best) == ["i0", "i1", "i10"]


def test_spread_goes_from_good_to_bad():
    found = galleries.choose(scores(energy_share=np.linspace(0, 1, 101)), 1, 3)
    assert [names(step)[0] for step in found.spread] == ["i95", "i50", "i5"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = report_runs.write(tmp_path_factory.mktemp("galleries"), report_runs.Plan(images=4))
    return run_directory.RunDirectory(path).open_table("explanations")


def test_fetch_gives_all_rows_of_some_images_in_order(table):
    rows = galleries.fetch(table, {"image-0003", "image-0001"})
    # Image 3 is mistaken: explained for two classes by two methods.
    assert [(r["image_id"], r["method"], r["class_id"]) for r in rows] == [
        ("image-0001", "cam", 1), ("image-0001", "layer_cam", 1),
        ("image-0003", "cam", 3), ("image-0003", "cam", 4),
        ("image-0003", "layer_cam", 3), ("image-0003", "layer_cam", 4),
    ]  # fmt: skip
    assert {r["method"] for r in galleries.fetch(table, {"image-0003"}, "cam")} == {"cam"}
    assert galleries.fetch(table, []) == []


def test_images_with_most_energy_at_a_place(table):
    corner = np.zeros((report_runs.CELLS, report_runs.CELLS))
    corner[:2, :2] = 1
    found = galleries.strongest_at(table, "cam", "label", {2: corner, 0: corner}, 3)
    # All maps of the planted class are the same; the ids decide.
    assert found[2] == ["image-0002", "image-0009", "image-0016"] and len(found[0]) == 3
    assert galleries.strongest_at(table, "cam", "label", {}, 3) == {}
