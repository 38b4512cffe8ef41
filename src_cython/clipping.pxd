"""What clipping does to gradients, of native/clipping.h."""

from places cimport Places

cdef extern from "native/clipping.h" namespace "rnncore" nogil:
    double squares_of_all(const Places& arrays)
    void scale_all(const Places& arrays, double factor)
    void bound_all(const Places& arrays, double limit)
