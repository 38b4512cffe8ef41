"""The weights of a layer, packed in the order in which a pass reads them.

One array holds all: vectors, bias, the weights of x, those of h, the projection. For the forward
pass they are W', whose columns are gates. For the backward pass they are W, whose columns are those
of x or h and whose rows are gates.
"""

from libc.string cimport memset

from cell cimport PRODUCT, Cell, Stage, slots_from
from matmul cimport PANEL, Product, Slots, pack_columns, pack_rows
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


cdef inline isize lay_out(
    Pass[real_t]* p, real_t* packed, bint backward, isize block
) noexcept nogil:
    """Point the pass into `packed`; return how many elements that takes.

    For the backward pass, `block` elements lie between two blocks of the gate gradients.
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
    p.x_product.packed = free
    free += p.x_product.size()
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
        product.packed = free
        free += product.size()
    if cell.options & PROJECTION:
        if backward:
            shape_backward(&p.projection, p.blocks, 1, p.P, 0, block)
        else:
            shape_forward(&p.projection, p.h_blocks, 1, slots_from(0, 1), p.H, L, PANEL)
        p.projection.packed = free
        free += p.projection.size()
        if not backward:
            p.zeros = free  # what the projection starts from
            free += p.h_width()
    return free - packed


cdef inline void add_units(
    Pass[real_t]* p, const real_t* source, isize step, real_t* to
) noexcept nogil:
    """Add one value a unit, `step` elements from block to block; none from null."""
    cdef isize unit
    if source != NULL:
        for unit in range(p.H):
            to[unit // p.lanes() * step + unit % p.lanes()] += source[unit]


cdef inline void pack_bias(
    Pass[real_t]* p, Slots slots, const real_t* bias
) noexcept nogil:
    cdef isize slot, L = p.lanes()
    if bias != NULL:
        for slot in range(slots.first, slots.first + slots.used):
            add_units(
                p, bias + p.cell.gate_of[slot] * p.H, p.cell.slots * L,
                <real_t*> p.bias + slot * L,
            )


cdef inline void pack_product(
    Pass[real_t]* p, bint backward, const Product[real_t]* product, const real_t* w, isize columns,
    Slots slots,
) noexcept nogil:
    """The rows of w of the gates in `slots`."""
    cdef const int* gates = p.cell.gate_of + slots.first
    cdef real_t* to = <real_t*> product.packed
    if backward:
        pack_columns(w, p.H, columns, gates, slots.used, PANEL, to)
    else:
        pack_rows(w, p.H, columns, gates, slots.used, product.width, to)


cdef inline void pack(
    Pass[real_t]* p,
    bint backward,
    const real_t* w_ih,
    const real_t* w_hh,
    const real_t* b_ih,
    const real_t* b_hh,
    const real_t** vectors,
    const real_t* w_hr,
) noexcept nogil:
    """Fill what `lay_out` laid out. What there is not is null: a bias, a vector, `w_hr`."""
    cdef const Cell[real_t]* cell = p.cell
    cdef isize L = p.lanes()
    cdef int s, k, whole = 0  # of weights that are of no gate
    memset(<void*> p.vectors, 0, p.blocks * cell.vectors * L * sizeof(real_t))
    memset(<void*> p.bias, 0, p.gates_width() * sizeof(real_t))
    for k in range(cell.vectors):
        add_units(p, vectors[k], cell.vectors * L, <real_t*> p.vectors + k * L)
    pack_bias(p, cell.x, b_ih)
    pack_bias(p, cell.h, b_hh)
    pack_product(p, backward, &p.x_product, w_ih, p.I, cell.x)
    for s in range(cell.stages):
        if cell.stage[s].kind == PRODUCT:
            pack_product(
                p, backward, &p.product[cell.stage[s].product], w_hh, p.P, cell.stage[s].slots
            )
    if cell.options & PROJECTION:
        if backward:
            pack_columns(w_hr, p.P, p.H, &whole, 1, PANEL, <real_t*> p.projection.packed)
        else:
            memset(p.zeros, 0, p.h_width() * sizeof(real_t))
            pack_rows(w_hr, p.P, p.H, &whole, 1, PANEL, <real_t*> p.projection.packed)
