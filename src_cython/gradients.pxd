"""The user's arrays for gradients, of native/gradients.h."""

from vec cimport isize

cdef extern from "native/gradients.h" namespace "rnncore" nogil:
    cdef cppclass Gradients[T]:
        T* dx
        T* dw_ih
        T* dw_hh
        T* dw_hr
        T* db_ih
        T* db_hh
        T** dvector
        isize flow_step
        isize flow_row
