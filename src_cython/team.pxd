"""A team of threads that shares a pass, of native/team.h."""

from vec cimport isize

cdef extern from "native/team.h" namespace "rnncore" nogil:
    cdef cppclass Plan:
        int size
        bint by_units

    cdef cppclass Team:
        int rank
        int size
        bint by_units
        void wait()
        isize begin(isize count)
        isize end(isize count)

    void run_team[P](const P* p, Plan plan, void (*run)(P*) noexcept nogil)
