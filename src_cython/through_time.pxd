"""The two passes through time, written once for all cells.

Forward, a chunk of steps at a time: the inputs' part of the gate sums of all its rows in one
product, then step by step the recurrent part and the pointwise step. Backward the same in the other
order: step by step the pointwise step and the recurrent product, then all that reads the gate
gradients of the chunk while they are in cache: dx, dW_ih, dW_hh, db.

A team of threads shares the rows, and goes through all steps without waiting for each other; or, of
a single row, the units, and waits for each other at every step. No sum is split either way, so the
bits of all results are those of one thread.
"""

from libc.string cimport memcpy, memset

from arena cimport Arena
from linear cimport sum_of_rows
from matmul cimport PANEL, ROW_PANELS, TILE_ROWS, multiply, multiply_outer, rows_of_tile, to_blocks
from recurrence cimport (
    PEEPHOLE_CURRENT,
    PEEPHOLE_PREVIOUS,
    PEEPHOLE_SLOTS,
    Extent,
    Pass,
    Product,
    Slots,
    Stage,
    Unit,
    run_team,
)
from vec cimport Vec, isize, real_t
from weights cimport holds

cdef inline int team_size(Pass[real_t]* p, int limit) noexcept nogil:
    """Threads that are worth waking, of at most `limit`."""
    # 2e6 operations take 20 us or so, as waking a thread does; 16e3 of a step some waits.
    cdef double step = 2.0 * p.gates_width() * (p.I + p.H), all_steps = step * p.steps * p.B
    cdef double size = min(<double> limit, all_steps / 2e6)
    size = min(size, <double> p.B) if p.B > 1 else min(size, step / 16e3)
    return max(1, <int> size)


cdef inline Unit[real_t] unit_at(
    Pass[real_t]* p, isize step, isize row, isize block, real_t* gates
) noexcept nogil:
    """What a sweep that starts at this row and block sees of the states and gates of a step."""
    cdef isize at = row * p.width() + block * p.lanes()
    cdef Unit[real_t] unit
    unit.gates = <Vec[real_t]*> gates + block * p.cell.slots
    unit.h_prev = <Vec[real_t]*> (p.h_at(step) + at)
    unit.h = <Vec[real_t]*> (p.h_at(step + 1) + at)
    unit.c_prev = <Vec[real_t]*> (p.c_at(step) + at)
    unit.c = <Vec[real_t]*> (p.c_at(step + 1) + at)
    unit.w_ch = <Vec[real_t]*> p.w_ch + block * 3
    unit.options = p.cell.options
    # Only the backward pass has these; a pointer that a sweep moves has to point somewhere.
    unit.dh = unit.dc = unit.h
    unit.drh = unit.h
    unit.dgates = unit.gates
    unit.apart = 0
    return unit


# Forward


