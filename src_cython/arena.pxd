"""Scratch memory of one pass, of native/arena.h."""

from vec cimport isize

cdef extern from "native/arena.h" namespace "rnncore" nogil:
    void expect_blocks(size_t bytes)

    cdef cppclass Arena[T]:
        void reserve(isize reals, isize rows, isize pieces) except +
        T* reals(isize count)
        T** rows(isize count)
