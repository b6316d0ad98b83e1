"""Versions of the packages whose code makes numbers, for the manifest and for the keys of rows that are reused."""

from __future__ import annotations

import contextlib
import importlib.metadata

_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
"""The packages that give TensorFlow, of which one is installed."""


def version_of(package: str) -> str:
    """The version of an installed package, without importing it; of TensorFlow whichever of its packages is there.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    if package != "tensorflow":
        return importlib.metadata.version(package)
    for name in _TENSORFLOW:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    import tensorflow as tf  # of a package by another name, which only the module itself can tell

    return str(tf.__version__)
