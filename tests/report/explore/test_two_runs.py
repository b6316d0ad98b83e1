"""Two runs side by side: pairs, counts and changes as Arrow has them."""

from __future__ import annotations

import html
import re

import pytest

from heatbeam.runs import run_directory
from tests.report.explore import explorers
from tests.support import report_runs

CLASSES = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    plans = (
        report_runs.Plan(classes=CLASSES, images=10, mistaken=7, planted=2, shard=False),
        report_runs.Plan(classes=CLASSES, images=10, mistaken=5, planted=1, shard=False),
    )
    return [report_runs.write(tmp_path_factory.mktemp(f"run{i}"), plan) for i, plan in enumerate(plans)]


@pytest.fixture(scope="module")
def client(paths):
    return explorers.Client(*paths)


@pytest.fixture(scope="module")
def expected(paths):
    """Of every image whether each run is right, and the share of its label's energy."""
    found = {}
    for side, path in enumerate(paths):
        for row in run_directory.RunDirectory(path).open_table("explanations").to_table().to_pylist():
            if row["method"] == "cam" and "label" in row["targets"]:
                right = row["predicted_class_id"] in row["label_ids"]
                found.setdefault(row["image_id"], [None, None])[side] = (right, row["energy_share"])
    return found


def counts(page):
    return {text: int(number) for number, text in re.findall(r"<strong>(\d+)</strong> ([a-z, ]+)</a></li>", page)}


def shown(page):
    return re.findall(r'class="quiet">(image-\d+)</span></p>', page)


def test_flips_are_counted_and_shown(client, expected):
    broken = {name for name, ((was, _), (now, _)) in expected.items() if was and not now}
    fixed = {name for name, ((was, _), (now, _)) in expected.items() if now and not was}
    page = client.page("/pairs", flip="broken")
    assert counts(page) == {
        "all pairs": 40, "another first choice": len(broken | fixed), "right before, wrong now": len(broken),
        "wrong before, right now": len(fixed), "the same first choice": 40 - len(broken | fixed),
    }  # fmt: skip
    assert broken and fixed and set(shown(page)) == broken
    assert set(shown(client.page("/pairs", flip="fixed"))) == fixed


@pytest.mark.parametrize("order", ["fell", "rose", "moved"])
def test_what_moved_most_comes_first(order, client, expected):
    sign = {"fell": lambda x: x, "rose": lambda x: -x, "moved": lambda x: -abs(x)}[order]
    change = {name: after - before for name, ((_, before), (_, after)) in expected.items()}
    page = client.page("/pairs", flip="all", order=order)
    names = shown(page)
    told = [float(text) for text in re.findall(r'class="(?:rose|fell)">([+-][\d.]+)<', page)]
    assert len(names) == 24 and told == pytest.approx([round(change[name], 3) for name in names], abs=1.1e-3)
    assert [sign(change[name]) for name in names] == sorted(sign(one) for one in change.values())[:24]
    more = html.unescape(re.search(r'id="more" href="([^"]+)"', page)[1])
    assert sorted(names + shown(client.ask(more).text)) == sorted(change)


def test_both_pictures_and_the_same_image_in_the_other_run(client):
    page = client.page("/pairs", flip="all")
    assert page.count('src="/a/heat/') == page.count('src="/b/heat/') == 24
    link = html.unescape(re.search(r'class="view" href="(/b/[^"]+)"', page)[1])
    other = html.unescape(re.search(r'<a href="(/a/image[^"]+)">The same image', client.ask(link).text)[1])
    assert client.ask(other).status == 200
    assert "Side by side" in client.page("/b/grid", sort="image_id")


@pytest.mark.parametrize(
    "query", ["method=none", "column=heatmap", "flip=true", "order=1;", "page=x", "where=1", "column=a%22"]
)
def test_what_the_runs_have_not_is_refused(query, client):
    assert client.ask(f"/pairs?{query}").status == 400


def test_of_one_run_there_are_no_pairs(paths):
    client = explorers.Client(paths[0])
    assert client.ask("/pairs").status == 404 and "Side by side" not in client.page("/a/grid", sort="image_id")
