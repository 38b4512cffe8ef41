"""The pass back through time, written once for all cells.

A chunk of steps at a time, from the last: step by step the stages of the cell from the last, then
all that reads the gate gradients of the chunk.
"""

from libc.string cimport memcpy, memset

from arena cimport Arena
from cell cimport PRODUCT, READS_H, Stage
from chunk cimport chunk_begin, chunk_block, chunk_gradients, gather_chunk
from matmul cimport PANEL, Slots, multiply
from plan cimport Span, meet, own_panels, own_rows, part_of
from recurrence cimport Pass
from states cimport State
from step cimport keep_at, makes_states, set_extent, set_unit
from team cimport Plan, run_team
from unit cimport FLOW, PROJECTION, Extent, H, Unit
from vec cimport Vec, isize, real_t


cdef inline bint has_part(Pass[real_t]* p, int s) noexcept nogil:
    """Whether the step adds to what arrives at a state: one that it makes, without zoneout."""
    return (p.cell.completes >> s & 1) != 0 and p.state[s].made == NULL


cdef inline real_t* backward_scratch(
    Pass[real_t]* p, int size, isize more, Arena[real_t]* arena
) except? NULL:
    """Reserve what the pass needs, and `more` elements, to which a pointer is returned."""
    cdef isize L = p.lanes(), block = chunk_block(p), rows = block // L
    cdef isize W = p.width(), PW = p.h_width(), x_blocks = p.blocks_of(p.I) * block
    cdef isize zeros = max(max(W, PW), p.blocks_of(p.I) * L), states = p.B * max(W, PW)
    cdef isize projected = p.h_blocks * block if p.cell.options & PROJECTION else 0
    cdef isize of_cell = p.blocks * block if p.cell.options & PROJECTION else 0
    cdef isize all = p.cell.slots * p.blocks * block + x_blocks + rows * p.blocks_of(p.I) * L
    cdef State[real_t]* state
    cdef int s
    all += p.cell.products * p.h_blocks * block + projected + of_cell
    all += zeros + (3 * p.cell.states + 2) * states + p.gates_width() + p.cell.vectors * W
    arena.reserve(all + more, size * 3 * rows, 12 + p.cell.products + 3 * p.cell.states)
    p.tables = arena.rows(size * 3 * rows)
    p.dgates = arena.reals(p.cell.slots * p.blocks * block)
    p.x_blocks = arena.reals(x_blocks)
    p.dx_rows = arena.reals(rows * p.blocks_of(p.I) * L)
    for s in range(p.cell.products):
        p.read_blocks[s] = arena.reals(p.h_blocks * block)
    p.dprojected = arena.reals(projected)
    p.made_blocks = arena.reals(of_cell)
    p.zeros = arena.reals(zeros)
    for s in range(p.cell.states):
        state = &p.state[s]
        state.d = arena.reals(p.B * state.width())
        memset(state.d, 0, p.B * state.width() * sizeof(real_t))
        state.dmade = state.whole = state.d
        if state.made != NULL:
            state.dmade = arena.reals(p.B * W)
            memset(state.dmade, 0, p.B * W * sizeof(real_t))
        if has_part(p, s):
            state.whole = arena.reals(p.B * W)
    p.dh_in = arena.reals(p.B * PW)
    p.dslot = arena.reals(p.B * W)
    p.db = arena.reals(p.gates_width())
    p.dvector_sums = arena.reals(p.cell.vectors * W)
    memset(p.zeros, 0, zeros * sizeof(real_t))
    if p.h_in != NULL:
        memset(p.dh_in, 0, p.B * PW * sizeof(real_t))
    return arena.reals(more)


cdef inline void add_dy(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize first_unit, isize end_unit
) noexcept nogil:
    """h is an output too: its gradient is what comes from the step after plus dy."""
    cdef isize row, k
    cdef const real_t* dy
    cdef real_t* dh
    for row in range(begin, begin + rows):
        dy = p.y + p.time(step, row) * p.y_step + p.user_row(row) * p.y_row
        dh = p.state[H].d + row * p.h_width()
        for k in range(first_unit, end_unit):
            dh[k] += dy[k]


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


