"""Every cell as the time loop sees it: slots, products, pointwise steps. A new one is an entry."""

from gru cimport (
    HN,
    N,
    R,
    RH,
    gru_after_step_backward,
    gru_after_step_forward,
    gru_before_gates_backward,
    gru_before_gates_forward,
    gru_before_state_backward,
    gru_before_state_forward,
)
from lstm cimport F, I, lstm_step_backward, lstm_step_forward
from recurrence cimport (
    COUPLED,
    GENERAL,
    GRU_GATES,
    LSTM_GATES,
    READS_H,
    RNN_GATES,
    Cell,
    Extent,
    Slots,
    Stage,
    Unit,
    sweep,
)
from rnn cimport rnn_step_backward, rnn_step_forward
from vec cimport isize, real_t

cdef enum Kind:
    RNN = 0
    GRU_AFTER = 1
    GRU_BEFORE = 2
    LSTM = 3


cdef inline void rnn_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(rnn_step_forward[real_t], row, over)


cdef inline void rnn_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(rnn_step_backward[real_t], row, over)


cdef inline void gru_after_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_after_step_forward[real_t], row, over)


cdef inline void gru_after_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_after_step_backward[real_t], row, over)


cdef inline void gates_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_gates_forward[real_t], row, over)


cdef inline void gates_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_gates_backward[real_t], row, over)


cdef inline void state_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_state_forward[real_t], row, over)


cdef inline void state_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(gru_before_state_backward[real_t], row, over)


cdef inline void lstm_forward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(lstm_step_forward[real_t], row, over)


cdef inline void lstm_backward(Unit[real_t] row, Extent over) noexcept nogil:
    sweep(lstm_step_backward[real_t], row, over)


cdef inline Slots slots_from(isize first, isize used, const int* gate_of) noexcept nogil:
    cdef Slots slots
    slots.first = first
    slots.used = used
    slots.gate_of = gate_of
    return slots


cdef inline void set_stage(
    Stage[real_t]* stage,
    Slots slots,
    int reads,
    void (*forward)(Unit[real_t], Extent) noexcept nogil,
    void (*backward)(Unit[real_t], Extent) noexcept nogil,
) noexcept nogil:
    stage.slots = slots
    stage.reads = reads
    stage.forward = forward
    stage.backward = backward


cdef inline void set_functions(
    Cell[real_t]* cell, const double* functions, isize count
) noexcept nogil:
    """Give the cell functions of choice, each as its code, alpha, beta and its sums' bound."""
    cdef isize k
    for k in range(count):
        cell.activation[k].code = <int> functions[4 * k]
        cell.activation[k].alpha = <real_t> functions[4 * k + 1]
        cell.activation[k].beta = <real_t> functions[4 * k + 2]
        cell.activation[k].clip = <real_t> functions[4 * k + 3]
    if count:
        cell.options |= GENERAL


cdef inline void set_cell(Cell[real_t]* cell, int kind, int options) noexcept nogil:
    cdef isize coupled = 1 if options & COUPLED else 0
    cell.options = options
    cell.stages = 2 if kind == GRU_BEFORE else 1
    cell.has_c = kind == LSTM
    cell.gates = 1 if kind == RNN else 4 if kind == LSTM else 3
    if kind == RNN:
        cell.slots = 1
        cell.x = slots_from(0, 1, RNN_GATES)
        set_stage(&cell.stage[0], cell.x, READS_H, rnn_forward[real_t], rnn_backward[real_t])
    elif kind == GRU_AFTER:
        cell.slots = 4
        cell.x = slots_from(N, 3, GRU_GATES)  # n r z
        set_stage(
            &cell.stage[0], slots_from(R, 3, GRU_GATES), READS_H,  # r z hn
            gru_after_forward[real_t], gru_after_backward[real_t],
        )
    elif kind == GRU_BEFORE:
        cell.slots = 4
        cell.x = slots_from(N, 3, GRU_GATES)  # n r z
        set_stage(
            &cell.stage[0], slots_from(R, 2, GRU_GATES), READS_H,  # r z
            gates_forward[real_t], gates_backward[real_t],
        )
        set_stage(
            &cell.stage[1], slots_from(N, 1, GRU_GATES), RH,  # n
            state_forward[real_t], state_backward[real_t],
        )
    else:
        cell.slots = 4
        cell.x = slots_from(I if coupled else F, 4 - coupled, LSTM_GATES)  # (f) i g o
        set_stage(&cell.stage[0], cell.x, READS_H, lstm_forward[real_t], lstm_backward[real_t])
