"""What reads the gate gradients of a chunk of steps, while they are in cache: dx, dW and sums.

Tracks share the rows of a chunk, or its units.
"""

from libc.string cimport memcpy

from batch cimport Walk
from cell cimport (
    BEFORE,
    H_IN,
    MADE,
    ONE,
    PRODUCT,
    READS_H,
    Stage,
    Vector,
    slots_from,
)
from linear cimport sum_of_rows
from matmul cimport Slots, multiply, to_blocks
from outer cimport multiply_outer
from plan cimport Span, own_panels
from recurrence cimport Pass
from unit cimport PROJECTION, H
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


cdef inline isize chunk_block(Pass[real_t]* p) noexcept nogil:
    """Elements of a block of a chunk, of an odd number of rows: blocks then share no cache set."""
    return (chunk_rows(p) | 1) * p.lanes()


cdef inline void gather_operands(
    Pass[real_t]* p, const Stage[real_t]* stage, isize first, isize begin, isize rows, real_t** a
) noexcept nogil:
    """(h) pre = h_in @ w_hh', or a slot in its place: what the product read, into blocks."""
    cdef isize L = p.lanes(), r, step = L
    cdef Walk at = Walk(p, first, begin)
    for r in range(rows):
        if stage.reads == READS_H:
            a[r] = p.h_in_at(at.step) + at.row * p.h_width()
        else:
            a[r] = p.gates + (at.step * p.B + at.row) * p.gates_width() + stage.reads * L
        at.next()
    if stage.reads != READS_H:
        step = p.cell.slots * L
    to_blocks(
        rows, a, p.P, step, p.read_blocks[stage.product] + begin * L, chunk_block(p)
    )


cdef inline void gather_chunk(
    Pass[real_t]* p, isize first, isize begin, isize rows, real_t** a, real_t** c_in, real_t** c_out
) noexcept nogil:
    """Of some rows of a chunk: what its products read, into blocks, and dx, where it is wanted."""
    cdef isize L = p.lanes(), block = chunk_block(p), x_width = p.blocks_of(p.I) * L
    cdef isize r
    cdef int s
    cdef Walk at
    if p.dw_ih != NULL:
        at = Walk(p, first, begin)
        for r in range(rows):  # (x) pre = x @ w_ih'
            a[r] = <real_t*> p.x + p.time(at.step, at.row) * p.x_step
            a[r] += p.user_row(at.row) * p.x_row
            at.next()
        to_blocks(rows, a, p.I, L, p.x_blocks + begin * L, block)
    for s in range(p.cell.stages):
        if p.cell.stage[s].kind == PRODUCT and p.dw_hh != NULL:
            gather_operands(p, &p.cell.stage[s], first, begin, rows, a)
    if p.dw_hr != NULL:  # (L6p) h = m @ w_hr'
        at = Walk(p, first, begin)
        for r in range(rows):
            a[r] = p.made_at(H, at.step) + at.row * p.width()
            at.next()
        to_blocks(rows, a, p.H, L, p.made_blocks + begin * L, block)
    if p.dx == NULL:
        return
    for r in range(rows):
        a[r] = p.dgates + p.cell.x.first * p.blocks * block + (begin + r) * L
        c_in[r] = p.zeros
        c_out[r] = p.dx_rows + (begin + r) * x_width
    multiply(p.x_product, 0, p.x_product.panels(), rows, a, c_in, c_out)
    at = Walk(p, first, begin)
    for r in range(rows):
        memcpy(
            p.dx + (p.time(at.step, at.row) * p.B + p.user_row(at.row)) * p.I, c_out[r],
            p.I * sizeof(real_t),
        )
        at.next()


cdef inline void product_gradient(
    Pass[real_t]* p, Slots slots, isize rows, const real_t* operand, isize columns, real_t* dw
) noexcept nogil:
    """dW of the gates in `slots` += dgates' operand, of this track's units."""
    cdef isize L = p.lanes(), block = chunk_block(p)
    cdef Span own = own_panels(&p.part, p.blocks)
    cdef isize unit = own.begin * L, units = min(own.end * L, p.H) - unit
    cdef isize slot
    for slot in range(slots.first, slots.first + slots.used):
        multiply_outer(
            rows, block, p.dgates + (slot * p.blocks + own.begin) * block, units, operand,
            columns, dw + (p.cell.gate_of[slot] * p.H + unit) * columns,
        )


