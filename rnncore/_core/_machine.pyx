"""What compiled this package and what runs it.

Compiled for the lowest machine of its kind, so that it can be asked before a module that needs more
is loaded.
"""

cdef extern from "native/machine.h" nogil:
    const char* RNNCORE_COMPILER
    int rnncore_x86_64_level()

COMPILER = RNNCORE_COMPILER.decode()


def supports(str isa not None) -> bool:
    """Whether this processor, under this operating system, runs the module named `isa`."""
    if isa.startswith("x86_64_v"):
        return rnncore_x86_64_level() >= int(isa.removeprefix("x86_64_v"))
    return isa == "baseline"
