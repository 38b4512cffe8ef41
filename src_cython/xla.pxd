"""A call that comes from XLA, of native/xla.h."""

from libc.stdint cimport int64_t

from libcpp.vector cimport vector

from vec cimport isize

cdef extern from "native/xla.h" namespace "rnncore::xla" nogil:
    int C_MAJOR "rnncore::xla::MAJOR"
    int F32
    int F64

    cdef cppclass Buffer:
        int type
        isize axes
        const int64_t* sizes

    cdef cppclass Buffers:
        isize count()
        const Buffer* look()
        void* next(isize count, int type)
        bint is_read()

    cdef cppclass Call:
        Buffers arguments
        Buffers results
        const void* asked
        const double* reals
        isize asked_count
        isize reals_count
        char* wrong

    cdef cppclass Frame:
        pass

    bint read_lengths(Call* call, isize T, isize B, vector[isize]* table) except +
    void* answer(Frame* frame, bint (*run)(Call*) noexcept nogil, int minor)
