"""The GRU: its pointwise steps forward and backward, (G1)-(G4) of docs/equations.md.

With the reset after the product one step does it all. With the reset before it the product of r * h
lies in between: gates, product, state; backward state, product, gates.
"""

from cell cimport (
    ELEMENTWISE,
    READS_H,
    Cell,
    add_product,
    add_sweep,
    show,
    slots_from,
)
from functions cimport CANDIDATE, gate, gate_slope, squash, squash_slope
from unit cimport RESET_BEFORE, Extent, H, Unit, sweep
from vec cimport Vec, one_minus, real_t, value

cdef enum:
    STATES = 1

# Slots of the gates. The last is what r scales, hn, or what it gives, rh = r * h_prev.
cdef enum:
    N = 0
    R = 1
    Z = 2
    HN = 3
    RH = 3


cdef inline void gates_forward(Unit[real_t]* u) noexcept nogil:
    u.gates[R] = value(gate(u, u.gates[R]))                 # (G1)
    u.gates[Z] = value(gate(u, u.gates[Z]))                 # (G2)


cdef inline void gates_backward(Unit[real_t]* u, Vec[real_t] dr) noexcept nogil:
    cdef Vec[real_t] r = u.gates[R]
    u.dgates[R * u.slot_step] = dr * gate_slope(u, r)       # (G1) r = sigmoid(r_pre)


cdef inline void state_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] z = u.gates[Z]
    cdef Vec[real_t] n = value(squash(u, CANDIDATE, u.gates[N]))  # (G3)
    u.gates[N] = n
    u.next[H][0] = one_minus(z) * n + z * u.prev[H][0]      # (G4)


cdef inline void state_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] z = u.gates[Z], n = u.gates[N], dh = u.d[H][0]
    cdef Vec[real_t] dz = dh * (u.prev[H][0] - n)           # (G4) h = (1 - z) * n + z * h_prev
    cdef Vec[real_t] dn = dh * one_minus(z)                 # (G4)
    u.d[H][0] = dh * z                                      # (G4)
    u.dgates[N * u.slot_step] = dn * squash_slope(u, CANDIDATE, n)  # (G3) n = tanh(n_pre)
    u.dgates[Z * u.slot_step] = dz * gate_slope(u, z)       # (G2) z = sigmoid(z_pre)


cdef inline void gru_after_gates_forward(Unit[real_t]* u) noexcept nogil:
    gates_forward(u)
    u.gates[N] = u.gates[N] + u.gates[R] * u.gates[HN]      # (G3a)


cdef inline void gru_after_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] dn_pre
    state_backward(u)
    dn_pre = u.dgates[N * u.slot_step]
    u.dgates[HN * u.slot_step] = dn_pre * u.gates[R]        # (G3a) n_pre = n_x + r * hn
    gates_backward(u, dn_pre * u.gates[HN])                 # (G3a)


cdef inline void gru_before_gates_forward(Unit[real_t]* u) noexcept nogil:
    gates_forward(u)
    u.gates[RH] = u.gates[R] * u.prev[H][0]                 # (G3b)


cdef inline void gru_before_gates_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] drh = u.dslot[0]
    u.d[H][0] = u.d[H][0] + drh * u.gates[R]                # (G3b) rh = r * h_prev
    gates_backward(u, drh * u.prev[H][0])                   # (G3b)


cdef inline void gru_before_state_forward(Unit[real_t]* u) noexcept nogil:
    state_forward(u)                                        # (G3b)


cdef inline void gru_before_state_backward(Unit[real_t]* u) noexcept nogil:
    state_backward(u)


cdef inline void after_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_after_gates_forward[real_t], STATES, row, over)  # (G1), (G2), (G3a)
    sweep(state_forward[real_t], STATES, row, over)         # (G3), (G4)


cdef inline void after_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_after_step_backward[real_t], STATES, row, over)


cdef inline void before_gates_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_before_gates_forward[real_t], STATES, row, over)


cdef inline void before_gates_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_before_gates_backward[real_t], STATES, row, over)


cdef inline void before_state_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_before_state_forward[real_t], STATES, row, over)


cdef inline void before_state_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(gru_before_state_backward[real_t], STATES, row, over)


cdef inline void set_gru(Cell[real_t]* cell) noexcept nogil:
    cell.states = STATES
    cell.gates = 3
    cell.slots = 4
    cell.gate_of[R], cell.gate_of[Z], cell.gate_of[N], cell.gate_of[HN] = 0, 1, 2, 2
    show(cell, R)
    show(cell, Z)
    show(cell, N)
    cell.x = slots_from(N, 3)
    if cell.options & RESET_BEFORE:
        cell.h = cell.x
        add_product(cell, slots_from(R, 2), READS_H)  # r z
        add_sweep(cell, ELEMENTWISE, before_gates_forward[real_t], before_gates_backward[real_t])
        add_product(cell, slots_from(N, 1), RH)
        add_sweep(cell, ELEMENTWISE, before_state_forward[real_t], before_state_backward[real_t])
    else:
        show(cell, HN)
        cell.h = slots_from(R, 3)  # r z hn
        add_product(cell, cell.h, READS_H)
        add_sweep(cell, ELEMENTWISE, after_forward[real_t], after_backward[real_t])
