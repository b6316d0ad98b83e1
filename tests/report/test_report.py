"""The report of a run: what is in it, what is escaped, and that it needs nothing but itself."""

from __future__ import annotations

import html.parser
import json
import pathlib
import re

import pyarrow.parquet as pq
import pytest

from heatbeam.audit import label_suspects
from heatbeam.report import report
from heatbeam.runs import reviews, run_directory
from heatbeam.transforms import records
from tests.support import manifests, report_runs

EVIL = '<script>alert("x")</script>'


class _Page(html.parser.HTMLParser):
    """Ids, start tags with attributes, and the text of every element with an id of interest."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def _text(path: str) -> str:
    return pathlib.Path(path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder and text of a report of 98 images with a planted shortcut in class ``cat``."""
    folder = tmp_path_factory.mktemp("report")
    letters = (
        records.DeadLetter("lost-1", "photos", 3, "decode", "corrupt_image", "the JPEG ends early"),
        records.DeadLetter("lost-2", "photos", 9, "decode", "corrupt_image", "the JPEG ends early"),
        records.DeadLetter("lost-3", "photos", 5, "read", "invalid_record", EVIL),
    )
    path = report_runs.write(folder, report_runs.Plan(), letters)
    return pathlib.Path(path), _text(report.write_report(path))


def test_report_is_one_file_that_asks_for_nothing(written):
    page = _Page(written[1])
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "poster", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value[:60])
    assert "url(" not in written[1] and "@import" not in written[1]
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_picture_has_a_text_and_every_control_a_name(written):
    page = _Page(written[1])
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) > 20 and all("alt" in attributes for attributes in pictures)
    views = [attributes for tag, attributes in page.tags if attributes.get("class") == "view"]
    assert views and all(view["aria-label"].startswith("Enlarge: heatmap of ") for view in views)
    plots = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("role") == "img"]
    assert plots and all(plot["aria-label"] for plot in plots)


def test_links_lead_to_a_section_that_is_there(written):
    page = _Page(written[1])
    assert 'id="marks"' not in written[1]  # nobody marked anything
    assert "marks of a review" not in written[1]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert targets >= {"findings", "methods", "audit", "classes", "galleries", "labels", "health", "dead", "provenance"}
    assert targets <= set(ids)


def test_headlines_are_the_numbers_of_the_summary(written):
    directory = run_directory.RunDirectory(str(written[0]))
    rows = directory.open_table("summary").to_table().to_pylist()
    numbers = {r["metric"]: r for r in rows if (r["method"], r["slice_name"]) == ("cam", "all")}
    for metric in ("energy_pointing_game", "pointing_game", "max_box_acc_v2"):
        assert f'<p class="big">{numbers[metric]["value"]:.1%}</p>' in written[1]
        assert f"{numbers[metric]['lower']:.1%} to {numbers[metric]['upper']:.1%}" in written[1]
    # 98 images, of which number 3, 10, 17, ... are mistaken.
    assert f'<p class="big">{(98 - 14) / 98:.1%}</p>' in written[1]


def test_planted_class_is_the_first_suspect_and_nothing_else_is(written):
    table = written[1].split('id="t-audit"')[1].split("</table>")[0]
    names = re.findall(r'<th scope="row">(\w+)</th>.*?<td>(suspect|clear)</td>', table)
    assert names[0] == ("cat", "suspect")
    assert [name for name, verdict in names if verdict == "suspect"] == ["cat"] and len(names) == 7
    assert "Class cat looks like a shortcut" in written[1] and "upper left" in written[1]


def test_what_is_wrong_stands_above_what_is_worth_a_look_and_what_is_well(written):
    listed = written[1].split('id="findings"')[1].split("</section>")[0]
    levels = re.findall('<li class="([a-z]+)">', listed)
    assert levels == sorted(levels, key=["alert", "note", "good"].index) and set(levels) == {"alert", "note", "good"}
    # The shortcut and the dead letters, in the order in which they are looked for.
    assert [text in listed.split('class="note"')[0] for text in ("Class cat looks", "Dead letters: 3")] == [True, True]


