"""Where arrays lie that are worked on from end to end, of native/places.h."""

from libcpp.vector cimport vector as numbers
from vec cimport isize

cdef extern from "native/places.h" namespace "rnncore" nogil:
    cdef cppclass Places:
        void reserve(isize count) except +
        void add(void* data, isize itemsize, int axes, const isize* shape) except +
        isize count()
        bint like(const Places& other)
        numbers[isize] layout() except +
        bint apart() except +
        bint meets(const Places& other) except +
