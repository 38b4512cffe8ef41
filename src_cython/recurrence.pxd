"""One pass of one layer and direction, of native/recurrence.h."""

from batch cimport Batch
from cell cimport Cell
from gradients cimport Gradients
from matmul cimport Product
from scratch cimport Scratch
from states cimport States
from vec cimport isize

cdef extern from "native/recurrence.h" namespace "rnncore" nogil:
    cdef cppclass Part:
        isize begin
        isize end
        int unit
        int units

    cdef cppclass Pass[T](Batch, States[T], Gradients[T], Scratch[T]):
        Pass()
        const Cell[T]* cell
        isize I
        isize H
        isize P
        isize blocks
        isize h_blocks
        int precision
        const T* x
        isize x_step
        isize x_row
        T* y
        isize y_step
        isize y_row
        const T* y_mask
        const T* dy_more
        const T* h_mask
        T* h_in
        T* gates
        const T* vectors
        const T* bias
        Product[T] x_product
        Product[T]* product
        Product[T] projection
        Part part
        isize lanes()
        isize blocks_of(isize units)
        isize width()
        isize h_width()
        isize gates_width()
        T* at(int s, isize instant)
        T* made_at(int s, isize step)
        T* h_in_at(isize step)
