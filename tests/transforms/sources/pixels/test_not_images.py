"""What is no image says what it is."""

from __future__ import annotations

import base64
import gzip
import io
import pickle
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, images, tfexample
from heatbeam.transforms.sources.pixels import not_images
from tests.support import sample_shards

PIXELS = sample_shards.noise(20, 20)
PNG = sample_shards.encode(PIXELS)
TENSOR = tf.io.serialize_tensor(PIXELS).numpy()
LARGE_TENSOR = tf.io.serialize_tensor(tf.zeros((224, 300, 3))).numpy()
FLOATS = np.random.default_rng(0).random((32, 32, 3), np.float32).tobytes()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def png_header(side: int) -> bytes:
    """A PNG that says it is `side` x `side` pixels."""
    header = bytearray(PNG)
    header[16:24] = side.to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    return bytes(header)


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, PIXELS)
    return buffer.getvalue()


CASES = {
    "html": (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    "xhtml": (b"<?xml version='1.0'?>\n<html>", "an HTML page"),
    "lfs": (POINTER, "a git-lfs pointer; fetch the files"),
    "base64": (base64.b64encode(PNG), "base64 text of a PNG image; store the bytes"),
    "base64-huge": (base64.b64encode(png_header(60000)), "base64 text; store the bytes"),
    "hexadecimal-huge": (png_header(60000).hex().encode(), "hexadecimal text; store the bytes"),
    "base64-lines": (base64.encodebytes(PNG), "base64 text of a PNG image"),
    "base64-url": (base64.urlsafe_b64encode(b"\xfb\xff" * 20), "base64 text; store"),
    "data-url": (b"data:image/png;base64,iVBOR", "a data URL"),
    "tensor": (TENSOR, "a serialized tensor (tf.io.serialize_tensor), uint8 [20, 20, 3]"),
    "large-tensor": (
        LARGE_TENSOR,
        "serialized tensor (tf.io.serialize_tensor), float32 [224, 300, 3]",
    ),
    "raw": (PIXELS.tobytes(), "as many bytes as 20 x 20 x 3 pixels in uint8 (or 10 x 10 x 3 in float32)"),
    "raw-float": (FLOATS, "64 x 64 x 3 pixels in uint8 (or 32 x 32 x 3 in float32)"),
    "npy": (npy(), "a NumPy array file (.npy)"),
    "pickle": (pickle.dumps(PIXELS, protocol=4), "a pickled Python object"),
    "path": (b"/data/train/n0123/cat_1.JPEG", "a path, '/data/train/n0123/cat_1.JPEG'; store the bytes of the file"),
    "relative": (b"images/000001.jpg\n", "a path, 'images/000001.jpg'"),
    "url": (b"https://host.example/a/b.png", "a URL, 'https://host.example/a/b.png'"),
    "bucket": (b"gs://bucket/b.png", "a URL, 'gs://bucket/b.png'"),
    "gzip": (gzip.compress(PNG), "gzip-compressed data"),
    "zip": (b"PK\x03\x04rest", "a ZIP archive"),
    "pdf": (b"%PDF-1.7\n...", "a PDF document"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="x"/>', "an SVG drawing"),
    "xml": (b"<Error><Code>AccessDenied</Code></Error>", "a text: '<Error><Code>AccessDenied"),
    "json": (b'{"error": 403}', "a text: '{\"error\": 403}'"),
    "utf-16": ("<html>404</html>".encode("utf-16"), "an HTML page"),
    "windows-path": (b"C:\\data\\my photos\\b.jpg", "a path, 'C:\\\\data\\\\my photos\\\\b.jpg'"),
    "path-utf-8": ("/data/b\u00fccher/\u00e4.png".encode(), "a path, '/data/b\u00fccher/\u00e4.png'"),
    "name-with-spaces": (b"my photo 1.jpeg", "a path, 'my photo 1.jpeg'"),
    "text-utf-8": ("Bild nicht gefunden \u2013 404".encode(), "a text: 'Bild nicht gefunden \u2013 404'"),
    "hexadecimal": (PNG.hex().encode(), "hexadecimal text of a PNG image; store the bytes"),
    "python-bytes": (str(PNG).encode(), "the text that Python shows for bytes"),
    "numbers": (b"[[0, 1, 2], [3, 4, 255]]", "numbers written as text"),
    "example": (tfexample.serialize({"a": [PNG], "b": [3]}), "tf.train.Example inside the record, with 'a'"),
    "text": (b"not found!", "a text: 'not found!'"),
    "zeros": (bytes(1000), "1000 zero bytes"),
    "jpeg-xl": (b"\xff\x0a\x00\x00", "a JPEG XL image"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "an HEIC image, which this Pillow does not read"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0", "an MP4 or QuickTime video"),
    "dicom": (bytes(range(1, 129)) + b"DICM\x02\x00", "a DICOM file"),
    "behind": (b"\x10\x20\x80\x00" + PNG, "a PNG image behind 4 other bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), CASES.values(), ids=CASES)
def test_a_dead_letter_says_what_came(data, words):
    with pytest.raises(records.DataError) as caught:
        images.decode_image(data, None, decode_options.ImageOptions(8, 8))
    assert caught.value.error_type == "corrupt_image"
    assert f"the image of {len(data)} bytes cannot be decoded: it is " in caught.value.message
    assert words in caught.value.message and "\n" not in caught.value.message


def test_of_noise_nothing_is_known():
    data = np.random.default_rng(1).bytes(997)
    assert not_images.description(data) is None
    with pytest.raises(records.DataError, match=r"unknown format, starting with .+; raw pixels need") as caught:
        images.decode_image(data, None, decode_options.ImageOptions(8, 8))
    assert data[:8].hex(" ") in caught.value.message


@pytest.mark.parametrize("filling", [b"1", b" ", b"a", b"[1, ", b"<!-- -->", b"/a"])
def test_a_long_text_takes_no_longer_than_its_length(filling):
    """A megabyte that nearly is something: a search that goes back and forth would take minutes."""
    data = b"0" + filling * (1_000_000 // len(filling)) + b"\xc3\xa9?"
    started = time.process_time()
    assert not_images.description(data)
    assert time.process_time() - started < 5


def test_any_bytes_have_a_description_or_none():
    rng = np.random.default_rng(0)
    seeds = [data for data, _ in CASES.values()]
    for trial in range(2000):
        data = bytearray(seeds[trial % len(seeds)][: rng.integers(1, 60)])
        data[rng.integers(len(data))] = rng.integers(256)
        said = not_images.description(bytes(data))
        assert said is None or ("\n" not in said and len(said) < 250)
