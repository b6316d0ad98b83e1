"""What is found of an object when it is first asked for, and kept with it.

Up to Python 3.11 `functools.cached_property` has one lock for all objects of a class: while one thread finds the boxes
of its map, every other waits to begin with those of its own. The objects here belong to one thread each; of those that
do not, two threads may find the same twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """As `functools.cached_property`, without a lock. Objects that compare equal keep each their own.

    >>> class Square:
    ...     side = 3
    ...     @Kept
    ...     def area(self):
    ...         print("found")
    ...         return self.side**2
    >>> square = Square()
    >>> square.area, square.area
    found
    (9, 9)
    """

    def __init__(self, find: Callable[[Any], Value]) -> None:
        """Take what finds it, a method without arguments."""
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Kept[Value]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Value: ...

    def __get__(self, instance: object | None, owner: type | None = None) -> Kept[Value] | Value:
        """Find it, and let it take this one's place in the object's attributes."""
        if instance is None:
            return self
        value = vars(instance)[self._name] = self._find(instance)
        return value
