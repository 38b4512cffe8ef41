# Losses with their gradients, and the gradient of an embedding. Part of core.pyx.

from embedding cimport add_rows
from losses cimport mean_cross_entropy, mean_squared_error


cdef int check_ids(const isize[::1] ids, isize count) except -1:
    cdef isize k
    for k in range(ids.shape[0]):
        check_sizes(0 <= ids[k] < count)
    return 0


def softmax_cross_entropy(
    const real_t[:, ::1] logits not None,
    const isize[::1] targets not None,
    real_t[:, ::1] dlogits not None,
):
    """The mean loss over all rows; its gradient goes into `dlogits`."""
    cdef double loss
    cdef isize rows = logits.shape[0], K = logits.shape[1]
    check_sizes(0 < rows and 0 < K and targets.shape[0] == rows)
    check_sizes(dlogits.shape[0] == rows and dlogits.shape[1] == K)
    check_ids(targets, K)
    with nogil:
        loss = mean_cross_entropy(rows, K, &logits[0, 0], &targets[0], &dlogits[0, 0])
    return loss


def mse(
    const real_t[::1] y not None, const real_t[::1] target not None, real_t[::1] dy not None
):
    """The mean squared error; its gradient goes into `dy`."""
    cdef double loss
    cdef isize n = y.shape[0]
    check_sizes(0 < n and target.shape[0] == n and dy.shape[0] == n)
    with nogil:
        loss = mean_squared_error(n, &y[0], &target[0], &dy[0])
    return loss


def embedding_backward(
    const isize[::1] ids not None,
    const real_t[:, ::1] dy not None,
    real_t[:, ::1] dweight not None,
):
    """dweight, which comes in as zeros, += the rows of dy, each to the row of its id."""
    cdef isize rows = dy.shape[0], width = dy.shape[1]
    check_sizes(ids.shape[0] == rows and dweight.shape[1] == width)
    check_ids(ids, dweight.shape[0])
    if rows == 0 or width == 0:
        return
    with nogil:
        add_rows(rows, width, &ids[0], &dy[0, 0], &dweight[0, 0])
