"""What an address asks for: the rows are those that Arrow finds, in its order; and so are ``--where``'s."""

from __future__ import annotations

import base64
import dataclasses
import json
import shlex
import urllib.parse

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from heatbeam.explore import table as tables
from heatbeam.explore import views
from heatbeam.runs import chosen_rows, run_directory
from tests.support import report_runs

PLAN = report_runs.Plan(classes=("ant", "bee", "cat's", "d?g"), images=9, id_format="Image-{:04d}'?\"")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = report_runs.write(tmp_path_factory.mktemp("views"), dataclasses.replace(PLAN, shard=False))
    part = path + "/explanations/part-00000-of-00001.parquet"
    table = pq.read_table(part)
    at = table.schema.get_field_index("box_iou")  # half of the rows have none
    kept = [value if i % 2 else None for i, value in enumerate(table["box_iou"].to_pylist())]
    table = table.set_column(at, table.schema.field("box_iou"), pa.array(kept, pa.float32()))
    pq.write_table(table, part, row_group_size=11)
    directory = run_directory.RunDirectory(path)
    directory.finish(directory.read_manifest())
    return directory


@pytest.fixture(scope="module")
def table(run):
    return tables.Table(run)


@pytest.fixture(scope="module")
def rows(run):
    return run.open_table("explanations").to_table()


def parse(table, query):
    return views.parse([tuple(pair.split("=", 1)) for pair in query.split("&") if pair], table)


def keys(found):
    return [tuple(row[name] for name in tables.KEY) for row in found]


def pages(table, view, monkeypatch, size=7):
    """The rows of every page, one after the other."""
    monkeypatch.setattr(views, "PAGE", size)
    found = []
    while True:
        chosen = view.page()
        page = table.select((*tables.KEY, view.sort), chosen.bound, chosen.values)
        found += page[:size]
        if len(page) <= size:
            return found
        # Through its address, as the link to the next page goes.
        view = parse_address(view.next_after(page[size - 1]).address(), table)


def parse_address(address, table):
    return views.parse(urllib.parse.parse_qsl(address), table)


def _lists(rows, name, value):
    return pa.array([value in one for one in rows[name].to_pylist()])


def _wrong(rows):
    pairs = zip(rows["predicted_class_id"].to_pylist(), rows["label_ids"].to_pylist(), strict=True)
    return pa.array([predicted not in labels for predicted, labels in pairs])


CASES = {
    "": lambda rows: pa.array([True] * len(rows)),
    "method=cam": lambda rows: pc.equal(rows["method"], "cam"),
    "method=cam&target=label": lambda rows: pc.and_(pc.equal(rows["method"], "cam"), _lists(rows, "targets", "label")),
    "class=2": lambda rows: pc.equal(rows["class_id"], 2),
    "class=3 · d?g": lambda rows: pc.equal(rows["class_id"], 3),
    "decision=wrong": _wrong,
    "decision=right": lambda rows: pc.invert(_wrong(rows)),
    "decision=unlabelled": lambda rows: pa.array([False] * len(rows)),
    "health=blank": lambda rows: _lists(rows, "health", "blank"),
    "slice.camera=left": lambda rows: pc.equal(rows["slice_camera"], "left"),
    "text=IMAGE-000": lambda rows: pc.starts_with(rows["image_id"], "Image-000"),
    "text=3'?\"": lambda rows: pc.ends_with(rows["image_id"], "3'?\""),
    "min.probability=.5": lambda rows: pc.greater_equal(rows["probability"], 0.5),
    "max.box_iou=.3": lambda rows: pc.fill_null(pc.less_equal(rows["box_iou"], 0.3), False),
    "min.energy_share=.1&max.energy_share=.4&decision=wrong": lambda rows: pc.and_(
        pc.and_(pc.greater_equal(rows["energy_share"], 0.1), pc.less_equal(rows["energy_share"], 0.4)), _wrong(rows)
    ),
}


@pytest.mark.parametrize("query", CASES)
def test_rows_are_those_that_arrow_finds_and_that_where_finds(query, run, table, rows, monkeypatch):
    view = parse(table, query)
    expected = rows.filter(pc.fill_null(CASES[query](rows), False)).sort_by(
        [(name, "ascending") for name in tables.KEY]
    )
    wanted = keys(expected.select(tables.KEY).to_pylist())
    assert keys(pages(table, view, monkeypatch)) == wanted
    matching = view.matching()
    assert table.count(matching.bound, matching.values) == len(wanted)
    told, count = chosen_rows.choose(run, view.where(), 1000, tables.KEY)
    assert count == len(wanted) and sorted(keys(told.to_pylist())) == sorted(wanted)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("column", ["box_iou", "probability", "class_name", "slice_camera", "class_id", "image_id"])
