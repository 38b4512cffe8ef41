# Passes through time: arrays are checked and pointed to, then a pass runs. Part of core.pyx.


cdef int set_x(Pass[real_t]* p, Rows x, bint reverse, table) except -1:
    check_sizes(x.columns == p.I)
    p.x, p.x_step, p.x_row = <const real_t*> x.at, x.step, x.row
    return set_steps[real_t](p, x.T, x.B, reverse, table)


cdef int set_steps(
    Pass[real_t]* p, isize T, isize B, bint reverse, table
) except -1:
    """`table` holds the order and the lengths of the rows, then the rows alive at each step."""
    check_sizes(0 < T and 0 < B)
    p.steps = p.duration = T
    p.B = B
    p.reverse = reverse
    if table is not None:
        p.order = indices(table, 2 * B + T)
        p.lengths = p.order + B
        p.alive_rows = p.lengths + B
        check_table(p.order, T, B)
    return 0


cdef int check_table(const isize* table, isize T, isize B) except -1:
    """Rows by falling length, and how many have each step: all within what there is."""
    cdef isize k
    for k in range(B):
        check_sizes(0 <= table[k] < B and 0 <= table[B + k] <= T)
        check_sizes(k == 0 or table[B + k] <= table[B + k - 1])
    for k in range(T):
        check_sizes(0 <= table[2 * B + k] <= B)
        check_sizes(k == 0 or table[2 * B + k] <= table[2 * B + k - 1])
    return 0


cdef int set_y(Pass[real_t]* p, Rows y, isize width) except -1:
    """Point to outputs, or their gradients, of `width` columns, where there are any."""
    if y.at == NULL:
        return 0
    check_sizes(y.T == p.duration and y.B == p.B and y.columns == width)
    p.y, p.y_step, p.y_row = <real_t*> y.at, y.step, y.row
    return 0


cdef int set_y_mask(Pass[real_t]* p, Rows mask) except -1:
    """Of a layer on which another one stands: dropout, where there is any."""
    if mask.at == NULL:
        return 0
    check_sizes(mask.T == p.duration and mask.B == p.B and mask.columns == p.P)
    check_sizes(mask.step == p.y_step and mask.row == p.y_row)
    p.y_mask = <const real_t*> mask.at
    return 0


cdef int set_more(Pass[real_t]* p, Rows more) except -1:
    """What has to be added to dy, where there is any."""
    if more.at == NULL:
        return 0
    check_sizes(more.T == p.duration and more.B == p.B and more.columns == p.P)
    check_sizes(more.step == p.y_step and more.row == p.y_row)
    p.dy_more = <const real_t*> more.at
    return 0


cdef real_t* piece(real_t* memory, isize at) noexcept:
    if at < 0:
        return NULL
    return memory + at


cdef int set_masks(Pass[real_t]* p, masks) except -1:
    """`masks` is None or (h_mask, a keep for each state), each may be None."""
    cdef isize size = sizeof(real_t)
    cdef int s
    if masks is None:
        return 0
    check_sizes(len(masks) == 1 + p.cell.states)
    p.h_mask = <const real_t*> start(masks[0], size, 2, p.B, p.P)
    for s in range(p.cell.states):
        p.state[s].keep = <const real_t*> start(
            masks[1 + s], size, 3, p.duration, p.B, p.state[s].units
        )
    return 0


