"""A comparison in the terminal, as JSON and as HTML."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from heatbeam.compare import compare, compare_files, gate, gate_rules
from heatbeam.pages import map_images
from heatbeam.runs import reviews
from heatbeam.transforms.sources import tfexample
from tests.support import sample_shards
from tests.support.audit_runs import Row, summary_row, write_run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> compare.Comparison:
    root = tmp_path_factory.mktemp("runs")
    first = [Row(f"<b>i{i}</b>", energy_share=0.5 + i / 100, class_id=i % 2, labels=(i % 2,)) for i in range(60)]
    second = [
        Row(f"<b>i{i}</b>", energy_share=0.5 + i / 100 - 0.25 * (i % 2), class_id=i % 2, labels=(i % 2,),
            predicted=i % 2, map=((1, 2), (3, 4)) if i == 7 else ((4, 3), (2, 1)))
        for i in range(60)
    ]  # fmt: skip
    rows = [summary_row("best_box_threshold_single_50", 0.2, n=60), summary_row("mystery", 1.0, n=60)]
    return compare.compare(
        write_run(root / "a", first, rows), write_run(root / "b", second, rows, versions={"keras": "3.6"})
    )


def test_the_terminal_shows_settings_first_and_marks_what_is_worse(comparison):
    stream = io.StringIO()
    compare_files.print_comparison(comparison, stream)
    text = stream.getvalue()
    lines = text.splitlines()
    assert text.index("versions.keras") < text.index("images in both runs") < text.index("candidate - baseline")
    # A quarter less for every second image.
    (row,) = (line for line in lines if "energy_pointing_game" in line and "->" in line)
    assert row.startswith("! cam") and "-0.1250" in row and "n 60 bootstrap" in row
    (dog,) = (line for line in lines if "class=dog" in line and "energy_pointing_game" in line)
    assert dog.startswith("! cam") and "-0.2500 (-0.2500 to -0.2500)" in dog
    assert "mystery" not in text


def test_marks_that_cannot_be_read_are_told_and_cost_nothing_else(comparison, tmp_path):
    path = write_run(tmp_path / "a", [Row("one", energy_share=0.5), Row("two", energy_share=0.6)])
    (tmp_path / "a" / "review").mkdir()
    (tmp_path / "a" / "review" / "review.parquet").write_bytes(b"PAR1 no")
    found = compare.compare(path, path)
    (why,) = set(found.unread_marks)
    assert why.startswith(f"{path}/review/review.parquet is no file of marks")
    assert found.counts["images_in_both"] == 2 and found.marks == {} and comparison.unread_marks == ()
    stream = io.StringIO()
    compare_files.print_comparison(found, stream)
    assert f"  warning: marks are not shown: {path}/review/review.parquet is no file of marks" in stream.getvalue()
    compare_files.write_html(found, tmp_path / "out.html")
    assert "The marks of a run are not shown: " in (tmp_path / "out.html").read_text()
    assert compare_files.as_dict(found)["unread_marks"] == [why, why]


def test_json_has_every_number_and_no_nan(comparison, tmp_path):
    compare_files.write_json(comparison, tmp_path / "out" / "comparison.json")
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(), parse_constant=pytest.fail)
    assert len(content["differences"]) == len(comparison.differences)
    (row,) = (r for r in content["differences"] if r["metric"] == "mystery")
    assert row["difference"] == 0 and row["lower"] is None and row["interval"] == "none"
    assert content["settings"] == [
        {"path": "versions.keras", "baseline": "3.5", "candidate": "3.6", "effect": "versions of libraries"}
    ]
    assert content["examples"][0]["image_id"] == "<b>i7</b>"


VOID = ("img", "meta", "wbr", "br", "rect", "input")


class Page(html.parser.HTMLParser):
    """Open tags, images and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_self_contained_and_escaped(comparison, tmp_path):
    verdict = gate.evaluate_gate(
        gate_rules.Gate(rules=[{"metric": "energy_pointing_game", "change": {"absolute": 0}}]), {}, {}, comparison
    )
    compare_files.write_html(comparison, tmp_path / "page.html", verdict)
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == [] and '<input type="checkbox" checked data-act="boxes"' not in text  # there is none to hide
    assert "<b>i7" not in text and "&lt;b&gt;i7" in text
    assert (
        not re.search(r"(src|href)=\"(?!data:|#)", text) and page.tags.count("script") == 1 and "link" not in page.tags
    )
    assert 'Gate: <span class="bad">fail' in text
    # Six maps that moved, and eight of the 30 decisions that flipped for the worse, in both runs.
    assert len(page.images) == 2 * (6 + 8) and all(image["alt"] for image in page.images)
    (uri,) = {one["src"] for one in page.images if "<b>i7</b>, candidate" in one["alt"]}
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
    # i7 of the candidate, 200 x 100 px: its strongest cell is the lower right one.
    assert shown.shape == (60, 120, 3)
    assert shown[-1, -1].sum() == shown.sum(axis=2).max() > shown[0, 0].sum()


