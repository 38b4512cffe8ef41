"""The pass forward through time, written once for all cells.

A chunk of steps at a time: the inputs' part of the gate sums of all its rows in one product, then
step by step the stages of the cell. Rows come by falling length, so that those which are alive at
a step are the first ones.
"""

from libc.string cimport memcpy

from arena cimport Arena
from cell cimport ELEMENTWISE, PRODUCT, READS_H, Stage
from matmul cimport ROW_PANELS, TILE_ROWS, Product, multiply, rows_of_tile
from plan cimport Span, has_whole_rows, meet, own_panels, own_rows
from recurrence cimport Pass
from states cimport State
from step cimport keep_at, makes_states, set_extent, set_unit
from team cimport Plan, run_team
from unit cimport PROJECTION, Extent, H, Unit
from vec cimport Vec, isize, real_t


cdef enum:
    # Rows projected at once: their gate sums stay in the second cache until they are read.
    ROWS_TOGETHER = 128


cdef inline isize forward_capacity(Pass[real_t]* p, int size) noexcept nogil:
    """The most rows that one thread of the team projects at once.

    All of them together hold what one thread needs that runs the pass alone, for want of a team.
    """
    cdef isize rows = (p.B - 1) // size + 1 if p.lengths == NULL else p.B
    return min(p.steps * rows, max(rows, ROWS_TOGETHER))


cdef inline isize forward_tables(Pass[real_t]* p, int size) noexcept nogil:
    return 3 * forward_capacity(p, size) + p.B


cdef inline real_t* forward_scratch(
    Pass[real_t]* p, int size, isize more, Arena[real_t]* arena
) except? NULL:
    """Reserve what the pass needs, and `more` elements, to which a pointer is returned."""
    cdef isize gates = 0 if p.gates != NULL else size * forward_capacity(p, size) * p.gates_width()
    cdef isize tables = size * forward_tables(p, size)
    arena.reserve(gates + more, tables, 3)
    p.tables = arena.rows(tables)
    p.chunk_gates = arena.reals(gates)
    return arena.reals(more)


cdef inline void start_from_bias(Pass[real_t]* p, real_t* gates) noexcept nogil:
    """Set the sums of a row that x has no part in; the others get the bias with the product."""
    cdef isize slot, block, at
    for slot in range(p.cell.h.first, p.cell.h.first + p.cell.h.used):
        if not p.cell.x.holds(slot):
            for block in range(p.blocks):
                at = block * p.cell.slots + slot
                (<Vec[real_t]*> gates)[at] = (<const Vec[real_t]*> p.bias)[at]


cdef inline void mask_h(Pass[real_t]* p, isize step, isize begin, isize rows) noexcept nogil:
    """(M) h_in = h_prev * mask."""
    cdef isize row, k
    cdef const real_t* mask
    cdef const real_t* h_prev
    cdef real_t* h_in
    for row in range(begin, begin + rows):
        mask = p.h_mask + p.user_row(row) * p.P
        h_prev = p.at(H, step) + row * p.h_width()
        h_in = p.h_in_at(step) + row * p.h_width()
        for k in range(p.P):
            h_in[k] = h_prev[k] * mask[k]


