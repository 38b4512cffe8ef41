"""The basic RNN: its pointwise step forward and backward, (R1) of docs/equations.md."""

from activation cimport activate, activation_slope
from cell cimport (
    ELEMENTWISE,
    READS_H,
    Cell,
    add_product,
    add_sweep,
    slots_from,
)
from functions cimport GATES
from unit cimport GENERAL, RELU, Extent, H, Unit, sweep
from vec cimport Vec, real_t, relu, tanh, tanh_slope, where_positive

cdef enum:
    STATES = 1


cdef inline void rnn_step_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] pre = u.gates[0]
    if u.options & GENERAL:
        u.next[H][0] = activate(u.activation[GATES], pre)   # (R1)
    elif u.options & RELU:
        u.next[H][0] = relu(pre)                            # (R1)
    else:
        u.next[H][0] = tanh(pre)                            # (R1)


cdef inline void rnn_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] h = u.next[H][0], dh = u.d[H][0]
    if u.options & GENERAL:
        u.dgates[0] = dh * activation_slope(u.activation[GATES], h)  # (R1) h = f(pre)
    elif u.options & RELU:
        u.dgates[0] = where_positive(h, dh)                 # (R1) h = max(pre, 0)
    else:
        u.dgates[0] = dh * tanh_slope(h)                    # (R1) h = tanh(pre)
    u.d[H][0] = u.zeros()


cdef inline void rnn_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(rnn_step_forward[real_t], STATES, row, over)


cdef inline void rnn_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(rnn_step_backward[real_t], STATES, row, over)


cdef inline void set_rnn(Cell[real_t]* cell) noexcept nogil:
    cell.states = STATES
    cell.gates = cell.slots = 1
    cell.gate_of[0] = 0
    cell.x = cell.h = slots_from(0, 1)
    add_product(cell, cell.h, READS_H)
    add_sweep(cell, ELEMENTWISE, rnn_forward[real_t], rnn_backward[real_t])