cdef int set_room(
    Pass[real_t]* p, Shape shape, isize first, isize steps, memory, bint new
) except -1:
    """Point to the states and gates of some steps in the memory of a trace.

    The header is written where the memory is `new`, else checked.
    """
    cdef Header header
    cdef real_t* at
    cdef Room room
    cdef int s, zoned = 0
    check_sizes(0 <= first and 0 < steps and steps <= p.duration - first)
    p.first, p.steps = first, steps
    p.instants = steps + 1
    p.keeps = True
    for s in range(p.cell.states):
        if p.state[s].keep != NULL:
            zoned |= 1 << s
    room = room_of(p[0], p.h_mask != NULL, zoned)
    header = trace_header(shape, steps, p.B, room.size)
    check_sizes(has(memory, sizeof(real_t), 1) and PyArray_IS_C_CONTIGUOUS(memory))
    at = <real_t*> PyArray_DATA(memory)
    if new:
        check_sizes(PyArray_DIMS(memory)[0] == room.size and PyArray_ISWRITEABLE(memory))
        write_header(header, at)
    else:
        check_header(header, at, PyArray_DIMS(memory)[0] * sizeof(real_t))
    for s in range(p.cell.states):
        p.state[s].values = at + room.state[s]
        p.state[s].made = piece(at, room.made[s])
    p.gates = piece(at, room.gates)
    p.h_in = piece(at, room.h_in)
    if new and p.h_in != NULL:
        memset(p.h_in, 0, steps * p.B * p.h_width() * sizeof(real_t))  # its padding
    return 0


cdef int load_rows(Pass[real_t]* p, int s, given, isize k, real_t* rows) except -1:
    """Set a state, or its gradient, to what the user gave or to zeros; the padding is zeros.

    `given` is (B, units), or has such at `k` of its first axis.
    """
    cdef isize units = p.state[s].units
    cdef int axes
    cdef const char* at
    cdef npy_intp* steps
    if given is None:
        memset(rows, 0, p.B * p.state[s].width() * sizeof(real_t))
        return 0
    axes = state_axes(given, k, sizeof(real_t), p.B, units)
    steps = PyArray_STRIDES(given) + axes - 2
    at = <const char*> PyArray_DATA(given)
    if axes == 3:
        at += k * PyArray_STRIDES(given)[0]
    copy_rows(p, s, at, steps[0], steps[1], rows)
    return 0


cdef void copy_rows(
    Pass[real_t]* p, int s, const char* given, isize row_step, isize unit_step, real_t* rows
) noexcept nogil:
    """Set a state to what is `given`, by steps in bytes; the padding is zeros."""
    cdef isize r, unit, units = p.state[s].units, width = p.state[s].width()
    cdef const char* at
    memset(rows, 0, p.B * width * sizeof(real_t))
    for r in range(p.B):
        at = given + p.user_row(r) * row_step
        if unit_step == sizeof(real_t):
            memcpy(rows + r * width, at, units * sizeof(real_t))
        else:
            for unit in range(units):
                rows[r * width + unit] = (<const real_t*> (at + unit * unit_step))[0]


cdef real_t* final(Pass[real_t]* p, int s, wanted, isize k) except? NULL:
    """Where a final state is written to; null if it is not wanted."""
    if wanted is None:
        return NULL
    state_axes(wanted, k, sizeof(real_t), p.B, p.state[s].units)
    check_sizes(PyArray_IS_C_CONTIGUOUS(wanted) and PyArray_ISWRITEABLE(wanted))
    return <real_t*> PyArray_DATA(wanted) + k * p.B * p.state[s].units


def forward(Shape shape not None, given, x, batch, starts, masks, memory, y, ends):
    """Run through some steps and keep all states and gates in `memory`.

    `given` are the weights, as for `pack`. `batch` is (reverse, table or None, the first step, how
    many). `starts` and `ends` have an array (B, width) or None for each state: zeros, and what is
    not wanted, as with `y`. `masks` is None or (h_mask, a keep for each state), each may be None.
    """
    cdef Pass[float] single
    cdef Pass[double] double_
    if shape.itemsize == sizeof(float):
        forward_of[float](&single, shape, given, x, batch, starts, masks, memory, y, ends)
    else:
        forward_of[double](&double_, shape, given, x, batch, starts, masks, memory, y, ends)


cdef int forward_of(
    Pass[real_t]* p, Shape shape, given, x, batch, starts, masks, memory, y, ends
) except -1:
    cdef isize size = sizeof(real_t)
    set_pass(p, shape)
    set_x[real_t](p, rows_of(x, size, False, False), batch[0], batch[1])
    set_masks(p, masks)
    set_room[real_t](p, shape, batch[2], batch[3], memory, True)
    set_y(p, rows_of(y, size, False, True), p.P)
    set_states(p, starts, ends, 0)
    return do_forward[real_t](p, shape, given, NULL, plan_of(p, thread_limit), 0)


