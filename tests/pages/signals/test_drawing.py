"""Series, volumes and clips as they are drawn: hot where the map is, with boxes and lines in their places."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from heatbeam.pages import map_images, outlines
from heatbeam.pages.signals import drawing, flat, of_rows, prints, series, shown, slices, stacks
from heatbeam.transforms import records

PLAIN = records.Axis("", "")
HOSTILE = '<script>alert(1)</script>"&'


def series_of(n=40, channels=2, cells=8, hot=5, **more):
    heat = np.zeros(cells, np.float32)
    heat[hot] = 1
    t = np.arange(n, dtype=np.float32)
    values = np.stack([t * (i + 1) for i in range(channels)], axis=-1)
    axes = (records.Axis(more.pop("name", "time"), "s", 0.5),)
    return shown.Signal((n,), axes, heat, values, ((10.0, 20.0),), (24.0, 32.0), **more)


def volume_of(*, time=False, hot=(3, 1, 2), **more):
    shape = (8, 16, 32)
    heat = np.zeros((4, 4, 4), np.float32)
    heat[hot] = 1
    values = np.zeros((*shape, 1), np.uint8)
    values[..., 0] = (np.arange(8) * 30)[:, None, None]
    axes = (records.Axis("time" if time else "", "s" if time else "mm", 2.0),) + (records.Axis("", "mm", 1.0),) * 2
    return shown.Signal(shape, axes, heat, values, ((16.0, 4.0, 6.0, 24.0, 8.0, 8.0),), **more)


def opened(uri, mode):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert(mode))


def sources(markup):
    return re.findall(r'<img class="([a-z ]+)" src="([^"]+)"', markup)


def warm(pixels):
    """How far a pixel of the colour map is from its dark end."""
    return np.abs(pixels.astype(float) - map_images.colours(2)[0]).sum(axis=-1)


def test_the_band_below_a_series_is_hot_where_the_map_is():
    [(kind, uri)] = sources(drawing.markup(series_of()))
    assert kind == "heat"
    band = opened(uri, "RGB")
    assert band.shape == (1, 8, 3)
    hot = warm(band[0])
    assert hot.argmax() == 5 and (np.delete(hot, 5) < 6).all()


def test_a_long_band_keeps_its_narrowest_peak():
    heat = np.zeros(10_000, np.float32)
    heat[7001] = 1
    band = series.band(shown.Signal((10_000,), (PLAIN,), heat))
    assert band.shape == (1, 512) and band.max() == 1 and band[0].argmax() == int(7001 * 512 / 10_000)


def test_intervals_stand_where_they_are():
    markup = drawing.markup(series_of())
    assert '<rect class="true" x="250.00" y="0" width="250.00" height="100"/>' in markup  # 10 to 20 of 40
    assert '<rect class="estimated" x="600.00" y="0" width="200.00" height="100"/>' in markup  # 24 to 32 of 40
    assert re.findall(r'<span style="left: ([\d.]+)%">(\d+)</span>', markup) == [
        ("0.00", "0"), ("25.00", "5"), ("50.00", "10"), ("75.00", "15"), ("100.00", "20"),
    ]  # fmt: skip
    assert "time in s" in markup


def test_lanes_rise_with_their_values_and_leave_gaps():
    one = series_of(channels=1)
    one.values[10:12] = np.nan
    [lane] = series.lanes(one)
    assert (lane.low, lane.high) == (0, 39)
    np.testing.assert_allclose(lane.y[[0, 9, 12, 39]], np.array([0, 9, 12, 39]) / 39, rtol=1e-6)
    assert np.isnan(lane.y[10:12]).all() and lane.x[0] == 0.5 / 40
    assert drawing.markup(one).count("<polyline") == 2


def test_a_constant_channel_is_a_line_in_the_middle_and_one_without_numbers_none():
    one = series_of()
    one.values[:, 0] = 3
    one.values[:, 1] = np.nan
    middle, none = series.lanes(one)
    assert (middle.y == 0.5).all() and np.isnan(none.y).all()
    assert drawing.markup(one).count("<polyline") == 1


def test_no_spike_of_a_long_series_is_lost():
    values = np.zeros((50_000, 1), np.float32)
    values[12_345], values[40_001] = 1, -1
    [lane] = series.lanes(shown.Signal((50_000,), (PLAIN,), np.ones(4, np.float32), values))
    assert len(lane.x) <= 2 * series.COLUMNS + 2
    assert lane.x[lane.y == 1].tolist() == [12_345.5 / 50_000]
    assert lane.x[lane.y == 0].tolist() == [40_001.5 / 50_000]


def test_more_channels_than_fit_are_counted():
    one = series_of(channels=9)
    assert len(series.lanes(one)) == series.LANES
    assert "6 of 9 channels drawn, 3 not" in drawing.markup(one)
    chosen = series_of(channels=9, display=(7, 2))
    assert [lane.name for lane in series.lanes(chosen)] == ["channel 7", "channel 2"]


def test_a_series_without_values_shows_its_map_and_truth():
    bare = shown.Signal((40,), (PLAIN,), np.ones(4, np.float32), None, ((1.0, 2.0),))
    markup = drawing.markup(bare)
    assert '<rect class="true"' in markup and "<polyline" not in markup and len(sources(markup)) == 1


@pytest.mark.parametrize("name", ["series", "volume"])
def test_hostile_names_stay_words(name):
    one = series_of(name=HOSTILE, channel_names=(HOSTILE, "b")) if name == "series" else volume_of()
    if name == "volume":
        axis = records.Axis(HOSTILE, HOSTILE, 1.0)
        one = shown.Signal(one.shape, (axis,) * 3, one.heat, one.values)
    markup = drawing.markup(one)
    assert "<script" not in markup and "&lt;script&gt;" in markup
    drawing.picture(one, 300)


def test_planes_of_a_volume_go_through_the_peak():
    z, y, x = slices.planes(volume_of())
    # The cell (3, 1, 2) of 4 x 4 x 4 has its middle at sample (7, 6, 20).
    assert [one.label.replace("\u00a0", " ") for one in (z, y, x)] == [
        "z 14 mm (7 of 8)", "y 6 mm (6 of 16)", "x 20 mm (20 of 32)",
    ]  # fmt: skip
    assert (z.size, y.size, x.size) == ((32, 16), (32, 8), (16, 8))
    assert (z.ratio, y.ratio, x.ratio) == (2, 2, 1)  # a step of z is twice as long
    assert (z.cuts, y.cuts, x.cuts) == ((20, 6), (20, 7), (6, 7))
    assert np.argwhere(z.heat).tolist() == [[1, 2]] and np.argwhere(y.heat).tolist() == [[3, 2]]
    assert np.argwhere(x.heat).tolist() == [[3, 1]]
    assert (z.pixels == 210).all() and y.pixels[:, 0, 0].tolist() == [0, 30, 60, 90, 120, 150, 180, 210]
    assert (z.turned, y.turned, x.turned) == ("x right, y down", "x right, z down", "y right, z down")


def test_a_box_is_cut_where_the_plane_goes_through_it():
    one = volume_of()
    [box] = one.true_boxes  # x 16 to 24, y 4 to 8, z 6 to 8
    assert slices.rectangle(one, box, 0, 6) == slices.rectangle(one, box, 0, 7) == (16, 4, 24, 8)
    assert slices.rectangle(one, box, 0, 5) is None
    assert slices.rectangle(one, box, 1, 4) == (16, 6, 24, 8) and slices.rectangle(one, box, 1, 8) is None
    assert slices.rectangle(one, box, 2, 23) == (4, 6, 8, 8) and slices.rectangle(one, box, 2, 24) is None


def test_frames_of_a_clip_hold_the_hottest_one_marked():
    found = slices.frames(volume_of(time=True), 4)
    assert [one.label.split(" (")[0] for one in found] == ["time 2 s", "time 6 s", "time 10 s", "time 14 s"]
    assert [one.mark for one in found] == [False, False, False, True]
    assert [bool(one.heat.any()) for one in found] == [False, False, False, True]
    assert [bool(one.true_boxes) for one in found] == [False, False, False, True]
    markup = drawing.markup(volume_of(time=True))
    assert markup.count("hottest") == 2 and markup.count('class="slice marked"') == 1  # its class and the word


def test_the_strip_holds_each_slice_in_its_place():
    one = volume_of()
    found = stacks.strip(one)
    assert found.samples == tuple(range(8))
    heat = opened(found.heat, "RGBA")
    assert heat.shape == (8 * 4, 4, 4)
    assert np.argwhere(heat[..., 0] > 200).tolist() == [
        [6 * 4 + 1, 2],
        [7 * 4 + 1, 2],
    ]  # the last cell is over two samples
    image = opened(found.image, "L").reshape(8, -1).astype(float)
    np.testing.assert_allclose(image.mean(axis=1), np.arange(8) * 30, atol=1.5)


def test_boxes_of_the_strip_say_in_which_slices_they_are():
    markup = drawing.markup(volume_of())
    player = markup[markup.index('class="player"') : markup.index('class="slices"')]
    assert player.count('data-from="6" data-to="7"') == 2 and 'data-start="7"' in player
    labels = json.loads(re.search(r'data-labels="([^"]+)"', player)[1].replace("&#34;", '"'))
    assert len(labels) == 8 and labels[3].startswith("z 6 mm")


def test_strips_keep_to_their_share_of_the_page():
    noise = np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3), dtype=np.uint8)
    heat = np.random.default_rng(1).random((50, 64, 64)).astype(np.float32)
    found = stacks.strip(shown.Signal((200, 64, 64), (records.Axis("time", "samples"), PLAIN, PLAIN), heat, noise))
    assert len(found.samples) == stacks.STRIP_SLICES and len(found.image) > 0
    assert len(found.image) + len(found.heat) <= stacks.STRIP_BYTES


@pytest.mark.parametrize("longest", [512, 96])
def test_pictures_are_hot_where_the_map_is(longest):
    picture = drawing.picture(series_of(), longest)
    assert picture.dtype == np.uint8 and picture.shape[1] == longest and picture.shape[0] <= longest
    yellow = (picture[..., 0] > 240) & (picture[..., 1] > 220) & (picture[..., 2] < 190)
    columns = np.flatnonzero(yellow.any(axis=0)) / longest
    assert 5 / 8 - 0.06 < columns.min() <= columns.max() < 6 / 8 + 0.06  # cell 5 of 8


def test_pictures_of_volumes_and_clips_fit_and_show_the_peak():
    picture = drawing.picture(volume_of(), 300)
    assert max(picture.shape[:2]) <= 300
    yellowish = (picture[..., 0].astype(int) - picture[..., 2]) > 80
    places = np.argwhere(yellowish)
    first = places[places[:, 1] < 118]  # the plane across z is 2 of 5 wide
    assert abs(first[:, 1].mean() / 118 - 2.5 / 4) < 0.06 and abs(first[:, 0].mean() / 59 - 1.5 / 4) < 0.08
    for longest in (400, 64, 8):
        assert max(drawing.picture(volume_of(time=True), longest).shape[:2]) <= longest


def test_pictures_of_bands_are_those_of_images():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    raw = np.random.default_rng(1).random((8, 8)).astype(np.float32)
    raw = (raw - raw.min()) / np.ptp(raw)  # as large as its image: the heatmap is the map
    drawn = of_rows.picture_of_map(raw, (0, 0, 8, 8), (8, 8), of_rows.Inputs(), pixels, 100)
    assert (drawn == map_images.coloured(raw, pixels)).all()


def test_mean_maps_of_series_and_volumes_are_laid_flat():
    assert flat.picture(np.array([1.0, 2])).tolist() == [[1, 2]]
    assert flat.picture(np.array([[1.0, 2]])).tolist() == [[1, 2]]
    volume = np.array([[[1, 2, 3], [4, 5, 6]], [[9, 0, 0], [0, 0, 7]]])
    assert flat.picture(volume).tolist() == [
        [9, 2, 3], [4, 5, 7],  # along z: rows are y
        [0, 0, 0],
        [4, 5, 6], [9, 0, 7],  # along y: rows are z
    ]  # fmt: skip


def test_the_true_mask_of_a_volume_is_outlined_in_each_slice_that_holds_it():
    mask = np.zeros((8, 16, 32), bool)
    mask[6:8, 4:8, 16:24] = True
    one = volume_of(mask=mask)
    z, y, x = slices.planes(one)  # through sample (7, 6, 20)
    np.testing.assert_array_equal(z.mask, mask[7])
    np.testing.assert_array_equal(y.mask, mask[:, 6])
    np.testing.assert_array_equal(x.mask, mask[:, :, 20])
    assert slices.cut(one, 0, 5).mask is None
    markup = drawing.markup(one)
    for of in (z, y, x):
        assert f'<path class="true" d="{outlines.path(of.mask, of.size)}"/>' in markup
    assert '<path class="true"' not in drawing.markup(volume_of())
    assert np.count_nonzero(np.abs(drawing.picture(one, 300).astype(int) - drawing.picture(volume_of(), 300)).sum(-1))


def test_the_strip_has_the_rim_of_the_mask_in_its_slices():
    mask = np.zeros((8, 16, 32), bool)
    mask[6, 4:12, 8:24] = True
    strip = opened(stacks.strip(volume_of(mask=mask)).image, "RGB").astype(int)
    plain = opened(stacks.strip(volume_of()).image, "RGB").astype(int)
    changed = (np.abs(strip - plain).sum(axis=-1) > 100).reshape(8, len(strip) // 8, -1).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [6]


def test_the_true_mask_of_a_series_lies_below_its_lanes():
    mask = np.zeros(40, bool)
    mask[[4, 5, 6, 7, 30]] = True
    one = series_of(mask=mask)
    assert series.masked(one) == [(4, 8), (30, 31)] and series.masked(series_of()) == []
    places = re.findall(r'<rect class="mask" x="([\d.]+)" y="92" width="([\d.]+)"', drawing.markup(one))
    assert [(float(a), float(b)) for a, b in places] == [(100, 100), (750, 25)]
    alone = dataclasses.replace(one, true_boxes=(), box=None)
    bar = (drawing.picture(alone, 400) == np.array([29, 150, 70])).all(axis=-1)
    columns = np.flatnonzero(bar.sum(axis=0) >= 4)
    assert 39 <= columns.min() <= 42 and 301 <= columns.max() <= 312 and not ((columns > 90) & (columns < 290)).any()


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the mask has shape \(3,\); expected \(40,\)"):
        series_of(mask=np.zeros(3, bool))


def test_the_legend_of_a_print_names_what_is_green():
    mask = np.ones(40, bool)
    assert prints._legend(series_of())[0] == "green: true interval"
    assert prints._legend(series_of(mask=mask))[0] == "green: true interval and mask"
    assert prints._legend(dataclasses.replace(series_of(mask=mask), true_boxes=()))[0] == "green: true mask"
