"""The pass back through time, written once for all cells.

A chunk of steps at a time, from the last: step by step the pointwise step and the recurrent
product, then all that reads the gate gradients of the chunk while they are in cache: dx, dW_ih,
dW_hh, db.

A team of threads shares the rows of the steps, or of a single row the units, and then the rows and
units of the chunk's products. No sum is split, so the bits of all results are those of one thread.
"""

from libc.string cimport memcpy, memset

from arena cimport Arena
from linear cimport sum_of_rows
from matmul cimport PANEL, multiply, multiply_outer, to_blocks
from recurrence cimport (
    FLOW,
    PEEPHOLE_CURRENT,
    PROJECTION,
    Extent,
    Pass,
    Slots,
    Stage,
    Unit,
    Walk,
    run_team,
)
from step cimport keep_at, unit_at
from vec cimport Vec, isize, real_t


cdef inline isize chunk_rows(Pass[real_t]* p) noexcept nogil:
    """Rows whose gate gradients the products of a chunk read: fewer, and each starts too often."""
    return min(p.steps * p.B, max(p.B, 192 if p.H < 256 else 384 if p.H < 512 else 768))


cdef inline isize chunk_begin(Pass[real_t]* p, isize end) noexcept nogil:
    """The first step of the chunk that ends before step `end`."""
    cdef isize rows = 0, first = end
    while first > 0 and rows + p.alive(first - 1) <= chunk_rows(p):
        first -= 1
        rows += p.alive(first)
    return first


cdef inline isize backward_block(Pass[real_t]* p) noexcept nogil:
    """Elements of a block of a chunk, of an odd number of rows: blocks then share no cache set."""
    return (chunk_rows(p) | 1) * p.lanes()


cdef inline real_t* backward_scratch(
    Pass[real_t]* p, int size, isize more, Arena[real_t]* arena
) except? NULL:
    """Reserve what the pass needs, and `more` elements, to which a pointer is returned."""
    cdef isize L = p.lanes(), block = backward_block(p), rows = block // L
    cdef isize W = p.width(), PW = p.h_width(), x_blocks = p.blocks_of(p.I) * block
    cdef isize zeros = max(max(W, PW), p.blocks_of(p.I) * L), states = p.B * max(W, PW)
    cdef isize projected = p.h_blocks * block if p.cell.options & PROJECTION else 0
    cdef isize of_cell = p.blocks * block if p.cell.options & PROJECTION else 0
    cdef isize all = p.cell.slots * p.blocks * block + x_blocks + rows * p.blocks_of(p.I) * L
    all += p.cell.stages * p.h_blocks * block + projected + of_cell
    all += zeros + 7 * states + p.gates_width() + 3 * W
    cdef int s
    arena.reserve(all + more, size * 3 * rows, 21)
    p.tables = arena.rows(size * 3 * rows)
    p.dgates = arena.reals(p.cell.slots * p.blocks * block)
    p.x_blocks = arena.reals(x_blocks)
    p.dx_rows = arena.reals(rows * p.blocks_of(p.I) * L)
    for s in range(p.cell.stages):
        p.read_blocks[s] = arena.reals(p.h_blocks * block)
    p.dprojected = arena.reals(projected)
    p.made_blocks = arena.reals(of_cell)
    p.zeros = arena.reals(zeros)
    p.dh = arena.reals(p.B * PW)
    p.dc = arena.reals(p.B * W)
    p.dmade_h = arena.reals(p.B * W)
    p.dmade_c = arena.reals(p.B * W)
    p.dh_in = arena.reals(p.B * PW)
    p.drh = arena.reals(p.B * W)
    p.all_dc = arena.reals(p.B * W)
    p.db = arena.reals(p.gates_width())
    p.dw_ch_sum = arena.reals(3 * W)
    memset(p.zeros, 0, zeros * sizeof(real_t))
    memset(p.dh, 0, p.B * PW * sizeof(real_t))
    memset(p.dc, 0, p.B * W * sizeof(real_t))
    memset(p.dw_ch_sum, 0, 3 * W * sizeof(real_t))
    if p.made_h != NULL:
        memset(p.dmade_h, 0, p.B * W * sizeof(real_t))
    if p.made_c != NULL:
        memset(p.dmade_c, 0, p.B * W * sizeof(real_t))
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
        dh = p.dh + row * p.h_width()
        for k in range(first_unit, end_unit):
            dh[k] += dy[k]


