"""The basic RNN: its pointwise step forward and backward, (R1) of docs/equations.md."""

from recurrence cimport RELU, Unit
from vec cimport Vec, real_t, relu, tanh, tanh_slope, where_positive


cdef inline void rnn_step_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] pre = u.gates[0]
    if u.options & RELU:
        u.h[0] = relu(pre)                                  # (R1)
    else:
        u.h[0] = tanh(pre)                                  # (R1)


cdef inline void rnn_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] h = u.h[0], dh = u.dh[0]
    if u.options & RELU:
        u.dgates[0] = where_positive(h, dh)                 # (R1) h = max(pre, 0)
    else:
        u.dgates[0] = dh * tanh_slope(h)            # (R1) h = tanh(pre)
    u.dh[0] = u.zeros()
