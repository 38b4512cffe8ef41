"""Which rows take part in which steps, of native/batch.h."""

from vec cimport isize

cdef extern from "native/batch.h" namespace "rnncore" nogil:
    cdef cppclass Batch:
        isize first
        isize steps
        isize duration
        isize B
        bint reverse
        const isize* order
        const isize* lengths
        const isize* alive_rows
        isize user_row(isize row)
        isize time(isize step, isize row)
        isize alive(isize step)
        isize alive_of "alive" (isize step, isize begin, isize end)
        isize share(int rank, int size, isize begin, isize end)

    cdef cppclass Walk:
        Walk()
        Walk(const Batch* over, isize step, isize skipped)
        isize step
        isize row
        void next()
