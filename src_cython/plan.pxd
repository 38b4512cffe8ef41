"""How threads share a pass: into which tracks it is cut, and how many threads are worth waking.

Tracks share the rows, and go through all steps without waiting for each other; or the units of the
same rows, and wait for each other at every step. No sum is split either way, so the bits of all
results are those of one thread.
"""

from cell cimport PRODUCT, ROW
from matmul cimport FULL
from recurrence cimport Part, Pass
from vec cimport isize, real_t


cdef struct Span:
    isize begin
    isize end


cdef struct Plan:
    int size        # threads
    int share       # of them, for each direction
    int groups      # of rows
    int units       # parts of the units of a group
    bint ahead      # whether the inputs are projected by tracks of their own
    bint behind     # whether a layer follows the one below a chunk behind
    isize together  # rows projected at once
    isize pace      # steps of a piece, where it is not a single one


cdef enum:
    # Operations of a piece that nobody waits for: some 200 us, in which Ctrl-C is not seen, and the
    # some 100 ns that it costs to claim one do not count.
    PIECE = 20_000_000
    # Operations of a step, 10 ms or so, beyond which its rows are cut as well; no group has fewer
    # rows than GROUP, for each reads all weights.
    STEP = 1_000_000_000
    GROUP = 128
    # Rows projected at once: their gate sums stay in the second cache until they are read. Fewer
    # where another thread projects them meanwhile, and soon has the first ones, or waits for them.
    TOGETHER = 128
    TOGETHER_AHEAD = 32
    TOGETHER_BEHIND = 16


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


cdef inline double operations_of_row(Pass[real_t]* p, bint with_x) noexcept nogil:
    """Of the products at a step: those with h, and that with x."""
    cdef isize terms = p.cell.x.used * p.I if with_x else 0
    cdef int s
    for s in range(p.cell.stages):
        terms += p.cell.stage[s].slots.used * p.P  # of a sweep they are none
    return 2.0 * p.width() * terms


cdef inline Plan plan_of(Pass[real_t]* p, int limit) noexcept nogil:
    """The tracks of a pass by itself; see `plan_of_stack`."""
    return plan_of_stack(p, operations_of_row(p, True), 1, 1, limit)


cdef inline Plan plan_of_stack(
    Pass[real_t]* p, double of_row, int layers, int directions, int limit
) noexcept nogil:
    """The tracks of a stack of passes such as `p`, and the threads, at most `limit`, to wake.

    `of_row` are the operations of all passes at a step of a row. A thread gains where it has 1e7 of
    its own, 100 us or so, and where threads share the units, 1e5 of a step, at which all wait for
    each other.
    """
    cdef double all_steps = 0, of_pass
    cdef int share
    cdef isize step
    cdef Plan plan
    # A single row waits for its weights, and narrow ones are read in a third of the time.
    if p.precision != FULL and p.B == 1:
        of_row /= 3
    of_pass = of_row / (layers * directions)
    plan.size = plan.units = 1
    plan.groups = <int> max(1.0, min(of_pass * p.B / STEP, <double> (p.B // GROUP)))
    plan.ahead = plan.behind = False
    plan.together = TOGETHER
    if limit > 1:
        for step in range(p.steps):
            all_steps += of_row * p.alive(step)
        plan.size = max(1, <int> min(<double> limit, all_steps / 1e7))
    # Both directions at once, each on some of the threads.
    share = plan.size if plan.size % directions else plan.size // directions
    # Rows, where each thread has some (two threads, inference, times of one: 16 x 128 1.70 by rows,
    # 1.58 by units; 256 x 64 1.67, 1.38; 20 x 650 2.19, 1.90; 64 x 512 1.89, 1.93).
    if share > 1 and share <= p.B // 4:
        plan.groups = max(share, plan.groups)
    elif share > 1 and directions == 1 and share < 2 * layers and p.steps >= 8:
        plan.behind = True
        plan.together = max(p.B, min(<isize> TOGETHER_BEHIND, p.steps * p.B // 8))
    elif share > 1 and not shares_units(p):
        plan.groups = max(<int> min(<isize> share, p.B), plan.groups)
        plan.size = min(plan.size, plan.groups * directions)
    elif share > plan.groups:
        plan.groups = 1
        plan.ahead = True
        plan.units = <int> min(
            <double> share, max(1.0, operations_of_row(p, False) * p.B / 1e5)
        )
        plan.together = TOGETHER if plan.units > 1 else TOGETHER_AHEAD
    plan.share = share
    plan.pace = max(1, <isize> (PIECE * plan.groups / (of_pass * p.B)))
    if plan.behind:
        plan.pace = min(plan.pace, plan.together // p.B)
    return plan


cdef inline bint is_small(const Plan* plan, isize steps) noexcept nogil:
    """Whether a pass of so many steps is one piece: it is done at once, without tracks."""
    return plan.size == 1 and plan.groups == 1 and steps <= plan.pace


cdef inline int linear_threads(isize rows, isize K, isize N, int limit) noexcept nogil:
    """Threads that are worth waking: 2e6 operations take 20 us or so, as waking a thread does."""
    return max(1, <int> min(<double> min(limit, rows), 2.0 * rows * K * N / 2e6))


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