cdef int set_states(Pass[real_t]* p, starts, ends, isize k) except -1:
    """Begin with `starts`, and end in `ends`; they may be those of a stack: those at `k`."""
    cdef int s
    check_sizes(len(starts) == len(ends) == p.cell.states)
    for s in range(p.cell.states):
        load_rows(p, s, starts[s], k, p.state[s].values)
        p.state[s].last = final(p, s, ends[s], k)
    return 0


cdef int do_forward(
    Pass[real_t]* p, Shape shape, given, Team[real_t]* team, Plan plan, int home
) except -1:
    """Run a pass, or let it join a team; `given` are weights, packed or not."""
    cdef Given[real_t] weights_given
    cdef Given[real_t]* found = NULL
    if isinstance(given, tuple):
        check_sizes(p.precision == FULL)
        found = &weights_given
        find_weights(p, given, found)
    else:
        use_packed(p, shape, given)
    with nogil:
        return start_forward(p, found, team, plan, home)


cdef int start_forward(
    Pass[real_t]* p, const Given[real_t]* given, Team[real_t]* team, Plan plan, int home
) except -1 nogil:
    """The same with what is `given`; null: the pass knows its packed weights."""
    cdef Arena[real_t] own
    cdef Arena[real_t]* arena = &own
    cdef bint unpacked = weights.reads_unpacked(p)
    cdef isize size = 0
    cdef real_t* room
    if team != NULL:
        p = team.add(p[0])
        arena = &team.scratch.back()
    if given != NULL:
        size = weights.lay_out(p, NULL, False, 0, unpacked)
    room = forward_scratch(p, plan, size, arena)
    if given != NULL:
        weights.take(p, False, 0, unpacked, given, room)
    if team == NULL:
        return run_forward(p, plan)
    return add_forward(p, plan, home, &team.next, &team.these, &team.tracks, &team.crew)


cdef int set_gradients(Pass[real_t]* p, dx, dweights) except -1:
    """`dweights` is laid out like the weights; None is a gradient that nobody wants."""
    cdef isize rows = p.cell.gates * p.H, size = sizeof(real_t)
    check_sizes(len(dweights) == WEIGHTS)
    p.dx = <real_t*> target(dx, size, 3, p.duration, p.B, p.I)
    p.dw_ih = <real_t*> target(dweights[0], size, 2, rows, p.I)
    p.dw_hh = <real_t*> target(dweights[1], size, 2, rows, p.P)
    p.db_ih = <real_t*> target(dweights[2], size, 1, rows)
    p.db_hh = <real_t*> target(dweights[3], size, 1, rows)
    find_vectors[real_t](p.cell, p.H, dweights[4], <const real_t**> p.dvector)
    p.dw_hr = <real_t*> target(dweights[5], size, 2, p.P, p.H)
    check_sizes(p.dw_hh == NULL or p.cell.products > 0)
    check_sizes(p.dw_hr == NULL or p.cell.options & PROJECTION)
    return 0


cdef int set_flow(Pass[real_t]* p, flow) except -1:
    cdef isize size = sizeof(double)
    cdef npy_intp* sizes
    cdef npy_intp* steps
    cdef int s
    if flow is None:
        return 0
    check_sizes(has(flow, size, 3) and PyArray_ISWRITEABLE(flow))
    sizes, steps = PyArray_DIMS(flow), PyArray_STRIDES(flow)
    check_sizes(sizes[0] == p.cell.states and sizes[1] == p.duration and sizes[2] == p.B)
    p.flow_step, p.flow_row = steps[1] // size, steps[2] // size
    for s in range(p.cell.states):
        p.state[s].flow = <double*> (<char*> PyArray_DATA(flow) + s * steps[0])
    return 0


