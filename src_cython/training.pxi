# Losses with their gradients, and the gradient of an embedding. Part of core.pyx.

from embedding cimport add_rows
from losses cimport mean_cross_entropy, mean_squared_error


cdef int check_ids(const isize* ids, isize rows, isize count) except -1:
    cdef isize k
    for k in range(rows):
        check_sizes(0 <= ids[k] < count)
    return 0


def softmax_cross_entropy(logits, targets, dlogits):
    """The mean loss over all rows of (rows, K) logits; its gradient goes into `dlogits`."""
    cdef double loss
    cdef isize size = size_of(logits), rows = along(logits, 2, 0), K = along(logits, 2, 1)
    cdef const void* given = start(logits, size, 2, rows, K)
    cdef void* to = target(dlogits, size, 2, rows, K)
    cdef const isize* ids = indices(targets, rows)
    check_sizes(0 < rows and 0 < K and to != NULL)
    check_ids(ids, rows, K)
    with nogil:
        if size == sizeof(float):
            loss = mean_cross_entropy(rows, K, <const float*> given, ids, <float*> to)
        else:
            loss = mean_cross_entropy(rows, K, <const double*> given, ids, <double*> to)
    return loss


def mse(y, wanted, dy):
    """The mean squared error of arrays of one axis; its gradient goes into `dy`."""
    cdef double loss
    cdef isize size = size_of(y), n = along(y, 1, 0)
    cdef const void* given = start(y, size, 1, n)
    cdef const void* aim = start(wanted, size, 1, n)
    cdef void* to = target(dy, size, 1, n)
    check_sizes(0 < n and aim != NULL and to != NULL)
    with nogil:
        if size == sizeof(float):
            loss = mean_squared_error(n, <const float*> given, <const float*> aim, <float*> to)
        else:
            loss = mean_squared_error(n, <const double*> given, <const double*> aim, <double*> to)
    return loss


def embedding_backward(ids, dy, dweight):
    """dweight, which comes in as zeros, += the rows of dy, each to the row of its id."""
    cdef isize size = size_of(dy), rows = along(dy, 2, 0), width = along(dy, 2, 1)
    cdef isize count = along(dweight, 2, 0)
    cdef const void* given = start(dy, size, 2, rows, width)
    cdef void* to = target(dweight, size, 2, count, width)
    cdef const isize* called = indices(ids, rows)
    check_ids(called, rows, count)
    if rows == 0 or width == 0:
        return
    with nogil:
        if size == sizeof(float):
            add_rows(rows, width, called, <const float*> given, <float*> to)
        else:
            add_rows(rows, width, called, <const double*> given, <double*> to)
