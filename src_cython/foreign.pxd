"""A call of a stack whose arrays are addresses, of native/foreign.h."""

from libcpp.vector cimport vector

from cell cimport Cell
from given cimport Given
from vec cimport isize

cdef extern from "native/foreign.h" namespace "rnncore" nogil:
    cdef cppclass ForeignCell[T]:
        Given[T] given
        Given[T] d
        T** values
        T* gates
        T* made

    cdef cppclass Foreign[T]:
        Foreign()
        Cell[T] cell
        isize layers
        isize directions
        isize steps
        isize B
        isize I
        isize H
        isize P
        bint batch_first
        vector[isize] table
        vector[ForeignCell[T]] cells
        vector[T*] sources
        T* x
        T* y
        T** starts
        T** ends
        T* dx
        isize columns()
