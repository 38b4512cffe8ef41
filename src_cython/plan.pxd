"""How a team shares a pass: how many threads there are, and which part is whose.

Threads share the rows, and go through all steps without waiting for each other; or the units of a
single row, and wait for each other at every step. No sum is split either way, so the bits of all
results are those of one thread.
"""

from cell cimport ROW
from recurrence cimport Pass
from team cimport Plan, Team
from vec cimport isize, real_t


cdef struct Span:
    isize begin
    isize end


cdef inline bint shares_units(Pass[real_t]* p) noexcept nogil:
    """Whether threads can share a single row: every stage is one of units and nothing follows."""
    cdef int s
    for s in range(p.cell.stages):
        if p.cell.stage[s].kind == ROW:
            return False
    for s in range(p.cell.states):
        if p.state[s].made != NULL or p.state[s].flow != NULL:
            return False
    return p.cell.products > 0 and p.h_in == NULL


cdef inline double operations_of_row(Pass[real_t]* p) noexcept nogil:
    """Of the products at a step."""
    cdef isize terms = p.cell.x.used * p.I
    cdef int s
    for s in range(p.cell.stages):
        terms += p.cell.stage[s].slots.used * p.P  # of a sweep they are none
    return 2.0 * p.width() * terms


cdef inline Plan plan_of(Pass[real_t]* p, int limit) noexcept nogil:
    """Threads that are worth waking, of at most `limit`."""
    # A thread gains where it has 1e7 operations of its own, 100 us or so, and in a step of one row,
    # at which all wait for each other, 64e3 (two threads, one row of 64 units: 0.6 to 1.0 times as
    # fast as one; 128 units: 1.1 to 1.4; 8 rows of 64 units: 0.9 to 1.1; 16 rows: 1.3 to 1.7).
    cdef double one, all_steps = 0, size
    cdef isize step
    cdef Plan plan
    plan.size = 1
    plan.by_units = p.B == 1
    if limit == 1 or (plan.by_units and not shares_units(p)):
        return plan
    one = operations_of_row(p)
    for step in range(p.steps):
        all_steps += one * p.alive(step)
    size = min(<double> limit, all_steps / 1e7)
    size = min(size, one / 64e3) if plan.by_units else min(size, <double> p.B)
    plan.size = max(1, <int> size)
    return plan


cdef inline Plan linear_plan(isize rows, isize K, isize N, int limit) noexcept nogil:
    """Threads that are worth waking: 2e6 operations take 20 us or so, as waking a thread does."""
    cdef Plan plan
    plan.by_units = False
    plan.size = max(1, <int> min(<double> min(limit, rows), 2.0 * rows * K * N / 2e6))
    return plan


cdef inline Span part_of(Team* team, isize count) noexcept nogil:
    """This thread's part of so many things of equal work, which no row takes with it."""
    cdef Span part
    part.begin = team.begin(count)
    part.end = team.end(count)
    return part


cdef inline Span own_rows(Pass[real_t]* p, isize first, isize end) noexcept nogil:
    """The rows that this thread has part in, at the steps from `first` to `end`."""
    cdef Span rows
    rows.begin, rows.end = 0, p.B
    if not p.team.by_units:
        rows.begin = p.share(p.team.rank, p.team.size, first, end)
        rows.end = p.share(p.team.rank + 1, p.team.size, first, end)
    return rows


cdef inline Span own_panels(Team* team, isize count) noexcept nogil:
    """This thread's part of the units of its rows, which lie in so many panels, or blocks."""
    cdef Span panels
    panels.begin, panels.end = 0, count
    if team.by_units:
        panels = part_of(team, count)
    return panels


cdef inline bint has_whole_rows(Team* team) noexcept nogil:
    """Whether what is done once for a row is this thread's: of a shared one it is the first's."""
    return team.rank == 0 or not team.by_units


cdef inline void meet(Team* team) noexcept nogil:
    """Wait for those who have other units of the row."""
    if team.by_units:
        team.wait()