def test_maps_lie_over_the_image_where_its_shard_is_there(tmp_path):
    data = sample_shards.encode(np.full((100, 200, 3), 120, np.uint8))
    (tmp_path / "shard-0").write_bytes(sample_shards.shard_bytes([tfexample.serialize({"image/encoded": [data]})]))
    digest, settings = hashlib.sha256(data).hexdigest(), {"input": {"tfrecord": str(tmp_path / "shard-0")}}
    runs = [
        write_run(tmp_path / name, [Row("i", sha256=digest, map=cells)], config=settings)
        for name, cells in (("a", ((0, 0), (0, 8))), ("b", ((8, 0), (0, 0))))
    ]
    compare_files.write_html(compare.compare(*runs), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count(f'<use href="#photo-{digest[:16]}"/>') == 2 and text.count('<image id="photo-') == 1
    first, second = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).convert("RGBA"))
        for image in Page(text).images
    )
    # Where a map has no evidence a dark veil hides half of the image, where it has most, yellow 45 %.
    for cold, hot in ((first[0, 0], first[-1, -1]), (second[-1, -1], second[0, 0])):
        np.testing.assert_allclose(cold, [14, 16, 26, 127.5], atol=1)
        np.testing.assert_allclose(hot, [253, 231, 37, 0.45 * 255], atol=1)


def test_flips_are_told_with_both_choices_what_is_wrong_now_first(tmp_path):
    def row(k, predicted, probability):
        return Row(f"i{k}", predicted=predicted, rank=1 + predicted, probability=probability)

    before = [row(0, 0, 0.9), row(1, 1, 0.2), row(2, 0, 0.8), row(3, 0, 0.5), row(4, 1, 0.1)]
    after = [row(0, 1, 0.7), row(1, 0, 0.6), row(2, 1, 0.1), row(3, 0, 0.4), row(4, 2, 0.1)]
    before, after = ([dataclasses.replace(one, sha256=one.image_id) for one in side] for side in (before, after))
    paths = write_run(tmp_path / "a", before), write_run(tmp_path / "b", after)
    for path, image, mark, note in (
        (paths[0], "i2", "label_wrong", "<i>two</i>"), (paths[1], "i2", "sick_map", ""), (paths[1], "i3", "note", "ok"),
    ):  # fmt: skip
        row_of_image = {"image_id": image, "image_sha256": image, "shard": "shard-0", "record_index": 0, "class_id": 0}
        subject = reviews.Subject({**row_of_image, "class_name": "cat", "method": "cam"}, (0, "cat"))
        reviews.Reviews(path, "run", "ann").set(subject, mark, note)
    found = compare.compare(*paths)
    assert (found.counts["images_marked"], found.counts["decision_flips_marked"]) == (2, 1)
    assert [(one.image_id, one.change) for one in found.flips] == [
        ("i2", "now wrong"), ("i0", "now wrong"), ("i1", "now right"), ("i4", "wrong in both"),
    ]  # fmt: skip
    compare_files.write_html(found, tmp_path / "page.html")
    section = (tmp_path / "page.html").read_text().split('id="flips"')[1].split("</section>")[0]
    assert re.findall('<div class="sides"><span>([^<]*)</span><span>([^<]*)</span>', section) == [
        ("cat", "dog"), ("cat", "dog"), ("dog", "cat"), ("dog", "owl"),
    ]  # fmt: skip
    first = compare_files.as_dict(found)["flips"][0]
    assert (first["image_id"], first["baseline_choice"], first["candidate_choice"]) == ("i2", "cat", "dog")
    assert first["marks"] == ["label wrong: <i>two</i>", "sick map"]
    assert re.findall("marked: ([^<]*)", section) == ["label wrong: &lt;i&gt;two&lt;/i&gt;", "sick map"]
    stream = io.StringIO()
    compare_files.print_comparison(found, stream)
    assert re.search(r" 1  of these, marked in a review of either run\n", stream.getvalue())


