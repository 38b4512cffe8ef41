"""Functions of choice with their slopes, of native/activation.h."""

from vec cimport Fraction, Vec

cdef extern from "native/activation.h" namespace "rnncore" nogil:
    int ACTIVATIONS

    cdef cppclass Activation[T]:
        int code
        T alpha
        T beta
        T clip

    Fraction[T] activation_fraction[T](const Activation[T]& f, Vec[T] x)
    Vec[T] activate[T](const Activation[T]& f, Vec[T] x)
    Vec[T] activation_slope[T](const Activation[T]& f, Vec[T] y)
