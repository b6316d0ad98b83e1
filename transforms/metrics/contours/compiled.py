"""Compiling loops with Numba: on first use, cached on disk where that is possible.

A thread that gives Python's lock up gets it back when another lets it go, and each such change of hands takes its time.
So a loop of a map's pixels or more runs without the lock, and one of some ten microseconds keeps it.

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
    """`python` compiled on first use, cached beside its file; uncached where nothing can be written. Drops the lock.

    Division by zero gives what NumPy gives: with an error to raise, a division is a branch, and no loop a vector's.
    """
    return _compiled(python, drops_lock=True)


def short(python: Callable[..., Any]) -> Any:
    """The same for loops of some ten microseconds and less, which keep the lock."""
    return _compiled(python, drops_lock=False)


def _compiled(python: Callable[..., Any], *, drops_lock: bool) -> Any:
    # Nobody calls them from C.
    options: dict[str, Any] = {"nogil": drops_lock, "error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        return numba.njit(python, cache=True, **options)
    except RuntimeError:  # numba finds no writable cache directory
        return numba.njit(python, **options)
