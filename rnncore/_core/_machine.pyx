"""What compiled this package and what runs it.

Compiled for the lowest machine of its kind, so that it can be asked before a module that needs more
is loaded.
"""

cdef extern from "native/machine.h" nogil:
    const char* RNNCORE_COMPILER
    int rnncore_x86_64_level()
    int rnncore_x86_64_dot_units()

COMPILER = RNNCORE_COMPILER.decode()


def supports(str isa not None) -> bool:
    """Whether this processor, under this operating system, runs the module named `isa`."""
    if isa.startswith("x86_64_v"):
        return rnncore_x86_64_level() >= int(isa.removeprefix("x86_64_v"))
    return isa == "baseline"


def dot_units(str isa not None) -> tuple[bool, bool]:
    """Whether the module named `isa` can use instructions for products of int8, of bfloat16."""
    cdef int found = rnncore_x86_64_dot_units()
    if isa == "x86_64_v4":
        return bool(found & 1), bool(found & 4)
    return isa == "x86_64_v3" and bool(found & 2), False
