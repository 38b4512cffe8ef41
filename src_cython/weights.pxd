"""The weights of a layer, packed in the order in which a pass reads them.

One array holds all: peepholes, bias, the weights of x, those of h, the projection. For the forward
pass they are W', whose columns are gates. For the backward pass they are W, whose columns are those
of x or h and whose rows are gates.
"""

from libc.string cimport memset

from matmul cimport PANEL, pack_columns, pack_rows
from recurrence cimport PROJECTION, Cell, Pass, Product, Slots, slots_from
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
    cdef Cell[real_t]* cell = &p.cell
    cdef Slots slots
    cdef isize step, width
    cdef int s
    cdef real_t* free = packed
    p.w_ch = free
    free += p.blocks * 3 * L
    p.bias = free
    free += p.gates_width()
    if backward:
        shape_backward(&p.x_product, p.blocks_of(p.I), cell.x.used, p.H, gate, block)
    else:
        shape_forward(&p.x_product, p.blocks, cell.slots, cell.x, p.I, L, PANEL)
    p.x_product.packed = free
    free += p.x_product.size()
    for s in range(cell.stages):
        slots = cell.stage[s].slots
        if backward:
            shape_backward(&p.product[s], p.h_blocks, slots.used, p.H, gate, block)
        else:
            # A panel holds whole blocks of units, so that their step can follow it at once.
            step = L if cell.stage[s].reads < 0 else cell.slots * L
            width = slots.used * max(1, PANEL // slots.used)
            shape_forward(&p.product[s], p.blocks, cell.slots, slots, p.P, step, width)
        p.product[s].packed = free
        free += p.product[s].size()
    if backward:
        shape_backward(&p.projection, p.blocks, 1, p.P, 0, block)
    else:
        shape_forward(&p.projection, p.h_blocks, 1, slots_from(0, 1), p.H, L, PANEL)
    p.projection.packed = free
    if cell.options & PROJECTION:
        free += p.projection.size()
        if not backward:
            p.zeros = free  # what the projection starts from
            free += p.h_width()
    return free - packed


cdef inline void add_units(
    Pass[real_t]* p, const real_t* source, isize step, real_t* to
) noexcept nogil:
    """Add one value a unit, `step` elements from block to block."""
    cdef isize unit
    for unit in range(p.H):
        to[unit // p.lanes() * step + unit % p.lanes()] += source[unit]


cdef inline void pack(
    Pass[real_t]* p,
    bint backward,
    const real_t* w_ih,
    const real_t* w_hh,
    const real_t* b_ih,
    const real_t* b_hh,
    const real_t* w_ch,
    const real_t* w_hr,
) noexcept nogil:
    """Fill what `lay_out` laid out. What there is not is null: a bias, `w_ch`, `w_hr`."""
    cdef isize slot, gate, L = p.lanes()
    cdef int whole = 0  # of weights that are of no gate
    cdef const int* gates = p.cell.gate_of
    cdef Cell[real_t]* cell = &p.cell
    cdef Slots slots
    cdef int s
    cdef real_t* place
    memset(<void*> p.w_ch, 0, p.blocks * 3 * L * sizeof(real_t))
    memset(<void*> p.bias, 0, p.gates_width() * sizeof(real_t))
    if w_ch != NULL:
        for gate in range(3):
            add_units(p, w_ch + gate * p.H, 3 * L, <real_t*> p.w_ch + gate * L)
    for slot in range(cell.slots):
        place = <real_t*> p.bias + slot * L
        gate = gates[slot]
        if b_ih != NULL and cell.x.holds(slot):
            add_units(p, b_ih + gate * p.H, cell.slots * L, place)
        for s in range(cell.stages):
            if b_hh != NULL and cell.stage[s].slots.holds(slot):
                add_units(p, b_hh + gate * p.H, cell.slots * L, place)
    if backward:
        pack_columns(
            w_ih, p.H, p.I, gates + cell.x.first, cell.x.used, PANEL,
            <real_t*> p.x_product.packed,
        )
    else:
        pack_rows(
            w_ih, p.H, p.I, gates + cell.x.first, cell.x.used, PANEL,
            <real_t*> p.x_product.packed,
        )
    for s in range(cell.stages):
        slots = cell.stage[s].slots
        place = <real_t*> p.product[s].packed
        if backward:
            pack_columns(w_hh, p.H, p.P, gates + slots.first, slots.used, PANEL, place)
        else:
            pack_rows(
                w_hh, p.H, p.P, gates + slots.first, slots.used, p.product[s].width, place
            )
    if w_hr != NULL:
        if backward:
            pack_columns(w_hr, p.P, p.H, &whole, 1, PANEL, <real_t*> p.projection.packed)
        else:
            memset(p.zeros, 0, p.h_width() * sizeof(real_t))
            pack_rows(w_hr, p.P, p.H, &whole, 1, PANEL, <real_t*> p.projection.packed)
