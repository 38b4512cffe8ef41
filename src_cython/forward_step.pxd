"""One step forward of some rows, written once for all cells: the stages, and what follows them."""

from libc.string cimport memcpy

from cell cimport ELEMENTWISE, PRODUCT, READS_H, Stage
from matmul cimport Product, begin_product, end_product, multiply, rows_of_tile
from plan cimport Span, own_panels
from recurrence cimport Pass
from states cimport State
from step cimport keep_at, makes_states, set_extent, set_unit
from unit cimport PROJECTION, Extent, H, Unit
from vec cimport Vec, isize, real_t


cdef inline bint has_own_bias(Pass[real_t]* p) noexcept nogil:
    """Whether there are sums that x has no part in."""
    cdef isize h_end = p.cell.h.first + p.cell.h.used, x_end = p.cell.x.first + p.cell.x.used
    return p.cell.h.first < p.cell.x.first or h_end > x_end


cdef inline void start_from_bias(Pass[real_t]* p, real_t* gates) noexcept nogil:
    """Set the sums of a row that x has no part in; the others get the bias with the product."""
    cdef Span own = own_panels(&p.part, p.blocks)
    cdef isize slot, block, at
    for slot in range(p.cell.h.first, p.cell.h.first + p.cell.h.used):
        if not p.cell.x.holds(slot):
            for block in range(own.begin, own.end):
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
    begin_product(p.projection, rows, a, p.narrow)
    multiply(p.projection, 0, p.projection.panels(), rows, a, c_in, c_out)
    end_product(p.projection, rows)


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
    Pass[real_t]* p, isize instant, isize begin, isize end, Span own
) noexcept nogil:
    """Give the states of rows, whose last these are, to the user: of some blocks of units."""
    cdef isize row, units, first
    cdef int s
    for s in range(p.cell.states):
        first = own.begin * p.lanes()
        units = min(own.end * p.lanes(), p.state[s].units) - first
        if p.state[s].last != NULL and units > 0:
            for row in range(begin, end):
                memcpy(
                    p.state[s].last + p.user_row(row) * p.state[s].units + first,
                    p.at(s, instant) + row * p.state[s].width() + first,
                    units * sizeof(real_t),
                )


cdef inline void store_outputs(
    Pass[real_t]* p, isize step, isize begin, isize rows, Span own
) noexcept nogil:
    """y = h, of some blocks of units; (D) y = h * mask."""
    cdef isize first = own.begin * p.lanes(), units = min(own.end * p.lanes(), p.P) - first, r, k
    cdef isize at
    cdef const real_t* h = p.at(H, step + 1) + begin * p.h_width() + first
    if p.y == NULL or units <= 0:
        return
    for r in range(begin, begin + rows):
        at = p.time(step, r) * p.y_step + p.user_row(r) * p.y_row + first
        if p.y_mask == NULL:
            memcpy(p.y + at, h, units * sizeof(real_t))
        else:
            for k in range(units):
                p.y[at + k] = h[k] * p.y_mask[at + k]
        h += p.h_width()


cdef inline void multiply_and_sweep(
    Pass[real_t]* p, const Stage[real_t]* stage, isize step, isize begin, isize rows, real_t** a,
    real_t** gates,
) noexcept nogil:
    """A product; each panel is followed by the stage after it, where that is elementwise."""
    cdef isize r, g, groups, i, panel, end, panel_blocks
    cdef const Product[real_t]* product = &p.product[stage.product]
    cdef isize tiles = product.row_tiles(rows)
    cdef isize together = product.together(p.steps) if rows == 1 else 1
    cdef const Stage[real_t]* then = stage + 1
    cdef Span own = own_panels(&p.part, product.panels())
    cdef Extent over
    cdef Unit[real_t] unit
    cdef real_t* h_in = p.h_in_at(step) + begin * p.h_width()
    for r in range(rows):
        a[r] = h_in + r * p.h_width()
        if stage.reads != READS_H:
            a[r] = gates[r] + stage.reads * p.lanes()
    begin_product(product[0], rows, a, p.narrow)
    set_extent(&over, p)
    set_unit(&unit, p, step, begin, 0, gates[0])
    panel_blocks = product.width // product.used
    groups = (own.end - own.begin + together - 1) // together
    for g in range(groups):
        # A single row goes there and back: a step starts with the weights that the one before has
        # used last, and the cache still holds.
        panel = own.begin + (groups - 1 - g if rows == 1 and step % 2 else g) * together
        end = min(panel + together, own.end)
        over.block = panel * panel_blocks
        over.blocks = min(end * panel_blocks, p.blocks) - over.block
        over.row = 0
        for i in range(tiles):
            over.rows = rows_of_tile(rows, tiles, i)
            multiply(
                product[0], panel, end, over.rows, a + over.row, gates + over.row, gates + over.row
            )
            if then.kind == ELEMENTWISE:
                then.forward(&unit, &over)
            over.row += over.rows
    end_product(product[0], rows)


cdef inline void sweep_rows(
    Pass[real_t]* p, const Stage[real_t]* stage, isize step, isize begin, isize rows,
    real_t** gates,
) noexcept nogil:
    """A stage that follows no product, or needs whole rows."""
    cdef Extent over
    cdef Unit[real_t] unit
    set_extent(&over, p)
    set_unit(&unit, p, step, begin, 0, gates[0])
    over.rows = rows
    over.blocks = p.blocks
    stage.forward(&unit, &over)


cdef inline int forward_stages(
    Pass[real_t]* p, int s, isize step, isize begin, isize rows, real_t** a, real_t** gates
) noexcept nogil:
    """The stages from `s` to the next product; return the one that is next.

    `gates` point to the sums of the rows. They and `a` may be overwritten.
    """
    cdef const Stage[real_t]* stage = &p.cell.stage[s]
    if stage.kind == PRODUCT:
        if p.h_mask != NULL and stage.reads != READS_H:
            mask_slot(p, stage.reads, begin, rows, gates)
        multiply_and_sweep(p, stage, step, begin, rows, a, gates)
        s += 2 if stage[1].kind == ELEMENTWISE else 1
    while s < p.cell.stages and p.cell.stage[s].kind != PRODUCT:
        sweep_rows(p, &p.cell.stage[s], step, begin, rows, gates)
        s += 1
    return s


cdef inline void forward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** spare,
    real_t** gates, Span whole,
) noexcept nogil:
    """One step of some rows. The pointers may be overwritten."""
    cdef int s = 0
    if p.h_mask != NULL:
        mask_h(p, step, begin, rows)
    while s < p.cell.stages:
        s = forward_stages(p, s, step, begin, rows, a, gates)
    if makes_states(p):
        states_from_made(p, step, begin, rows, a, spare, gates)
    store_outputs(p, step, begin, rows, whole)
