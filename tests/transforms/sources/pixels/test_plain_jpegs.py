"""Plain JPEGs have the pixels of the decoder that was asked for; whatever is not plain is left to that decoder."""

from __future__ import annotations

import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.pixels import image_files, plain_jpegs
from tests.support import sample_shards

PHOTO = cv2.GaussianBlur(sample_shards.noise(60, 83), (0, 0), 2) * 2
MANY = 10**6


def jpeg(pixels: np.ndarray = PHOTO, **options) -> bytes:
    """A JPEG of `pixels`."""
    return sample_shards.encode(pixels, "JPEG", **options)


def by_decoder(data: bytes, monkeypatch: pytest.MonkeyPatch, **options) -> image_files.Decoded:
    """The image as it is decoded where nothing is plain."""
    with monkeypatch.context() as patched:
        patched.setattr(plain_jpegs, "pixels", lambda *_: None)
        return image_files.decoded(data, None, decode_options.ImageOptions(8, 8, **options))


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
def test_pixels_are_the_decoders_to_the_bit(decoder, monkeypatch):
    pytest.importorskip("simplejpeg")
    for subsampling in (0, 1, 2):
        for progressive in (False, True):
            for quality in (30, 92):
                for pixels in (PHOTO, PHOTO[:17, :9], PHOTO[:1, :1], PHOTO[..., 0]):
                    data = jpeg(pixels, quality=quality, subsampling=subsampling, progressive=progressive)
                    found = plain_jpegs.pixels(data, 3, decoder, MANY)
                    assert found is not None and found.dtype == np.uint8
                    expected = by_decoder(data, monkeypatch, decoder=decoder)
                    np.testing.assert_array_equal(found, expected.array)
                    whole = image_files.decoded(data, None, decode_options.ImageOptions(8, 8, decoder=decoder))
                    assert (whole.size, tuple(whole.extent)) == (expected.size, tuple(expected.extent))
                    assert type(whole.image) is type(expected.image) or isinstance(whole.image, Image.Image)


def test_grey_of_colour_is_tensorflows_and_left_to_pillow(monkeypatch):
    pytest.importorskip("simplejpeg")
    found = plain_jpegs.pixels(jpeg(), 1, "tensorflow", MANY)
    np.testing.assert_array_equal(found, by_decoder(jpeg(), monkeypatch, channels=1, decoder="tensorflow").array)
    assert plain_jpegs.pixels(jpeg(), 1, "pillow", MANY) is None
    grey = jpeg(PHOTO[..., 0])
    found = plain_jpegs.pixels(grey, 1, "pillow", MANY)
    np.testing.assert_array_equal(found, by_decoder(grey, monkeypatch, channels=1, decoder="pillow").array)


def test_what_a_header_says():
    assert plain_jpegs.plain_size(jpeg()) == ((83, 60), 3)
    assert plain_jpegs.plain_size(jpeg(PHOTO[..., 0])) == ((83, 60), 1)
    data = jpeg()
    assert plain_jpegs.plain_size(data[:40]) is None  # ends before the frame
    frame = data.index(b"\xff\xc0")
    tall = data[: frame + 11] + b"\x12" + data[frame + 12 :]  # 4:4:0, whose upsampling libraries have not agreed on
    assert data[frame + 11] == 0x22 and plain_jpegs.plain_size(tall) is None
    twelve_bits = data[: frame + 4] + b"\x0c" + data[frame + 5 :]
    assert plain_jpegs.plain_size(twelve_bits) is None
    arithmetic = data.replace(b"\xff\xc0", b"\xff\xc9", 1)
    assert plain_jpegs.plain_size(arithmetic) is None


