"""Nobody but the user's own browser gets an answer, and no page does what data in it says."""

from __future__ import annotations

import html
import re
import urllib.parse

import pytest

from tests.report.explore import explorers
from tests.support import report_runs

CLASSES = ("ant", "<script>alert(1)</script>", "\"onerror='x'", "{{ 7 * 7 }}")
IDS = "<img src=x onerror=alert({})>\u202e'\"&/../..%2e"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    plan = report_runs.Plan(classes=CLASSES, images=4, id_format=IDS)
    return explorers.Client(report_runs.write(tmp_path_factory.mktemp("safety"), plan))


PATHS = ("/", "/a/grid", "/a/image", "/a/picture/0-0/480", "/a/heat/0-0", "/static/explore.js", "/nothing")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "cookie", ["", "heatbeam_explore_8750=", "heatbeam_explore_8750=x", "other={token}", "heatbeam_explore_1={token}"]
)
def test_without_the_token_there_is_nothing(path, cookie, client):
    answer = client.ask(path, headers={"cookie": cookie.format(token=client.secrets.token)})
    assert answer.status == 403 and "token" in answer.text and "set-cookie" not in answer.headers


HOSTS = (
    "evil.example:8750", "evil.example", "127.0.0.1.evil.example", "", "localhost.", "8.8.8.8",
    "localhost@evil.example", "[::2]:8750", "169.254.169.254",
)  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/a/grid", "/?open={token}"])
def test_another_host_gets_nothing_even_with_the_token(host, path, client):
    answer = client.ask(path.format(token=client.secrets.token), headers={"host": host})
    assert answer.status == 421 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost:8750", "127.0.0.1", "[::1]:9000", "LOCALHOST:1"])
def test_any_port_of_this_machine_is_answered(host, client):
    assert client.ask("/a/grid?method=cam", headers={"host": host}).status == 200


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_and_sites_do_not_get(client):
    answer = client.ask(f"/a/grid?method=cam&open={client.secrets.token}&sort=entropy", headers={"cookie": ""})
    assert (answer.status, answer.headers["location"]) == (303, "/a/grid?method=cam&sort=entropy")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(client.cookie) and "HttpOnly" in cookie and "samesite=lax" in cookie.lower()


@pytest.mark.parametrize("path", ["//evil.example/?open={token}", "/\\evil.example/?open={token}"])
def test_the_way_in_leads_nowhere_else(path, client):
    location = client.ask(path.format(token=client.secrets.token), headers={"cookie": ""}).headers["location"]
    assert urllib.parse.urlsplit(location).netloc == "" and not location.startswith(("//", "/\\"))


@pytest.mark.parametrize("query", ["open=wrong", "open=", "open={token}&open=wrong", "open={token}x"])
def test_a_wrong_token_is_refused(query, client):
    answer = client.ask("/?" + query.format(token=client.secrets.token), headers={"cookie": ""})
    assert answer.status == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_a_page_may_do(path, client):
    for headers in ({}, {"cookie": ""}, {"host": "evil.example"}):
        answer = client.ask(path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(method, client):
    assert client.ask("/a/grid", method=method).status == 405


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.example"}, {"origin": "null"},
                                     {"origin": "http://127.0.0.1:9999"}, {"origin": "http://127.0.0.1:8750.evil"},
                                     {"origin": "http://127.0.0.1:8750", "sec-fetch-site": "cross-site"}])  # fmt: skip
def test_a_change_must_come_from_a_page_of_this_explorer(headers, client):
    assert client.ask("/a/grid", method="POST", headers=headers).status == 403


NAMES = (
    "../app.py", "..%2Fapp.py", "%2e%2e/commands.py", "explore.css/../../app.py", "/etc/passwd", "app.py",
    "report.html", "explore.js%00.css",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_no_path_leads_to_a_file(name, client):
    answer = client.ask(f"/static/{name}")
    assert answer.status == 404 and "import" not in answer.text and "root:" not in answer.text
    assert client.ask("/static/explore.js").status == 200


@pytest.mark.parametrize("place", ["..%2f..%2fetc%2fpasswd", "0-99999999", "9-0", "0", "-1-0", "0-0.png", "0-0;select"])
def test_a_picture_is_a_place_of_a_row_and_nothing_else(place, client):
    for path in (f"/a/picture/{place}/480", f"/a/heat/{place}", f"/b/heat/{place}", f"/a/print/{place}/480"):
        assert client.ask(path).status == 404


QUERIES = (
    'sort=image_id"%20DESC;--', "min.heatmap=1", "slice.x'--=1", "class=1%20or%201=1x", "order=x", "where=1=1",
    "after=AAAA",
    "after=" + "A" * 9000, "method=%00", "text=" + "x" * 600, "text=%ff%fe", "class=" + "9" * 30,
)  # fmt: skip


@pytest.mark.parametrize("query", QUERIES)
def test_what_no_form_sends_is_an_answer_and_no_failure(query, client):
    answer = client.ask(f"/a/grid?{query}")
    assert answer.status in {200, 400, 414} and "Traceback" not in answer.text


def without_markup_of_ours(text):
    return re.sub(r'<script src="/static/explore.js" defer></script>', "", text)


def test_ids_and_names_are_text_on_every_page(client):
    grid = client.page("/a/grid", method="cam")
    links = [html.unescape(one) for one in re.findall(r'class="view" href="([^"]+)"', grid)]
    assert len(links) == 18  # of two images the first choice was explained too
    for page in (grid, *(client.ask(link).text for link in links[:4])):
        assert "<script>" not in without_markup_of_ours(page).replace('<script src="', "")
        assert "<img src=x" not in page and "\u202e" not in page and " style=" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in grid and "\\u202e" in grid and "{{ 7 * 7 }}" in grid
    image = client.ask(links[0])
    assert (
        image.status == 200 and html.escape(IDS.format(0).replace("\u202e", "\\u202e"), quote=True)[:30] in image.text
    )
