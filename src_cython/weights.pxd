"""The weights of a layer, in the order in which a pass reads them, or where the user has them.

One array holds all that is packed: vectors, bias, the weights of x, those of h, the projection. For
the forward pass they are W', whose columns are gates. For the backward pass they are W, whose
columns are those of x or h and whose rows are gates.
"""

from libc.string cimport memset

from cell cimport PRODUCT, Cell, Stage, slots_from
from given cimport Given
from matmul cimport NO_GATES, PANEL, Matrix, Product, Slots, pack_weights
from recurrence cimport Pass
from unit cimport PROJECTION
from vec cimport isize, real_t


cdef inline void shape_forward(
    Product[real_t]* product, isize blocks, int row_slots, Slots slots, isize terms, isize step,
    isize width,
) noexcept nogil:
    """x W': `blocks` of columns fill `slots` of the `row_slots` that a block of a row has."""
    product.terms.groups = 1
    product.terms.group_step = 0
    product.terms.length = terms
    product.terms.step = step
    product.vectors = blocks * slots.used
    product.width = width
    product.slots = row_slots
    product.first = slots.first
    product.used = slots.used


cdef inline void shape_backward(
    Product[real_t]* product, isize blocks, isize groups, isize terms, isize group, isize block
) noexcept nogil:
    """dpre W: dpre has `groups` of `terms`; its groups and blocks are so many elements apart."""
    product.terms.groups = groups
    product.terms.group_step = group
    product.terms.length = terms
    product.terms.step = block
    product.vectors = blocks
    product.width = PANEL
    product.slots = 1
    product.first = 0
    product.used = 1


cdef inline bint reads_unpacked(Pass[real_t]* p) noexcept nogil:
    """Whether the pass reads the weights once: it would not read again what it has packed."""
    return p.steps * p.B == 1


cdef inline isize place(
    Pass[real_t]* p, Product[real_t]* product, real_t* free, bint unpacked
) noexcept nogil:
    """Let the panels start at `free`; return how many elements they take."""
    product.precision = p.precision
    product.packed = free
    if not unpacked:
        return product.size()
    product.packed = NULL
    return 0


cdef inline isize lay_out(
    Pass[real_t]* p, real_t* packed, bint backward, isize block, bint unpacked
) noexcept nogil:
    """Point the pass into `packed`; return how many elements that takes.

    For the backward pass, `block` elements lie between two blocks of the gate gradients. Of
    weights that are left `unpacked` only the vectors and biases are there.
    """
    cdef isize L = p.lanes(), gate = p.blocks * block
    cdef const Cell[real_t]* cell = p.cell
    cdef const Stage[real_t]* stage
    cdef Product[real_t]* product
    cdef Slots slots
    cdef isize step, width
    cdef int s
    cdef real_t* free = packed
    p.vectors = free
    free += p.blocks * cell.vectors * L
    p.bias = free
    free += p.gates_width()
    if backward:
        shape_backward(&p.x_product, p.blocks_of(p.I), cell.x.used, p.H, gate, block)
    else:
        shape_forward(&p.x_product, p.blocks, cell.slots, cell.x, p.I, L, PANEL)
    free += place(p, &p.x_product, free, unpacked)
    for s in range(cell.stages):
        stage = &cell.stage[s]
        if stage.kind != PRODUCT:
            continue
        slots = stage.slots
        product = &p.product[stage.product]
        if backward:
            shape_backward(product, p.h_blocks, slots.used, p.H, gate, block)
        else:
            # A panel holds whole blocks of units, so that their step can follow it at once.
            step = L if stage.reads < 0 else cell.slots * L
            width = slots.used * max(1, PANEL // slots.used)
            shape_forward(product, p.blocks, cell.slots, slots, p.P, step, width)
        free += place(p, product, free, unpacked)
    if cell.options & PROJECTION:
        if backward:
            shape_backward(&p.projection, p.blocks, 1, p.P, 0, block)
        else:
            shape_forward(&p.projection, p.h_blocks, 1, slots_from(0, 1), p.H, L, PANEL)
        free += place(p, &p.projection, free, unpacked)
        if not backward:
            p.zeros = free  # what the projection starts from
            free += p.h_width()
    return free - packed


cdef inline void add_units(
    Pass[real_t]* p, const real_t* source, isize step, real_t* to
) noexcept nogil:
    """Add one value a unit, `step` elements from block to block; none from null."""
    cdef isize block, unit, L = p.lanes()
    if source != NULL:
        for block in range(p.blocks):
            for unit in range(min(L, p.H - block * L)):
                to[block * step + unit] += source[block * L + unit]


cdef inline void take_bias(
    Pass[real_t]* p, Slots slots, const real_t* bias
) noexcept nogil:
    cdef isize slot, L = p.lanes()
    if bias != NULL:
        for slot in range(slots.first, slots.first + slots.used):
            add_units(
                p, bias + p.cell.gate_of[slot] * p.H, p.cell.slots * L,
                <real_t*> p.bias + slot * L,
            )


cdef inline int take_matrix(
    Product[real_t]* product, bint backward, Matrix w, isize rows, isize columns,
    const int* gates, isize count,
) except -1 nogil:
    """The `count` blocks of `rows` rows of w that `gates` tells, packed if there is room for it."""
    product.w, product.gates = <const real_t*> w.values, gates
    product.H, product.K, product.transposed = rows, columns, backward
    if product.packed != NULL:
        pack_weights(product[0], w, rows, columns, gates, count)
    return 0


cdef inline int take(
    Pass[real_t]* p, bint backward, isize block, bint unpacked, const Given[real_t]* given,
    real_t* packed,
) except -1 nogil:
    """Let a pass read what is `given`, packed to `packed`; see `lay_out`."""
    cdef const Cell[real_t]* cell = p.cell
    cdef isize L = p.lanes()
    cdef Slots slots
    cdef int s, k
    lay_out(p, packed, backward, block, unpacked)
    memset(<void*> p.vectors, 0, p.blocks * cell.vectors * L * sizeof(real_t))
    memset(<void*> p.bias, 0, p.gates_width() * sizeof(real_t))
    for k in range(cell.vectors):
        add_units(p, given.vectors[k], cell.vectors * L, <real_t*> p.vectors + k * L)
    take_bias(p, cell.x, given.b_ih)
    take_bias(p, cell.h, given.b_hh)
    take_matrix(
        &p.x_product, backward, given.w_ih, p.H, p.I, cell.gate_of + cell.x.first, cell.x.used
    )
    for s in range(cell.stages):
        if cell.stage[s].kind == PRODUCT:
            slots = cell.stage[s].slots
            take_matrix(
                &p.product[cell.stage[s].product], backward, given.w_hh, p.H, p.P,
                cell.gate_of + slots.first, slots.used,
            )
    if cell.options & PROJECTION:
        take_matrix(&p.projection, backward, given.w_hr, p.P, p.H, NO_GATES, 1)
        if not backward:
            memset(p.zeros, 0, p.h_width() * sizeof(real_t))
    return 0
