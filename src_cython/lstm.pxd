"""The LSTM: its pointwise step forward and backward, (L1)-(L6) of docs/equations.md."""

from cell cimport (
    BEFORE,
    ELEMENTWISE,
    MADE,
    READS_H,
    Cell,
    add_array,
    add_product,
    add_sweep,
    add_vector,
    show,
    slots_from,
)
from functions cimport (
    CANDIDATE,
    MEMORY,
    gate,
    gate_slope,
    squash,
    squash_slope,
)
from unit cimport (
    COUPLED,
    FLOW,
    KEEPS,
    PEEPHOLE_CURRENT,
    PEEPHOLE_PREVIOUS,
    C,
    Extent,
    H,
    Unit,
    sweep,
)
from vec cimport Fraction, Vec, one_minus, real_t, value

cdef enum:
    STATES = 2

# Slots of the gates. F comes first, so that a coupled cell's products fill the other three.
cdef enum:
    F = 0
    I = 1
    G = 2
    O = 3

# Peephole weights, in their order among the vectors.
cdef enum:
    CI = 0
    CF = 1
    CO = 2


# Forward goes twice over the units of a tile: h waits for c, but that of one unit need not hold up
# the gates of the next.


cdef inline void lstm_memory_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] i_pre = u.gates[I], f_pre = u.gates[F], o_pre = u.gates[O]
    cdef Vec[real_t] c_prev = u.prev[C][0]
    cdef Vec[real_t] f, c
    cdef Fraction[real_t] i, g
    if u.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        i_pre = i_pre + u.vectors[CI] * c_prev              # (L1p)
        f_pre = f_pre + u.vectors[CF] * c_prev              # (L2p)
    i = gate(u, i_pre)                                      # (L1)
    f = one_minus(value(i)) if u.options & COUPLED else value(gate(u, f_pre))  # (L2)
    g = squash(u, CANDIDATE, u.gates[G])                    # (L3)
    c = f * c_prev + value(i * g)                           # (L4)
    if u.options & PEEPHOLE_PREVIOUS:
        o_pre = o_pre + u.vectors[CO] * c_prev              # (L5p)
    elif u.options & PEEPHOLE_CURRENT:
        o_pre = o_pre + u.vectors[CO] * c                   # (L5p)
    u.gates[O] = value(gate(u, o_pre))                      # (L5)
    u.next[C][0] = c
    if u.options & KEEPS:
        u.gates[I] = value(i)
        u.gates[F] = f
        u.gates[G] = value(g)


cdef inline void lstm_output_forward(Unit[real_t]* u) noexcept nogil:
    u.next[H][0] = value(u.gates[O] * squash(u, MEMORY, u.next[C][0]))  # (L6)


cdef inline void lstm_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] i = u.gates[I], f = u.gates[F], g = u.gates[G], o = u.gates[O]
    cdef Vec[real_t] c_prev = u.prev[C][0], dh = u.d[H][0], dc = u.d[C][0]
    cdef Vec[real_t] tanh_c = value(squash(u, MEMORY, u.next[C][0]))
    cdef Vec[real_t] di, df, dc_prev, di_pre, do_pre
    cdef Vec[real_t] df_pre = u.zeros()
    dc = dc + dh * o * squash_slope(u, MEMORY, tanh_c)      # (L6) h = o * tanh(c)
    do_pre = dh * tanh_c * gate_slope(u, o)                 # (L6), (L5) o = sigmoid(o_pre)
    if u.options & PEEPHOLE_CURRENT:
        dc = dc + do_pre * u.vectors[CO]                    # (L5p) o_pre = .. + w_co * c
    if u.options & FLOW:
        u.whole[C][0] = dc
    df = dc * c_prev                                        # (L4) c = f * c_prev + i * g
    di = dc * g                                             # (L4)
    dc_prev = dc * f                                        # (L4)
    if u.options & PEEPHOLE_PREVIOUS:
        dc_prev = dc_prev + do_pre * u.vectors[CO]          # (L5p) o_pre = .. + w_co * c_prev
    if u.options & COUPLED:
        di = di - df                                        # (L2) f = 1 - i
    else:
        df_pre = df * gate_slope(u, f)                      # (L2) f = sigmoid(f_pre)
    di_pre = di * gate_slope(u, i)                          # (L1) i = sigmoid(i_pre)
    if u.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        dc_prev = dc_prev + df_pre * u.vectors[CF]          # (L2p) f_pre = .. + w_cf * c_prev
        dc_prev = dc_prev + di_pre * u.vectors[CI]          # (L1p) i_pre = .. + w_ci * c_prev
    u.dgates[I * u.slot_step] = di_pre
    u.dgates[F * u.slot_step] = df_pre
    u.dgates[G * u.slot_step] = dc * i * squash_slope(u, CANDIDATE, g)  # (L4), (L3) g = tanh(g_pre)
    u.dgates[O * u.slot_step] = do_pre
    u.d[C][0] = dc_prev
    u.d[H][0] = u.zeros()


cdef inline void lstm_forward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(lstm_memory_forward[real_t], STATES, row, over)   # (L1)-(L5)
    sweep(lstm_output_forward[real_t], STATES, row, over)   # (L6)


cdef inline void lstm_backward(const Unit[real_t]* row, const Extent* over) noexcept nogil:
    sweep(lstm_step_backward[real_t], STATES, row, over)


cdef inline void set_lstm(Cell[real_t]* cell) noexcept nogil:
    cdef bint current = (cell.options & PEEPHOLE_CURRENT) != 0
    cell.states = STATES
    cell.completes = 1 << C                                 # (L6)
    cell.gates = cell.slots = 4
    cell.gate_of[I], cell.gate_of[F], cell.gate_of[G], cell.gate_of[O] = 0, 1, 2, 3
    show(cell, I)
    show(cell, F)
    show(cell, G)
    show(cell, O)
    cell.x = slots_from(F, 4)
    if cell.options & COUPLED:
        cell.x = slots_from(I, 3)
    cell.h = cell.x
    add_product(cell, cell.h, READS_H)
    add_sweep(cell, ELEMENTWISE, lstm_forward[real_t], lstm_backward[real_t])
    if cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        add_array(cell)
        add_vector(cell, I, BEFORE, C)                      # (L1p)
        add_vector(cell, F, BEFORE, C)                      # (L2p)
        add_vector(cell, O, MADE if current else BEFORE, C)  # (L5p)