def backward(
    Shape shape not None, given, x, batch, masks, memory, arriving, flow, gradients
):
    """Run back through the steps of a trace, from the last to the first.

    `given`, `batch` and `masks` are those of `forward`; no bias is read. `arriving` are the
    gradients of the outputs, what is to be added to them, what the sum is multiplied with, and the
    gradients of every final state, of which any may be None. `gradients` is
    (dx, dstarts, dweights), the last laid out like the weights: they are added to, the others
    written; `flow` as well, if it is not None: of each state the squared norms (duration, B).
    """
    cdef Pass[float] single
    cdef Pass[double] double_
    if shape.itemsize == sizeof(float):
        backward_of[float](
            &single, shape, given, x, batch, masks, memory, arriving, flow, gradients
        )
    else:
        backward_of[double](
            &double_, shape, given, x, batch, masks, memory, arriving, flow, gradients
        )


cdef int backward_of(
    Pass[real_t]* p, Shape shape, given, x, batch, masks, memory, arriving, flow,
    gradients,
) except -1:
    cdef isize size = sizeof(real_t)
    dx, dstarts, dweights = gradients
    set_pass(p, shape)
    set_x[real_t](p, rows_of(x, size, False, False), batch[0], batch[1])
    set_masks(p, masks)
    set_room[real_t](p, shape, batch[2], batch[3], memory, False)
    set_y(p, rows_of(arriving[0], size, False, False), p.P)
    set_more(p, rows_of(arriving[1], size, False, False))
    set_y_mask(p, rows_of(arriving[2], size, False, False))
    set_flow[real_t](p, flow)
    set_gradients(p, dx, dweights)
    do_backward[real_t](p, given, arriving[3:], dstarts, 0, NULL, plan_of(p, thread_limit), 0)
    return 0


cdef int do_backward(
    Pass[real_t]* p, given, dends, dstarts, isize k, Team[real_t]* team, Plan plan, int home
) except -1:
    """Run a pass, or let it join a team; `dends` and `dstarts` may be those of a stack, at `k`."""
    cdef Arena[real_t] own
    cdef Given[real_t] found
    cdef int s
    check_sizes(p.precision == FULL)
    find_weights(p, given, &found)
    with nogil:
        p = ready_backward(p, &found, team, plan, &own)
    check_sizes(len(dstarts) == len(dends) == p.cell.states)
    for s in range(p.cell.states):
        load_rows(p, s, dends[s], k, p.state[s].d)
        p.state[s].last = final(p, s, dstarts[s], k)
        check_sizes(p.state[s].last != NULL)
    with nogil:
        return start_backward(p, team, plan, home)


cdef Pass[real_t]* ready_backward(
    Pass[real_t]* p, const Given[real_t]* given, Team[real_t]* team, Plan plan,
    Arena[real_t]* arena,
) except NULL nogil:
    """Give a pass its scratch, in `arena` but for a team, and its weights; return it, as it is."""
    cdef bint unpacked = weights.reads_unpacked(p)
    cdef real_t* room
    if team != NULL:
        p = team.add(p[0])
        arena = &team.scratch.back()
    room = backward_scratch(p, plan, weights.lay_out(p, NULL, True, 0, unpacked), arena)
    weights.take(p, True, chunk_block(p), unpacked, given, room)
    return p


cdef int start_backward(
    Pass[real_t]* p, Team[real_t]* team, Plan plan, int home
) except -1 nogil:
    """Run a pass that has its weights and the gradients of its final states."""
    begin_sums(p)
    if team != NULL:
        return add_backward(p, plan, home, &team.next, &team.these, &team.tracks, &team.crew)
    run_backward(p, plan)
    end_backward(p)
    return 0


cdef void end_backward(Pass[real_t]* p) noexcept nogil:
    """Give the sums and the gradients of the initial states to the user."""
    cdef isize r, units
    cdef int s
    end_sums(p)
    for s in range(p.cell.states):
        units = p.state[s].units
        for r in range(p.B):
            memcpy(
                p.state[s].last + p.user_row(r) * units,
                p.state[s].d + r * p.state[s].width(),
                units * sizeof(real_t),
            )
