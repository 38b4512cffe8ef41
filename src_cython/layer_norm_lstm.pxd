"""The LSTM with layer normalisation: its row step forward and backward, (N1)-(N6).

docs/equations.md has them; (N0), the products, and (M) are those of all cells.
"""

from cell cimport (
    ONE,
    READS_H,
    ROW,
    VALUE,
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
from norm cimport normalise, undo_norm
from unit cimport FLOW, KEEPS, C, Extent, H, Unit, sweep
from vec cimport Fraction, Vec, isize, real_t, value

cdef enum:
    STATES = 2

# The gates, in their order in every group of four.
cdef enum:
    I = 0
    F = 1
    G = 2
    O = 3
    GATES = 4

# Slots. The backward pass has the gradient of a thing in its slot, of c by way of its norm in RC.
cdef enum:
    X = 0    # the sums of x, then these normalised
    HS = 4   # those of h
    V = 8    # the values of the gates; backward, the gradients of their sums
    CN = 12  # the memory normalised; backward, the gradient of what tanh reads of it
    RX = 13  # 1 / sqrt(var + eps) of the three norms
    RH = 14
    RC = 15
    SLOTS = 16

# Vectors.
cdef enum:
    G_IH = 0
    G_HH = 4
    G_C = 8
    B_IH = 9
    B_HH = 13
    B_C = 17


cdef inline Vec[real_t] sum_of(Unit[real_t]* u, int k) noexcept nogil:
    return (
        u.vectors[G_IH + k] * u.gates[X + k] + u.vectors[B_IH + k]
        + u.vectors[G_HH + k] * u.gates[HS + k] + u.vectors[B_HH + k]
    )                                                       # (N2)


cdef inline void memory_forward(Unit[real_t]* u) noexcept nogil:
    cdef Fraction[real_t] i = gate(u, sum_of(u, I))         # (N3)
    cdef Vec[real_t] f = value(gate(u, sum_of(u, F)))       # (N3)
    cdef Fraction[real_t] g = squash(u, CANDIDATE, sum_of(u, G))  # (N3)
    cdef Vec[real_t] c = f * u.prev[C][0] + value(i * g)    # (N4)
    u.next[C][0] = c
    u.gates[CN] = c
    u.gates[V + O] = value(gate(u, sum_of(u, O)))           # (N3)
    if u.options & KEEPS:
        u.gates[V + I] = value(i)
        u.gates[V + F] = f
        u.gates[V + G] = value(g)


cdef inline void output_forward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] c_pre = u.vectors[G_C] * u.gates[CN] + u.vectors[B_C]
    u.next[H][0] = value(u.gates[V + O] * squash(u, MEMORY, c_pre))  # (N6)


cdef inline void output_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] o = u.gates[V + O], dh = u.d[H][0]
    cdef Vec[real_t] c_pre = u.vectors[G_C] * u.gates[CN] + u.vectors[B_C]
    cdef Vec[real_t] tanh_c = value(squash(u, MEMORY, c_pre))
    u.dgates[CN * u.slot_step] = dh * o * squash_slope(u, MEMORY, tanh_c)  # (N6) h = o * tanh(..)
    u.dgates[(V + O) * u.slot_step] = dh * tanh_c * gate_slope(u, o)  # (N6), (N3)
    u.d[H][0] = u.zeros()


cdef inline void memory_backward(Unit[real_t]* u) noexcept nogil:
    cdef Vec[real_t] i = u.gates[V + I], f = u.gates[V + F], g = u.gates[V + G]
    cdef Vec[real_t] dc = u.d[C][0] + u.dgates[RC * u.slot_step]  # (N5) cn = norm(c)
    if u.options & FLOW:
        u.whole[C][0] = dc
    u.d[C][0] = dc * f                                      # (N4) c = f * c_prev + i * g
    u.dgates[(V + I) * u.slot_step] = dc * g * gate_slope(u, i)  # (N4), (N3)
    u.dgates[(V + F) * u.slot_step] = dc * u.prev[C][0] * gate_slope(u, f)  # (N4), (N3)
    u.dgates[(V + G) * u.slot_step] = dc * i * squash_slope(u, CANDIDATE, g)  # (N4), (N3)


cdef inline void row_forward(const Unit[real_t]* first, const Extent* rows) noexcept nogil:
    """A row at a time, which stays in the cache from norm to norm."""
    cdef Unit[real_t] row
    cdef Extent over = rows[0]
    cdef isize r
    over.rows = 1
    for r in range(rows.rows):
        row = first.at(STATES, r, 0, over)
        normalise(&row, &over, X, GATES, RX)                # (N1)
        normalise(&row, &over, HS, GATES, RH)               # (N1)
        sweep(memory_forward[real_t], STATES, &row, &over)  # (N2)-(N4)
        normalise(&row, &over, CN, 1, RC)                   # (N5)
        sweep(output_forward[real_t], STATES, &row, &over)  # (N6)


cdef inline void row_backward(const Unit[real_t]* first, const Extent* rows) noexcept nogil:
    cdef Unit[real_t] row
    cdef Extent over = rows[0]
    cdef isize r
    over.rows = 1
    for r in range(rows.rows):
        row = first.at(STATES, r, 0, over)
        sweep(output_backward[real_t], STATES, &row, &over)  # (N6)
        undo_norm(&row, &over, CN, 1, RC, G_C, CN, RC)      # (N5)
        sweep(memory_backward[real_t], STATES, &row, &over)  # (N4)-(N3)
        undo_norm(&row, &over, HS, GATES, RH, G_HH, V, HS)  # (N2), (N1)
        undo_norm(&row, &over, X, GATES, RX, G_IH, V, X)    # (N2), (N1)


cdef inline void add_of_gates(
    Cell[real_t]* cell, int operand, int first
) noexcept nogil:
    """An array of four vectors, for the sums of the gates; the first multiplies slot `first`."""
    cdef int k
    add_array(cell)
    for k in range(GATES):
        add_vector(cell, V + k, operand, first + k)


cdef inline void set_layer_norm_lstm(Cell[real_t]* cell) noexcept nogil:
    cdef int k
    cell.states = STATES
    cell.completes = 1 << C                                 # (N5)
    cell.gates = GATES
    cell.slots = SLOTS
    for k in range(SLOTS):
        cell.gate_of[k] = k % GATES if k < CN else -1
    for k in range(GATES):
        show(cell, V + k)
    cell.x = slots_from(X, GATES)
    cell.h = slots_from(HS, GATES)
    add_product(cell, cell.h, READS_H)
    add_sweep(cell, ROW, row_forward[real_t], row_backward[real_t])
    add_of_gates(cell, VALUE, X)   # g_ih
    add_of_gates(cell, VALUE, HS)  # g_hh
    add_array(cell)
    add_vector(cell, CN, VALUE, CN)  # g_c
    add_of_gates(cell, ONE, 0)     # b_ih
    add_of_gates(cell, ONE, 0)     # b_hh
    add_array(cell)
    add_vector(cell, CN, ONE, 0)   # b_c
