"""The LSTM: its pointwise step forward and backward, (L1)-(L6) of docs/equations.md."""

from activation cimport CANDIDATE, MEMORY, gate, gate_slope, squash, squash_slope
from recurrence cimport (
    COUPLED,
    FLOW,
    PEEPHOLE_CURRENT,
    PEEPHOLE_PREVIOUS,
    READS_H,
    Cell,
    Extent,
    Unit,
    set_stage,
    slots_from,
    sweep,
)
from vec cimport Vec, one_minus, real_t

# Slots of the gates. F comes first, so that a coupled cell's products fill the other three.
cdef enum:
    F = 0
    I = 1
    G = 2
    O = 3

# Peephole weights, in their order in w_ch.
cdef enum:
    CI = 0
    CF = 1
    CO = 2


cdef inline void lstm_step_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] i_pre = u.gates[I], f_pre = u.gates[F], o_pre = u.gates[O]
    cdef Vec[real_t] c_prev = u.c_prev[0]
    cdef Vec[real_t] i, f, g, o, c
    if u.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        i_pre = i_pre + u.w_ch[CI] * c_prev                 # (L1p)
        f_pre = f_pre + u.w_ch[CF] * c_prev                 # (L2p)
    i = gate(u, i_pre)                                      # (L1)
    f = one_minus(i) if u.options & COUPLED else gate(u, f_pre)  # (L2)
    g = squash(u, CANDIDATE, u.gates[G])                    # (L3)
    c = f * c_prev + i * g                                  # (L4)
    if u.options & PEEPHOLE_PREVIOUS:
        o_pre = o_pre + u.w_ch[CO] * c_prev                 # (L5p)
    elif u.options & PEEPHOLE_CURRENT:
        o_pre = o_pre + u.w_ch[CO] * c                      # (L5p)
    o = gate(u, o_pre)                                      # (L5)
    u.h[0] = o * squash(u, MEMORY, c)                       # (L6)
    u.c[0] = c
    u.gates[I] = i
    u.gates[F] = f
    u.gates[G] = g
    u.gates[O] = o


cdef inline void lstm_step_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] i = u.gates[I], f = u.gates[F], g = u.gates[G], o = u.gates[O]
    cdef Vec[real_t] c_prev = u.c_prev[0], dh = u.dh[0], dc = u.dc[0]
    cdef Vec[real_t] tanh_c = squash(u, MEMORY, u.c[0])
    cdef Vec[real_t] di, df, dc_prev, di_pre, do_pre
    cdef Vec[real_t] df_pre = u.zeros()
    dc = dc + dh * o * squash_slope(u, MEMORY, tanh_c)      # (L6) h = o * tanh(c)
    do_pre = dh * tanh_c * gate_slope(u, o)                 # (L6), (L5) o = sigmoid(o_pre)
    if u.options & PEEPHOLE_CURRENT:
        dc = dc + do_pre * u.w_ch[CO]                       # (L5p) o_pre = .. + w_co * c
    if u.options & FLOW:
        u.all_dc[0] = dc
    df = dc * c_prev                                        # (L4) c = f * c_prev + i * g
    di = dc * g                                             # (L4)
    dc_prev = dc * f                                        # (L4)
    if u.options & PEEPHOLE_PREVIOUS:
        dc_prev = dc_prev + do_pre * u.w_ch[CO]             # (L5p) o_pre = .. + w_co * c_prev
    if u.options & COUPLED:
        di = di - df                                        # (L2) f = 1 - i
    else:
        df_pre = df * gate_slope(u, f)                      # (L2) f = sigmoid(f_pre)
    di_pre = di * gate_slope(u, i)                          # (L1) i = sigmoid(i_pre)
    if u.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        dc_prev = dc_prev + df_pre * u.w_ch[CF]             # (L2p) f_pre = .. + w_cf * c_prev
        dc_prev = dc_prev + di_pre * u.w_ch[CI]             # (L1p) i_pre = .. + w_ci * c_prev
    u.dgates[I * u.slot_step] = di_pre
    u.dgates[F * u.slot_step] = df_pre
    u.dgates[G * u.slot_step] = dc * i * squash_slope(u, CANDIDATE, g)  # (L4), (L3) g = tanh(g_pre)
    u.dgates[O * u.slot_step] = do_pre
    u.dc[0] = dc_prev
    u.dh[0] = u.zeros()


cdef inline void lstm_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(lstm_step_forward[real_t], row, over)


cdef inline void lstm_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(lstm_step_backward[real_t], row, over)


cdef inline void set_lstm(Cell[real_t]* cell) noexcept nogil:
    cdef int coupled = 1 if cell.options & COUPLED else 0
    cell.gates = cell.slots = 4
    cell.stages = 1
    cell.has_c = True
    cell.gate_of[I], cell.gate_of[F], cell.gate_of[G], cell.gate_of[O] = 0, 1, 2, 3
    cell.x = slots_from(I if coupled else F, 4 - coupled)  # (f) i g o
    set_stage(&cell.stage[0], cell.x, READS_H, lstm_forward[real_t], lstm_backward[real_t])
    if cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        cell.peepholes = 3
        cell.peephole_slot[CI], cell.peephole_slot[CF], cell.peephole_slot[CO] = I, F, O
