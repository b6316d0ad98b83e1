"""Series, volumes and clips in the explorer: printed in the grid, drawn as the report draws them on the page of one."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import pytest
from PIL import Image

from heatbeam.explore import pictures
from tests.report import signal_runs
from tests.report.explore import explorers


@pytest.fixture(params=["series", "volume", "clip"])
def client(request, tmp_path, monkeypatch):
    originals = signal_runs.Originals(request.param, missing=(1,))

    def records(manifest, places, problems=None):
        for one in originals(manifest, places):
            one.record, one.image = b"", b""  # they count as what is kept
            yield one

    monkeypatch.setattr(pictures.source_images, "source_records", records)
    client = explorers.Client(signal_runs.write(tmp_path, request.param))
    client.kind = request.param
    return client


def test_a_signal_is_a_picture_in_the_grid_and_drawn_alone(client, monkeypatch):
    grid = client.page("/a/grid", method="cam", target="label")
    printed = re.findall(r'src="(/a/print/[^"]+)"', grid)
    assert len(printed) == 6 and "/a/heat/" not in grid and "<b>bee</b>" not in grid
    sizes = []
    for one in printed[:2]:  # the second without its original
        answer = client.ask(one)
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert answer.headers["content-type"] == "image/png" and pixels.std() > 5
        sizes.append(pixels.shape)
    assert max(sizes[0][:2]) <= 480
    before = client.ask(printed[0]).content
    monkeypatch.setattr(pictures.source_truth, "true_mask", lambda source, size, *_: np.ones(size[::-1], bool))
    assert client.ask(printed[0]).content != before  # a true mask is outlined
    link = html.unescape(re.search(r'class="view" href="([^"]+)"', grid)[1])
    page = client.ask(link).text
    places = re.findall(r'data-fetch="([^"]+)"', page)
    assert len(places) == 2 and " style=" not in page
    drawn = client.ask(places[0])
    assert drawn.headers["content-type"].startswith("text/html") and f"frame signal {client.kind}" in drawn.text
    assert " style=" not in drawn.text and re.search('data-style="[a-z-]+: ?[0-9]', drawn.text)
