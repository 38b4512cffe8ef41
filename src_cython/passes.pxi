# Passes through time: arrays are checked and pointed to, then a pass runs. Part of core.pyx.


cdef int check_rows(const real_t[:, :, :] a) except -1:
    """A row is contiguous, and lies a whole number of elements from the others."""
    cdef isize size = sizeof(real_t)
    check_sizes(a.strides[2] == size or a.shape[2] == 1)
    check_sizes(a.strides[0] % size == 0 and a.strides[1] % size == 0)
    return 0


cdef int set_x(
    Pass[real_t]* p, const real_t[:, :, :] x, bint reverse, const isize[::1] table
) except -1:
    check_sizes(x is not None and x.shape[2] == p.I)
    check_rows(x)
    p.x = &x[0, 0, 0]
    p.x_step = x.strides[0] // <isize> sizeof(real_t)
    p.x_row = x.strides[1] // <isize> sizeof(real_t)
    return set_steps(p, x.shape[0], x.shape[1], reverse, table)


cdef int set_steps(
    Pass[real_t]* p, isize T, isize B, bint reverse, const isize[::1] table
) except -1:
    """`table` holds the order and the lengths of the rows, then the rows alive at each step."""
    check_sizes(0 < T and 0 < B)
    p.steps = p.duration = T
    p.B = B
    p.reverse = reverse
    if table is not None:
        check_table(table, p.steps, p.B)
        p.order = &table[0]
        p.lengths = &table[p.B]
        p.alive_rows = &table[2 * p.B]
    return 0


cdef int check_table(const isize[::1] table, isize T, isize B) except -1:
    """Rows by falling length, and how many have each step: all within what there is."""
    cdef isize k
    check_sizes(table.shape[0] == 2 * B + T)
    for k in range(B):
        check_sizes(0 <= table[k] < B and 0 <= table[B + k] <= T)
        check_sizes(k == 0 or table[B + k] <= table[B + k - 1])
    for k in range(T):
        check_sizes(0 <= table[2 * B + k] <= B)
        check_sizes(k == 0 or table[2 * B + k] <= table[2 * B + k - 1])
    return 0


cdef int set_y(Pass[real_t]* p, const real_t[:, :, :] y, isize width) except -1:
    """Point to outputs, or their gradients, of `width` columns; None where there are none."""
    if y is None:
        return 0
    check_sizes(y.shape[0] == p.duration and y.shape[1] == p.B and y.shape[2] == width)
    check_rows(y)
    p.y = <real_t*> &y[0, 0, 0]
    p.y_step = y.strides[0] // <isize> sizeof(real_t)
    p.y_row = y.strides[1] // <isize> sizeof(real_t)
    return 0


cdef real_t* piece(real_t* memory, isize at) noexcept:
    if at < 0:
        return NULL
    return memory + at


cdef const real_t* kept(Pass[real_t]* p, const real_t[:, :, ::1] keep, isize units) except? NULL:
    """Where the zoneout of a state starts; null if it is None."""
    if keep is None:
        return NULL
    check_sizes(
        keep.shape[0] == p.duration and keep.shape[1] == p.B and keep.shape[2] == units
    )
    return &keep[0, 0, 0]


cdef int set_masks(Pass[real_t]* p, masks) except -1:
    """`masks` is None or (h_mask, a keep for each state), each may be None."""
    cdef int s
    if masks is None:
        return 0
    check_sizes(len(masks) == 1 + p.cell.states)
    p.h_mask = matrix[real_t](masks[0], p.B, p.P)
    for s in range(p.cell.states):
        p.state[s].keep = kept[real_t](p, masks[1 + s], p.state[s].units)
    return 0


cdef int set_room(
    Pass[real_t]* p, Shape shape, batch, const real_t[::1] memory, bint new
) except -1:
    """Point to the states and gates of some steps in the memory of a trace.

    The header is written where the memory is `new`, else checked.
    """
    cdef Header header
    cdef isize first = batch[2], steps = batch[3]
    cdef real_t* at = <real_t*> &memory[0]
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
    if new:
        check_sizes(memory.shape[0] == room.size)
        write_header(header, at)
    else:
        check_header(header, at, memory.shape[0] * sizeof(real_t))
    for s in range(p.cell.states):
        p.state[s].values = at + room.state[s]
        p.state[s].made = piece(at, room.made[s])
    p.gates = piece(at, room.gates)
    p.h_in = piece(at, room.h_in)
    return 0


cdef Header trace_header(Shape shape, isize steps, isize B, isize size):
    return header_of(
        TRACE, shape.itemsize, shape.cell, shape.H, shape.P, B, steps,
        size * shape.itemsize,
    )


