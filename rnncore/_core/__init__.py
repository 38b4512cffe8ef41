"""The compiled core: one module per instruction set, one of them chosen at import.

`core` is the chosen module and `isa` its name: the widest one that was built and that this
processor runs, or the one that the environment variable ``RNNCORE_ISA`` names (``x86_64_v3``, or
``v3`` for short). Products below float32 use the instructions that the processor has for them,
`dot_units`, but for those whose names ``RNNCORE_WITHOUT`` lists: ``vnni``
(``dotprod`` on arm64), ``bf16``, ``amx``.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

__all__ = ["available", "core", "dot_units", "isa"]

_WIDEST_FIRST = ("x86_64_v4", "x86_64_v3", "x86_64_v2", "baseline")

_NOT_BUILT = """\
rnncore has no compiled core here: {folder} is a checkout that was not built.
Build it with `pip install -e .` in the checkout, or start Python elsewhere to use an installed
rnncore. The NumPy implementation, rnncore.reference, works without it."""


def available() -> list[str]:
    """Names of the instruction sets that were built and that this processor runs, widest first."""
    if find_spec("rnncore._core._machine") is None:
        return []
    supports = import_module("rnncore._core._machine").supports
    return [i for i in _WIDEST_FIRST if find_spec(f"rnncore._core.{i}") and supports(i)]


def choose(names: list[str], wanted: str) -> str:
    """The name out of `names`, widest first, that ``RNNCORE_ISA=wanted`` asks for.

    Raises
    ------
    ValueError if it is not one of them.

    Examples
    --------
    >>> choose(["x86_64_v3", "x86_64_v2"], wanted="")
    'x86_64_v3'
    >>> choose(["x86_64_v3", "x86_64_v2"], wanted="v2")
    'x86_64_v2'
    """
    if not wanted:
        return names[0]
    for name in names:
        if wanted in (name, name.removeprefix("x86_64_")):
            return name
    raise ValueError(
        f"RNNCORE_ISA is {wanted!r}, expected one of {', '.join(names)}: what was built "
        "and this processor runs"
    )


def chosen_units(there: dict[str, bool], without: str) -> dict[str, bool]:
    """The units that are `there`, without those that ``RNNCORE_WITHOUT=without`` names.

    Raises
    ------
    ValueError for another name.

    Examples
    --------
    >>> chosen_units({"vnni": True, "bf16": False}, without="vnni, bf16")
    {'vnni': False, 'bf16': False}
    """
    names = [name.strip() for name in without.split(",") if name.strip()]
    if unknown := [name for name in names if name not in there]:
        raise ValueError(
            f"RNNCORE_WITHOUT has {', '.join(unknown)}, expected some of {', '.join(there)}"
        )
    return {name: found and name not in names for name, found in there.items()}


def _units(name: str, module: ModuleType) -> tuple[str, ...]:
    """Let the core use them; their names."""
    names = ("dotprod" if name == "baseline" else "vnni", "bf16", "amx")
    found = import_module("rnncore._core._machine").dot_units(name)
    without = os.environ.get("RNNCORE_WITHOUT", "")
    units = chosen_units(dict(zip(names, found, strict=True)), without)
    module.set_dot_units(*units.values())
    return tuple(unit for unit, there in units.items() if there)


def _checkout() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _load() -> tuple[str, ModuleType]:
    names = available()
    if not names:
        if find_spec("rnncore._core._machine") is None:
            raise ImportError(_NOT_BUILT.format(folder=_checkout()))
        raise ImportError(
            "rnncore's core needs a processor of the level x86-64-v2 (SSE4.2, POPCNT: 2009 and "
            "later), and this one is older. The NumPy implementation, rnncore.reference, works."
        )
    name = choose(names, os.environ.get("RNNCORE_ISA", ""))
    return name, import_module(f"rnncore._core.{name}")


if TYPE_CHECKING:  # all of them have what this one has
    from rnncore._core import baseline as core

    isa: str
    dot_units: tuple[str, ...]
else:
    isa, core = _load()
    dot_units = _units(isa, core)
