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

_ASKED = "get_function_args_defaults"


def remember() -> None:
    """Have Beam remember, in this process, the arguments of the methods that it asks about; again changes nothing.

    A Beam that finds them in another way is left as it is.
    """
    plain = getattr(core, _ASKED, None)
    if plain is not None and not isinstance(plain, _Remembered):
        setattr(core, _ASKED, _Remembered(plain))


class _Remembered:
    """Beam's `get_function_args_defaults`, which asks it once about the function of a bound method.

    A function that is gone is forgotten, unless its own defaults lead to it: those of a timer's callback that sets the
    timer again do.
    """

    def __init__(self, plain: Callable[[Callable[..., Any]], _Arguments]) -> None:
        functools.update_wrapper(self, plain)
        self._plain = plain
        self._known: weakref.WeakKeyDictionary[types.FunctionType, _Arguments] = weakref.WeakKeyDictionary()

    def __call__(self, asked: Callable[..., Any]) -> _Arguments:
        function = asked.__func__ if isinstance(asked, types.MethodType) else None
        if not isinstance(function, types.FunctionType):
            return self._plain(asked)
        found = self._known.get(function)
        if found is None:
            found = self._known[function] = self._plain(asked)
        names, defaults = found
        return list(names), list(defaults)  # the caller's own
