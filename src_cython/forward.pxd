"""The pass forward through time, written once for all cells.

A chunk of steps at a time: the inputs' part of the gate sums of all its rows in one product, then
step by step the recurrent part and the pointwise step. Rows come by falling length, so that those
which are alive at a step are the first ones.

A team of threads shares the rows, and goes through all steps without waiting for each other; or, of
a single row, the units, and waits for each other at every step. No sum is split either way, so the
bits of all results are those of one thread.
"""

from libc.string cimport memcpy

from arena cimport Arena
from matmul cimport ROW_PANELS, TILE_ROWS, multiply, rows_of_tile
from recurrence cimport PROJECTION, Extent, Pass, Product, Stage, run_team
from step cimport keep_at, unit_at
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
    for slot in range(p.cell.slots):
        if not p.cell.x.holds(slot):
            for block in range(p.blocks):
                at = block * p.cell.slots + slot
                (<Vec[real_t]*> gates)[at] = (<const Vec[real_t]*> p.bias)[at]


cdef inline void mask_operand(
    Pass[real_t]* p, int slot, isize step, isize begin, isize rows, real_t** gates
) noexcept nogil:
    """Drop out what a product reads: (M) h_prev * mask, or the slot that holds r * h_prev."""
    cdef isize L = p.lanes(), r, k
    cdef const real_t* mask
    cdef const real_t* h_prev
    cdef real_t* masked
    for r in range(rows):
        mask = p.h_mask + p.user_row(begin + r) * p.P
        if slot < 0:
            h_prev = p.h_at(step) + (begin + r) * p.h_width()
            masked = p.h_in_at(step) + (begin + r) * p.h_width()
            for k in range(p.P):
                masked[k] = h_prev[k] * mask[k]
        else:
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


cdef inline void states_from_made(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """Make states of what the cell computed: projection and zoneout."""
    cdef isize W = p.width(), r, row
    cdef real_t* h = p.h_at(step + 1)
    cdef real_t* c = p.c_at(step + 1)
    for r in range(rows):
        a[r] = p.made_h_at(step) + (begin + r) * W
        c_in[r] = p.zeros
        c_out[r] = h + (begin + r) * p.h_width()
    if p.cell.options & PROJECTION:  # (L6p)
        multiply(p.projection, 0, p.projection.panels(), rows, a, c_in, c_out)
    elif p.made_h != NULL:
        for r in range(rows):
            memcpy(c_out[r], a[r], W * sizeof(real_t))
    for r in range(rows):
        row = begin + r
        if p.keep_h != NULL:
            keep_part(
                p.P, keep_at(p, p.keep_h, step, row, p.P), p.h_at(step) + row * p.h_width(),
                c_out[r],
            )
        if p.keep_c != NULL:
            memcpy(c + row * W, p.made_c_at(step) + row * W, W * sizeof(real_t))
            keep_part(
                p.H, keep_at(p, p.keep_c, step, row, p.H), p.c_at(step) + row * W, c + row * W
            )


cdef inline void store_final_states(
    Pass[real_t]* p, isize instant, isize begin, isize end
) noexcept nogil:
    """Give the states of rows, whose last these are, to the user."""
    cdef isize row, to
    if p.h_n == NULL:
        return
    for row in range(begin, end):
        to = p.user_row(row)
        memcpy(p.h_n + to * p.P, p.h_at(instant) + row * p.h_width(), p.P * sizeof(real_t))
        if p.c_n != NULL:
            memcpy(p.c_n + to * p.H, p.c_at(instant) + row * p.width(), p.H * sizeof(real_t))


cdef inline void forward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, real_t** a, real_t** spare,
    real_t** gates,
) noexcept nogil:
    """One step of this thread's rows or units: products, each panel followed by its steps.

    `gates` point to the sums of the rows. They, `a` and `spare` may be overwritten.
    """
    cdef isize PW = p.h_width()
    cdef isize tiles = 1 + (rows - 1) // TILE_ROWS
    cdef isize together = ROW_PANELS if rows == 1 else 1
    cdef isize s, r, g, groups, i, row, first, last, panel, end, panel_blocks, block
    cdef real_t* h_prev = p.h_in_at(step) + begin * PW
    cdef real_t* h = p.h_at(step + 1) + begin * PW
    cdef Product[real_t]* product
    cdef Stage[real_t]* stage
    cdef Extent over
    over.slots = p.cell.slots
    over.row_blocks = p.blocks
    over.dgates_block = 0
    for s in range(p.cell.stages):
        stage = &p.cell.stage[s]
        product = &p.product[s]
        panel_blocks = product.width // product.used
        if p.h_mask != NULL:
            mask_operand(p, stage.reads, step, begin, rows, gates)
        for r in range(rows):
            a[r] = h_prev + r * PW if stage.reads < 0 else gates[r] + stage.reads * p.lanes()
        first = p.team.begin(product.panels()) if p.team.by_units else 0
        last = p.team.end(product.panels()) if p.team.by_units else product.panels()
        groups = (last - first + together - 1) // together
        for g in range(groups):
            # A single row goes there and back: a step starts with the weights that the one before
            # has used last, and the cache still holds.
            panel = first + (groups - 1 - g if rows == 1 and step % 2 else g) * together
            end = min(panel + together, last)
            block = panel * panel_blocks
            over.blocks = min(end * panel_blocks, p.blocks) - block
            row = 0
            for i in range(tiles):
                over.rows = rows_of_tile(rows, tiles, i)
                multiply(product[0], panel, end, over.rows, a + row, gates + row, gates + row)
                stage.forward(unit_at(p, step, begin + row, block, gates[row]), over)
                row += over.rows
        if p.team.by_units:
            p.team.wait()
    if p.made_h != NULL or p.made_c != NULL:
        states_from_made(p, step, begin, rows, a, spare, gates)
    if p.y != NULL and (p.team.rank == 0 or not p.team.by_units):
        for r in range(rows):
            memcpy(
                p.y + p.time(step, begin + r) * p.y_step + p.user_row(begin + r) * p.y_row,
                h + r * PW,
                p.P * sizeof(real_t),
            )