cdef inline isize projected_rows(Pass[real_t]* p, isize rows) noexcept nogil:
    """Rows projected at once: their gate sums stay in the second cache until they are read."""
    return min(p.steps, max(1, (96 if p.H < 512 else 384) // rows)) * rows


cdef inline isize forward_capacity(Pass[real_t]* p, int size) noexcept nogil:
    """The most rows that one thread of the team projects at once.

    All of them together hold what one thread needs that runs the pass alone, for want of a team.
    """
    return max(projected_rows(p, max(1, p.B // size)), projected_rows(p, (p.B - 1) // size + 1))


cdef inline isize forward_tables(Pass[real_t]* p, int size) noexcept nogil:
    return 3 * forward_capacity(p, size) + p.B


cdef inline void forward_scratch(Pass[real_t]* p, int size, Arena[real_t]* arena) except *:
    cdef isize gates = 0 if p.keeps else size * forward_capacity(p, size) * p.gates_width()
    cdef isize tables = size * forward_tables(p, size)
    arena.reserve(gates, tables, 2)
    p.tables = arena.rows(tables)
    p.chunk_gates = arena.reals(gates)


cdef inline void start_from_bias(Pass[real_t]* p, real_t* gates) noexcept nogil:
    """Set the sums of a row that x has no part in; the others get the bias with the product."""
    cdef isize slot, block, at
    for slot in range(p.cell.slots):
        if not holds(p.cell.x, slot):
            for block in range(p.blocks):
                at = block * p.cell.slots + slot
                (<Vec[real_t]*> gates)[at] = (<const Vec[real_t]*> p.bias)[at]


cdef inline void forward_step(
    Pass[real_t]* p, isize step, real_t** a, real_t** gates
) noexcept nogil:
    """One step of this thread's rows or units: products, each panel followed by its steps."""
    cdef isize W = p.width(), begin = p.first_row(), rows = p.own_rows()
    cdef isize tiles = 1 + (rows - 1) // TILE_ROWS
    cdef isize together = ROW_PANELS if rows == 1 else 1
    cdef isize s, r, g, groups, i, row, first, last, panel, end, panel_blocks, block
    cdef real_t* h_prev = p.h_at(step) + begin * W
    cdef real_t* h = p.h_at(step + 1) + begin * W
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
        for r in range(rows):
            a[r] = h_prev + r * W if stage.reads < 0 else gates[r] + stage.reads * p.lanes()
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
    if p.y != NULL and (p.team.rank == 0 or not p.team.by_units):
        for r in range(rows):
            memcpy(
                p.y + p.time(step) * p.y_step + (begin + r) * p.y_row,
                h + r * W,
                p.H * sizeof(real_t),
            )


cdef inline void forward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the forward pass."""
    cdef isize begin = p.first_row(), n = p.own_rows(), GW = p.gates_width()
    cdef isize most = projected_rows(p, n), chunk = most // n
    cdef isize chunks = (p.steps + chunk - 1) // chunk
    cdef isize k, first, rows, row, step
    cdef isize panel = p.team.begin(p.x_product.panels()) if p.team.by_units else 0
    cdef isize last = p.x_product.panels()
    cdef real_t** x = p.tables + p.team.rank * forward_tables(p, p.team.size)
    cdef real_t** bias = x + most
    cdef real_t** gates = bias + most
    cdef real_t** a = gates + most
    cdef real_t* own = p.chunk_gates
    if p.team.by_units:
        last = p.team.end(last)
    else:
        own += p.team.rank * forward_capacity(p, p.team.size) * GW
    for row in range(most):
        bias[row] = <real_t*> p.bias
    for k in range(chunks):
        first = k * chunk
        rows = min(chunk, p.steps - first) * n
        for row in range(rows):
            step = first + row // n
            x[row] = <real_t*> p.x + p.time(step) * p.x_step + (begin + row % n) * p.x_row
            gates[row] = own + row * GW
            if p.keeps:
                gates[row] = p.gates + (step * p.B + begin + row % n) * GW
            if p.team.rank == 0 or not p.team.by_units:
                start_from_bias(p, gates[row])
        multiply(p.x_product, panel, last, rows, x, bias, gates)
        if p.team.by_units:
            p.team.wait()
        for step in range(rows // n):
            forward_step(p, first + step, a, gates + step * n)


cdef inline void run_forward(Pass[real_t]* p, int size) noexcept nogil:
    run_team(p, size, p.B == 1, forward_part[real_t])


# Backward


cdef inline isize backward_chunk(Pass[real_t]* p) noexcept nogil:
    """Steps whose gate gradients the products of a chunk read: fewer, and each starts too often."""
    cdef isize rows = 192 if p.H < 256 else 384 if p.H < 512 else 768
    return min(p.steps, max(1, rows // p.B))


cdef inline isize backward_block(Pass[real_t]* p) noexcept nogil:
    """Elements of a block of a chunk, of an odd number of rows: blocks then share no cache set."""
    return (backward_chunk(p) * p.B | 1) * p.lanes()


cdef inline void backward_scratch(Pass[real_t]* p, int size, Arena[real_t]* arena) except *:
    cdef isize block = backward_block(p), rows = block // p.lanes(), W = p.width()
    cdef isize x_width = p.blocks_of(p.I) * p.lanes(), x_blocks = p.blocks_of(p.I) * block
    cdef isize zeros = max(W, x_width), gates = p.cell.slots * p.blocks * block
    cdef isize operands = x_blocks + p.cell.stages * p.blocks * block
    cdef isize sums = p.gates_width() + 3 * W
    cdef int s
    arena.reserve(gates + operands + rows * x_width + zeros + p.B * W + sums, size * 3 * rows, 10)
    p.tables = arena.rows(size * 3 * rows)
    p.dgates = arena.reals(gates)
    p.x_blocks = arena.reals(x_blocks)
    for s in range(p.cell.stages):
        p.h_blocks[s] = arena.reals(p.blocks * block)
    p.dx_rows = arena.reals(rows * x_width)
    p.zeros = arena.reals(zeros)
    p.drh = arena.reals(p.B * W)
    p.db = arena.reals(p.gates_width())
    p.dw_ch_sum = arena.reals(3 * W)
    memset(p.zeros, 0, zeros * sizeof(real_t))
    memset(p.db, 0, p.gates_width() * sizeof(real_t))
    memset(p.dw_ch_sum, 0, 3 * W * sizeof(real_t))


cdef inline void backward_step(
    Pass[real_t]* p, isize step, isize chunk_row, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """One step of this thread's rows or units; its gate gradients go to row `chunk_row` and on."""
    cdef isize W = p.width(), L = p.lanes(), block = backward_block(p)
    cdef isize begin = p.first_row(), rows = p.own_rows()
    cdef isize s, r, k, panel = 0, last = p.product[0].panels(), first_block, end
    cdef real_t* target
    cdef const real_t* dy
    cdef Stage[real_t]* stage
    cdef Unit[real_t] unit
    cdef Extent over
    if p.team.by_units:
        panel = p.team.begin(last)
        last = p.team.end(last)
    first_block = panel * PANEL
    end = min(last * PANEL, p.blocks)
    over.rows = rows
    over.blocks = end - first_block
    over.row_blocks = p.blocks
    over.slots = p.cell.slots
    over.dgates_block = block // L
    unit = unit_at(p, step, begin, first_block, p.gates + (step * p.B + begin) * p.gates_width())
    unit.dh = <Vec[real_t]*> (p.dh + begin * W) + first_block
    unit.dc = <Vec[real_t]*> (p.dc + begin * W) + first_block
    unit.drh = <Vec[real_t]*> (p.drh + begin * W) + first_block
    unit.dgates = <Vec[real_t]*> (p.dgates + first_block * block) + chunk_row + begin
    unit.apart = p.blocks * over.dgates_block
    if p.y != NULL:
        for r in range(begin, begin + rows):
            dy = p.y + p.time(step) * p.y_step + r * p.y_row
            for k in range(first_block * L, min(end * L, p.H)):
                p.dh[r * W + k] += dy[k]
    for s in range(p.cell.stages - 1, -1, -1):
        stage = &p.cell.stage[s]
        stage.backward(unit, over)
        if p.team.by_units:
            p.team.wait()
        target = p.dh if stage.reads < 0 else p.drh
        for r in range(rows):
            c_out[r] = target + (begin + r) * W
            c_in[r] = c_out[r] if stage.reads < 0 else p.zeros
            a[r] = p.dgates + stage.slots.first * p.blocks * block + (chunk_row + begin + r) * L
        multiply(p.product[s], panel, last, rows, a, c_in, c_out)


cdef inline void gather_chunk(
    Pass[real_t]* p, isize first, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """Of some rows of a chunk: what its products read, into blocks, and dx."""
    cdef isize L = p.lanes(), block = backward_block(p), x_width = p.blocks_of(p.I) * L
    cdef isize s, r, row, step
    cdef Stage[real_t]* stage
    for r in range(rows):  # (x) pre = x @ w_ih'
        step = p.time(first + (begin + r) // p.B)
        a[r] = <real_t*> p.x + step * p.x_step + (begin + r) % p.B * p.x_row
    to_blocks(rows, a, p.I, L, p.x_blocks + begin * L, block)
    for s in range(p.cell.stages):  # (h) pre = h_prev @ w_hh', or (r * h_prev) @ w_hn'
        stage = &p.cell.stage[s]
        for r in range(rows):
            row = first * p.B + begin + r
            if stage.reads < 0:
                a[r] = p.h + row * p.width()
            else:
                a[r] = p.gates + row * p.gates_width() + stage.reads * L
        step = L if stage.reads < 0 else p.cell.slots * L
        to_blocks(rows, a, p.H, step, p.h_blocks[s] + begin * L, block)
    for r in range(rows):
        a[r] = p.dgates + p.cell.x.first * p.blocks * block + (begin + r) * L
        c_in[r] = p.zeros
        c_out[r] = p.dx_rows + (begin + r) * x_width
    multiply(p.x_product, 0, p.x_product.panels(), rows, a, c_in, c_out)
    for r in range(rows):
        step = p.time(first + (begin + r) // p.B)
        memcpy(p.dx + (step * p.B + (begin + r) % p.B) * p.I, c_out[r], p.I * sizeof(real_t))


cdef inline void product_gradient(
    Pass[real_t]* p, Slots slots, isize rows, const real_t* operand, isize columns, real_t* dw
) noexcept nogil:
    """dW of the gates in `slots` += dgates' operand, of this thread's units."""
    cdef isize L = p.lanes(), block = backward_block(p)
    cdef isize begin = p.team.begin(p.blocks), unit = begin * L
    cdef isize units = min(p.team.end(p.blocks) * L, p.H) - unit
    cdef isize slot
    for slot in range(slots.first, slots.first + slots.used):
        multiply_outer(
            rows, block, p.dgates + (slot * p.blocks + begin) * block, units, operand, columns,
            dw + (slots.gate_of[slot] * p.H + unit) * columns,
        )


cdef inline void sum_of_products(
    isize rows, const real_t* a, const real_t* b, isize b_step, real_t* total
) noexcept nogil:
    """Add to a register of sums the rows of a block times registers `b_step` apart."""
    cdef isize row
    cdef Vec[real_t] acc = (<Vec[real_t]*> total)[0]
    for row in range(rows):
        acc = acc + (<const Vec[real_t]*> a)[row] * (<const Vec[real_t]*> b)[row * b_step]
    (<Vec[real_t]*> total)[0] = acc


cdef inline void sum_chunk(Pass[real_t]* p, isize first, isize rows) noexcept nogil:
    """The gradients of bias and peepholes, of this thread's units."""
    cdef isize L = p.lanes(), W = p.width(), block = backward_block(p)
    cdef isize begin = p.team.begin(p.blocks), end = p.team.end(p.blocks)
    cdef isize slot, k, b
    cdef const real_t* c
    for slot in range(p.cell.slots):  # (b) pre = .. + b
        for b in range(begin, end):
            sum_of_rows(rows, p.dgates + (slot * p.blocks + b) * block, p.db + slot * W + b * L)
    if p.cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        for k in range(3):  # (c) pre = .. + w_ch * c_prev, or for o * c
            slot = PEEPHOLE_SLOTS[k]
            c = p.c_at(first + (1 if k == 2 and p.cell.options & PEEPHOLE_CURRENT else 0))
            for b in range(begin, end):
                sum_of_products(
                    rows, p.dgates + (slot * p.blocks + b) * block,
                    c + b * L, p.blocks, p.dw_ch_sum + k * W + b * L,
                )


cdef inline void backward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the backward pass."""
    cdef isize chunk = backward_chunk(p), most = backward_block(p) // p.lanes()
    cdef isize chunks = (p.steps + chunk - 1) // chunk
    cdef isize k, s, first, rows, begin, step
    cdef real_t** a = p.tables + p.team.rank * 3 * most
    cdef real_t** c_in = a + most
    cdef real_t** c_out = c_in + most
    for k in range(chunks - 1, -1, -1):
        first = k * chunk
        rows = min(chunk, p.steps - first) * p.B
        for step in range(rows // p.B - 1, -1, -1):
            backward_step(p, first + step, step * p.B, a, c_in, c_out)
        p.team.wait()
        begin = p.team.begin(rows)
        gather_chunk(p, first, begin, p.team.end(rows) - begin, a, c_in, c_out)
        p.team.wait()
        product_gradient(p, p.cell.x, rows, p.x_blocks, p.I, p.dw_ih)
        for s in range(p.cell.stages):
            product_gradient(p, p.cell.stage[s].slots, rows, p.h_blocks[s], p.H, p.dw_hh)
        sum_chunk(p, first, rows)
        p.team.wait()


cdef inline void run_backward(Pass[real_t]* p, int size) noexcept nogil:
    cdef isize W = p.width(), slot, s
    cdef Slots slots
    run_team(p, size, p.B == 1, backward_part[real_t])
    for s in range(-1, p.cell.stages):
        slots = p.cell.x if s < 0 else p.cell.stage[s].slots
        for slot in range(slots.first, slots.first + slots.used):
            memcpy(
                (p.db_ih if s < 0 else p.db_hh) + slots.gate_of[slot] * p.H,
                p.db + slot * W,
                p.H * sizeof(real_t),
            )
    if p.cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        for s in range(3):
            memcpy(p.dw_ch + s * p.H, p.dw_ch_sum + s * W, p.H * sizeof(real_t))