def scans_of(data: bytes) -> list[bytes]:
    """What stands before the tables of each scan of a progressive JPEG but the first, and all of it."""
    tables = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xc4"]
    scans = [place for place in range(len(data) - 1) if data[place : place + 2] == b"\xff\xda"]
    ends = [min((t for t in tables if before < t < scan), default=scan) for before, scan in itertools.pairwise(scans)]
    return [*(data[:end] for end in ends), data[:-2]]


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
def test_a_progressive_one_without_its_last_scans_is_left_to_the_decoder(decoder, monkeypatch):
    *cut, whole = (data + b"\xff\xd9" for data in scans_of(jpeg(progressive=True, quality=80)))
    assert plain_jpegs.plain_size(whole) == ((83, 60), 3) and len(cut) == 9
    for data in cut:
        assert plain_jpegs.plain_size(data) is None
        found = image_files.decoded(data, None, decode_options.ImageOptions(8, 8, decoder=decoder))
        np.testing.assert_array_equal(found.array, by_decoder(data, monkeypatch, decoder=decoder).array)
    assert plain_jpegs.plain_size(whole[: whole.rindex(b"\xff\xda") + 6]) is None  # ends in a scan's header


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
def test_restarts_and_colours_that_are_stored_as_they_are_come_out_as_the_decoders(decoder, monkeypatch):
    pytest.importorskip("simplejpeg")
    for options in ({"restart_marker_blocks": 3}, {"keep_rgb": True}, {"icc_profile": b"profile" * 9}):
        data = jpeg(**options)
        found = plain_jpegs.pixels(data, 3, decoder, MANY)
        assert found is not None
        np.testing.assert_array_equal(found, by_decoder(data, monkeypatch, decoder=decoder).array)


def test_what_is_not_plain_is_left_to_the_decoder():
    left = {
        "PNG": sample_shards.encode(PHOTO),
        "cut": jpeg()[:-300],
        "empty": b"",
    }
    file = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(file, "JPEG")
    left["CMYK"] = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::-1].copy())])
    left["MPO"] = file.getvalue()
    for name, data in left.items():
        assert plain_jpegs.pixels(data, 3, "tensorflow", MANY) is None, name
    assert plain_jpegs.pixels(jpeg(), 3, "tensorflow", 60 * 83 - 1) is None


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
def test_damage_is_reported_as_the_decoder_reports_it(decoder, monkeypatch):
    data = jpeg()[:-300]
    with pytest.raises(records.DataError) as expected:
        by_decoder(data, monkeypatch, decoder=decoder)
    with pytest.raises(records.DataError) as found:
        image_files.decoded(data, None, decode_options.ImageOptions(8, 8, decoder=decoder))
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("kind", ["progressive", "grey", "4:2:2", "grey of colour"])
def test_a_library_that_decodes_one_kind_to_other_pixels_is_not_used(kind, monkeypatch, caplog):
    library = pytest.importorskip("simplejpeg")

    def is_unlike(data: bytes, colours: str) -> bool:
        _, components = plain_jpegs.plain_size(data)
        frame = data.index(b"\xff\xc2" if b"\xff\xc2" in data else b"\xff\xc0")
        return {
            "progressive": data[frame + 1] == 0xC2,
            "grey": components == 1,
            "4:2:2": data[frame + 11] == 0x21,
            "grey of colour": components > 1 and colours == "GRAY",
        }[kind]

    class Other:
        @staticmethod
        def decode_jpeg(data: bytes, colours: str, **options: object) -> np.ndarray:
            found = library.decode_jpeg(data, colours, **options)
            found[0, 0, 0] ^= is_unlike(data, colours)
            return found

    monkeypatch.setattr(plain_jpegs, "_library", lambda: Other)
    assert not plain_jpegs._agrees.__wrapped__("tensorflow")
    assert "other pixels than the decoder tensorflow" in caplog.text
    # Which Pillow gives in its own way, so that simplejpeg is never asked.
    assert plain_jpegs._agrees.__wrapped__("pillow") == (kind == "grey of colour")


def test_a_library_that_decodes_to_other_pixels_is_not_used(monkeypatch, caplog):
    class Other:
        @staticmethod
        def decode_jpeg(data: bytes, colours: str, **_: object) -> np.ndarray:
            return np.zeros((35, 53, 3), np.uint8)

    monkeypatch.setattr(plain_jpegs, "_library", lambda: Other)
    agrees = plain_jpegs._agrees.__wrapped__
    assert not agrees("pillow")
    assert "other pixels than the decoder pillow" in caplog.text
    monkeypatch.setattr(plain_jpegs, "_library", lambda: None)
    assert not agrees("tensorflow")
