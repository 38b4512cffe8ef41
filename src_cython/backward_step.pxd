"""One step back of some rows, written once for all cells: the stages, from the last."""

from libc.string cimport memset

from cell cimport PRODUCT, READS_H, Stage
from chunk cimport chunk_block
from matmul cimport PANEL, multiply
from plan cimport Span
from recurrence cimport Pass
from states cimport State
from step cimport keep_at, makes_states, set_extent, set_unit
from unit cimport FLOW, PROJECTION, Extent, H, Unit
from vec cimport Vec, isize, real_t


cdef inline bint has_part(Pass[real_t]* p, int s) noexcept nogil:
    """Whether the step adds to what arrives at a state: one that it makes, without zoneout."""
    return (p.cell.completes >> s & 1) != 0 and p.state[s].made == NULL


cdef inline void add_dy(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize first_unit, isize end_unit
) noexcept nogil:
    """h is an output too: its gradient is what comes from the step after plus dy.

    Between layers dy is the sum of what both directions of the next one give, (D) times the mask.
    """
    cdef isize row, k, at
    cdef const real_t* dy
    cdef const real_t* more = p.dy_more
    cdef const real_t* mask = p.y_mask
    cdef real_t* dh
    cdef real_t total
    for row in range(begin, begin + rows):
        at = p.time(step, row) * p.y_step + p.user_row(row) * p.y_row
        dy = p.y + at
        dh = p.state[H].d + row * p.h_width()
        if more == NULL and mask == NULL:
            for k in range(first_unit, end_unit):
                dh[k] += dy[k]
            continue
        for k in range(first_unit, end_unit):
            total = dy[k]
            if more != NULL:
                total += more[at + k]
            if mask != NULL:
                total *= mask[at + k]
            dh[k] += total


