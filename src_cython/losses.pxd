"""Losses with their gradients, of native/softmax.h and native/mse.h."""

from vec cimport isize

cdef extern from "native/softmax.h" namespace "rnncore" nogil:
    double mean_cross_entropy[T](
        isize rows, isize K, const T* logits, const isize* targets, T* dlogits
    ) except +

cdef extern from "native/mse.h" namespace "rnncore" nogil:
    double mean_squared_error[T](isize n, const T* y, const T* target, T* dy) except +
