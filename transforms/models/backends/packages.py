"""Which engines can compute a model here, and in which versions. Imports none of them."""

from __future__ import annotations

from importlib import metadata
from typing import Literal

Backend = Literal["tensorflow", "xla", "openvino", "onnxruntime"]

CONVERTED: dict[Backend, tuple[str, ...]] = {
    "openvino": ("openvino", "onnx", "tf2onnx"),
    "onnxruntime": ("onnxruntime", "onnx", "tf2onnx"),
}
"""The packages of those that are given parts of the model in their own form: TensorFlow keeps the rest."""


def installed() -> dict[Backend, str]:
    """Versions of what can compute a model here, by name; TensorFlow and XLA always can.

    The version is that of all the packages that have a say in the numbers, such as ``openvino 2026.3.0, onnx 1.22.0``.
    """
    own = _version("tensorflow") or _version("tensorflow-cpu") or "unknown"
    found: dict[Backend, str] = {"tensorflow": f"tensorflow {own}", "xla": f"tensorflow {own}"}
    for backend, packages in CONVERTED.items():
        versions = [_version(name) for name in packages]
        if all(versions):
            found[backend] = ", ".join(f"{name} {version}" for name, version in zip(packages, versions, strict=True))
    return found


def missing(backend: Backend) -> str | None:
    """What to install for an engine, in words; None where it is there."""
    absent = [name for name in CONVERTED.get(backend, ()) if _version(name) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not installed; pip install 'heatbeam[{backend}]'"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