cdef inline void forward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the forward pass."""
    cdef isize most = forward_capacity(p, p.team.size), GW = p.gates_width()
    cdef isize begin = 0, end = p.B, panel = 0, last = p.x_product.panels()
    cdef isize first = 0, alive, beyond, rows, row, step, at
    cdef real_t** x = p.tables + p.team.rank * forward_tables(p, p.team.size)
    cdef real_t** bias = x + most
    cdef real_t** gates = bias + most
    cdef real_t** a = gates + most
    cdef real_t* own = p.chunk_gates
    cdef bint stores = p.team.rank == 0 or not p.team.by_units
    if p.team.by_units:
        panel = p.team.begin(last)
        last = p.team.end(last)
    else:
        begin = p.share(p.team.rank, 0, p.steps)
        end = p.share(p.team.rank + 1, 0, p.steps)
        own += p.team.rank * most * GW
    alive = p.alive_of(0, begin, end)
    if stores:
        store_final_states(p, 0, begin + alive, end)
    while alive > 0:
        rows = 0
        step = first
        while step < p.steps and (rows == 0 or rows + alive <= ROWS_TOGETHER):
            alive = p.alive_of(step, begin, end)
            for row in range(begin, begin + alive):
                x[rows] = <real_t*> p.x + p.time(step, row) * p.x_step + p.user_row(row) * p.x_row
                bias[rows] = <real_t*> p.bias
                gates[rows] = own + rows * GW
                if p.gates != NULL:
                    gates[rows] = p.gates + (step * p.B + row) * GW
                if stores:
                    start_from_bias(p, gates[rows])
                rows += 1
            step += 1
        multiply(p.x_product, panel, last, rows, x, bias, gates)
        if p.team.by_units:
            p.team.wait()
        at = 0
        alive = p.alive_of(first, begin, end)
        while first < step and alive > 0:
            forward_step(p, first, begin, alive, a, bias, gates + at)
            at += alive
            first += 1
            beyond = p.alive_of(first, begin, end) if first < p.steps else 0
            if stores:
                store_final_states(p, first, begin + beyond, begin + alive)
            alive = beyond


cdef inline void run_forward(Pass[real_t]* p, int size) noexcept nogil:
    run_team(p, size, p.B == 1, forward_part[real_t])
