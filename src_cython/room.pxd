"""The memory of a trace, of native/room.h."""

from recurrence cimport Pass
from vec cimport isize

cdef extern from "native/room.h" namespace "rnncore" nogil:
    cdef cppclass Room:
        isize size
        isize* state
        isize gates
        isize* made
        isize h_in

    Room room_of[T](const Pass[T]& p, bint h_masked, int zoned)
