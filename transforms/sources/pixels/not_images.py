"""What bytes are that were to be an image and are none, so that a dead letter says what went wrong upstream."""

from __future__ import annotations

import base64
import binascii
import codecs
import io
import re
import string
import struct
import zlib

import cv2
from PIL import Image

from heatbeam.transforms import records
from heatbeam.transforms.sources import tfexample

DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    cv2.error,
)
"""What decoders raise of bytes that are damaged, or no image."""

_SIGNATURES = (
    (b"\x1f\x8b", "gzip-compressed data; unpack it when the shards are written"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"BZh", "bzip2-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\x93NUMPY", "a NumPy array file (.npy); store its pixels and set input.raw_shape"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL image, a format that is not read"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image, a format that is not read"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image, a format that is not read"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image, a format that is not read"),
    (b"\x00\x00\x01\x00", "an icon (.ico), a format that is not read"),
    (b"v/1\x01", "an OpenEXR image, a format that is not read"),
    (b"#?RADIANCE", "a Radiance HDR image, a format that is not read"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"SIMPLE  =", "a FITS file"),
    (b"PAR1", "a Parquet file"),
    (b"\x80\x04\x95", "a pickled Python object"),
    (b"\x80\x03", "a pickled Python object"),
)
_TEXTS = (
    (
        re.compile(rb"version https://git-lfs"),
        "a git-lfs pointer; fetch the files themselves (git lfs pull) before the shards are written",
    ),
    (
        re.compile(rb"(<\?xml[^>]*>|<!--.*?-->|\s)*<(!doctype html|html|head|body)", re.DOTALL),
        "an HTML page, as a server answers in place of an image",
    ),
    (re.compile(rb"<.*<svg|<svg", re.DOTALL), "an SVG drawing, a format that is not read"),
    (re.compile(rb"data:[a-z]+/"), "a data URL; store the bytes that it encodes"),
)
_BRANDS = {b"heic": "an HEIC image", b"heix": "an HEIC image", b"mif1": "an HEIF image", b"avif": "an AVIF image"}
_BASE64 = frozenset(string.ascii_letters + string.digits + "+/_- \t\r\n")
_HEXADECIMAL = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}){16,}")
_NUMBERS = frozenset("[](){},;.+-0123456789eE \t\r\n")
_PATH = re.compile(
    r"(?:[a-z][a-z0-9+.\-]*://|~?/|\.{1,2}/|[A-Za-z]:[\\/])[^\n<>{}\"]+"
    r"|[^\s<>{}\"]+\.[A-Za-z0-9]{2,5}"
    r"|[^\n<>{}\"]+\.(?:jpe?g|png|gif|bmp|webp|tiff?|avif|heic|npy|JPE?G|PNG|TIFF?)"
)
_SHOWN_NAMES = 5
_DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64", 17: "uint16",
           19: "float16", 14: "bfloat16"}  # fmt: skip
_LEAST_SIDE = 16
_LOOKED_AT = 4096


def description(data: bytes) -> str | None:
    """What the bytes are, in words; None if nothing is known of them."""
    if not data:
        return "empty"
    if not data.strip(b"\0"):
        return f"{len(data)} zero bytes"
    for signature, words in _SIGNATURES:
        if data.startswith(signature):
            return words
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if data[4:8] == b"ftyp":
        brand = _BRANDS.get(data[8:12])
        return f"{brand}, which this Pillow does not read" if brand else "an MP4 or QuickTime video"
    if data[:4] == b"RIFF":
        return f"a RIFF file ({_printable(data[8:12])}), no WebP image"
    return _text(data) or _tensor(data) or _record(data) or _image_behind(data) or _raw(len(data))


def _printable(data: bytes) -> str:
    return data.decode("ascii", "replace").strip()


