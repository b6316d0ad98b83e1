"""Compiling loops with Numba: on first use, cached on disk where that is possible, without holding the GIL.

The first run of a new installation waits until they are compiled, so they are written as loops over numbers: each
NumPy function, array expression or assignment of one array to a part of another brings code of Numba's own that is
compiled with them, from a tenth of a second to two seconds each (the assignment has an error that formats two shapes).
Likewise each loop is called with arguments of one type: where a caller has a constant or 32 bits, by ``np.int64(0)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def function(python: Callable[..., Any]) -> Any:
    """`python` compiled on first use, cached beside its file; uncached where nothing can be written.

    Division by zero gives what NumPy gives: with an error to raise, a division is a branch, and no loop a vector's.
    """
    # Nobody calls them from C.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        return numba.njit(python, cache=True, **options)
    except RuntimeError:  # numba finds no writable cache directory
        return numba.njit(python, **options)
