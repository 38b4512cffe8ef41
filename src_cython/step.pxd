"""What the two passes through time share: who takes part, and what a pointwise step sees."""

from recurrence cimport Pass, Unit
from vec cimport Vec, isize, real_t


cdef inline bint has_extras(Pass[real_t]* p) noexcept nogil:
    """Whether a step does more than its cell's products and pointwise steps."""
    return p.made_h != NULL or p.made_c != NULL or p.h_in != NULL or p.flow_h != NULL


cdef inline int team_size(Pass[real_t]* p, int limit) noexcept nogil:
    """Threads that are worth waking, of at most `limit`."""
    # A thread gains where it has 1e7 operations of its own, 100 us or so, and in a step of one row,
    # at which all wait for each other, 64e3 (two threads, one row of 64 units: 0.6 to 1.0 times as
    # fast as one; 128 units: 1.1 to 1.4; 8 rows of 64 units: 0.9 to 1.1; 16 rows: 1.3 to 1.7).
    cdef double one = 2.0 * p.gates_width() * (p.I + p.P), all_steps = 0
    cdef isize step
    if limit == 1 or (p.B == 1 and has_extras(p)):
        return 1
    for step in range(p.steps):
        all_steps += one * p.alive(step)
    cdef double size = min(<double> limit, all_steps / 1e7)
    size = min(size, <double> p.B) if p.B > 1 else min(size, one / 64e3)
    return max(1, <int> size)


cdef inline Unit[real_t] unit_at(
    Pass[real_t]* p, isize step, isize row, isize block, real_t* gates
) noexcept nogil:
    """What a sweep that starts at this row and block sees of the states and gates of a step."""
    cdef isize at = row * p.width() + block * p.lanes()
    cdef Unit[real_t] unit
    unit.gates = <Vec[real_t]*> gates + block * p.cell.slots
    # With a projection h has another width, but then the cell does not look at the one before.
    unit.h_prev = <Vec[real_t]*> (p.h_at(step) + at)
    unit.h = <Vec[real_t]*> (p.made_h_at(step) + at)
    unit.c_prev = <Vec[real_t]*> (p.c_at(step) + at)
    unit.c = <Vec[real_t]*> (p.made_c_at(step) + at)
    unit.w_ch = <Vec[real_t]*> p.w_ch + block * 3
    unit.options = p.cell.options
    unit.activation = p.cell.activation
    # Only the backward pass has these; a pointer that a sweep moves has to point somewhere.
    unit.dh = unit.dc = unit.all_dc = unit.h
    unit.drh = unit.h
    unit.dgates = unit.gates
    unit.slot_step = 0
    return unit


cdef inline real_t* keep_at(
    Pass[real_t]* p, const real_t* keep, isize step, isize row, isize width
) noexcept nogil:
    """Zoneout: which part of a row's state stays at a step."""
    return <real_t*> keep + (p.time(step, row) * p.B + p.user_row(row)) * width
