"""What kind of file or folder was given as a model, told by its bytes; names mislead. Knows no TensorFlow.

`unusable` says of a path in one line why heatbeam cannot take it as a Keras model, and what to do instead.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import string
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # of PyTorch before its 1.6, inside a pickle
_PRINTABLE = set(string.printable.encode())

_KERAS_COPY = "Save the model with model.save('model.keras') where it was made"
_BUILT = "name a factory (model.factory: module:function) that returns it as a Keras model"
_WEIGHTS = (
    "holds weights without an architecture: give it as model.weights beside model.application or model.factory, "
    "which say what the weights go into"
)
_FORMATS = {
    "tflite": f"is a TensorFlow Lite model, which has no gradients. {_KERAS_COPY}, before its conversion",
    "onnx": f"is an ONNX model, and heatbeam explains Keras models. Convert it, or {_BUILT}",
    "torch": f"is a PyTorch file, and heatbeam explains Keras models. Build the network in Keras and {_BUILT}",
    "saved_model": "is the graph of a SavedModel without its weights: name the folder that it lies in",
    "graph": f"is a frozen TensorFlow graph, which has no layers to look into. {_KERAS_COPY}, or {_BUILT}",
    "checkpoint": f"is part of a TensorFlow checkpoint, weights alone. Build the network and {_BUILT}",
    "pickle": f"is a pickled Python object, which is not opened: that would run code from it. {_KERAS_COPY}",
    "arrays": f"is an archive of arrays, not a model. Build the network with them and {_BUILT}",
    "safetensors": f"is a safetensors file, weights without an architecture. Build the network and {_BUILT}",
    "tfjs": f"is a TensorFlow.js model. {_KERAS_COPY}, before its conversion",
    "json": f"is an architecture without weights. Save both with model.save('model.keras'), or {_BUILT}",
    "gzip": "is packed with gzip. Unpack it and name the .keras or .h5 file inside",
    "tar": "is a tar archive. Unpack it and name the .keras or .h5 file inside",
    "html": "is a web page, not a model: that of a log-in or an error, perhaps. Download the file again",
    "lfs": "is a Git LFS pointer, not the model. Fetch the file with git lfs pull",
    "empty": "is an empty file. Copy or download the model again",
}
_BY_SUFFIX = {
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".pb": "graph",
    ".pt": "torch",
    ".pth": "torch",
    ".ckpt": "checkpoint",
}


def unusable(path: pathlib.Path) -> str | None:
    """Why what lies at `path` is no Keras model, in words that follow its name; None where it may be one."""
    if path.is_dir():
        return _of_folder(path)
    head = _first_bytes(path, 4096)
    if head.startswith(HDF5):
        return _of_hdf5(path)
    if head.startswith(ZIP):
        return _of_zip(path)
    return _of_other(path, head)


def unusable_weights(path: pathlib.Path) -> str | None:
    """Why the file at `path` cannot hold weights for a Keras model, as `unusable`; None where it may."""
    if path.is_dir():
        return "is a directory, expected a .weights.h5, .h5 or .keras file"
    head = _first_bytes(path, 4096)
    if head.startswith(HDF5):
        problem = _of_hdf5(path)
        return problem if problem != _WEIGHTS else None
    return _of_zip(path) if head.startswith(ZIP) else _of_other(path, head)


def _of_other(path: pathlib.Path, head: bytes) -> str:
    """What a file is that is neither HDF5 nor zip."""
    kind = _by_bytes(head) or _BY_SUFFIX.get(path.suffix.lower())
    if kind == "graph" and path.name == "saved_model.pb":
        kind = "saved_model"
    if kind is None:
        return (
            "is neither a .keras file (a zip archive) nor an .h5 file (HDF5), as its first bytes "
            f"{head[:8]!r} show: it is damaged, or something else. Copy or download it again"
        )
    return _FORMATS[kind]


def _by_bytes(head: bytes) -> str | None:
    """The format of a file that is neither HDF5 nor zip, by its first bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    tests = {
        "empty": not head,
        "html": text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<!--", b"<body")),
        "lfs": head.startswith(b"version https://git-lfs"),
        "tflite": head[4:8] == b"TFL3",
        "torch": head.startswith(_PICKLES) and _TORCH_MAGIC in head[:16],
        "pickle": head.startswith(_PICKLES),
        "gzip": head.startswith(b"\x1f\x8b"),
        "tar": head[257:262] == b"ustar",
        "safetensors": head[8:10] == b'{"' and head[5:8] == b"\0\0\0",
        "tfjs": text.startswith(b"{") and (b'"modeltopology"' in text or b'"layers-model"' in text),
        "json": text.startswith(b"{") and b'"class_name"' in text,
        "checkpoint": text.startswith(b"model_checkpoint_path"),
        "onnx": _starts_onnx(head),
        # The first field of both is a number or a message; what follows tells them apart.
        "saved_model": head[:3] == b"\x08\x01\x12",
        "graph": head[:1] == b"\n" and head[2:3] == b"\n" and b"\x12" in head[:256],
    }
    return next((kind for kind, fits in tests.items() if fits), None)


