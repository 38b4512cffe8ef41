"""The two passes through time, written once for all cells.

Forward, a chunk of steps at a time: the inputs' part of the gate sums of all its rows in one product,
then step by step the recurrent part and the pointwise step. Backward the same in the other order: step
by step the pointwise step and the recurrent product, then all that reads the gate gradients of the
chunk while they are in cache: dx, dW_ih, dW_hh, db.
"""

from libc.string cimport memcpy, memset

from matmul cimport (
    ROW_PANELS,
    TILE_ROWS,
    multiply,
    multiply_outer,
    rows_of_tile,
    to_blocks,
)
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
)
from vec cimport Vec, isize, real_t
from weights cimport holds

cdef extern from "native/arena.h" namespace "rnncore" nogil:
    cdef cppclass Arena[T]:
        void reserve(isize reals, isize rows, isize pieces) except +
        T* reals(isize count)
        T** rows(isize count)


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


cdef inline void user_rows(
    Pass[real_t]* p, isize first, isize rows, const real_t* base, isize by_step, isize by_row,
    real_t** at,
) noexcept nogil:
    """Where the rows of a chunk, in the order of computation, lie in an array of the user's."""
    cdef isize row
    for row in range(rows):
        at[row] = <real_t*> base + p.time(first + row // p.B) * by_step + row % p.B * by_row


# Forward


cdef inline isize forward_chunk(Pass[real_t]* p) noexcept nogil:
    """Steps projected at once: their gate sums stay in the second cache until they are read."""
    return min(p.steps, max(1, (96 if p.H < 512 else 384) // p.B))


cdef inline void forward_reserve(Pass[real_t]* p, Arena[real_t]* arena) except *:
    cdef isize rows = forward_chunk(p) * p.B
    arena.reserve(0 if p.keeps else rows * p.gates_width(), 3 * rows + p.B, 5)


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
    """One step of all rows: each recurrent product, panel by panel, with its pointwise step."""
    cdef isize W = p.width(), B = p.B, tiles = 1 + (B - 1) // TILE_ROWS
    cdef isize together = ROW_PANELS if B == 1 else 1
    cdef isize s, r, g, i, row, panel, end, block, panel_blocks
    cdef real_t* h_prev = p.h_at(step)
    cdef real_t* h = p.h_at(step + 1)
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
        for r in range(B):
            a[r] = h_prev + r * W if stage.reads < 0 else gates[r] + stage.reads * p.lanes()
        for g in range((product.panels() + together - 1) // together):
            panel = g * together
            end = min(panel + together, product.panels())
            block = panel * panel_blocks
            over.blocks = min(end * panel_blocks, p.blocks) - block
            row = 0
            for i in range(tiles):
                over.rows = rows_of_tile(B, tiles, i)
                multiply(
                    product[0], panel, end, over.rows,
                    a + row, gates + row, gates + row,
                )
                stage.forward(unit_at(p, step, row, block, gates[row]), over)
                row += over.rows
    if p.y != NULL:
        for r in range(B):
            memcpy(
                p.y + p.time(step) * p.y_step + r * p.y_row, h + r * W, p.H * sizeof(real_t)
            )


cdef inline void run_forward(Pass[real_t]* p, Arena[real_t]* arena) noexcept nogil:
    cdef isize chunk = forward_chunk(p), most = chunk * p.B, GW = p.gates_width()
    cdef isize chunks = (p.steps + chunk - 1) // chunk
    cdef isize k, first, rows, row, step
    cdef real_t** x = arena.rows(most)
    cdef real_t** bias = arena.rows(most)
    cdef real_t** gates = arena.rows(most)
    cdef real_t** a = arena.rows(p.B)
    cdef real_t* base = p.gates if p.keeps else arena.reals(most * GW)
    for row in range(most):
        bias[row] = <real_t*> p.bias
    for k in range(chunks):
        first = k * chunk
        rows = min(chunk, p.steps - first) * p.B
        user_rows(p, first, rows, p.x, p.x_step, p.x_row, x)
        for row in range(rows):
            gates[row] = base + ((first * p.B if p.keeps else 0) + row) * GW
            start_from_bias(p, gates[row])
        multiply(p.x_product, 0, p.x_product.panels(), rows, x, bias, gates)
        for step in range(rows // p.B):
            forward_step(p, first + step, a, gates + step * p.B)


# Backward


cdef inline isize backward_chunk(Pass[real_t]* p) noexcept nogil:
    """Steps whose gate gradients the products of a chunk read: fewer, and each starts too often."""
    cdef isize rows = 192 if p.H < 256 else 384 if p.H < 512 else 768
    return min(p.steps, max(1, rows // p.B))


cdef inline isize backward_block(Pass[real_t]* p) noexcept nogil:
    """Elements of a block of a chunk: an odd number of rows, so that blocks do not share cache sets."""
    return (backward_chunk(p) * p.B | 1) * p.lanes()


cdef inline void backward_reserve(Pass[real_t]* p, Arena[real_t]* arena) except *:
    cdef isize L = p.lanes(), block = backward_block(p), rows = block // L
    cdef isize columns = max(p.blocks, p.blocks_of(p.I))
    cdef isize reals = (p.cell.slots * p.blocks + columns) * block  # dgates, x or h in blocks
    reals += (rows + 1) * columns * L  # dx and a row of zeros
    reals += p.B * p.width()  # d(r * h)
    reals += p.gates_width() + 3 * p.width()  # sums of bias and peephole gradients
    arena.reserve(reals, 3 * rows, 10)


cdef inline void add_rows(
    isize B, isize count, const real_t* source, isize step, real_t* to, isize to_step
) noexcept nogil:
    cdef isize r, k
    for r in range(B):
        for k in range(count):
            to[r * to_step + k] += source[r * step + k]


cdef inline void backward_step(
    Pass[real_t]* p, isize step, isize row, real_t* dgates, real_t* drh, real_t* zeros,
    real_t** a, real_t** c_in, real_t** c_out,
) noexcept nogil:
    """One step of all rows, whose gate gradients go to the blocked `dgates` from `row` on."""
    cdef isize W = p.width(), L = p.lanes(), B = p.B, block = backward_block(p)
    cdef isize s, r
    cdef real_t* target
    cdef Stage[real_t]* stage
    cdef Unit[real_t] unit = unit_at(p, step, 0, 0, p.gates + step * B * p.gates_width())
    cdef Extent over
    over.rows = B
    over.blocks = over.row_blocks = p.blocks
    over.slots = p.cell.slots
    over.dgates_block = block // L
    unit.dh = <Vec[real_t]*> p.dh
    unit.dc = <Vec[real_t]*> p.dc
    unit.drh = <Vec[real_t]*> drh
    unit.dgates = <Vec[real_t]*> (dgates + row * L)
    unit.apart = p.blocks * over.dgates_block
    if p.y != NULL:
        add_rows(B, p.H, p.y + p.time(step) * p.y_step, p.y_row, p.dh, W)
    for s in range(p.cell.stages - 1, -1, -1):
        stage = &p.cell.stage[s]
        stage.backward(unit, over)
        target = p.dh if stage.reads < 0 else drh
        for r in range(B):
            a[r] = dgates + stage.slots.first * p.blocks * block + (row + r) * L
            c_in[r] = p.dh + r * W if stage.reads < 0 else zeros
            c_out[r] = target + r * W
        multiply(p.product[s], 0, p.product[s].panels(), B, a, c_in, c_out)


cdef inline void sum_of_rows(isize rows, const real_t* a, real_t* total) noexcept nogil:
    """Add to a register of sums the rows of a block."""
    cdef isize row
    cdef Vec[real_t] acc = (<Vec[real_t]*> total)[0]
    for row in range(rows):
        acc = acc + (<const Vec[real_t]*> a)[row]
    (<Vec[real_t]*> total)[0] = acc


cdef inline void sum_of_products(
    isize rows, const real_t* a, const real_t* b, isize b_step, real_t* total
) noexcept nogil:
    """Add to a register of sums the rows of a block times registers `b_step` apart."""
    cdef isize row
    cdef Vec[real_t] acc = (<Vec[real_t]*> total)[0]
    for row in range(rows):
        acc = acc + (<const Vec[real_t]*> a)[row] * (<const Vec[real_t]*> b)[row * b_step]
    (<Vec[real_t]*> total)[0] = acc


cdef inline void peephole_gradient(
    Pass[real_t]* p, isize first, isize rows, const real_t* dgates, real_t* dw_ch
) noexcept nogil:
    """dw_ch of i f o += sum of dpre * the memory that the gate sees."""
    cdef isize k, slot, b, block = backward_block(p)
    cdef const real_t* c
    for k in range(3):
        slot = PEEPHOLE_SLOTS[k]
        c = p.c_at(first + (1 if k == 2 and p.cell.options & PEEPHOLE_CURRENT else 0))
        for b in range(p.blocks):
            sum_of_products(
                rows, dgates + (slot * p.blocks + b) * block,
                c + b * p.lanes(), p.blocks, dw_ch + k * p.width() + b * p.lanes(),
            )


cdef inline void product_gradient(
    Pass[real_t]* p, Slots slots, isize rows, const real_t* dgates, const real_t* operand,
    isize columns, real_t* dw,
) noexcept nogil:
    """dW of the gates in `slots` += dgates' operand."""
    cdef isize slot, block = backward_block(p)
    for slot in range(slots.first, slots.first + slots.used):
        multiply_outer(
            rows, block, dgates + slot * p.blocks * block, p.H, operand, columns,
            dw + slots.gate_of[slot] * p.H * columns,
        )


cdef inline void run_backward(Pass[real_t]* p, Arena[real_t]* arena) noexcept nogil:
    cdef isize L = p.lanes(), W = p.width(), GW = p.gates_width()
    cdef isize chunk = backward_chunk(p), block = backward_block(p), most = block // L
    cdef isize x_blocks = p.blocks_of(p.I), columns = max(p.blocks, x_blocks)
    cdef isize chunks = (p.steps + chunk - 1) // chunk
    cdef isize k, first, rows, row, step, slot, b, s
    cdef Slots slots
    cdef Stage[real_t]* stage
    cdef real_t* dgates = arena.reals(p.cell.slots * p.blocks * block)
    cdef real_t* operand = arena.reals(columns * block)
    cdef real_t* dx = arena.reals(most * columns * L)
    cdef real_t* zeros = arena.reals(columns * L)
    cdef real_t* drh = arena.reals(p.B * W)
    cdef real_t* db = arena.reals(GW)
    cdef real_t* dw_ch = arena.reals(3 * W)
    cdef real_t** a = arena.rows(most)
    cdef real_t** c_in = arena.rows(most)
    cdef real_t** c_out = arena.rows(most)
    memset(zeros, 0, columns * L * sizeof(real_t))
    memset(db, 0, GW * sizeof(real_t))
    memset(dw_ch, 0, 3 * W * sizeof(real_t))
    for k in range(chunks - 1, -1, -1):
        first = k * chunk
        rows = min(chunk, p.steps - first) * p.B
        for step in range(rows // p.B - 1, -1, -1):
            backward_step(p, first + step, step * p.B, dgates, drh, zeros, a, c_in, c_out)

        # (x) pre = x @ w_ih'
        user_rows(p, first, rows, p.x, p.x_step, p.x_row, a)
        to_blocks(rows, a, p.I, L, operand, block)
        product_gradient(p, p.cell.x, rows, dgates, operand, p.I, p.dw_ih)
        for row in range(rows):
            a[row] = dgates + p.cell.x.first * p.blocks * block + row * L
            c_in[row] = zeros
            c_out[row] = dx + row * x_blocks * L
        multiply(p.x_product, 0, p.x_product.panels(), rows, a, c_in, c_out)
        user_rows(p, first, rows, p.dx, p.B * p.I, p.I, a)
        for row in range(rows):
            memcpy(a[row], c_out[row], p.I * sizeof(real_t))

        # (h) pre = h_prev @ w_hh', or (r * h_prev) @ w_hn'
        for s in range(p.cell.stages):
            stage = &p.cell.stage[s]
            for row in range(rows):
                if stage.reads < 0:
                    a[row] = p.h + (first * p.B + row) * W
                else:
                    a[row] = p.gates + (first * p.B + row) * GW + stage.reads * L
            to_blocks(rows, a, p.H, L if stage.reads < 0 else p.cell.slots * L, operand, block)
            product_gradient(p, stage.slots, rows, dgates, operand, p.H, p.dw_hh)

        # (b) pre = .. + b
        for b in range(p.cell.slots * p.blocks):
            sum_of_rows(rows, dgates + b * block, db + b * L)
        if p.cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
            peephole_gradient(p, first, rows, dgates, dw_ch)

    for slot in range(p.cell.x.first, p.cell.x.first + p.cell.x.used):
        memcpy(p.db_ih + p.cell.x.gate_of[slot] * p.H, db + slot * W, p.H * sizeof(real_t))
    for s in range(p.cell.stages):
        slots = p.cell.stage[s].slots
        for slot in range(slots.first, slots.first + slots.used):
            memcpy(p.db_hh + slots.gate_of[slot] * p.H, db + slot * W, p.H * sizeof(real_t))
    if p.cell.options & (PEEPHOLE_PREVIOUS | PEEPHOLE_CURRENT):
        for s in range(3):
            memcpy(p.dw_ch + s * p.H, dw_ch + s * W, p.H * sizeof(real_t))
