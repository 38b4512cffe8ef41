"""The pass forward through time, written once for all cells.

A chunk of steps at a time: the inputs' part of the gate sums of all its rows in one product, then
step by step the stages of the cell. Rows come by falling length, so that those which are alive at
a step are the first ones.
"""

from arena cimport Arena
from forward_step cimport (
    forward_stages,
    forward_step,
    has_own_bias,
    start_from_bias,
    store_final_states,
    store_outputs,
)
from matmul cimport CACHE_LINE, begin_product, end_product, multiply
from plan cimport TOGETHER, Plan, Span, own_panels, take_rows
from recurrence cimport Pass
from track cimport Crew, Neighbour, PassTrack, Position, Tracks, flushing
from vec cimport isize, real_t


cdef inline isize rows_of_group(Pass[real_t]* p, Plan plan) noexcept nogil:
    return (p.B - 1) // plan.groups + 1 if p.lengths == NULL else p.B


cdef inline isize steps_ahead(Pass[real_t]* p, Plan plan) noexcept nogil:
    """Steps of a chunk that a track of its own projects."""
    return max(1, plan.together // rows_of_group(p, plan))


cdef inline isize forward_capacity(Pass[real_t]* p, Plan plan) noexcept nogil:
    """The most rows that are projected at once."""
    cdef isize rows = rows_of_group(p, plan)
    if plan.ahead:
        return min(p.steps, steps_ahead(p, plan)) * rows
    return min(p.steps * rows, max(rows, plan.together))


cdef inline int forward_tracks(Plan plan) noexcept nogil:
    return plan.groups * (2 * plan.units if plan.ahead else 1)


cdef inline isize forward_tables(Pass[real_t]* p, Plan plan) noexcept nogil:
    """Pointers that a track has, and after them the rows that products read, in as much room."""
    cdef isize most = forward_capacity(p, plan)
    return 3 * most + p.B + narrow_room(p, most) // <isize> sizeof(real_t*)


cdef inline isize narrow_room(Pass[real_t]* p, isize most) noexcept nogil:
    """Bytes of the rows of a product below float32, of a chunk or of a step, and of one more."""
    cdef isize of_step = p.projection.narrow_bytes()
    cdef int s
    for s in range(p.cell.products):
        of_step = max(of_step, p.product[s].narrow_bytes())
    return CACHE_LINE + max((most + 1) * p.x_product.narrow_bytes(), (p.B + 1) * of_step)


cdef inline void find_narrow(Pass[real_t]* p, isize most) noexcept nogil:
    cdef size_t first = <size_t> (p.tables + 3 * most + p.B)
    p.narrow = <char*> ((first + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)


cdef inline real_t* forward_scratch(
    Pass[real_t]* p, Plan plan, isize more, Arena[real_t]* arena
) except? NULL nogil:
    """Reserve what the pass needs, and `more` elements, to which a pointer is returned."""
    cdef isize slots = plan.groups * (2 if plan.ahead else 1)
    cdef isize gates = 0
    cdef isize tables = forward_tracks(plan) * forward_tables(p, plan)
    if p.gates == NULL:
        gates = slots * forward_capacity(p, plan) * p.gates_width()
    arena.reserve(gates + more, tables, 3)
    p.tables = arena.rows(tables)
    p.chunk_gates = arena.reals(gates)
    return arena.reals(more)


cdef inline isize alive_at(Pass[real_t]* p, isize step) noexcept nogil:
    """Rows of this group that have such a step."""
    return p.alive_of(step, p.part.begin, p.part.end) if step < p.steps else 0


cdef inline isize chunk_end(Pass[real_t]* p, isize first, isize most) noexcept nogil:
    """The step after a chunk that begins at `first`: at most so many rows are projected at once."""
    cdef isize rows = 0, step = first, alive = alive_at(p, first)
    while alive > 0 and (rows == 0 or rows + alive <= most):
        rows += alive
        step += 1
        alive = alive_at(p, step)
    return step


cdef inline real_t* gates_at(
    Pass[real_t]* p, real_t* sums, isize step, isize row, isize at
) noexcept nogil:
    """The sums of a row: where gates are kept, or the `at`-th row of those of a chunk."""
    if p.gates != NULL:
        return p.gates + (step * p.B + row) * p.gates_width()
    return sums + at * p.gates_width()


cdef inline void project_inputs(
    Pass[real_t]* p, isize first, isize until, real_t* sums, isize most
) noexcept nogil:
    """pre = b + x @ w_ih', of the rows of a chunk and this track's units."""
    cdef Span panels = own_panels(&p.part, p.x_product.panels())
    cdef real_t** x = p.tables
    cdef real_t** bias = x + most
    cdef real_t** gates = bias + most
    cdef isize rows = 0, step, row, begin = p.part.begin
    cdef bint own_bias = has_own_bias(p)
    for step in range(first, until):
        for row in range(begin, begin + p.alive_of(step, begin, p.part.end)):
            x[rows] = <real_t*> p.x + p.time(step, row) * p.x_step + p.user_row(row) * p.x_row
            bias[rows] = <real_t*> p.bias
            gates[rows] = gates_at(p, sums, step, row, rows)
            if own_bias:
                start_from_bias(p, gates[rows])
            rows += 1
    begin_product(p.x_product, rows, x, p.narrow)
    multiply(p.x_product, panels.begin, panels.end, rows, x, bias, gates)
    end_product(p.x_product, rows)


cdef inline isize forward_rows(Pass[real_t]* p, Position* own, isize step) noexcept nogil:
    """The next steps of a group of rows; the inputs of a chunk are projected before its first."""
    cdef isize most = own.most, begin = p.part.begin, alive = alive_at(p, step), beyond, end
    cdef real_t** bias = p.tables + most
    cdef real_t** gates = bias + most
    cdef real_t** a = gates + most
    cdef Span whole
    whole.begin, whole.end = 0, p.blocks + p.h_blocks
    find_narrow(p, most)
    if step == 0:
        store_final_states(p, 0, begin + alive, p.part.end, whole)
    if step == own.until:
        own.until = chunk_end(p, step, most)
        own.row = 0
        project_inputs(p, step, own.until, p.chunk_gates, most)
    end = min(own.until, step + own.pace)
    while step < end:
        forward_step(p, step, begin, alive, a, bias, gates + own.row, whole)
        own.row += alive
        step += 1
        beyond = alive_at(p, step)
        if beyond < alive:
            store_final_states(p, step, begin + beyond, begin + alive, whole)
        alive = beyond
    return step if alive > 0 else p.steps


cdef inline void forward_all(Pass[real_t]* p) noexcept nogil:
    cdef Plan plan
    cdef Position own
    cdef isize step = 0
    plan.groups, plan.ahead, plan.together = 1, False, TOGETHER
    own.most, own.pace = forward_capacity(p, plan), p.steps
    take_rows(p, 0, 1)
    while step < p.steps:
        step = forward_rows(p, &own, step)


cdef inline void forward_alone(Pass[real_t]* p) noexcept nogil:
    """The whole pass, at once and on this thread."""
    flushing(forward_all[real_t], p)


cdef inline real_t* sums_of_chunk(
    Pass[real_t]* p, isize first, isize steps, isize most
) noexcept nogil:
    """Two chunks take turns: one is projected while the steps of the other run."""
    return p.chunk_gates + (first // steps & 1) * most * p.gates_width()


cdef inline isize project_ahead(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """Project the inputs of the next chunk, of a part of the units."""
    cdef isize parts = p.cell.products, first = at // parts
    cdef isize until = min(first + own.pace, p.steps)
    find_narrow(p, own.most)
    project_inputs(p, first, until, sums_of_chunk(p, first, own.pace, own.most), own.most)
    return until * parts


cdef inline isize forward_units(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """The next stages, to the next product, of a part of the units of a group of rows."""
    cdef isize parts = p.cell.products, step = at // parts, begin = p.part.begin
    cdef isize alive = alive_at(p, step), r
    cdef real_t** gates = p.tables
    cdef real_t** a = gates + p.B
    cdef real_t* sums
    cdef Span units = own_panels(&p.part, p.product[parts - 1].panels())
    cdef isize panel_blocks = p.product[parts - 1].width // p.product[parts - 1].used
    units.begin, units.end = units.begin * panel_blocks, min(units.end * panel_blocks, p.blocks)
    find_narrow(p, own.most)
    if at == 0:
        store_final_states(p, 0, begin + alive, p.part.end, units)
    if step == own.until:
        own.first, own.row = step, 0
        own.until = min(step + own.pace, p.steps)
    sums = sums_of_chunk(p, own.first, own.pace, own.most)
    for r in range(alive):
        gates[r] = gates_at(p, sums, step, begin + r, own.row + r)
    own.stage = forward_stages(p, own.stage, step, begin, alive, a, gates)
    if own.stage < p.cell.stages:
        return at + 1
    own.stage = 0
    own.row += alive
    store_outputs(p, step, begin, alive, units)
    store_final_states(p, step + 1, begin + alive_at(p, step + 1), begin + alive, units)
    return at + 1


cdef inline void follow(
    PassTrack[Pass[real_t]]* track, const Neighbour* below, int group, int stride, int units,
    isize lead,
) noexcept nogil:
    """Let a track wait for those of the layer below that have the same rows."""
    cdef int k
    for k in range(below.passes):
        track.after(
            below.first[k] + group * stride, below.first[k] + group * stride + units, lead
        )


cdef inline int add_forward(
    Pass[real_t]* p, Plan plan, int home, const Neighbour* below, Neighbour* these,
    Tracks[Pass[real_t]]* tracks, Crew* crew,
) except -1 nogil:
    """The tracks of a pass; the first is for the thread of rank `home`.

    They wait for what those of the layer `below` write, and are added to `these`.
    """
    cdef isize most = forward_capacity(p, plan), parts = p.cell.products, width
    cdef isize steps = steps_ahead(p, plan)
    # Of the layer below, all that a chunk reads; all steps where it has two directions.
    cdef isize chunk = most if p.lengths != NULL else steps
    cdef isize lead = p.steps if below.passes > 1 else chunk
    cdef Pass[real_t] own = p[0]
    cdef PassTrack[Pass[real_t]]* track
    cdef int group, unit, first, kind, spare = plan.share - plan.groups * plan.units
    width = most * p.gates_width()
    these.add(crew.count(), crew.count() + forward_tracks(plan))
    for group in range(plan.groups):
        take_rows(&own, group, plan.groups)
        if not plan.ahead:
            own.chunk_gates = p.chunk_gates + group * width
            track = tracks.add(
                crew[0], own, p.steps, (home + group) % plan.size, forward_rows[real_t]
            )
            track.place.most, track.place.pace = most, plan.pace
            follow(track, below, group, 1, 1, lead)
            own.tables += forward_tables(p, plan)
            continue
        own.chunk_gates = p.chunk_gates + 2 * group * width
        first = crew.count()
        for kind in range(2):
            for unit in range(plan.units):
                own.part.unit, own.part.units = unit, plan.units
                track = tracks.add(
                    crew[0], own, p.steps * parts,
                    (home + group * plan.units + unit + spare * kind) % plan.size,
                    forward_units[real_t] if kind == 0 else project_ahead[real_t],
                )
                own.tables += forward_tables(p, plan)
                track.place.most, track.place.pace, track.place.stage = most, steps, 0
                if kind == 0:
                    track.after(first, first + plan.units, 0)
                    track.after(first + plan.units, first + 2 * plan.units, 1)
                else:
                    track.after(first, first + plan.units, -steps * parts)
                    follow(track, below, group, 2 * plan.units, plan.units, lead * parts)
    return 0
