"""Compiling loops with Numba: on first use, cached on disk where that is possible.

A thread that gives Python's lock up gets it back when another lets it go, and each such change of hands takes its time.
So a loop of a map's pixels or more runs without the lock, and one of some ten microseconds keeps it.

The first run of a new installation waits until they are compiled, so they are written as loops over numbers: each
NumPy function, array expression or assignment of one array to a part of another brings code of Numba's own that is
compiled with them, from a tenth of a second to two seconds each (the assignment has an error that formats two shapes).
Likewise each loop is called with arguments of one type: where a caller has a constant or 32 bits, by ``np.int64(0)``.
A variable that is given both, first 32 bits and then 64, is converted at each call too: Numba may try either.

Numba takes a loop from its cache as long as the loop's own file is as it was, though the loops and constants of other
modules are compiled into it too. Here their files have to be as they were as well.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
import types
from collections.abc import Callable
from typing import Any

import numba

_STAMP = "_source_stamp"


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
        found = numba.njit(python, cache=True, **options)
        _follow(found, _digest(python.__globals__))
    except (RuntimeError, OSError):  # numba finds no writable cache directory; a module has no file that can be read
        return numba.njit(python, **options)
    return found


def _follow(loop: Any, digest: str) -> None:
    """Have Numba compile anew what it cached when the digest was another."""
    # Numba has no public way. Where a version of it keeps the stamp elsewhere, its cache is as it always was.
    file = getattr(getattr(loop, "_cache", None), "_cache_file", None)
    stamp = getattr(file, _STAMP, None)
    if stamp is not None:
        setattr(file, _STAMP, (stamp, digest))


def _digest(scope: dict[str, Any]) -> str:
    """Digest of the files of a module and of those of its package that it imports, by itself or through them.

    Args:
        scope: the module's globals; what it imports stands there as a module, as everywhere in this package.
    """
    package = scope["__name__"].partition(".")[0] + "."
    files: dict[str, str] = {}
    waiting = [scope]
    while waiting:
        scope = waiting.pop()
        name, path = scope["__name__"], scope.get("__file__")
        if name in files or path is None:
            continue
        files[name] = _file_digest(path)
        if "__path__" in scope:  # a package has those of its modules that something has imported by now
            continue
        imported = [value for value in list(scope.values()) if isinstance(value, types.ModuleType)]
        waiting += [vars(module) for module in imported if module.__name__.startswith(package)]
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


@functools.cache
def _file_digest(path: str) -> str:
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