def test_without_the_shortcut_nothing_is_suspect(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(planted=None))
    text = _text(report.write_report(path))
    assert "None of 7 classes looks like a shortcut." in text and "<td>suspect</td>" not in text


def test_pictures_show_images_true_boxes_and_heatmaps(written):
    gallery = written[1].split('id="galleries"')[1].split('id="labels"')[0]
    assert gallery.count('<use href="#photo-') == gallery.count('class="heat"') >= 16
    assert gallery.count('<rect class="true"') == gallery.count('class="heat"')
    assert "could not be read again" not in gallery
    assert 'width="16.0" height="12.0"' in gallery
    # Each image is in the page once, whatever the number of its pictures.
    ids = re.findall('<image id="(photo-[0-9a-f]{16})"', written[1])
    used = re.findall('<use href="#(photo-[0-9a-f]{16})"', written[1])
    assert len(ids) == len(set(ids)) == written[1].count("data:image/jpeg;base64,") < len(used)
    assert set(used) == set(ids)


def test_report_stands_without_the_shards(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=5, shard=False))
    text = _text(report.write_report(path))
    gallery = text.split('id="galleries"')[1].split('id="labels"')[0]
    assert "data:image/jpeg" not in text and gallery.count('class="heat"') >= 16
    assert "the heatmap stands alone there" in gallery
    assert "a class needs 10 images" in text


def test_report_stands_without_ground_truth(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(truth=False))
    pathlib.Path(path, "review").mkdir()
    pathlib.Path(path, reviews.FILE).write_bytes(b"PAR1 no")  # costs the marks, not the report
    text = _text(report.write_report(path))
    assert f"The marks of a review are not shown: {path}/review/review.parquet is no file of marks (" in text
    assert "probability of the class" in text and "Energy on object" not in text
    # Border, corners and the place still give the shortcut away.
    assert "Class cat looks like a shortcut" in text


def test_names_and_ids_from_data_are_escaped(tmp_path):
    plan = report_runs.Plan(
        classes=(EVIL, "b&b", 'c"c', "d'd", "{{ 7*7 }}"), images=11, id_format=EVIL + "{:03d}", planted=0
    )
    letters = (records.DeadLetter(EVIL, EVIL, 0, "decode", EVIL, EVIL),)
    path = report_runs.write(tmp_path, plan, letters)
    about = {"image_id": EVIL, "image_sha256": "5e", "shard": EVIL, "record_index": 0, "class_id": 0, "method": EVIL}
    marks = reviews.Reviews(path, "run", EVIL)
    for mark, note in (("label_wrong", ""), ("real_shortcut", f"the tag {EVIL}")):
        marks.set(reviews.Subject({**about, "class_name": EVIL}, None), mark, note)
    text = _text(report.write_report(path))
    assert EVIL not in text and "2 marks of a review are kept." in text
    section = text.split('<section id="marks">')[1].split("</section>")[0]
    assert re.findall("<td>(label wrong|real shortcut)</td>", section) == ["real shortcut", "label wrong"]
    assert '<td class="long">the tag &lt;script&gt;alert(' in section
    assert text.count("<script") == 1 and text.count("</script>") == 1
    assert "&lt;script&gt;alert(" in text and "b&amp;b" in text and "{{ 7*7 }}" in text
    assert re.search(r"(?<![\d.])49 ", text) is None


def test_characters_that_turn_or_hide_text_are_shown_as_their_codes(tmp_path):
    nasty = "a\x1b[31m\u202eb\u200b\x00"
    plan = report_runs.Plan(classes=(nasty, "dog", "owl"), images=11, id_format=nasty + "{:03d}", planted=0)
    letters = (records.DeadLetter(nasty, nasty, 0, "decode", nasty, f"{nasty} password=HUSH"),)
    path = report_runs.write(tmp_path, plan, letters)
    text = _text(report.write_report(path))
    assert not [c for c in "\x1b\u202e\u200b\x00" if c in text]
    assert "a\\x1b[31m\\u202eb\\u200b\\x00" in text and "HUSH" not in text
    ids = run_directory.RunDirectory(path).open_table("explanations").to_table()["image_id"].to_pylist()
    assert all(one.startswith(nasty) for one in ids)  # the tables have the true value


