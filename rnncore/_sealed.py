"""Objects that refuse attributes they do not have: a misspelt option would silently do nothing."""

from difflib import get_close_matches
from typing import Any


class _SealedWhenMade(type):
    """Seals an object after the outermost `__init__`, so that a subclass can add what it likes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        object.__setattr__(made, "_sealed", True)
        return made


class Sealed(metaclass=_SealedWhenMade):
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
