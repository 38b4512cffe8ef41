"""With and without the instructions that the processor has for narrow products."""

from rnncore import _core
from rnncore._core import core

# The dot products of each kind; the matrix unit takes part where the others do.
DOTS = ("vnni", "dotprod", "bf16")
UNITS = {"tiles": (*DOTS, "amx"), "units": DOTS, "plain": ()}
THERE = [name for name in UNITS if name != "tiles" or "amx" in _core.dot_units]


def use_units(names):
    """Let the core use those of the units that the processor has."""
    used = {*UNITS[names]} & {*_core.dot_units}
    core.set_dot_units(bool(used & {"vnni", "dotprod"}), "bf16" in used, "amx" in used)