def _text(data: bytes) -> str | None:
    """What a text is; None if the bytes are none."""
    text = _decoded_text(data)
    if text is None:
        return None
    start = text[:_LOOKED_AT].lower().encode()
    for known, words in _TEXTS:
        if known.match(start):
            return words
    if text.startswith(("b'", 'b"')):
        return "the text that Python shows for bytes; store the bytes themselves"
    return _path(text) or _hexadecimal(text) or _numbers(text) or _base64(text) or f"a text: {text[:60]!r}"


def _decoded_text(data: bytes) -> str | None:
    """The text that bytes are in UTF-8, or in UTF-16 with a mark; None if they are none."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")().decode(data)
    except UnicodeDecodeError:
        return None
    text = text.strip()
    shown = text[:_LOOKED_AT]
    return text if shown and all(one.isprintable() or one in "\t\r\n" for one in shown) else None


def _path(text: str) -> str | None:
    if len(text) > 1024 or not _PATH.fullmatch(text):
        return None
    return f"{'a URL' if '://' in text else 'a path'}, {text[:80]!r}; store the bytes of the file"


def _hexadecimal(text: str) -> str | None:
    if not _HEXADECIMAL.fullmatch(text):
        return None
    inside = _format(bytes.fromhex(text.removeprefix("0x")))
    return f"hexadecimal text{f' of {inside}' if inside else ''}; store the bytes that it encodes"


def _numbers(text: str) -> str | None:
    if not set(text) <= _NUMBERS or not set(text) & set(string.digits):
        return None
    return "numbers written as text; store an encoded image"


def _base64(text: str) -> str | None:
    if len(text) < 16 or not set(text.rstrip("=")) <= _BASE64:
        return None
    inside = _decoded(text.encode())
    return f"base64 text{f' of {inside}' if inside else ''}; store the bytes that it encodes"


def _decoded(text: bytes) -> str | None:
    """The format of the image that base64 text encodes."""
    compact = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return _format(base64.b64decode(compact + b"=" * (-len(compact) % 4)))
    except (binascii.Error, ValueError):
        return None


def _format(data: bytes) -> str | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f"a {image.format} image"
    except (*DAMAGE, Image.DecompressionBombError):
        return None


def _tensor(data: bytes) -> str | None:
    """A serialized ``TensorProto``: its type, then its shape."""
    if len(data) < 8 or data[0] != 0x08 or data[1] not in _DTYPES or data[2] != 0x12:
        return None
    end = 4 + data[3]
    if end > len(data):
        return None
    sides, place = [], 4
    while place + 2 < end and data[place] == 0x12 and data[place + 2] == 0x08:
        number, shift, at = 0, 0, place + 3
        while at < end:
            number |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 0x80:
                break
        sides.append(number)
        place += 2 + data[place + 1]
    if place != end:
        return None
    return (
        f"a serialized tensor (tf.io.serialize_tensor), {_DTYPES[data[1]]} {sides}; store its bytes and set "
        "input.raw_shape, or an encoded image"
    )


def _record(data: bytes) -> str | None:
    """A serialized ``tf.train.Example``."""
    if data[0] != 0x0A:
        return None
    try:
        names = sorted(tfexample.parse(data))
    except records.DataError:
        return None
    if not names:
        return None
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return f"a serialized tf.train.Example inside the record, with {', '.join(map(repr, names[:_SHOWN_NAMES]))}{more}"


def _image_behind(data: bytes) -> str | None:
    """An image that starts later: a length or another header was written before it."""
    for signature, name in ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG")):
        place = data.find(signature, 1, 256)
        if place > 0:
            return f"a {name} image behind {place} other bytes"
    return None


def _raw(count: int) -> str | None:
    """A square of raw pixels, as far as the number of bytes can tell."""
    for channels in (3, 1, 4):
        side = round((count / channels) ** 0.5)
        if side >= _LEAST_SIDE and side * side * channels == count:
            floats = f" (or {side // 2} x {side // 2} x {channels} in float32)" if side % 2 == 0 else ""
            return (
                f"unknown, of as many bytes as {side} x {side} x {channels} pixels in uint8{floats}; if it is raw "
                "pixels, store them in uint8 and set input.raw_shape"
            )
    return None
