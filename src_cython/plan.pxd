"""How threads share a pass: into which tracks it is cut, and how many threads are worth waking.

Tracks share the rows, and go through all steps without waiting for each other; or the units of the
same rows, and wait for each other at every step. No sum is split either way, so the bits of all
results are those of one thread.
"""

from cell cimport PRODUCT, ROW
from recurrence cimport Part, Pass
from vec cimport isize, real_t


cdef struct Span:
    isize begin
    isize end


cdef struct Plan:
    int size     # threads
    int groups   # of rows
    int units    # parts of the units of a group
    bint ahead   # whether the inputs are projected by tracks of their own
    isize pace   # steps of a piece, where it is not a single one


cdef enum:
    # Operations of a piece that nobody waits for: some 200 us, in which Ctrl-C is not seen, and the
    # some 100 ns that it costs to claim one do not count.
    PIECE = 20_000_000


cdef inline bint shares_units(Pass[real_t]* p) noexcept nogil:
    """Whether tracks can share a row: every stage is one of units and nothing follows."""
    cdef int s
    for s in range(p.cell.stages):
        if p.cell.stage[s].kind == ROW:
            return False
    for s in range(p.cell.states):
        if p.state[s].made != NULL or p.state[s].flow != NULL:
            return False
    return p.cell.products > 0 and p.cell.stage[0].kind == PRODUCT and p.h_in == NULL


cdef inline double operations_of_row(Pass[real_t]* p, bint of_x, bint of_h) noexcept nogil:
    """Of the products at a step, with x and with h."""
    cdef isize terms = p.cell.x.used * p.I if of_x else 0
    cdef int s
    if of_h:
        for s in range(p.cell.stages):
            terms += p.cell.stage[s].slots.used * p.P  # of a sweep they are none
    return 2.0 * p.width() * terms


cdef inline Plan plan_of(Pass[real_t]* p, int limit, bint backward) noexcept nogil:
    """The tracks, and the threads that are worth waking, of at most `limit`."""
    cdef double of_row = operations_of_row(p, True, True), all_steps = 0
    cdef isize step
    cdef Plan plan
    plan.size = plan.groups = plan.units = 1
    plan.ahead = False
    plan.pace = max(1, <isize> (PIECE / (of_row * p.B)))
    if limit == 1:
        return plan
    for step in range(p.steps):
        all_steps += of_row * p.alive(step)
    return shared_plan(p, plan, limit, backward, all_steps)


cdef inline Plan shared_plan(
    Pass[real_t]* p, Plan plan, int limit, bint backward, double all_steps
) noexcept nogil:
    cdef double of_step = operations_of_row(p, False, True) * p.B
    cdef int size = <int> min(<double> limit, all_steps / 1e7)
    if size < 2:
        return plan
    if size <= p.B // 4:
        plan.size = plan.groups = size
    elif shares_units(p):
        plan.size = size
        plan.units = <int> min(<double> size, max(1.0, of_step / 1e5))
        plan.ahead = True
    else:
        plan.size = plan.groups = <int> min(<isize> size, p.B)
    return plan


cdef inline bint is_small(const Plan* plan, isize steps) noexcept nogil:
    """Whether a pass of so many steps is one piece: it is done at once, without tracks."""
    return plan.size == 1 and steps <= plan.pace


cdef inline Plan linear_plan(isize rows, isize K, isize N, int limit) noexcept nogil:
    """Threads that are worth waking: 2e6 operations take 20 us or so, as waking a thread does."""
    cdef Plan plan
    plan.groups = plan.units = plan.ahead = plan.pace = 1
    plan.size = max(1, <int> min(<double> min(limit, rows), 2.0 * rows * K * N / 2e6))
    return plan


cdef inline Span part_of(isize count, int part, int parts) noexcept nogil:
    """One of some even parts of so many things."""
    cdef Span span
    span.begin = count * part // parts
    span.end = count * (part + 1) // parts
    return span


cdef inline void take_rows(Pass[real_t]* p, int group, int groups) noexcept nogil:
    """Let the pass have the rows of one of some groups that share the work evenly."""
    p.part.begin = p.share(group, groups, 0, p.steps)
    p.part.end = p.share(group + 1, groups, 0, p.steps)
    p.part.unit, p.part.units = 0, 1


cdef inline Span own_panels(const Part* part, isize count) noexcept nogil:
    """A track's part of the units of its rows, which lie in so many panels, or blocks."""
    return part_of(count, part.unit, part.units)
