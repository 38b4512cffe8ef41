"""The gradients of weights, a product over rows, of native/outer.h."""

from vec cimport isize

cdef extern from "native/outer.h" namespace "rnncore" nogil:
    void multiply_outer[T](
        isize rows, isize block, const T* a, isize units, const T* b, isize columns, T* c
    )