def test_dead_letters_are_counted_by_cause(written):
    section = written[1].split('id="dead"')[1].split("</section>")[0]
    causes = re.findall(r"<summary><strong>(\w+)</strong> in (\w+): (\d+)</summary>", section)
    assert causes == [("corrupt_image", "decode", "2"), ("invalid_record", "read", "1")]


def test_queue_of_label_suspects_is_beside_the_report(written):
    queue = pq.read_table(written[0] / label_suspects.FILE)
    assert queue.schema.names == [*label_suspects.SCHEMA.names, "run_id"]
    assert queue.num_rows > 0 and set(queue["method"].to_pylist()) == {"cam"}
    assert f"{queue.num_rows} of them are suspect" in written[1]


def test_overwriting_a_run_removes_report_and_queue(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=3))
    report.write_report(path)
    directory = run_directory.RunDirectory(path)
    directory.create(directory.read_manifest(), overwrite=True)
    left = {p.name for p in pathlib.Path(path).iterdir() if p.is_file()}
    assert left == {"manifest.json"}


def test_provenance_is_the_manifest(written):
    section = written[1].split('id="provenance"')[1]
    assert "0123456789abcdef" in section and "box_threshold" in section and "3.15" in section
    assert json.dumps("primary_target").replace('"', "&#34;") in section


def test_the_same_run_gives_the_same_report(written):
    again = _text(report.write_report(str(written[0])))
    assert again == written[1]


def test_another_reference_method(written, tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=3))
    assert "pictures by <code>layer_cam</code>" in _text(report.write_report(path, reference="layer_cam"))
    with pytest.raises(ValueError, match="no method 'nope'; it has cam, layer_cam"):
        report.write_report(path, reference="nope")


def test_curves_are_shown_at_every_limit_with_the_number_they_come_down_to(written):
    section = written[1].split('id="curves"')[1].split("</section>")[0]
    figures = section.split("<figure")[1:]
    titles = [re.search("<figcaption>([^<]*)", figure)[1] for figure in figures]
    assert titles == [
        "Box accuracy over thresholds, boxes of all contours",
        "Box accuracy over thresholds, box of the largest contour",
    ]
    assert re.findall('<p class="panel">([^<]*)', figures[0]) == [f"IoU at least {limit}" for limit in (0.3, 0.5, 0.7)]
    rows = run_directory.RunDirectory(str(written[0])).open_table("summary").to_table().to_pylist()
    numbers = {(r["method"], r["metric"]): r["value"] for r in rows if r["slice_name"] == "all"}
    for figure, metric in zip(figures, ("max_box_acc_v2", "max_box_acc"), strict=True):
        for method in ("cam", "layer_cam"):
            assert f'{method} <span class="quiet">{numbers[method, metric]:.3f}</span>' in figure
    # The dot of a line stands at its best: MaxBoxAcc is that of IoU 0.5.
    panel = figures[1].split('<p class="panel">')[2]
    assert f"<title>cam: {numbers['cam', 'max_box_acc']:.3f} at " in panel


def test_an_id_of_several_records_is_told_and_not_shown(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=5, id_format="image-{:.0e}"))
    text = _text(report.write_report(path))
    # 35 images, from 10 on with one significant digit: 10 to 14 are 1e+01, and so on; 0 to 9 keep ids of their own.
    assert "3 image ids stand for several records (such as image-1e+01)" in text
    gallery = text.split('id="galleries"')[1].split('id="labels"')[0]
    titles = set(re.findall('data-title="([^"]*)"', gallery))
    assert titles and all(title.endswith("e+00") for title in titles)


def test_a_model_no_better_than_chance_is_the_first_finding(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=3, mistaken=1))
    text = _text(report.write_report(path))
    first = text.split('class="mark"')[1].split("</li>")[0]
    assert "The model is no better than chance: 0 of 21 first choices are right (0.0%)" in first
    # Class i is taken for class i + 1, the last one for the first.
    second = text.split('class="mark"')[2].split("</li>")[0]
    assert (
        "0 of 21 first choices are the label, and 18 are the label plus 1: set input.label_offset one lower" in second
    )