def test_pages_are_in_order_and_rows_without_a_number_last(column, order, table, rows, monkeypatch):
    found = pages(table, parse(table, f"sort={column}&order={order}"), monkeypatch)
    whole = sorted(rows.select((*tables.KEY, column)).to_pylist(), key=lambda row: tuple(row[k] for k in tables.KEY))
    there = [row for row in whole if row[column] is not None]
    there.sort(key=lambda row: row[column], reverse=order == "desc")
    if order == "desc":  # rows of one value stand in rising order of their keys
        there = [row for value in dict.fromkeys(r[column] for r in there) for row in whole if row[column] == value]
    assert keys(found) == keys(there + [row for row in whole if row[column] is None])


def test_an_address_says_the_whole_view(table):
    query = (
        "method=cam&class=1&decision=wrong&slice.camera=left&min.probability=0.25&max.entropy=3&sort=entropy&order=desc"
    )
    view = parse(table, query)
    assert parse_address(view.address(), table) == view
    assert parse(table, "method=&class=&min.entropy=&text=").address() == "sort=image_id"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sort=heatmap", "no column to sort by 'heatmap'"),
        ('sort=image_id" DESC; DROP TABLE x --', "no column to sort by"),
        ("order=sideways", "no order 'sideways'"),
        ("min.probability=nan", "expected a number"),
        ("min.probability=1;drop", "expected a number"),
        ("min.image_id=1", "no column of numbers"),
        ("max.filename=1", "no column of numbers"),
        ("slice.nothing=1", "no slice"),
        ('slice.camera" OR 1=1 --=x', "no slice"),
        ("decision=maybe", "no decision"),
        ("class=ant", "expected the number of a class"),
        ("where=true", "an address has no 'where'"),
        ("after=xyz", "does not say where a page begins"),
        ("text=" + "x" * 501, "at most 500"),
    ],
)
def test_what_the_run_has_not_is_refused(query, message, table):
    with pytest.raises(views.ViewError, match=message):
        parse(table, query)


@pytest.mark.parametrize("packed", [[1], ["a"] * 6, ["a", "b", "c", 1, "m", "x"], {"a": 1}, [[1], "b", "c", 1, "m", 1]])
def test_a_forged_beginning_of_a_page_is_refused(packed, table):
    text = base64.urlsafe_b64encode(json.dumps(packed).encode()).decode()
    with pytest.raises(views.ViewError):
        parse(table, f"sort=probability&after={text}")


def test_commands_are_quoted_for_a_shell(table):
    view = dataclasses.replace(parse(table, "method=cam"), text="it's; rm -rf $(x) `y`")
    render, export = views.commands("/runs/my run", view)
    assert shlex.split(render)[:5] == ["heatbeam", "render", "/runs/my run", "--where", view.where()]
    assert shlex.split(export)[3:5] == ["--where", view.where()]
    assert view.where() == "method = 'cam' AND contains(lower(image_id), lower('it''s; rm -rf $(x) `y`'))"


def test_rows_are_found_again_by_their_places(table, rows):
    found = table.select(tables.KEY, "ORDER BY image_id, method, class_id")
    again = table.rows_at([row["place"] for row in found[::3]], (*tables.KEY, "heatmap"))
    assert [again[row["place"]]["image_id"] for row in found[::3]] == [row["image_id"] for row in found[::3]]
    by_key = dict(zip(keys(rows.to_pylist()), rows["heatmap"].to_pylist(), strict=True))
    for row in again.values():
        assert row["heatmap"].tolist() == by_key[tuple(row[name] for name in tables.KEY)]
    assert table.rows_at([tables.Place(0, 10**6), tables.Place(7, 0)], ("image_id",)) == {}


@pytest.mark.parametrize("text", ["", "1", "../../etc/passwd", "0-1-2", "0--1", "٣-1", "0-1\n", "9" * 40 + "-1"])
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="is no place of a row"):
        tables.Place.parse(text)


def test_duckdb_may_open_nothing_else(table, tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(duckdb.Error, match=r"(?i)permission|disabled"):
        table.ask(f"SELECT * FROM read_parquet('{other}')")  # noqa: S608 - a path of this test
    with pytest.raises(duckdb.Error):
        table.ask("SET enable_external_access = true")