def begin_trace(
    Shape shape not None, isize steps, isize B, masked, real_t[::1] memory not None
):
    """Write the header of a trace into memory that is to be filled by the caller.

    `masked` tells of the masks of `forward` which there are.
    """
    cdef isize size = shape.room(steps, B, masked[0], masked[1:])[0]
    check_sizes(memory.shape[0] == size and shape.itemsize == sizeof(real_t))
    write_header(trace_header(shape, steps, B, size), &memory[0])


cdef int load_rows(
    Pass[real_t]* p, int s, const real_t[:, :] given, real_t* rows
) except -1:
    """Set a state, or its gradient, to what the user gave or to zeros; the padding is zeros."""
    cdef isize r, unit, user, units = p.state[s].units, width = p.state[s].width()
    memset(rows, 0, p.B * width * sizeof(real_t))
    if given is not None:
        check_sizes(given.shape[0] == p.B and given.shape[1] == units)
        for r in range(p.B):
            user = p.user_row(r)
            for unit in range(units):
                rows[r * width + unit] = given[user, unit]
    return 0


def forward(
    Shape shape not None,
    given,
    const real_t[:, :, :] x not None,
    batch,
    starts,
    masks,
    real_t[::1] memory not None,
    real_t[:, :, :] y,
    ends,
):
    """Run through some steps and keep all states and gates in `memory`.

    `given` are the weights, as for `pack`. `batch` is (reverse, table or None, the first step, how
    many). `starts` and `ends` have an array (B, width) or None for each state: zeros, and what is
    not wanted, as with `y`. `masks` is None or (h_mask, a keep for each state), each may be None.
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef Plan plan
    cdef int s
    set_pass(&p, shape)
    set_x[real_t](&p, x, batch[0], batch[1])
    set_masks[real_t](&p, masks)
    set_room(&p, shape, batch, memory, True)
    if p.h_in != NULL:
        memset(p.h_in, 0, p.steps * p.B * p.h_width() * sizeof(real_t))  # its padding
    set_y[real_t](&p, y, p.P)
    check_sizes(len(starts) == len(ends) == p.cell.states)
    for s in range(p.cell.states):
        load_rows[real_t](&p, s, starts[s], p.state[s].values)
        p.state[s].last = <real_t*> matrix[real_t](ends[s], p.B, p.state[s].units)
    plan = plan_of(&p, thread_limit)
    pack_into(
        &p, False, 0, given,
        forward_scratch(&p, plan, weights.lay_out[real_t](&p, NULL, False, 0), &arena),
    )
    run_forward(&p, plan)


cdef real_t* entry(real_t[:, :, ::1] a, isize k, isize B, isize width) except? NULL:
    """Where the states of one layer and direction start; null if there are none."""
    if a is None:
        return NULL
    check_sizes(k < a.shape[0] and a.shape[1] == B and a.shape[2] == width)
    return &a[k, 0, 0]


def infer(
    stack,
    const real_t[:, :, :] x not None,
    const isize[::1] table,
    starts,
    real_t[:, :, :] y not None,
    ends,
):
    """Run a stack of layers and keep nothing but its outputs and final states.

    `stack` is a tuple of layers, each a tuple of directions, each (shape, reverse, packed).
    `starts` and `ends` have an array for each state, whose first axis runs over the layers and
    within a layer over its directions; a start may be None, for zeros.
    """
    cdef isize T = x.shape[0], B = x.shape[1], columns = y.shape[2]
    cdef isize layer, begin, k = 0, last = len(stack) - 1, most = 0, passed = 0
    cdef Shape shape
    cdef Pass[real_t] p
    cdef Arena[real_t] memory
    cdef real_t* states
    cdef real_t* between[2]
    check_sizes(y.shape[0] == T and y.shape[1] == B)
    for directions in stack:
        for shape, _, _ in directions:
            most = max(most, B * shape.row_size)
    if last > 0:
        passed = T * B * columns
    memory.reserve(most + 2 * passed, 0, 3)
    states = memory.reals(most)
    for layer in range(2):  # the outputs of two layers, in turn
        between[layer] = memory.reals(passed)
    for layer in range(last + 1):
        begin = 0
        for shape, reverse, packed in stack[layer]:
            set_pass(&p, shape)
            if layer == 0:
                set_x[real_t](&p, x, reverse, table)
            else:
                check_sizes(p.I == columns)
                set_steps[real_t](&p, T, B, reverse, table)
                p.x, p.x_step, p.x_row = between[(layer - 1) % 2], B * columns, columns
            check_sizes(begin + p.P <= columns)
            set_y[real_t](&p, y, columns)
            if layer < last:
                p.y, p.y_step, p.y_row = between[layer % 2], B * columns, columns
            p.y += begin
            begin += p.P
            states_of_pass(&p, B, states)
            use_packed[real_t](&p, shape, packed)
            infer_one[real_t](&p, k, starts, ends)
            k += 1
        check_sizes(begin == columns)


cdef isize states_of_pass(Pass[real_t]* p, isize B, real_t* memory) noexcept:
    """Lay out two instants of every state, and what a projection reads; return what it takes."""
    cdef real_t* free = memory
    cdef int s
    p.instants = 2
    for s in range(p.cell.states):
        p.state[s].values = free
        free += 2 * B * p.state[s].width()
    if p.cell.options & PROJECTION:
        p.state[H].made = free
        free += B * p.width()
    return free - memory


cdef int infer_one(Pass[real_t]* p, isize k, starts, ends) except -1:
    """Run one layer and direction, the one of the states' first axis at `k`."""
    cdef Arena[real_t] scratch
    cdef Plan plan
    cdef int s
    check_sizes(len(starts) == len(ends) == p.cell.states)
    for s in range(p.cell.states):
        start = starts[s]
        load_rows[real_t](p, s, None if start is None else start[k], p.state[s].values)
        p.state[s].last = entry[real_t](ends[s], k, p.B, p.state[s].units)
    plan = plan_of(p, thread_limit)
    forward_scratch(p, plan, 0, &scratch)
    run_forward(p, plan)
    return 0


