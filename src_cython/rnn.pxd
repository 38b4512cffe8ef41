"""The basic RNN: its pointwise step forward and backward, (R1) of docs/equations.md."""

from cell cimport (
    ELEMENTWISE,
    READS_H,
    Cell,
    add_product,
    add_sweep,
    slots_from,
)
from functions cimport output, output_backward
from unit cimport Extent, H, Unit, sweep
from vec cimport real_t

cdef enum:
    STATES = 1
    PRE = 0  # the only slot


cdef inline void rnn_step_forward(Unit[real_t]* u) noexcept nogil:
    u.next[H][0] = output(u, u.gates[PRE])                  # (R1)


cdef inline void rnn_step_backward(Unit[real_t]* u) noexcept nogil:
    # (R1) h = phi(pre)
    u.dgates[PRE * u.slot_step] = output_backward(u, u.next[H][0], u.d[H][0])
    u.d[H][0] = u.zeros()


cdef inline void rnn_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(rnn_step_forward[real_t], STATES, row, over)


cdef inline void rnn_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(rnn_step_backward[real_t], STATES, row, over)


cdef inline void set_rnn(Cell[real_t]* cell) noexcept nogil:
    cell.states = STATES
    cell.gates = cell.slots = 1
    cell.gate_of[PRE] = 0
    cell.x = cell.h = slots_from(PRE, 1)
    add_product(cell, cell.h, READS_H)
    add_sweep(cell, ELEMENTWISE, rnn_forward[real_t], rnn_backward[real_t])