cdef inline double squared_norm(const real_t* d, isize units) noexcept nogil:
    """In double: a vanishing gradient has tiny squares."""
    cdef double sums[8]
    cdef double total = 0
    cdef isize k, lane
    for lane in range(8):  # side by side: one sum would wait for itself at every term
        sums[lane] = 0
    for k in range(units // 8):
        for lane in range(8):
            sums[lane] += <double> d[8 * k + lane] * d[8 * k + lane]
    for k in range(units // 8 * 8, units):
        total += <double> d[k] * d[k]
    for lane in range(8):
        total += sums[lane]
    return total


cdef inline void store_norms(
    Pass[real_t]* p, isize step, isize begin, isize rows, bint completed
) noexcept nogil:
    """How much gradient arrives at the states: before the step, or once it is `completed`."""
    cdef isize row
    cdef int s
    cdef const State[real_t]* state
    cdef const real_t* d
    for s in range(p.cell.states):
        state = &p.state[s]
        if state.flow != NULL and has_part(p, s) == completed:
            d = state.whole if completed else state.d
            for row in range(begin, begin + rows):
                state.flow[p.time(step, row) * p.flow_step + p.user_row(row) * p.flow_row] = (
                    squared_norm(d + row * state.width(), state.units)
                )


cdef inline void split(
    isize units, const real_t* keep, real_t* d, real_t* to, isize lanes, isize block
) noexcept nogil:
    """Undo (Z), of a gradient `d` of a state: `d` for the state before, `to` for the cell's."""
    cdef isize k
    cdef real_t stays
    for k in range(units):
        stays = keep[k] if keep != NULL else 0
        to[k // lanes * block + k % lanes] = (1 - stays) * d[k]
        d[k] = stays * d[k]


cdef inline void dmade_from_dstates(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize chunk_row,
    real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """From the gradients of states to those of what the cell computed: zoneout and projection."""
    cdef isize W = p.width(), L = p.lanes(), row
    cdef int s
    cdef const State[real_t]* state
    cdef real_t* d
    cdef bint projected
    for s in range(p.cell.states):
        state = &p.state[s]
        if state.made == NULL:
            continue
        projected = s == H and (p.cell.options & PROJECTION) != 0
        for row in range(begin, begin + rows):
            d = state.d + row * state.width()
            if projected:
                a[row - begin] = p.dprojected + (chunk_row + row) * L
                c_in[row - begin] = p.zeros
                c_out[row - begin] = state.dmade + row * W
                split(
                    state.units, keep_at(p, s, step, row), d, a[row - begin], L, chunk_block(p)
                )
            else:
                split(state.units, keep_at(p, s, step, row), d, state.dmade + row * W, L, L)
        if projected:
            multiply(p.projection, 0, p.projection.panels(), rows, a, c_in, c_out)  # (L6p)


cdef inline void add_straight(Pass[real_t]* p, isize begin, isize rows) noexcept nogil:
    """What goes from a state that the cell made straight to the one before, past the products."""
    cdef isize W = p.width(), k
    cdef int s
    cdef const State[real_t]* state
    for s in range(p.cell.states):
        state = &p.state[s]
        if state.made != NULL and not (s == H and p.cell.options & PROJECTION):
            for k in range(begin * W, (begin + rows) * W):
                state.d[k] += state.dmade[k]


cdef inline void undo_mask_of_slot(Pass[real_t]* p, isize begin, isize rows) noexcept nogil:
    """Undo (M) for a product that read r * h_prev."""
    cdef isize row, k
    cdef const real_t* mask
    cdef real_t* d
    for row in range(begin, begin + rows):
        mask = p.h_mask + p.user_row(row) * p.P
        d = p.dslot + row * p.width()
        for k in range(p.P):
            d[k] *= mask[k]


cdef inline void undo_mask(Pass[real_t]* p, isize begin, isize rows) noexcept nogil:
    """Undo (M) h_in = h_prev * mask, and begin the next gradient of h_in."""
    cdef isize row, k
    cdef const real_t* mask
    cdef real_t* dh_in
    cdef real_t* dh
    for row in range(begin, begin + rows):
        mask = p.h_mask + p.user_row(row) * p.P
        dh_in = p.dh_in + row * p.h_width()
        dh = p.state[H].d + row * p.h_width()
        for k in range(p.P):
            dh[k] += dh_in[k] * mask[k]
        memset(dh_in, 0, p.h_width() * sizeof(real_t))


cdef inline void product_backward(
    Pass[real_t]* p, const Stage[real_t]* stage, Span panels, isize begin, isize rows,
    isize chunk_row, real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """Undo pre = h_in @ w': h_in, or a slot that was read in its place, gets dpre @ w."""
    cdef isize r, row, dgates = stage.slots.first * p.blocks * chunk_block(p)
    for r in range(rows):
        row = begin + r
        a[r] = p.dgates + dgates + (chunk_row + row) * p.lanes()
        if stage.reads != READS_H:
            c_out[r] = p.dslot + row * p.width()
            c_in[r] = p.zeros
        else:
            c_out[r] = (p.dh_in if p.h_in != NULL else p.state[H].d) + row * p.h_width()
            c_in[r] = c_out[r]
    multiply(p.product[stage.product], panels.begin, panels.end, rows, a, c_in, c_out)
    if p.h_mask != NULL and stage.reads != READS_H:
        undo_mask_of_slot(p, begin, rows)


cdef inline void set_backward_unit(
    Unit[real_t]* unit, Pass[real_t]* p, isize step, isize begin, isize block, isize chunk_row
) noexcept nogil:
    """What a sweep backward sees that starts at this row and block."""
    cdef isize at = begin * p.width() + block * p.lanes()
    cdef real_t* gates = p.state[H].values  # of one slot none are kept, and nobody looks at them
    cdef const State[real_t]* state
    cdef int s
    if p.gates != NULL:
        gates = p.gates + (step * p.B + begin) * p.gates_width()
    set_unit(unit, p, step, begin, block, gates)
    for s in range(p.cell.states):
        state = &p.state[s]
        unit.d[s] = <Vec[real_t]*> (state.dmade + at)
        unit.whole[s] = <Vec[real_t]*> (state.whole + at)
        if state.flow != NULL and has_part(p, s):
            unit.options |= FLOW
    unit.dh_in = <Vec[real_t]*> ((p.state[H].d if p.h_in == NULL else p.dh_in) + at)
    unit.dslot = <Vec[real_t]*> (p.dslot + at)
    unit.dgates = <Vec[real_t]*> (p.dgates + block * chunk_block(p)) + chunk_row + begin
    unit.slot_step = p.blocks * (chunk_block(p) // p.lanes())


cdef inline Extent extent_of(Pass[real_t]* p, isize rows, Span blocks) noexcept nogil:
    cdef Extent over
    set_extent(&over, p)
    over.rows = rows
    over.blocks = blocks.end - blocks.begin
    over.dgates_block = chunk_block(p) // p.lanes()
    return over


cdef inline void backward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize chunk_row,
    real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """One step of some rows; the gates' gradients go to rows of the chunk from `chunk_row`."""
    cdef Span panels, blocks
    cdef int s
    cdef const Stage[real_t]* stage
    cdef Unit[real_t] unit
    cdef Extent over
    panels.begin, panels.end = 0, (p.h_blocks + PANEL - 1) // PANEL
    blocks.begin, blocks.end = 0, p.blocks
    over = extent_of(p, rows, blocks)
    set_backward_unit(&unit, p, step, begin, 0, chunk_row)
    if p.y != NULL:
        add_dy(p, step, begin, rows, 0, p.P)
    store_norms(p, step, begin, rows, False)
    if makes_states(p):
        dmade_from_dstates(p, step, begin, rows, chunk_row, a, c_in, c_out)
    for s in range(p.cell.stages - 1, -1, -1):
        stage = &p.cell.stage[s]
        if stage.kind == PRODUCT:
            product_backward(p, stage, panels, begin, rows, chunk_row, a, c_in, c_out)
        else:
            stage.backward(&unit, &over)
    store_norms(p, step, begin, rows, True)
    if p.h_mask != NULL:
        undo_mask(p, begin, rows)
    add_straight(p, begin, rows)
