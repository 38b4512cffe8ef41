"""The pass back through time, written once for all cells.

A chunk of steps at a time, from the last: step by step the stages of the cell from the last, then
all that reads the gate gradients of the chunk.
"""

from libc.math cimport ceil
from libc.string cimport memcpy, memset

from arena cimport Arena
from backward_step cimport (
    add_dy,
    backward_step,
    extent_of,
    has_part,
    product_backward,
    set_backward_unit,
)
from cell cimport PRODUCT
from chunk cimport chunk_begin, chunk_block, chunk_gradients, gather_chunk
from matmul cimport PANEL, Slots
from plan cimport Plan, Span, operations_of_row, own_panels, take_rows
from recurrence cimport Pass
from states cimport State
from track cimport (
    FINISHED,
    Crew,
    Neighbour,
    PassTrack,
    Position,
    Tracks,
    flushing,
)
from unit cimport PROJECTION, Extent, Unit
from vec cimport isize, real_t


cdef inline int slots_of_chunks(Plan plan) noexcept nogil:
    """Chunks whose gate gradients there is room for: a thread alone has them read at once."""
    return 2 if plan.size > 1 else 1


cdef inline int parts_of_products(Pass[real_t]* p, Plan plan) noexcept nogil:
    """Tracks that share the products of a chunk: as many a thread, more if they take long."""
    cdef double of_chunk = 2 * operations_of_row(p, True) * (chunk_block(p) // p.lanes())
    return plan.size * max(1, <int> ceil(min(64.0, of_chunk / 2e9) / plan.size))


cdef inline isize dgates_size(Pass[real_t]* p) noexcept nogil:
    return p.cell.slots * p.blocks * chunk_block(p)


cdef inline int backward_tracks(Pass[real_t]* p, Plan plan) noexcept nogil:
    return plan.groups * plan.units + 2 * parts_of_products(p, plan)


cdef inline real_t* backward_scratch(
    Pass[real_t]* p, Plan plan, isize more, Arena[real_t]* arena
) except? NULL nogil:
    """Reserve what the pass needs, and `more` elements, to which a pointer is returned."""
    cdef isize L = p.lanes(), block = chunk_block(p), rows = block // L
    cdef isize W = p.width(), PW = p.h_width(), x_blocks = p.blocks_of(p.I) * block
    cdef isize zeros = max(max(W, PW), p.blocks_of(p.I) * L), states = p.B * max(W, PW)
    cdef isize projected = p.h_blocks * block if p.cell.options & PROJECTION else 0
    cdef isize of_cell = p.blocks * block if p.cell.options & PROJECTION else 0
    cdef isize all = x_blocks + rows * p.blocks_of(p.I) * L
    cdef isize slots = slots_of_chunks(plan), tables = backward_tracks(p, plan) * 3 * rows
    cdef State[real_t]* state
    cdef int s
    all += slots * (dgates_size(p) + projected) + p.cell.products * p.h_blocks * block + of_cell
    all += zeros + (3 * p.cell.states + 2) * states + p.gates_width() + p.cell.vectors * W
    arena.reserve(all + more, tables, 12 + p.cell.products + 3 * p.cell.states)
    p.tables = arena.rows(tables)
    p.dgates = arena.reals(slots * dgates_size(p))
    p.x_blocks = arena.reals(x_blocks)
    p.dx_rows = arena.reals(rows * p.blocks_of(p.I) * L)
    for s in range(p.cell.products):
        p.read_blocks[s] = arena.reals(p.h_blocks * block)
    p.dprojected = arena.reals(slots * projected)
    p.made_blocks = arena.reals(of_cell)
    p.zeros = arena.reals(zeros)
    for s in range(p.cell.states):
        state = &p.state[s]
        state.d = arena.reals(p.B * state.width())
        memset(state.d, 0, p.B * state.width() * sizeof(real_t))
        state.dmade = state.whole = state.d
        if state.made != NULL:
            state.dmade = arena.reals(p.B * W)
            memset(state.dmade, 0, p.B * W * sizeof(real_t))
        if has_part(p, s):
            state.whole = arena.reals(p.B * W)
    p.dh_in = arena.reals(p.B * PW)
    p.dslot = arena.reals(p.B * W)
    p.db = arena.reals(p.gates_width())
    p.dvector_sums = arena.reals(p.cell.vectors * W)
    memset(p.zeros, 0, zeros * sizeof(real_t))
    if p.h_in != NULL:
        memset(p.dh_in, 0, p.B * PW * sizeof(real_t))
    return arena.reals(more)


cdef inline isize next_chunk(Pass[real_t]* p, Position* own) noexcept nogil:
    """Go to the chunk before; return its rows."""
    cdef isize rows = 0, step
    own.until = own.first if own.chunk >= 0 else p.steps
    own.first = chunk_begin(p, own.until)
    own.chunk += 1
    for step in range(own.first, own.until):
        rows += p.alive(step)
    if own.chunk > 0 and own.slots > 1:  # take turns
        p.dgates += dgates_size(p) * (1 if own.chunk & 1 else -1)
        p.dprojected += p.h_blocks * chunk_block(p) * (1 if own.chunk & 1 else -1)
    return rows


# How far a track has come, backward: whole chunks, `stride` each, and pieces of the next one.


cdef inline isize stride(Pass[real_t]* p) noexcept nogil:
    return p.steps * p.cell.stages + 1


cdef inline isize after_chunk(Pass[real_t]* p, Position* own) noexcept nogil:
    return FINISHED if own.first == 0 else (own.chunk + 1) * stride(p)


cdef inline isize begin_piece(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """Go to the chunk of the next piece; return the first step of that piece."""
    if at == (own.chunk + 1) * stride(p):
        own.row = next_chunk(p, own)
        own.step = own.until
    return max(own.first, own.step - own.pace)


cdef inline isize backward_rows(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """The next steps of a group of rows."""
    cdef isize most = chunk_block(p) // p.lanes(), begin = p.part.begin, alive
    cdef isize end = begin_piece(p, own, at)
    cdef real_t** a = p.tables
    cdef real_t** c_in = a + most
    cdef real_t** c_out = c_in + most
    while own.step > end:
        own.step -= 1
        own.row -= p.alive(own.step)
        alive = p.alive_of(own.step, begin, p.part.end)
        if alive > 0:
            backward_step(p, own.step, begin, alive, own.row, a, c_in, c_out)
    return at + 1 if own.step > own.first else after_chunk(p, own)


cdef inline isize backward_units(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """The next product and the stages that follow it, of a part of the units of some rows."""
    cdef isize most = chunk_block(p) // p.lanes(), begin = p.part.begin, alive
    cdef real_t** a = p.tables
    cdef real_t** c_in = a + most
    cdef real_t** c_out = c_in + most
    cdef Span panels = own_panels(&p.part, (p.h_blocks + PANEL - 1) // PANEL), blocks
    cdef Unit[real_t] unit
    cdef Extent over
    blocks.begin, blocks.end = panels.begin * PANEL, min(panels.end * PANEL, p.blocks)
    if own.stage >= 0:
        alive = p.alive_of(own.step, begin, p.part.end)
        product_backward(
            p, &p.cell.stage[own.stage], panels, begin, alive, own.row, a, c_in, c_out
        )
        own.stage -= 1
    if own.stage < 0:
        if own.step == own.first:
            if own.first == 0 and own.chunk >= 0:
                return FINISHED
            own.row = next_chunk(p, own)
            own.step = own.until
        own.step -= 1
        own.row -= p.alive(own.step)
        own.stage = p.cell.stages - 1
        if p.y != NULL:
            add_dy(
                p, own.step, begin, p.alive_of(own.step, begin, p.part.end),
                blocks.begin * p.lanes(), min(blocks.end * p.lanes(), p.P),
            )
    alive = p.alive_of(own.step, begin, p.part.end)
    over = extent_of(p, alive, blocks)
    set_backward_unit(&unit, p, own.step, begin, blocks.begin, own.row)
    while p.cell.stage[own.stage].kind != PRODUCT:
        p.cell.stage[own.stage].backward(&unit, &over)
        own.stage -= 1
    if own.stage == 0 and own.step == own.first:
        return (own.chunk + 1) * stride(p)
    return at + 1


cdef inline isize backward_inputs(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """What the products read, and dx, of the steps of a piece, or a part of the rows of a chunk."""
    cdef isize most = chunk_block(p) // p.lanes(), rows = 0, end = begin_piece(p, own, at)
    cdef Span of_rows
    while own.step > end:
        own.step -= 1
        rows += p.alive(own.step)
    own.row -= rows
    of_rows = own_panels(&p.part, rows)
    gather_chunk(
        p, own.first, own.row + of_rows.begin, of_rows.end - of_rows.begin, p.tables,
        p.tables + most, p.tables + 2 * most,
    )
    return at + 1 if own.step > own.first else after_chunk(p, own)


cdef inline isize backward_weights(Pass[real_t]* p, Position* own, isize at) noexcept nogil:
    """The gradients of the weights of a chunk, of a part of the units."""
    cdef isize rows = next_chunk(p, own)
    chunk_gradients(p, own.first, own.until, rows)
    return after_chunk(p, own)


cdef inline void backward_all(Pass[real_t]* p) noexcept nogil:
    cdef Position steps, inputs, products
    cdef isize at = 0, then
    take_rows(p, 0, 1)
    steps.pace = inputs.pace = p.steps
    while at != FINISHED:
        then = backward_rows(p, &steps, at)
        backward_inputs(p, &inputs, at)
        backward_weights(p, &products, at)
        at = then


cdef inline void backward_alone(Pass[real_t]* p) noexcept nogil:
    """The whole pass, at once and on this thread."""
    flushing(backward_all[real_t], p)


cdef inline int add_backward(
    Pass[real_t]* p, Plan plan, int home, const Neighbour* above, Neighbour* these,
    Tracks[Pass[real_t]]* tracks, Crew* crew,
) except -1 nogil:
    """The tracks of a pass: of its steps, of what reads their gate gradients, of the products.

    The first is for the thread of rank `home`. They wait for the dx of the layer `above`; those
    that write this one's are added to `these`.
    """
    cdef isize most = chunk_block(p) // p.lanes(), lead
    cdef int slots = slots_of_chunks(plan), parts = parts_of_products(p, plan), k, n
    cdef int inputs = 1 if plan.behind else parts
    cdef int steps = crew.count(), gathers = steps + plan.groups * plan.units
    cdef int products = gathers + inputs, of_group
    cdef Pass[real_t] own = p[0]
    cdef PassTrack[Pass[real_t]]* track
    these.add(gathers, products)
    # The piece of the layer above that has the same steps; its next chunk, for a piece of units may
    # begin with the chunk after its own; all of it, where it has two directions.
    lead = 1 if plan.behind else stride(p) * (2 if plan.units > 1 else 1)
    if above.passes > 1:
        lead = FINISHED // 2
    for k in range(gathers - steps):
        take_rows(&own, k // plan.units, plan.groups)
        own.part.unit, own.part.units = k % plan.units, plan.units
        track = tracks.add(
            crew[0], own, FINISHED, (home + k) % plan.size,
            backward_units[real_t] if plan.units > 1 else backward_rows[real_t],
        )
        track.place.pace, track.place.slots = plan.pace, slots
        track.after(products, products + parts, 1 - slots * stride(p))
        if plan.units > 1:
            of_group = steps + k // plan.units * plan.units
            track.after(of_group, of_group + plan.units, 0)
        for n in range(above.passes):
            track.after(above.first[n], above.last[n], lead)
        own.tables += 3 * most
    for k in range(inputs + parts):
        own.part.unit = k if k < inputs else k - inputs
        own.part.units = inputs if k < inputs else parts
        track = tracks.add(
            crew[0], own, FINISHED, (home + own.part.unit) % plan.size,
            backward_inputs[real_t] if k < inputs else backward_weights[real_t],
        )
        track.place.slots = slots
        track.place.pace = plan.pace if plan.behind else p.steps
        if k < inputs:
            track.after(steps, gathers, 1 if plan.behind else stride(p))
            track.after(products, products + parts, 1 - stride(p))
        else:
            track.after(gathers, products, stride(p))
        own.tables += 3 * most
    return 0


cdef inline void load(real_t* sums, real_t* given, isize units) noexcept nogil:
    if given != NULL:
        memcpy(sums, given, units * sizeof(real_t))


cdef inline void store(real_t* sums, real_t* given, isize units) noexcept nogil:
    if given != NULL:
        memcpy(given, sums, units * sizeof(real_t))


cdef inline void for_bias(
    Pass[real_t]* p, Slots slots, real_t* db,
    void (*move)(real_t*, real_t*, isize) noexcept nogil,
) noexcept nogil:
    cdef isize slot
    if db != NULL:
        for slot in range(slots.first, slots.first + slots.used):
            move(p.db + slot * p.width(), db + p.cell.gate_of[slot] * p.H, p.H)


cdef inline void for_all_sums(
    Pass[real_t]* p, void (*move)(real_t*, real_t*, isize) noexcept nogil
) noexcept nogil:
    """The gradients of biases and vectors: the sums of the pass, and the user's arrays."""
    cdef int k
    for_bias(p, p.cell.x, p.db_ih, move)
    for_bias(p, p.cell.h, p.db_hh, move)
    for k in range(p.cell.vectors):
        move(p.dvector_sums + k * p.width(), p.dvector[k], p.H)


cdef inline void begin_sums(Pass[real_t]* p) noexcept nogil:
    """The sums go on from what the user's arrays hold."""
    memset(p.db, 0, p.gates_width() * sizeof(real_t))
    memset(p.dvector_sums, 0, p.cell.vectors * p.width() * sizeof(real_t))
    for_all_sums(p, load[real_t])


cdef inline void end_sums(Pass[real_t]* p) noexcept nogil:
    for_all_sums(p, store[real_t])