cdef inline void projection_gradient(Pass[real_t]* p, isize rows) noexcept nogil:
    """dW_hr += dh' m, of this track's part of h."""
    cdef isize block = chunk_block(p)
    cdef Span own = own_panels(&p.part, p.h_blocks)
    cdef isize unit = own.begin * p.lanes(), units = min(own.end * p.lanes(), p.P) - unit
    multiply_outer(
        rows, block, p.dprojected + own.begin * block, units, p.made_blocks, p.H,
        p.dw_hr + unit * p.H,
    )


cdef inline void sum_bias(Pass[real_t]* p, Slots slots, Span own, isize rows) noexcept nogil:
    """(b) pre = .. + b, of this track's units."""
    cdef isize block = chunk_block(p), slot, b
    for slot in range(slots.first, slots.first + slots.used):
        for b in range(own.begin, own.end):
            sum_of_rows(
                rows, p.dgates + (slot * p.blocks + b) * block,
                p.db + slot * p.width() + b * p.lanes(),
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


cdef inline void sum_vector(
    Pass[real_t]* p, int k, isize step, Span own, isize row
) noexcept nogil:
    """(v) pre = .. + vector * operand, at the rows of a step, which begin at `row` of the chunk."""
    cdef isize L = p.lanes(), block = chunk_block(p), rows = p.alive(step), b
    cdef const Vector* vector = &p.cell.vector[k]
    cdef const real_t* d = p.dgates + vector.slot * p.blocks * block + row * L
    cdef const real_t* operand
    cdef real_t* total = p.dvector_sums + k * p.width()
    cdef isize apart = L, registers = p.blocks  # from block to block, from row to row
    if vector.operand == ONE:
        for b in range(own.begin, own.end):
            sum_of_rows(rows, d + b * block, total + b * L)
        return
    if vector.operand == BEFORE:
        operand = p.at(vector.of, step)
    elif vector.operand == MADE:
        operand = p.made_at(vector.of, step)
    elif vector.operand == H_IN:
        operand = p.h_in_at(step)
    else:  # VALUE
        operand = p.gates + step * p.B * p.gates_width() + vector.of * L
        apart, registers = p.cell.slots * L, p.cell.slots * p.blocks
    for b in range(own.begin, own.end):
        sum_of_products(rows, d + b * block, operand + b * apart, registers, total + b * L)


cdef inline void sum_chunk(Pass[real_t]* p, isize first, isize end, isize rows) noexcept nogil:
    """The gradients of biases and vectors, where they are wanted, of this track's units."""
    cdef Span own = own_panels(&p.part, p.blocks)
    cdef isize step, row = 0
    cdef int k
    if p.db_ih != NULL:
        sum_bias(p, p.cell.x, own, rows)
    for k in range(p.cell.h.first, p.cell.h.first + p.cell.h.used):
        if p.db_hh != NULL and not (p.db_ih != NULL and p.cell.x.holds(k)):
            sum_bias(p, slots_from(k, 1), own, rows)
    for step in range(first, end):
        for k in range(p.cell.vectors):
            if p.dvector[k] != NULL:
                sum_vector(p, k, step, own, row)
        row += p.alive(step)


cdef inline void chunk_gradients(
    Pass[real_t]* p, isize first, isize end, isize rows
) noexcept nogil:
    """The gradients of all weights that are wanted."""
    cdef const Stage[real_t]* stage
    cdef int s
    if p.dw_ih != NULL:
        product_gradient(p, p.cell.x, rows, p.x_blocks, p.I, p.dw_ih)
    for s in range(p.cell.stages):
        stage = &p.cell.stage[s]
        if stage.kind == PRODUCT and p.dw_hh != NULL:
            product_gradient(
                p, stage.slots, rows, p.read_blocks[stage.product], p.P, p.dw_hh
            )
    if p.dw_hr != NULL:
        projection_gradient(p, rows)
    sum_chunk(p, first, end, rows)
