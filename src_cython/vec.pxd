"""The two dtypes, and one register of either with the functions that cells are made of."""

ctypedef fused real_t:
    float
    double

cdef extern from "native/vec.h" namespace "rnncore" nogil:
    ctypedef Py_ssize_t isize
    int VECTOR_BYTES

    cdef cppclass Fraction[T]:
        Fraction operator*(Fraction)

    cdef cppclass Vec[T]:
        Vec operator+(Vec)
        Vec operator-(Vec)
        Vec operator*(Vec)
        Fraction[T] operator*(Fraction[T])

    Vec[T] value[T](Fraction[T])
    Fraction[T] over_one[T](Vec[T])
    Fraction[T] sigmoid_fraction[T](Vec[T])
    Fraction[T] tanh_fraction[T](Vec[T])
    Vec[T] tanh[T](Vec[T])
    Vec[T] relu[T](Vec[T])
    Vec[T] sigmoid_slope[T](Vec[T])
    Vec[T] tanh_slope[T](Vec[T])
    Vec[T] one_minus[T](Vec[T])
    Vec[T] where_positive[T](Vec[T], Vec[T])
