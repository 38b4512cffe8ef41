"""Passes of a stack that run together, of native/team.h."""

from libcpp.deque cimport deque

from arena cimport Arena
from recurrence cimport Pass
from track cimport Crew, Neighbour, Tracks

cdef extern from "native/team.h" namespace "rnncore" nogil:
    cdef cppclass Team[T]:
        Team()
        deque[Pass[T]] passes
        deque[Arena[T]] scratch
        Tracks[Pass[T]] tracks
        Crew crew
        Neighbour next
        Neighbour these
        Pass[T]* add(const Pass[T]& p) except +
        void end_layer()
