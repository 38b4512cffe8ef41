"""The states of a pass, of native/states.h."""

from vec cimport isize

cdef extern from "native/states.h" namespace "rnncore" nogil:
    cdef cppclass State[T]:
        isize units
        isize blocks
        T* values
        T* made
        const T* keep
        T* last
        double* flow
        T* d
        T* dmade
        T* whole
        isize width()

    cdef cppclass States[T]:
        State[T]* state
        isize instants
        isize phase
        bint keeps
