"""What the two passes through time share: what a step of a cell sees, and what a row keeps."""

from recurrence cimport Pass
from unit cimport KEEPS, H, Extent, Unit
from vec cimport Vec, isize, real_t


cdef inline void set_extent(Extent* over, Pass[real_t]* p) noexcept nogil:
    """The layout of rows; which of them, and which of their blocks to visit, is still to be set."""
    over.row = over.block = over.rows = over.blocks = 0
    over.units = p.H
    over.slots = p.cell.slots
    over.row_blocks = p.blocks
    over.vectors = p.cell.vectors
    over.dgates_block = 0


cdef inline void set_unit(
    Unit[real_t]* unit, Pass[real_t]* p, isize step, isize row, isize block, real_t* gates
) noexcept nogil:
    """What a sweep that starts at this row and block sees of the states and gates of a step."""
    cdef isize at = row * p.width() + block * p.lanes()
    cdef int s
    unit.gates = <Vec[real_t]*> gates + block * p.cell.slots
    unit.vectors = <Vec[real_t]*> p.vectors + block * p.cell.vectors
    # With a projection h has another width, but then the cell does not look at the one before.
    for s in range(p.cell.states):
        unit.prev[s] = <Vec[real_t]*> (p.at(s, step) + at)
        unit.next[s] = <Vec[real_t]*> (p.made_at(s, step) + at)
        # Only the backward pass has these; a pointer that a sweep moves has to point somewhere.
        unit.d[s] = unit.whole[s] = unit.next[s]
    unit.h_in = <Vec[real_t]*> (p.h_in_at(step) + at)
    unit.dh_in = unit.dgates = unit.next[H]
    unit.dslot = unit.next[H]
    unit.slot_step = 0
    unit.options = p.cell.options | (KEEPS if p.keeps else 0)
    unit.eps = p.cell.eps
    unit.activation = &p.cell.activation[0]


cdef inline bint makes_states(Pass[real_t]* p) noexcept nogil:
    """Whether what the cell makes is not yet the states: projection or zoneout."""
    cdef int s
    for s in range(p.cell.states):
        if p.state[s].made != NULL:
            return True
    return False


cdef inline real_t* keep_at(Pass[real_t]* p, int s, isize step, isize row) noexcept nogil:
    """Zoneout: which part of a row's state stays at a step; null if none does."""
    if p.state[s].keep == NULL:
        return NULL
    return <real_t*> p.state[s].keep + (
        (p.time(step, row) * p.B + p.user_row(row)) * p.state[s].units
    )