cdef inline void backward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize chunk_row,
    real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """One step of this thread's rows or units; the gates' gradients go to rows from `chunk_row`."""
    cdef isize L = p.lanes()
    cdef Span panels = own_panels(&p.team, (p.h_blocks + PANEL - 1) // PANEL)
    cdef isize first_block = 0, end_block = p.blocks, end_unit = p.P
    cdef int s
    cdef const Stage[real_t]* stage
    cdef Unit[real_t] unit
    cdef Extent over
    if p.team.by_units:
        first_block = panels.begin * PANEL
        end_block = min(panels.end * PANEL, p.blocks)
        end_unit = min(end_block * L, p.P)
    set_extent(&over, p)
    over.rows = rows
    over.blocks = end_block - first_block
    over.dgates_block = chunk_block(p) // L
    set_backward_unit(&unit, p, step, begin, first_block, chunk_row)
    if p.y != NULL:
        add_dy(p, step, begin, rows, first_block * L, end_unit)
    store_norms(p, step, begin, rows, False)
    if makes_states(p):
        dmade_from_dstates(p, step, begin, rows, chunk_row, a, c_in, c_out)
    for s in range(p.cell.stages - 1, -1, -1):
        stage = &p.cell.stage[s]
        if stage.kind == PRODUCT:
            product_backward(p, stage, panels, begin, rows, chunk_row, a, c_in, c_out)
        else:
            stage.backward(&unit, &over)
            meet(&p.team)
    store_norms(p, step, begin, rows, True)
    if p.h_mask != NULL:
        undo_mask(p, begin, rows)
    add_straight(p, begin, rows)


cdef inline void backward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the backward pass."""
    cdef isize most = chunk_block(p) // p.lanes(), end = p.steps
    cdef isize first, rows, row, step
    cdef Span own
    cdef real_t** a = p.tables + p.team.rank * 3 * most
    cdef real_t** c_in = a + most
    cdef real_t** c_out = c_in + most
    while end > 0:
        first = chunk_begin(p, end)
        rows = 0
        for step in range(first, end):
            rows += p.alive(step)
        own = own_rows(p, first, end)
        row = rows
        for step in range(end - 1, first - 1, -1):
            row -= p.alive(step)
            if p.alive(step) > own.begin:
                backward_step(
                    p, step, own.begin, p.alive_of(step, own.begin, own.end), row, a, c_in, c_out
                )
        p.team.wait()
        own = part_of(&p.team, rows)
        gather_chunk(p, first, own.begin, own.end - own.begin, a, c_in, c_out)
        p.team.wait()
        chunk_gradients(p, first, end, rows)
        p.team.wait()
        end = first


cdef inline void load(real_t* sums, real_t* given, isize units) noexcept nogil:
    if given != NULL:
        memcpy(sums, given, units * sizeof(real_t))


cdef inline void store(real_t* sums, real_t* given, isize units) noexcept nogil:
    if given != NULL:
        memcpy(given, sums, units * sizeof(real_t))


cdef inline void for_bias(
    Pass[real_t]* p, Slots slots, real_t* db,
    void (*move)(real_t*, real_t*, isize) noexcept nogil,
) noexcept nogil:
    cdef isize slot
    if db != NULL:
        for slot in range(slots.first, slots.first + slots.used):
            move(p.db + slot * p.width(), db + p.cell.gate_of[slot] * p.H, p.H)


cdef inline void for_all_sums(
    Pass[real_t]* p, void (*move)(real_t*, real_t*, isize) noexcept nogil
) noexcept nogil:
    """The gradients of biases and vectors: the sums of the pass, and the user's arrays."""
    cdef int k
    for_bias(p, p.cell.x, p.db_ih, move)
    for_bias(p, p.cell.h, p.db_hh, move)
    for k in range(p.cell.vectors):
        move(p.dvector_sums + k * p.width(), p.dvector[k], p.H)


cdef inline void run_backward(Pass[real_t]* p, Plan plan) noexcept nogil:
    memset(p.db, 0, p.gates_width() * sizeof(real_t))
    memset(p.dvector_sums, 0, p.cell.vectors * p.width() * sizeof(real_t))
    for_all_sums(p, load[real_t])  # the sums go on from what the user's arrays hold
    run_team(p, plan, backward_part[real_t])
    for_all_sums(p, store[real_t])
