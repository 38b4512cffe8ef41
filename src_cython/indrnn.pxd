"""The IndRNN: its pointwise step forward and backward, (I0)-(I1) of docs/equations.md.

A unit reads of the state before no other unit than itself: there is no recurrent product.
"""

from cell cimport (
    ELEMENTWISE,
    H_IN,
    Cell,
    add_array,
    add_sweep,
    add_vector,
    slots_from,
)
from functions cimport output, output_backward
from unit cimport Extent, H, Unit, sweep
from vec cimport Vec, real_t

cdef enum:
    STATES = 1
    PRE = 0  # the only slot
    U = 0    # the only vector


cdef inline void indrnn_step_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] pre = u.gates[PRE] + u.vectors[U] * u.h_in[0]  # (I0)
    u.next[H][0] = output(u, pre)                           # (I1)


cdef inline void indrnn_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] dpre = output_backward(u, u.next[H][0], u.d[H][0])  # (I1) h = phi(pre)
    u.dgates[PRE * u.slot_step] = dpre
    u.d[H][0] = u.zeros()
    u.dh_in[0] = u.dh_in[0] + dpre * u.vectors[U]           # (I0) pre = .. + u * h_in


cdef inline void indrnn_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(indrnn_step_forward[real_t], STATES, row, over)


cdef inline void indrnn_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(indrnn_step_backward[real_t], STATES, row, over)


cdef inline void set_indrnn(Cell[real_t]* cell) noexcept nogil:
    cell.states = STATES
    cell.gates = cell.slots = 1
    cell.gate_of[PRE] = 0
    cell.x = cell.h = slots_from(PRE, 1)
    add_sweep(cell, ELEMENTWISE, indrnn_forward[real_t], indrnn_backward[real_t])
    add_array(cell)
    add_vector(cell, PRE, H_IN, 0)                          # (I0)