cdef inline void mask_slot(
    Pass[real_t]* p, int slot, isize begin, isize rows, real_t** gates
) noexcept nogil:
    """(M) for a product that reads r * h_prev: a slot holds it."""
    cdef isize L = p.lanes(), r, k
    cdef const real_t* mask
    cdef real_t* masked
    for r in range(rows):
        mask = p.h_mask + p.user_row(begin + r) * p.P
        masked = gates[r] + slot * L
        for k in range(p.P):
            masked[k // L * p.cell.slots * L + k % L] *= mask[k]


cdef inline void keep_part(
    isize units, const real_t* keep, const real_t* before, real_t* now
) noexcept nogil:
    """(Z) state = keep * state before + (1 - keep) * what the cell computed."""
    cdef isize k
    for k in range(units):
        now[k] = keep[k] * before[k] + (1 - keep[k]) * now[k]


cdef inline void project(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """(L6p) h = m @ w_hr'."""
    cdef isize r
    for r in range(rows):
        a[r] = p.made_at(H, step) + (begin + r) * p.width()
        c_in[r] = p.zeros
        c_out[r] = p.at(H, step + 1) + (begin + r) * p.h_width()
    multiply(p.projection, 0, p.projection.panels(), rows, a, c_in, c_out)


cdef inline void states_from_made(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """Make states of what the cell computed: projection and zoneout."""
    cdef isize row, at
    cdef int s
    cdef const State[real_t]* state
    cdef real_t* now
    for s in range(p.cell.states):
        state = &p.state[s]
        if state.made == NULL:
            continue
        now = p.at(s, step + 1)
        at = begin * state.width()
        if s == H and p.cell.options & PROJECTION:
            project(p, step, begin, rows, a, c_in, c_out)
        else:
            memcpy(now + at, p.made_at(s, step) + at, rows * state.width() * sizeof(real_t))
        if state.keep != NULL:
            for row in range(begin, begin + rows):
                at = row * state.width()
                keep_part(state.units, keep_at(p, s, step, row), p.at(s, step) + at, now + at)


cdef inline void store_final_states(
    Pass[real_t]* p, isize instant, isize begin, isize end
) noexcept nogil:
    """Give the states of rows, whose last these are, to the user."""
    cdef isize row, units
    cdef int s
    for s in range(p.cell.states):
        if p.state[s].last != NULL:
            units = p.state[s].units
            for row in range(begin, end):
                memcpy(
                    p.state[s].last + p.user_row(row) * units,
                    p.at(s, instant) + row * p.state[s].width(),
                    units * sizeof(real_t),
                )


cdef inline void multiply_and_sweep(
    Pass[real_t]* p, const Stage[real_t]* stage, isize step, isize begin, isize rows, real_t** a,
    real_t** gates,
) noexcept nogil:
    """A product; each panel is followed by the stage after it, where that is elementwise."""
    cdef isize tiles = 1 + (rows - 1) // TILE_ROWS
    cdef isize together = ROW_PANELS if rows == 1 else 1
    cdef isize r, g, groups, i, row, panel, end, panel_blocks, block
    cdef const Product[real_t]* product = &p.product[stage.product]
    cdef const Stage[real_t]* then = stage + 1
    cdef Span own = own_panels(&p.team, product.panels())
    cdef Extent over
    cdef Unit[real_t] unit
    cdef real_t* h_in = p.h_in_at(step) + begin * p.h_width()
    for r in range(rows):
        a[r] = h_in + r * p.h_width()
        if stage.reads != READS_H:
            a[r] = gates[r] + stage.reads * p.lanes()
    set_extent(&over, p)
    panel_blocks = product.width // product.used
    groups = (own.end - own.begin + together - 1) // together
    for g in range(groups):
        # A single row goes there and back: a step starts with the weights that the one before has
        # used last, and the cache still holds.
        panel = own.begin + (groups - 1 - g if rows == 1 and step % 2 else g) * together
        end = min(panel + together, own.end)
        block = panel * panel_blocks
        over.blocks = min(end * panel_blocks, p.blocks) - block
        row = 0
        for i in range(tiles):
            over.rows = rows_of_tile(rows, tiles, i)
            multiply(product[0], panel, end, over.rows, a + row, gates + row, gates + row)
            if then.kind == ELEMENTWISE:
                set_unit(&unit, p, step, begin + row, block, gates[row])
                then.forward(&unit, &over)
            row += over.rows


cdef inline void sweep_rows(
    Pass[real_t]* p, const Stage[real_t]* stage, isize step, isize begin, isize rows,
    real_t** gates,
) noexcept nogil:
    """A stage that follows no product, or needs whole rows."""
    cdef Span own = own_panels(&p.team, p.blocks)
    cdef Extent over
    cdef Unit[real_t] unit
    set_extent(&over, p)
    set_unit(&unit, p, step, begin, own.begin, gates[0])
    over.rows = rows
    over.blocks = own.end - own.begin
    stage.forward(&unit, &over)


cdef inline void forward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** spare,
    real_t** gates,
) noexcept nogil:
    """One step of this thread's rows or units.

    `gates` point to the sums of the rows. They, `a` and `spare` may be overwritten.
    """
    cdef isize PW = p.h_width(), r
    cdef int s = 0
    cdef const Stage[real_t]* stage
    cdef real_t* h = p.at(H, step + 1) + begin * PW
    if p.h_mask != NULL:
        mask_h(p, step, begin, rows)
    while s < p.cell.stages:
        stage = &p.cell.stage[s]
        if stage.kind == PRODUCT:
            if p.h_mask != NULL and stage.reads != READS_H:
                mask_slot(p, stage.reads, begin, rows, gates)
            multiply_and_sweep(p, stage, step, begin, rows, a, gates)
            s += 2 if stage[1].kind == ELEMENTWISE else 1
        else:
            sweep_rows(p, stage, step, begin, rows, gates)
            s += 1
        meet(&p.team)
    if makes_states(p):
        states_from_made(p, step, begin, rows, a, spare, gates)
    if p.y != NULL and has_whole_rows(&p.team):
        for r in range(rows):
            memcpy(
                p.y + p.time(step, begin + r) * p.y_step + p.user_row(begin + r) * p.y_row,
                h + r * PW,
                p.P * sizeof(real_t),
            )


cdef inline void forward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the forward pass."""
    cdef isize most = forward_capacity(p, p.team.size), GW = p.gates_width()
    cdef Span own = own_rows(p, 0, p.steps), panels = own_panels(&p.team, p.x_product.panels())
    cdef isize begin = own.begin, first = 0, alive, beyond, rows, row, step, at
    cdef real_t** x = p.tables + p.team.rank * forward_tables(p, p.team.size)
    cdef real_t** bias = x + most
    cdef real_t** gates = bias + most
    cdef real_t** a = gates + most
    cdef real_t* sums = p.chunk_gates
    cdef bint stores = has_whole_rows(&p.team)
    if not p.team.by_units:
        sums += p.team.rank * most * GW
    alive = p.alive_of(0, begin, own.end)
    if stores:
        store_final_states(p, 0, begin + alive, own.end)
    while alive > 0:
        rows = 0
        step = first
        while step < p.steps and (rows == 0 or rows + alive <= ROWS_TOGETHER):
            alive = p.alive_of(step, begin, own.end)
            for row in range(begin, begin + alive):
                x[rows] = <real_t*> p.x + p.time(step, row) * p.x_step + p.user_row(row) * p.x_row
                bias[rows] = <real_t*> p.bias
                gates[rows] = sums + rows * GW
                if p.gates != NULL:
                    gates[rows] = p.gates + (step * p.B + row) * GW
                if stores:
                    start_from_bias(p, gates[rows])
                rows += 1
            step += 1
        multiply(p.x_product, panels.begin, panels.end, rows, x, bias, gates)
        meet(&p.team)
        at = 0
        alive = p.alive_of(first, begin, own.end)
        while first < step and alive > 0:
            forward_step(p, first, begin, alive, a, bias, gates + at)
            at += alive
            first += 1
            beyond = p.alive_of(first, begin, own.end) if first < p.steps else 0
            if stores:
                store_final_states(p, first, begin + beyond, begin + alive)
            alive = beyond


cdef inline void run_forward(Pass[real_t]* p, Plan plan) noexcept nogil:
    run_team(p, plan, forward_part[real_t])