cdef inline void store_norms(
    Pass[real_t]* p, isize step, isize begin, isize rows, const real_t* d, isize width,
    isize units, double* flow,
) noexcept nogil:
    """The squared norm of each row of a gradient, in double: a vanishing one has tiny squares."""
    cdef double sums[8]
    cdef double total
    cdef isize row, k, lane
    for row in range(begin, begin + rows):
        for lane in range(8):  # side by side: one sum would wait for itself at every term
            sums[lane] = 0
        for k in range(units // 8):
            for lane in range(8):
                sums[lane] += <double> d[row * width + 8 * k + lane] * d[row * width + 8 * k + lane]
        total = 0
        for k in range(units // 8 * 8, units):
            total += <double> d[row * width + k] * d[row * width + k]
        for lane in range(8):
            total += sums[lane]
        flow[p.time(step, row) * p.flow_step + p.user_row(row) * p.flow_row] = total


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
    cdef isize W = p.width(), L = p.lanes(), block = backward_block(p), r, row
    cdef bint projection = (p.cell.options & PROJECTION) != 0
    cdef const real_t* keep
    for r in range(rows):
        row = begin + r
        a[r] = p.dprojected + (chunk_row + row) * L
        c_in[r] = p.zeros
        c_out[r] = p.dmade_h + row * W
        if p.made_h != NULL:
            keep = keep_at(p, p.keep_h, step, row, p.P) if p.keep_h != NULL else NULL
            split(
                p.P, keep, p.dh + row * p.h_width(),
                a[r] if projection else c_out[r], L, block if projection else L,
            )
        if p.made_c != NULL:
            keep = keep_at(p, p.keep_c, step, row, p.H)
            split(p.H, keep, p.dc + row * W, p.dmade_c + row * W, L, L)
    if projection:
        multiply(p.projection, 0, p.projection.panels(), rows, a, c_in, c_out)  # (L6p)


cdef inline void add_rows(isize count, const real_t* d, real_t* to) noexcept nogil:
    cdef isize k
    for k in range(count):
        to[k] += d[k]


cdef inline void undo_mask(
    Pass[real_t]* p, int slot, isize begin, isize rows
) noexcept nogil:
    """Undo (M): the gradient of what a product read, of h_prev or of r * h_prev."""
    cdef isize row, k
    cdef const real_t* mask
    cdef real_t* d
    cdef real_t* to
    for row in range(begin, begin + rows):
        mask = p.h_mask + p.user_row(row) * p.P
        if slot < 0:
            to = p.dh + row * p.h_width()
            d = p.dh_in + row * p.h_width()
            for k in range(p.P):
                to[k] += d[k] * mask[k]
        else:
            to = p.drh + row * p.width()
            for k in range(p.P):
                to[k] *= mask[k]


cdef inline void backward_step(
    Pass[real_t]* p, isize step, isize begin, isize rows, isize chunk_row,
    real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """One step of this thread's rows or units; the gates' gradients go to rows from `chunk_row`."""
    cdef isize W = p.width(), PW = p.h_width(), L = p.lanes(), block = backward_block(p)
    cdef isize s, r, width, panel = 0, last = p.product[0].panels(), first_block = 0
    cdef isize end = p.blocks, end_unit = p.P
    cdef real_t* target
    cdef real_t* dmade_h = p.dh if p.made_h == NULL else p.dmade_h
    cdef real_t* dmade_c = p.dc if p.made_c == NULL else p.dmade_c
    cdef real_t* gates = p.h  # the RNN keeps none, and its step does not look at them
    cdef bint reads_h
    cdef Stage[real_t]* stage
    cdef Unit[real_t] unit
    cdef Extent over
    if p.gates != NULL:
        gates = p.gates + (step * p.B + begin) * p.gates_width()
    if p.team.by_units:
        panel = p.team.begin(last)
        last = p.team.end(last)
        first_block = panel * PANEL
        end = min(last * PANEL, p.blocks)
        end_unit = min(end * L, p.P)
    over.rows = rows
    over.blocks = end - first_block
    over.row_blocks = p.blocks
    over.slots = p.cell.slots
    over.dgates_block = block // L
    unit = unit_at(p, step, begin, first_block, gates)
    unit.dh = <Vec[real_t]*> (dmade_h + begin * W) + first_block
    unit.dc = <Vec[real_t]*> (dmade_c + begin * W) + first_block
    unit.drh = <Vec[real_t]*> (p.drh + begin * W) + first_block
    unit.all_dc = <Vec[real_t]*> (p.all_dc + begin * W)
    unit.dgates = <Vec[real_t]*> (p.dgates + first_block * block) + chunk_row + begin
    unit.slot_step = p.blocks * over.dgates_block
    if p.y != NULL:
        add_dy(p, step, begin, rows, first_block * L, end_unit)
    if p.flow_h != NULL:
        store_norms(p, step, begin, rows, p.dh, PW, p.P, p.flow_h)
    if p.flow_c != NULL and p.made_c != NULL:
        store_norms(p, step, begin, rows, p.dc, W, p.H, p.flow_c)
    elif p.flow_c != NULL:
        unit.options |= FLOW
    if p.made_h != NULL or p.made_c != NULL:
        dmade_from_dstates(p, step, begin, rows, chunk_row, a, c_in, c_out)
    for s in range(p.cell.stages - 1, -1, -1):
        stage = &p.cell.stage[s]
        reads_h = stage.reads < 0
        stage.backward(unit, over)
        if p.team.by_units:
            p.team.wait()
        target = p.drh
        width = W
        if reads_h:
            target = p.dh if p.h_in == NULL else p.dh_in
            width = PW
        for r in range(rows):
            c_out[r] = target + (begin + r) * width
            c_in[r] = c_out[r] if target == p.dh else p.zeros
            a[r] = p.dgates + stage.slots.first * p.blocks * block + (chunk_row + begin + r) * L
        multiply(p.product[s], panel, last, rows, a, c_in, c_out)
        if p.h_mask != NULL:
            undo_mask(p, stage.reads, begin, rows)
    if p.flow_c != NULL and p.made_c == NULL:
        store_norms(p, step, begin, rows, p.all_dc, W, p.H, p.flow_c)
    # What goes straight to the state before, past the products.
    if p.made_h != NULL and not p.cell.options & PROJECTION:
        add_rows(rows * W, dmade_h + begin * W, p.dh + begin * W)
    if p.made_c != NULL:
        add_rows(rows * W, dmade_c + begin * W, p.dc + begin * W)


cdef inline void gather_chunk(
    Pass[real_t]* p, isize first, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """Of some rows of a chunk: what its products read, into blocks, and dx."""
    cdef isize L = p.lanes(), block = backward_block(p), x_width = p.blocks_of(p.I) * L
    cdef isize s, r
    cdef Stage[real_t]* stage
    cdef Walk[real_t] at
    at = Walk[real_t](p, first, begin)
    for r in range(rows):  # (x) pre = x @ w_ih'
        a[r] = <real_t*> p.x + p.time(at.step, at.row) * p.x_step + p.user_row(at.row) * p.x_row
        at.next()
    to_blocks(rows, a, p.I, L, p.x_blocks + begin * L, block)
    for s in range(p.cell.stages):  # (h) pre = h_prev @ w_hh', or (r * h_prev) @ w_hn'
        stage = &p.cell.stage[s]
        at = Walk[real_t](p, first, begin)
        for r in range(rows):
            if stage.reads < 0:
                a[r] = p.h_in_at(at.step) + at.row * p.h_width()
            else:
                a[r] = p.gates + (at.step * p.B + at.row) * p.gates_width() + stage.reads * L
            at.next()
        to_blocks(
            rows, a, p.P, L if stage.reads < 0 else p.cell.slots * L,
            p.read_blocks[s] + begin * L, block,
        )
    if p.cell.options & PROJECTION:  # (L6p) h = (o * tanh(c)) @ w_hr'
        at = Walk[real_t](p, first, begin)
        for r in range(rows):
            a[r] = p.made_h_at(at.step) + at.row * p.width()
            at.next()
        to_blocks(rows, a, p.H, L, p.made_blocks + begin * L, block)
    for r in range(rows):
        a[r] = p.dgates + p.cell.x.first * p.blocks * block + (begin + r) * L
        c_in[r] = p.zeros
        c_out[r] = p.dx_rows + (begin + r) * x_width
    multiply(p.x_product, 0, p.x_product.panels(), rows, a, c_in, c_out)
    at = Walk[real_t](p, first, begin)
    for r in range(rows):
        memcpy(
            p.dx + (p.time(at.step, at.row) * p.B + p.user_row(at.row)) * p.I, c_out[r],
            p.I * sizeof(real_t),
        )
        at.next()


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
            dw + (p.cell.gate_of[slot] * p.H + unit) * columns,
        )


cdef inline void projection_gradient(Pass[real_t]* p, isize rows) noexcept nogil:
    """dW_hr += dh' made_h, of this thread's part of h."""
    cdef isize block = backward_block(p), begin = p.team.begin(p.h_blocks), unit = begin * p.lanes()
    cdef isize units = min(p.team.end(p.h_blocks) * p.lanes(), p.P) - unit
    multiply_outer(
        rows, block, p.dprojected + begin * block, units, p.made_blocks, p.H, p.dw_hr + unit * p.H
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


cdef inline void sum_chunk(Pass[real_t]* p, isize first, isize end, isize rows) noexcept nogil:
    """The gradients of bias and peepholes, of this thread's units."""
    cdef isize L = p.lanes(), W = p.width(), block = backward_block(p)
    cdef isize begin = p.team.begin(p.blocks), end_block = p.team.end(p.blocks)
    cdef isize slot, k, b, step, row
    cdef const real_t* c
    for slot in range(p.cell.slots):  # (b) pre = .. + b
        for b in range(begin, end_block):
            sum_of_rows(rows, p.dgates + (slot * p.blocks + b) * block, p.db + slot * W + b * L)
    if p.cell.peepholes:
        row = 0
        for step in range(first, end):
            for k in range(3):  # (c) pre = .. + w_ch * c_prev, or for o * c
                slot = p.cell.peephole_slot[k]
                c = p.c_at(step)
                if k == 2 and p.cell.options & PEEPHOLE_CURRENT:
                    c = p.made_c_at(step)
                for b in range(begin, end_block):
                    sum_of_products(
                        p.alive(step), p.dgates + (slot * p.blocks + b) * block + row * L,
                        c + b * L, p.blocks, p.dw_ch_sum + k * W + b * L,
                    )
            row += p.alive(step)


cdef inline void backward_part(Pass[real_t]* p) noexcept nogil:
    """What one thread does of the backward pass."""
    cdef isize most = backward_block(p) // p.lanes(), end = p.steps
    cdef isize s, first, rows, row, begin, own, step
    cdef real_t** a = p.tables + p.team.rank * 3 * most
    cdef real_t** c_in = a + most
    cdef real_t** c_out = c_in + most
    while end > 0:
        first = chunk_begin(p, end)
        rows = 0
        for step in range(first, end):
            rows += p.alive(step)
        begin = 0 if p.team.by_units else p.share(p.team.rank, first, end)
        own = (p.B if p.team.by_units else p.share(p.team.rank + 1, first, end)) - begin
        row = rows
        for step in range(end - 1, first - 1, -1):
            row -= p.alive(step)
            if p.alive(step) > begin:
                backward_step(
                    p, step, begin, p.alive_of(step, begin, begin + own), row, a, c_in, c_out
                )
        p.team.wait()
        begin = p.team.begin(rows)
        gather_chunk(p, first, begin, p.team.end(rows) - begin, a, c_in, c_out)
        p.team.wait()
        product_gradient(p, p.cell.x, rows, p.x_blocks, p.I, p.dw_ih)
        for s in range(p.cell.stages):
            product_gradient(p, p.cell.stage[s].slots, rows, p.read_blocks[s], p.P, p.dw_hh)
        if p.cell.options & PROJECTION:
            projection_gradient(p, rows)
        sum_chunk(p, first, end, rows)
        p.team.wait()
        end = first


cdef inline void load(real_t* sums, real_t* given, isize units) noexcept nogil:
    memcpy(sums, given, units * sizeof(real_t))


cdef inline void store(real_t* sums, real_t* given, isize units) noexcept nogil:
    memcpy(given, sums, units * sizeof(real_t))


cdef inline void for_all_sums(
    Pass[real_t]* p, void (*move)(real_t*, real_t*, isize) noexcept nogil
) noexcept nogil:
    """The gradients of biases and peepholes: the sums of the pass, and the user's arrays."""
    cdef isize slot, s
    cdef real_t* db
    cdef Slots slots
    for s in range(-1, p.cell.stages):
        db = p.db_ih if s < 0 else p.db_hh
        slots = p.cell.x if s < 0 else p.cell.stage[s].slots
        for slot in range(slots.first, slots.first + slots.used):
            move(p.db + slot * p.width(), db + p.cell.gate_of[slot] * p.H, p.H)
    if p.cell.peepholes:
        for s in range(3):
            move(p.dw_ch_sum + s * p.width(), p.dw_ch + s * p.H, p.H)


cdef inline void run_backward(Pass[real_t]* p, int size) noexcept nogil:
    memset(p.db, 0, p.gates_width() * sizeof(real_t))
    for_all_sums(p, load[real_t])  # the sums go on from what the user's arrays hold
    run_team(p, size, p.B == 1, backward_part[real_t])
    for_all_sums(p, store[real_t])
