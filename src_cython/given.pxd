"""The weights of one layer and direction as they are given, of native/given.h."""

from matmul cimport Matrix

cdef extern from "native/given.h" namespace "rnncore" nogil:
    cdef cppclass Given[T]:
        Given()
        Matrix w_ih
        Matrix w_hh
        Matrix w_hr
        const T* b_ih
        const T* b_hh
        const T** vectors