def test_runs_that_are_not_comparable_say_so_everywhere(tmp_path):
    other = {"protocol": {"name": "default", "box_threshold": 0.5}, "primary_target": "label"}
    found = compare.compare(
        write_run(tmp_path / "a", [Row("i")]), write_run(tmp_path / "b", [Row("i")], conventions=other)
    )
    stream = io.StringIO()
    compare_files.print_comparison(found, stream)
    compare_files.write_html(found, tmp_path / "page.html")
    for text in (stream.getvalue(), (tmp_path / "page.html").read_text()):
        assert "box_threshold is 0.2 in the baseline and 0.5 in the candidate" in text
        assert "energy_pointing_game" not in text


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (84, 168)), ((100, 50), (50, 100)), ((10_000, 1), (1, 168))]
)
def test_pictures_are_scaled_down_only(size, expected):
    assert map_images.fitted(size, 168) == expected


def test_only_metrics_that_can_get_better_are_shown_and_no_baseline_maps(tmp_path):
    rows = [
        summary_row(metric, 0.5, 0.4, 0.6, method=method)
        for metric, method in (
            ("pxap", "cam"),
            ("max_box_acc_iou30", "cam"),
            ("object_area", "cam"),
            ("pxap", "baseline_centre"),
        )
    ]
    found = compare.compare(write_run(tmp_path / "a", [], rows), write_run(tmp_path / "b", [], rows))
    assert len(found.differences) == 4
    assert [(row.method, row.metric) for row in compare_files.headlines(found)] == [("cam", "pxap")]


def test_images_that_share_only_an_id_are_told(tmp_path):
    first = write_run(tmp_path / "a", [Row("i1"), Row("i2")])
    found = compare.compare(first, write_run(tmp_path / "b", [Row("i1", sha256="ef"), Row("i2")]))
    stream = io.StringIO()
    compare_files.print_comparison(found, stream)
    compare_files.write_html(found, tmp_path / "page.html")
    warning = "1 of 2 images have other bytes in the candidate: their pairs share an id, not a picture"
    assert warning in stream.getvalue() and warning in (tmp_path / "page.html").read_text()


def test_the_page_says_the_most_in_short(tmp_path):
    """Two of four decisions differ, one map of four moves, and the share of energy falls by a half on every image."""
    before = [Row(f"i{k}", energy_share=0.5 + k / 100) for k in range(4)]
    after = [Row(f"i{k}", energy_share=k / 100, predicted=k // 2, rank=1 + k // 2) for k in range(4)]
    after[3] = dataclasses.replace(after[3], map=((1, 2), (3, 4)))
    noise = {"explain": {"methods": [{"method": "cam"}, {"method": "random_cam", "name": "noise"}]}}
    runs = [
        write_run(tmp_path / name, [*rows, *(dataclasses.replace(row, method="noise") for row in rows)], config=noise)
        for name, rows in (("a", before), ("b", after))
    ]
    found = compare.compare(*runs)
    said = {text.split(":")[0].split(" (")[0]: (level, text) for level, text in compare_files._in_short(found)}
    assert said["0 settings differ that can change a number."][0] == "good"
    level, text = said["2 of 4 images have another first choice"]
    assert level == "note" and text.endswith("(0 now right, 2 now wrong).")
    # The baseline method is not told.
    level, text = said["Maps that moved, so that their strongest areas share less than half"]
    assert text.endswith(": 25.0% of cam.")
    level, text = said["Worse beyond noise"]
    assert level == "alert" and "energy_pointing_game of cam (-0.500)" in text and "noise (" not in text