def _starts_onnx(head: bytes) -> bool:
    """Whether the first fields are an ONNX model's: its version, and the name of its producer or its graph."""
    if len(head) < 4 or head[0] != 0x08 or head[1] > 32:
        return False
    name = head[4 : 4 + head[3]]
    return head[2] == 0x3A or (head[2] == 0x12 and len(name) > 0 and set(name) <= _PRINTABLE - {0x0A})


def _of_folder(path: pathlib.Path) -> str | None:
    names = {entry.name for entry in path.iterdir()}
    if "saved_model.pb" in names:
        return None
    if {"config.json", "model.weights.h5"} <= names:
        return "is an unpacked .keras file. Pack it again: zip -r model.keras *, inside the folder"
    if any(name == "checkpoint" or name.endswith(".index") for name in names):
        return _FORMATS["checkpoint"].replace("is part of", "is the folder of")
    files = sorted(name for name in names if name.endswith((".keras", ".h5", ".hdf5")))
    inside = f"Name a file in it: {', '.join(files[:5])}" if files else "Name a .keras or .h5 file"
    return f"is a directory without a saved_model.pb, so no SavedModel. {inside}"


def _of_hdf5(path: pathlib.Path) -> str | None:
    try:
        with h5py.File(path, "r") as file:
            if "model_config" in file.attrs:
                return None
            if "layer_names" in file.attrs or {"layers", "_layer_checkpoint_dependencies", "vars"} & set(file):
                return _WEIGHTS
    except (OSError, RuntimeError, KeyError) as error:
        said = re.sub(r".*\((.*)\)", r"\1", _one_line(error))
        return f"is cut off or damaged, the HDF5 library says ({said}). Copy or download it again"
    return f"is an HDF5 file, but no Keras model: it has no architecture (attribute model_config). {_KERAS_COPY}"


def _of_zip(path: pathlib.Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "is cut off: the end of the zip archive is missing. Copy or download it again"
    bases = {pathlib.PurePosixPath(name).name for name in names}
    if "config.json" in names:
        return None if any("weights" in name for name in names) else _FORMATS["json"]
    if "data.pkl" in bases or "constants.pkl" in bases:
        return _FORMATS["torch"]
    if "saved_model.pb" in bases:
        return "is a packed SavedModel. Unpack it and name the folder with saved_model.pb"
    if bases and all(name.endswith(".npy") for name in bases):
        return _FORMATS["arrays"]
    if inside := sorted(name for name in names if name.endswith((".keras", ".h5", ".hdf5", "config.json"))):
        return f"is a zip archive around the model. Unpack it and name what is inside: {', '.join(inside[:3])}"
    return f"is a zip archive, but no .keras file: it has no config.json. {_KERAS_COPY}"


def damage(path: pathlib.Path) -> str | None:
    """What is broken inside a zip archive, whose parts carry checksums; None where nothing is, or for other files."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        broken = _one_line(error)
    return (
        None if broken is None else f"is damaged: {broken} in it does not match its checksum. Copy or download it again"
    )


def keras_version(path: pathlib.Path) -> str | None:
    """The version of Keras that wrote a model file, where the file says so."""
    with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            return str(json.loads(_entry(path, "metadata.json"))["keras_version"])
        with h5py.File(path, "r") as file:
            version = file.attrs["keras_version"]
            return version.decode() if isinstance(version, bytes) else str(version)
    return None


def architecture(path: pathlib.Path) -> Any:
    """The configuration of the model in a file that `unusable` lets pass, as JSON has it; None where it is no JSON."""
    with contextlib.suppress(OSError, KeyError, ValueError, zipfile.BadZipFile):
        if zipfile.is_zipfile(path):
            return json.loads(_entry(path, "config.json"))
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["model_config"])
    return None


def model_suffix(path: pathlib.Path) -> str:
    """The suffix by which Keras reads a model file, by its bytes."""
    return ".h5" if _first_bytes(path, 8) == HDF5 else ".keras"


def weights_suffix(path: pathlib.Path) -> str:
    """The suffix by which Keras reads a file of weights, by its bytes: its own form, Keras 2's, or a whole model."""
    if _first_bytes(path, 8) != HDF5:
        return ".keras"
    with h5py.File(path, "r") as file:
        return ".h5" if "layer_names" in file.attrs or "model_weights" in file else ".weights.h5"


@contextlib.contextmanager
def named(path: pathlib.Path, suffix: str) -> Iterator[str]:
    """A path to the same file whose name ends in `suffix`, while the context is open: Keras goes by the name."""
    if path.name.endswith(suffix) and not (suffix == ".h5" and path.name.endswith(".weights.h5")):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, f"file{suffix}")
        link.symlink_to(path.absolute())
        yield str(link)


def _one_line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:200] or type(error).__name__


def _first_bytes(path: pathlib.Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _entry(path: pathlib.Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)
