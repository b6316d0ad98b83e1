"""Signatures of DoFns' methods are taken once for each function, not again for every use of it.

Beam 2.77 looks at every method of a DoFn for state and timers when a transform is made, checked, translated, and set up
in each worker thread: 24,000 signatures in a run of 64 images, a third of the time that its pipeline takes beside the
model. They follow from the function alone.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

from apache_beam.transforms import core

_Arguments = tuple[list[str], list[Any]]


def remember() -> None:
    """Have Beam remember, in this process, the arguments of the methods that it asks about; again changes nothing."""
    plain = core.get_function_args_defaults
    if not isinstance(plain, _Remembered):
        vars(core)["get_function_args_defaults"] = _Remembered(plain)


class _Remembered:
    """Beam's `get_function_args_defaults`, which asks it once about the function of a bound method."""

    def __init__(self, plain: Callable[[Callable[..., Any]], _Arguments]) -> None:
        functools.update_wrapper(self, plain)
        self._plain = plain
        self._known: weakref.WeakKeyDictionary[types.FunctionType, _Arguments] = weakref.WeakKeyDictionary()

    def __call__(self, asked: Callable[..., Any]) -> _Arguments:
        function = getattr(asked, "__func__", None)
        if not (isinstance(asked, types.MethodType) and isinstance(function, types.FunctionType)):
            return self._plain(asked)
        found = self._known.get(function)
        if found is None:
            found = self._known[function] = self._plain(asked)
        names, defaults = found
        return list(names), list(defaults)  # the caller's own
