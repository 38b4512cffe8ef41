"""Objects that refuse attributes they do not have: a misspelt option would silently do nothing."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Own = TypeVar("Own")


def _sealing(init: Callable[Concatenate[Own, P], None]) -> Callable[Concatenate[Own, P], None]:
    """`init`, and then, if it is the outermost of the object's class, no new attributes."""

    @wraps(init)
    def sealed_after(self: Own, /, *args: P.args, **kwargs: P.kwargs) -> None:
        init(self, *args, **kwargs)
        if type(self).__init__ is sealed_after:
            self.__dict__["_sealed"] = True

    return sealed_after


class Sealed:
    """Once made, takes new values for the attributes that it has, but for those that are fixed.

    Examples
    --------
    >>> class Point(Sealed):
    ...     _fixed = ("dtype",)
    ...
    ...     def __init__(self):
    ...         self.params, self.dtype = {}, "float32"
    >>> point = Point()
    >>> point.params = {"x": 1}
    >>> point.parms = {"x": 2}
    Traceback (most recent call last):
    AttributeError: Point has no attribute 'parms', did you mean 'params'?
    >>> point.dtype = "float64"
    Traceback (most recent call last):
    AttributeError: dtype is fixed once the Point is made
    """

    _fixed: tuple[str, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        init = cls.__init__
        if "__init__" in cls.__dict__ or not hasattr(init, "__wrapped__"):  # of another base
            cls.__init__ = _sealing(init)  # type: ignore[method-assign, assignment]

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} of a {type(self).__name__} cannot be deleted")

    def __setattr__(self, name: str, value: Any) -> None:
        if "_sealed" in self.__dict__:
            if name in self._fixed:
                raise AttributeError(f"{name} is fixed once the {type(self).__name__} is made")
            if name not in self.__dict__ and not hasattr(type(self), name):
                names = {*self._fixed, *(name for name in dir(self) if name[0] != "_")}
                close = get_close_matches(name, sorted(names), 1)
                meant = f", did you mean {close[0]!r}?" if close else ""
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{meant}")
        super().__setattr__(name, value)
