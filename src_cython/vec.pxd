"""The two dtypes, and one register of either with the functions that cells are made of."""

ctypedef fused real_t:
    float
    double

cdef extern from "native/vec.h" namespace "rnncore" nogil:
    ctypedef Py_ssize_t isize
    int VECTOR_BYTES

    cdef cppclass Vec[T]:
        Vec operator+(Vec)
        Vec operator-(Vec)
        Vec operator*(Vec)

    Vec[T] sigmoid[T](Vec[T])
    Vec[T] tanh[T](Vec[T])
    Vec[T] relu[T](Vec[T])
    Vec[T] sigmoid_slope[T](Vec[T])
    Vec[T] tanh_slope[T](Vec[T])
    Vec[T] one_minus[T](Vec[T])
    Vec[T] where_positive[T](Vec[T], Vec[T])
