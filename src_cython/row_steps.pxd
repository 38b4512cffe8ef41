"""What layers of a model do with rows, of native/row_steps.h."""

from activation cimport Activation
from vec cimport isize

cdef extern from "native/row_steps.h" namespace "rnncore" nogil:
    int GELU
    int GELU_TANH
    int SILU
    int MISH
    int CELU
    int SCALED_ELU
    int CLAMP
    int HARD_SWISH
    int LOG_SIGMOID
    int EXPONENTIAL
    int FUNCTIONS
    int POOL_LAST
    int POOL_FIRST
    int POOL_SUM
    int POOL_MOST

    void norm_of_rows[T](
        isize rows, isize n, const T* x, const T* w, const T* b, T eps, T* y, T* scales
    ) except +
    void scale_rows[T](isize rows, isize n, const T* x, const T* w, const T* b, T* y) except +
    void softmax_of_rows[T](isize rows, isize n, const T* x, bint logarithm, T* y) except +
    void map_numbers[T](isize n, const Activation[T]& f, const T* x, T* y) except +
    void add_numbers[T](isize n, const T* a, const T* b, T* y)
    void pool_numbers[T](isize n, int kind, bint first, const T* x, const T* so_far, T* y)
