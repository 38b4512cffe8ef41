"""What a step of a cell sees, and the sweep that cells share, of native/unit.h."""

from activation cimport Activation
from vec cimport Vec, isize

cdef enum:
    H = 0  # the state that every cell has, which is its output
    C = 1  # the memory of some

cdef extern from "native/unit.h" namespace "rnncore" nogil:
    int MOST_STATES

    enum:
        RELU
        COUPLED
        PEEPHOLE_PREVIOUS
        PEEPHOLE_CURRENT
        GENERAL
        FLOW
        PROJECTION
        RESET_BEFORE
        KEEPS

    cdef cppclass Unit[T]:
        Vec[T]* gates
        const Vec[T]* vectors
        const Vec[T]** prev
        Vec[T]** next
        const Vec[T]* h_in
        Vec[T]** d
        Vec[T]** whole
        Vec[T]* dh_in
        const Vec[T]* dslot
        Vec[T]* dgates
        isize slot_step
        int options
        T eps
        const Activation[T]* activation
        Vec[T] zeros()
        Unit at(int states, isize row, isize block, const Extent& over)

    cdef cppclass Extent:
        isize row
        isize block
        isize rows
        isize blocks
        isize units
        isize slots
        isize row_blocks
        isize vectors
        isize dgates_block

    void sweep[T](
        void (*step)(Unit[T]*) noexcept nogil, int states, const Unit[T]* first,
        const Extent* over,
    )
