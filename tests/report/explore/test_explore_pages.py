"""The pages of the explorer: what they show of a run, as values."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from heatbeam.explore import grid, overview, pictures, views
from heatbeam.pages import map_images
from heatbeam.runs import reviews, run_directory
from tests.report.explore import explorers
from tests.support import report_runs

PLAN = report_runs.Plan(classes=("ant", "bee", "cat"), images=30)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return report_runs.write(tmp_path_factory.mktemp("pages"), PLAN)


@pytest.fixture(scope="module")
def client(path):
    return explorers.Client(path)


@pytest.fixture(scope="module")
def rows(path):
    return run_directory.RunDirectory(path).open_table("explanations").to_table().to_pylist()


def ids(page):
    return re.findall(r'<span class="id">([^<]+)</span>', page)


def test_it_starts_with_the_first_method_and_the_primary_target(client):
    answer = client.ask("/")
    assert (answer.status, answer.headers["location"]) == (303, "/a/grid?method=cam&target=label&sort=image_id")
    assert client.ask("/a/grid").headers["location"] == answer.headers["location"]


def test_a_page_has_sixty_rows_and_leads_to_the_next(client):
    first = client.page("/a/grid", method="cam", target="label")
    assert "<strong>90</strong> rows" in first
    more = html.unescape(re.search(r'id="more" href="([^"]+)"', first)[1])
    second = client.ask(more).text
    assert len(ids(first)) == views.PAGE and len(ids(second)) == 90 - views.PAGE and 'id="more"' not in second
    assert ids(first) + ids(second) == [f"image-{i:04d}" for i in range(90)]


def test_a_cell_says_class_decision_and_numbers(client, rows):
    page = client.page("/a/grid", method="cam", target="label", decision="wrong")
    wrong = [row for row in rows if row["method"] == "cam" and "label" in row["targets"]
             and row["predicted_class_id"] not in row["label_ids"]]  # fmt: skip
    assert len(ids(page)) == len(wrong) and f"<strong>{len(wrong)}</strong> rows" in page
    row = min(wrong, key=lambda one: one["image_id"])
    cell = page.split('<li class="cell')[1]
    assert f"<strong>{row['class_name']}</strong>" in cell
    predicted = PLAN.classes[row["predicted_class_id"]]
    assert f">taken for {predicted}<" in cell
    other = client.page("/a/grid", method="cam", target="predicted", decision="wrong").split('<li class="cell')[1]
    assert f"<strong>{predicted}</strong>" in other and f">instead of {row['class_name']}<" in other
    assert f"on object</span> {row['energy_share']:.2f}" in cell and f"p</span> {row['probability']:.2f}" in cell


def test_a_model_of_values_says_its_value_beside_the_true_one(client):
    (run,) = client.runs
    assert grid.said(run, {"predicted_class_id": 1}) == "bee"
    values = {"predicted_class_id": 0, "predicted_value": 41.25, "true_value": 30.5}
    assert grid.said(run, values) == "41.25, true is 30.5"
    assert grid.said(run, values | {"true_value": None}) == "41.25"


def test_the_form_holds_what_was_chosen_and_the_command_says_it(client, path):
    page = client.page("/a/grid", **{"method": "layer_cam", "class": 1, "min.entropy": 0.5, "sort": "entropy"})
    assert '<option value="layer_cam" selected>' in page and '<option value="1" selected>bee</option>' in page
    assert 'name="min.entropy" value="0.5"' in page and '<option value="entropy" selected>' in page
    render, export = (shlex.split(html.unescape(text)) for text in re.findall(r"<code>(heatbeam [^<]+)</code>", page))
    where = "method = 'layer_cam' AND class_id = 1 AND \"entropy\" >= 0.5"
    assert render == ["heatbeam", "render", path, "--where", where, "--to", "pictures"]
    assert export[:5] == ["heatbeam", "export", path, "--where", where]


def test_nothing_found_says_so(client):
    assert "No row fulfils this" in client.page("/a/grid", text="no such image")


def test_pictures_are_the_original_and_its_heat(client, rows):
    found = client.runs[0].table.select(grid.columns(client.runs[0].table), "WHERE image_id = 'image-0005'")
    place = next(row["place"] for row in found if row["method"] == "cam")
    answer = client.ask(f"/a/picture/{place}/480")
    assert answer.headers["content-type"] == "image/jpeg" and "immutable" in answer.headers["cache-control"]
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), np.float64)
    assert picture.shape == (report_runs.HEIGHT, report_runs.WIDTH, 3) and picture.std() > 10  # never scaled up
    svg = client.ask(f"/a/heat/{place}").text
    steps = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", svg)[1])))
    )  # of the palette
    row = next(row for row in rows if row["image_id"] == "image-0005" and row["method"] == "cam")
    x0, y0, x1, y1 = row["true_boxes"] or (0, 0, 48, 40)
    y, x = np.unravel_index(steps.argmax(), steps.shape)
    assert (steps.min(), steps.max()) == (0, map_images.LEVELS - 1) and svg.count("<path") == 2
    if row["class_id"] != PLAN.planted:
        assert x0 <= x * 48 / steps.shape[1] <= x1 and y0 <= y * 40 / steps.shape[0] <= y1


def test_originals_that_are_gone_leave_the_heat_and_say_why(tmp_path):
    client = explorers.Client(report_runs.write(tmp_path, report_runs.Plan(images=1, shard=False)))
    answer = client.ask("/a/picture/0-0/480")
    assert answer.status == 200 and np.asarray(Image.open(io.BytesIO(answer.content))).std() < 5
    assert "<path" not in client.ask("/a/heat/0-0").text  # alone and opaque
    assert "Some originals cannot be read" in client.page("/a/grid", sort="image_id")


def test_true_masks_are_outlined_over_their_picture_and_hidden_with_the_boxes(tmp_path, monkeypatch):
    client = explorers.Client(report_runs.write(tmp_path, report_runs.Plan(images=1, mistaken=0)))
    assert "/a/truth/" not in client.page("/a/grid", method="cam", sort="image_id")  # nothing asked for in vain
    run = client.runs[0]
    vars(run).pop("masks")  # it is kept
    run.numbers["cam", "all", "all", "pxap"] = next(iter(run.numbers.values()))
    page = client.page("/a/grid", method="cam", sort="image_id")
    of_rows = re.findall(r'<img class="boxes" loading="lazy" src="(/a/truth/[^"]+)"', page)
    assert len(of_rows) == 7
    assert (
        '<path fill="none" stroke="#4dff88"' in client.ask(of_rows[0]).text and ' d=""' in client.ask(of_rows[0]).text
    )

    def true_mask(source, image_size, class_id, label_ids, classes):
        assert (image_size, label_ids) == ((48, 40), [class_id])
        return np.eye(2, dtype=bool) if class_id == 1 else None

    monkeypatch.setattr(pictures.source_truth, "true_mask", true_mask)
    drawn = [re.findall(r' d="([^"]*)"', client.ask(one).text) for one in of_rows]
    assert drawn[0] == ["", ""] and drawn[1][0] == drawn[1][1]
    assert sorted(drawn[1][0].split("M")[1:]) == sorted(
        ["0 0H24", "0 20H48", "24 40H48", "0 0V20", "24 0V40", "48 20V40"]
    )
    assert client.ask("/a/truth/9-9").status == 404


def test_an_image_shows_every_method_and_class_and_its_row(client, rows):
    page = client.page("/a/image", id="image-0003", shard=report_runs.SHARD, record=3)
    mine = [row for row in rows if row["image_id"] == "image-0003"]
    assert len(mine) == 4 and page.count('<li class="cell"') == 4  # two methods, label and first choice
    assert "Labelled <strong>ant</strong>; the model says <strong>bee</strong>" in page
    assert mine[0]["image_sha256"] in page and "SHA-256 of the encoded image bytes" in page
    for row in mine:
        assert f"{row['entropy']:.4g}" in page and f"{row['probability']:.4g}" in page
    assert page.count(f'src="/a/picture/{client.runs[0].table.select(["image_id"], "LIMIT 1")[0]["place"].file}-') == 4


@pytest.mark.parametrize("query", ["id=none&shard=x&record=1", "id=image-0003&shard=x&record=3"])
def test_an_image_that_is_not_there_is_said(query, client):
    assert client.ask(f"/a/image?{query}").status == 404
    assert client.ask("/a/image?id=image-0003&shard=x&record=y").status == 400
    assert client.ask("/b/grid?sort=image_id").status == 404


def key_of(page, number=0):
    return html.unescape(re.findall(r'data-key="([^"]+)"', page)[number])


def test_marks_are_set_shown_listed_and_taken_away(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=2, shard=False, id_format="a&b='{:02d}'"))
    client = explorers.Client(path)
    page = client.page("/a/grid", method="cam")
    key = key_of(page, 3)  # its label is dog, the model says elk
    sent = {"key": key, "mark": "label_wrong", "form": client.secrets.form}
    assert json.loads(client.ask("/a/review", method="POST", form=sent).text) == {"marks": {"label_wrong": ""}}
    noted = {**sent, "mark": "note", "note": "<b>look</b>"}
    assert json.loads(client.ask("/a/review", method="POST", form=noted).text)["marks"]["note"] == "<b>look</b>"
    row = reviews.read(path).to_pylist()[0]
    assert (row["image_id"], row["mark"], row["class_name"]) == ("a&b='03'", "label_wrong", "dog")
    cell = client.page("/a/grid", method="cam").split('<li class="cell')[4]
    assert 'data-mark="label_wrong" aria-pressed="true"' in cell and "&lt;b&gt;look&lt;/b&gt;" in cell
    listed = client.page("/a/review")
    assert "<strong>1</strong> label wrong" in listed and "a&amp;b=&#39;03&#39;" in listed and "<b>look" not in listed
    client.ask("/a/review", method="POST", form={**sent, "there": "no"})
    assert [row["mark"] for row in reviews.read(path).to_pylist()] == ["note"]


BAD_FORMS = {
    "no token": ({"form": ""}, 403),
    "a wrong token": ({"form": "x" * 43}, 403),
    "no row": ({"key": "image_id=none&shard=x&record_index=1&method=cam&class_id=1"}, 404),
    "no key": ({"key": "image_id=../../x"}, 404),
    "letters for a number": ({"key": "image_id=a&shard=x&record_index=1;drop&method=cam&class_id=1"}, 404),
    "another mark": ({"mark": "../../x"}, 400),
    "a long note": ({"note": "x" * 2001}, 400),
    "a longer note": ({"note": "x" * 70_000}, 403),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_form_that_is_wrong_marks_nothing(name, client, path):
    changed, status = BAD_FORMS[name]
    form = {"key": key_of(client.page("/a/grid", method="cam")), "mark": "note", "form": client.secrets.form, **changed}
    assert client.ask("/a/review", method="POST", form=form).status == status
    assert reviews.read(path).num_rows == 0


def test_a_form_of_another_kind_or_origin_marks_nothing(client, path):
    form = {"key": key_of(client.page("/a/grid", method="cam")), "mark": "sick_map", "form": client.secrets.form}
    for headers in ({"content-type": "text/plain"}, {"origin": "http://evil.example"}, {"origin": ""}):
        assert client.ask("/a/review", method="POST", form=form, headers=headers).status == 403
    assert client.ask("/a/review", method="POST", form=form, headers={"cookie": ""}).status == 403
    assert reviews.read(path).num_rows == 0


def numbers_of(page, name):
    """Text and address of every number in the line of a name, by the title of its column."""
    table = next(one for one in page.split("<table")[1:] if re.search(rf">{name}</a></th>", one))
    titles = re.findall(r'class="sort">([^<]+)<', table.split("</thead>")[0])[1:]
    line = re.search(rf">{name}</a></th>(.*?)</tr>", table, re.DOTALL)[1]
    cells = re.findall(r'<td class="n"[^>]*>(?:<a href="([^"]+)">([^<]+)</a>|–)', line)
    return {title: (html.unescape(link), text) for title, (link, text) in zip(titles, cells, strict=True)}


def test_every_number_of_the_summary_leads_to_its_rows_the_worst_first(client, rows):
    page = client.page("/a/summary", method="layer_cam")
    link, text = numbers_of(page, "bee")["Energy on object"]
    mine = [
        row for row in rows if row["method"] == "layer_cam" and row["class_name"] == "bee" and "label" in row["targets"]
    ]
    shares = [row["energy_share"] for row in mine if row["energy_share"] is not None]
    assert text == f"{np.mean(shares):.3f}"
    shown = client.ask(link).text
    assert f"<strong>{len(mine)}</strong> rows" in shown
    first = min(mine, key=lambda row: row["energy_share"])
    assert ids(shown)[0] == first["image_id"]
    boxes, _ = numbers_of(page, "bee")["Box accuracy"]  # no number of a row: by what is next to it
    assert ids(client.ask(boxes).text)[0] == min(mine, key=lambda row: row["box_iou"])["image_id"]
    whole, _ = numbers_of(page, "cam")["Energy on object"]
    assert "<strong>90</strong> rows" in client.ask(whole).text


def test_the_summary_looks_through_the_numbers_once_for_methods_and_once_for_slices(client):
    class Counted(dict):
        scans = 0

        def __iter__(self):
            self.scans += 1
            return super().__iter__()

    run = dataclasses.replace(client.runs[0], numbers=Counted(client.runs[0].numbers))
    assert len(overview.page(run, "")["tables"]) > 1 and run.numbers.scans == 2


def test_a_summary_of_a_method_that_is_not_there_is_said(client):
    assert client.ask("/a/summary?method=none").status == 404