def test_rows_of_classes_and_slices_lead_to_their_images(written):
    for table, count in (("t-classes", 7), ("t-slices", 2)):
        text = written[1].split(f'id="{table}"')[1].split("</table>")[0]
        led = re.findall(r'<th scope="row"><a href="#(images-\d+)">([^<]+)</a>', text)
        # Rows of both methods lead to the images of one.
        assert len(led) == 2 * count and len(set(led)) == count
        for target, name in led:
            card = written[1].split(f'id="{target}"')[1].split("</article>")[0]
            assert f"<h4>{name}</h4>" in card and card.count('class="view"') == 3


def test_methods_with_the_same_maps_are_said_once(tmp_path, written):
    plan = report_runs.Plan(images=3, methods=("cam", "grad_cam", "random_cam"), twins=True)
    path = report_runs.write(tmp_path, plan)
    text = _text(report.write_report(path))
    assert "The maps of cam and grad_cam are the same in this run: cam stands for both." in text
    table = text.split('id="t-methods"')[1].split("</table>")[0]
    assert table.count("the same maps: grad_cam") == 1
    assert [row.split("</th>")[0].count("grad") for row in table.split("<tr")[2:4]] == [1, 0]  # no row of its own
    assert "the same maps: cam" in _text(report.write_report(path, reference="grad_cam"))
    assert "are the same in this run" not in written[1]


def test_names_are_asked_for_where_classes_have_numbers(tmp_path, written):
    plan = report_runs.Plan(classes=tuple(f"class_{i}" for i in range(3)), images=3)
    text = _text(report.write_report(report_runs.write(tmp_path, plan)))
    assert "The classes have no names, only numbers such as class_2: give model.class_names a list" in text
    assert "The classes have no names" not in written[1]


def test_random_method_is_a_baseline(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=3, methods=("random_cam", "cam")))
    text = _text(report.write_report(path))
    assert "pictures by <code>cam</code>" in text
    table = text.split('id="t-methods"')[1].split("</table>")[0]
    heads = [row.split("</th>")[0] for row in table.split('<tr class="baseline">')[1:]]
    assert [re.sub("<[^>]*>", "", head) for head in heads] == [
        "random_cam", "centre (baseline)", "uniform (baseline)", "gaussian (baseline)",
    ]  # fmt: skip


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    directory.create(manifests.manifest(), overwrite=False)
    with pytest.raises(run_directory.RunDirectoryError, match="not a finished run"):
        report.write_report(directory.path)


def test_report_of_a_run_without_images(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=0))
    text = _text(report.write_report(path))
    assert "No image could be ranked." in text and "No class could be judged" in text


def test_clusters_of_suspects_and_of_classes_asked_for(tmp_path):
    path = report_runs.write(tmp_path, report_runs.Plan(images=20))
    text = _text(report.write_report(path, clusters=["ant"]))
    assert "<strong>cat</strong>, cluster 1 of 1: 20 images (100.0%)" in text
    assert "<strong>ant</strong>, cluster 1 of " in text and "<strong>bee</strong>, cluster" not in text
    with pytest.raises(ValueError, match="no class 'yak'"):
        report.write_report(path, clusters=["yak"])


def test_map_health_is_counted_per_method(written):
    section = written[1].split('id="health"')[1].split("</section>")[0]
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in section.split("<tbody>")[1].split("</tr>")[:-1]]
    # 98 images and 14 mistaken ones with a second map; six flags; none of the 14 has one map for both classes.
    numbers = ["112", *"000000", "0", "of", "14", "images"]
    assert rows == [["cam", *numbers], ["layer_cam", *numbers]]


def test_maps_that_do_not_depend_on_the_class_are_reported(written, tmp_path):
    plan = report_runs.Plan(images=12, methods=("cam", "random_cam"), class_independent=True, truth=False)
    text = _text(report.write_report(report_runs.write(tmp_path, plan)))
    assert "The maps of cam do not depend on the class in 12 of 12 images" in text
    assert "random_cam: the maps do not" not in text  # nor should those of a random method
    assert "do not depend on the class" not in written[1]
