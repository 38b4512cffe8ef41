"""The weights of a layer, packed in the order in which a pass reads them.

One array holds all: peepholes, bias, the weights of x, those of h. For the forward pass they are
W', whose columns are gates. For the backward pass they are W, whose columns are those of x or h and
whose rows are gates.
"""

from libc.string cimport memset

from matmul cimport PANEL, pack_columns, pack_rows
from recurrence cimport Cell, Pass, Product, Slots
from vec cimport isize, real_t


cdef inline bint holds(Slots slots, isize slot) noexcept nogil:
    return slots.first <= slot < slots.first + slots.used


cdef inline void shape_forward(
    Product[real_t]* product, Pass[real_t]* p, Slots slots, isize terms, isize step, isize width
) noexcept nogil:
    product.terms.groups = 1
    product.terms.group_step = 0
    product.terms.length = terms
    product.terms.step = step
    product.vectors = p.blocks * slots.used
    product.width = width
    product.slots = p.cell.slots
    product.first = slots.first
    product.used = slots.used


cdef inline void shape_backward(
    Product[real_t]* product, Pass[real_t]* p, Slots slots, isize columns, isize block
) noexcept nogil:
    """`block` elements lie between two blocks of the gate gradients that the product reads."""
    product.terms.groups = slots.used
    product.terms.group_step = p.blocks * block
    product.terms.length = p.H
    product.terms.step = block
    product.vectors = p.blocks_of(columns)
    product.width = PANEL
    product.slots = 1
    product.first = 0
    product.used = 1


cdef inline isize lay_out(
    Pass[real_t]* p, real_t* packed, bint backward, isize block
) noexcept nogil:
    """Point the pass into `packed`; return how many elements that takes."""
    cdef isize L = p.lanes()
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
        shape_backward(&p.x_product, p, cell.x, p.I, block)
    else:
        shape_forward(&p.x_product, p, cell.x, p.I, L, PANEL)
    p.x_product.packed = free
    free += p.x_product.size()
    for s in range(cell.stages):
        slots = cell.stage[s].slots
        if backward:
            shape_backward(&p.product[s], p, slots, p.H, block)
        else:
            # A panel holds whole blocks of units, so that their step can follow it at once.
            step = L if cell.stage[s].reads < 0 else cell.slots * L
            width = slots.used * max(1, PANEL // slots.used)
            shape_forward(&p.product[s], p, slots, p.H, step, width)
        p.product[s].packed = free
        free += p.product[s].size()
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
) noexcept nogil:
    """Fill what `lay_out` laid out. A bias is null where there is none, and so is `w_ch`."""
    cdef isize slot, gate, L = p.lanes()
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
        gate = cell.x.gate_of[slot]
        if b_ih != NULL and holds(cell.x, slot):
            add_units(p, b_ih + gate * p.H, cell.slots * L, place)
        for s in range(cell.stages):
            if b_hh != NULL and holds(cell.stage[s].slots, slot):
                add_units(p, b_hh + gate * p.H, cell.slots * L, place)
    if backward:
        pack_columns(w_ih, p.H, p.I, cell.x, PANEL, <real_t*> p.x_product.packed)
    else:
        pack_rows(w_ih, p.H, p.I, cell.x, PANEL, <real_t*> p.x_product.packed)
    for s in range(cell.stages):
        slots = cell.stage[s].slots
        place = <real_t*> p.product[s].packed
        if backward:
            pack_columns(w_hh, p.H, p.H, slots, PANEL, place)
        else:
            pack_rows(w_hh, p.H, p.H, slots, p.product[s].width, place)
