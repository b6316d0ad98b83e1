"""Compiling loops with Numba: on first use, cached on disk where that is possible, without holding the GIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def function(python: Callable[..., Any]) -> Any:
    """`python` compiled on first use, cached beside its file; uncached where nothing can be written.

    Division by zero gives what NumPy gives: with an error to raise, a division is a branch, and no loop a vector's.
    """
    try:
        return numba.njit(python, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # numba finds no writable cache directory
        return numba.njit(python, nogil=True, error_model="numpy")
