"""What compiled this package and what runs it.

Compiled for the lowest machine of its kind, so that it can be asked before a module that needs more
is loaded.
"""

cdef extern from "native/machine.h" nogil:
    const char* RNNCORE_COMPILER
    int rnncore_x86_64_level()
    int rnncore_dot_units()

COMPILER = RNNCORE_COMPILER.decode()


def supports(str isa not None) -> bool:
    """Whether this processor, under this operating system, runs the module named `isa`."""
    if isa.startswith("x86_64_v"):
        return rnncore_x86_64_level() >= int(isa.removeprefix("x86_64_v"))
    return isa == "baseline"


def dot_units(str isa not None) -> tuple[bool, bool, bool]:
    """Whether the module named `isa` can use instructions for products of int8, of bfloat16, tiles.

    The operating system may have to let the process use tiles: it is asked for that here.
    """
    cdef int found = rnncore_dot_units()
    if isa == "x86_64_v4":
        return bool(found & 1), bool(found & 4), bool(found & 8)
    if isa == "x86_64_v3":
        return bool(found & 2), False, False
    arm64 = isa == "baseline" and rnncore_x86_64_level() == 0
    return arm64 and bool(found & 1), arm64 and bool(found & 4), False