cdef real_t* added_to(const real_t* found, bint wanted) except? NULL:
    """Where gradients are added; they have to be there if the pass has such."""
    check_sizes(found != NULL or not wanted)
    return <real_t*> found


cdef int set_gradients(Pass[real_t]* p, real_t[:, :, ::1] dx, dweights) except -1:
    """`dweights` is laid out like the weights; a bias or vector without gradient may be None."""
    cdef isize rows = p.cell.gates * p.H
    check_sizes(dx is not None and dx.shape[0] == p.duration and dx.shape[1] == p.B)
    check_sizes(dx.shape[2] == p.I)
    p.dx = &dx[0, 0, 0]
    p.dw_ih = added_to(matrix[real_t](dweights[0], rows, p.I), True)
    p.dw_hh = added_to(matrix[real_t](dweights[1], rows, p.P), p.cell.products > 0)
    p.db_ih = added_to(vector[real_t](dweights[2], rows), False)
    p.db_hh = added_to(vector[real_t](dweights[3], rows), False)
    find_vectors[real_t](p.cell, p.H, dweights[4], <const real_t**> p.dvector)
    p.dw_hr = added_to(
        matrix[real_t](dweights[5], p.P, p.H), (p.cell.options & PROJECTION) != 0
    )
    return 0


cdef int set_flow(Pass[real_t]* p, double[:, :, :] flow) except -1:
    cdef int s
    if flow is None:
        return 0
    check_sizes(flow.shape[0] == p.cell.states)
    check_sizes(flow.shape[1] == p.duration and flow.shape[2] == p.B)
    p.flow_step = flow.strides[1] // <isize> sizeof(double)
    p.flow_row = flow.strides[2] // <isize> sizeof(double)
    for s in range(p.cell.states):
        p.state[s].flow = &flow[s, 0, 0]
    return 0


cdef int store_rows(Pass[real_t]* p, int s, real_t[:, ::1] to) except -1:
    """Give the gradient of an initial state to the user."""
    cdef isize r, units = p.state[s].units
    check_sizes(to is not None and to.shape[0] == p.B and to.shape[1] == units)
    for r in range(p.B):
        memcpy(
            &to[p.user_row(r), 0], p.state[s].d + r * p.state[s].width(), units * sizeof(real_t)
        )
    return 0


def backward(
    Shape shape not None,
    given,
    const real_t[:, :, :] x not None,
    batch,
    masks,
    const real_t[::1] memory not None,
    arriving,
    double[:, :, :] flow,
    gradients,
):
    """Run back through the steps of a trace, from the last to the first.

    `given`, `batch` and `masks` are those of `forward`; no bias is read. `arriving` are the
    gradients of the outputs and of every final state, of which any may be None. `gradients` is
    (dx, dstarts, dweights), the last laid out like the weights: they are added to, the others
    written; `flow` as well, if it is not None: of each state the squared norms (duration, B).
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef Plan plan
    cdef int s
    set_pass(&p, shape)
    set_x[real_t](&p, x, batch[0], batch[1])
    set_masks[real_t](&p, masks)
    set_room(&p, shape, batch, memory, False)
    set_y[real_t](&p, arriving[0], p.P)
    set_flow(&p, flow)
    dx, dstarts, dweights = gradients
    check_sizes(len(dstarts) == p.cell.states == len(arriving) - 1)
    set_gradients[real_t](&p, dx, dweights)
    plan = plan_of(&p, thread_limit)
    pack_into(
        &p, True, chunk_block(&p), given,
        backward_scratch(&p, plan, weights.lay_out[real_t](&p, NULL, True, 0), &arena),
    )
    for s in range(p.cell.states):
        load_rows[real_t](&p, s, arriving[1 + s], p.state[s].d)
    begin_sums(&p)
    run_backward(&p, plan)
    end_sums(&p)
    for s in range(p.cell.states):
        store_rows[real_t](&p, s, dstarts[s])
