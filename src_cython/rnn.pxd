"""The basic RNN: its pointwise step forward and backward, (R1) of docs/equations.md."""

from activation cimport GATES, activate, activation_slope
from recurrence cimport (
    GENERAL,
    READS_H,
    RELU,
    Cell,
    Extent,
    Unit,
    set_stage,
    slots_from,
    sweep,
)
from vec cimport Vec, real_t, relu, tanh, tanh_slope, where_positive


cdef inline void rnn_step_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] pre = u.gates[0]
    if u.options & GENERAL:
        u.h[0] = activate(u.activation[GATES], pre)         # (R1)
    elif u.options & RELU:
        u.h[0] = relu(pre)                                  # (R1)
    else:
        u.h[0] = tanh(pre)                                  # (R1)


cdef inline void rnn_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] h = u.h[0], dh = u.dh[0]
    if u.options & GENERAL:
        u.dgates[0] = dh * activation_slope(u.activation[GATES], h)  # (R1) h = f(pre)
    elif u.options & RELU:
        u.dgates[0] = where_positive(h, dh)                 # (R1) h = max(pre, 0)
    else:
        u.dgates[0] = dh * tanh_slope(h)                    # (R1) h = tanh(pre)
    u.dh[0] = u.zeros()


cdef inline void rnn_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(rnn_step_forward[real_t], row, over)


cdef inline void rnn_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(rnn_step_backward[real_t], row, over)


cdef inline void set_rnn(Cell[real_t]* cell) noexcept nogil:
    cell.gates = cell.slots = cell.stages = 1
    cell.gate_of[0] = 0
    cell.x = slots_from(0, 1)
    set_stage(&cell.stage[0], cell.x, READS_H, rnn_forward[real_t], rnn_backward[real_t])
