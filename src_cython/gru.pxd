"""The GRU: its pointwise steps forward and backward, (G1)-(G4) of docs/equations.md.

With the reset after the product one step does it all. With the reset before it the product of r * h
lies in between: gates, product, state; backward state, product, gates.
"""

from activation cimport CANDIDATE, gate, gate_slope, squash, squash_slope
from recurrence cimport (
    READS_H,
    RESET_BEFORE,
    Cell,
    Extent,
    Unit,
    set_stage,
    slots_from,
    sweep,
)
from vec cimport Vec, one_minus, real_t

# Slots of the gates. The last is what r scales, hn, or what it gives, rh = r * h_prev.
cdef enum:
    N = 0
    R = 1
    Z = 2
    HN = 3
    RH = 3


cdef inline void gates_forward(Unit[real_t]* u) noexcept nogil:
    u.gates[R] = gate(u, u.gates[R])                        # (G1)
    u.gates[Z] = gate(u, u.gates[Z])                        # (G2)


cdef inline void gates_backward(Unit[real_t]* u, Vec[real_t] dr) noexcept nogil:
    cdef Vec[real_t] r = u.gates[R]
    u.dgates[R * u.slot_step] = dr * gate_slope(u, r)              # (G1) r = sigmoid(r_pre)


cdef inline void state_forward(Unit[real_t]* u, Vec[real_t] n_pre) noexcept nogil:
    cdef Vec[real_t] z = u.gates[Z]
    cdef Vec[real_t] n = squash(u, CANDIDATE, n_pre)        # (G3)
    u.gates[N] = n
    u.h[0] = one_minus(z) * n + z * u.h_prev[0]             # (G4)


cdef inline void state_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] z = u.gates[Z], n = u.gates[N], dh = u.dh[0]
    cdef Vec[real_t] dz = dh * (u.h_prev[0] - n)            # (G4) h = (1 - z) * n + z * h_prev
    cdef Vec[real_t] dn = dh * one_minus(z)                 # (G4)
    u.dh[0] = dh * z                                        # (G4)
    u.dgates[N * u.slot_step] = dn * squash_slope(u, CANDIDATE, n)  # (G3) n = tanh(n_pre)
    u.dgates[Z * u.slot_step] = dz * gate_slope(u, z)           # (G2) z = sigmoid(z_pre)


cdef inline void gru_after_step_forward(Unit[real_t]* u) noexcept nogil:
    gates_forward(u)
    state_forward(u, u.gates[N] + u.gates[R] * u.gates[HN])  # (G3a)


cdef inline void gru_after_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] dn_pre
    state_backward(u)
    dn_pre = u.dgates[N * u.slot_step]
    u.dgates[HN * u.slot_step] = dn_pre * u.gates[R]            # (G3a) n_pre = n_x + r * hn
    gates_backward(u, dn_pre * u.gates[HN])                 # (G3a)


cdef inline void gru_before_gates_forward(Unit[real_t]* u) noexcept nogil:
    gates_forward(u)
    u.gates[RH] = u.gates[R] * u.h_prev[0]                  # (G3b)


cdef inline void gru_before_gates_backward(Unit[real_t]* u) noexcept nogil:
    u.dh[0] = u.dh[0] + u.drh[0] * u.gates[R]               # (G3b) rh = r * h_prev
    gates_backward(u, u.drh[0] * u.h_prev[0])               # (G3b)


cdef inline void gru_before_state_forward(Unit[real_t]* u) noexcept nogil:
    state_forward(u, u.gates[N])                            # (G3b)


cdef inline void gru_before_state_backward(Unit[real_t]* u) noexcept nogil:
    state_backward(u)


cdef inline void after_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_after_step_forward[real_t], row, over)


cdef inline void after_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_after_step_backward[real_t], row, over)


cdef inline void before_gates_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_gates_forward[real_t], row, over)


cdef inline void before_gates_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_gates_backward[real_t], row, over)


cdef inline void before_state_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_state_forward[real_t], row, over)


cdef inline void before_state_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_state_backward[real_t], row, over)


cdef inline void set_gru(Cell[real_t]* cell) noexcept nogil:
    cell.gates = 3
    cell.slots = 4
    cell.gate_of[R], cell.gate_of[Z], cell.gate_of[N], cell.gate_of[HN] = 0, 1, 2, 2
    cell.x = slots_from(N, 3)  # n r z
    if cell.options & RESET_BEFORE:
        cell.stages = 2
        set_stage(
            &cell.stage[0], slots_from(R, 2), READS_H,  # r z
            before_gates_forward[real_t], before_gates_backward[real_t],
        )
        set_stage(
            &cell.stage[1], slots_from(N, 1), RH,  # n
            before_state_forward[real_t], before_state_backward[real_t],
        )
    else:
        cell.stages = 1
        set_stage(
            &cell.stage[0], slots_from(R, 3), READS_H,  # r z hn
            after_forward[real_t], after_backward[real_t],
        )
