# Passes through time: arrays are checked and pointed to, then a pass runs. Part of core.pyx.


cdef int set_x(Pass[real_t]* p, Rows x, bint reverse, const isize[::1] table) except -1:
    check_sizes(x.columns == p.I)
    p.x, p.x_step, p.x_row = <const real_t*> x.at, x.step, x.row
    return set_steps[real_t](p, x.T, x.B, reverse, table)


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


cdef int set_y(Pass[real_t]* p, Rows y, isize width) except -1:
    """Point to outputs, or their gradients, of `width` columns, where there are any."""
    if y.at == NULL:
        return 0
    check_sizes(y.T == p.duration and y.B == p.B and y.columns == width)
    p.y, p.y_step, p.y_row = <real_t*> y.at, y.step, y.row
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
    return 0


cdef int load_rows(Pass[real_t]* p, int s, given, isize k, real_t* rows) except -1:
    """Set a state, or its gradient, to what the user gave or to zeros; the padding is zeros.

    `given` is (B, units), or has such at `k` of its first axis.
    """
    cdef isize r, unit, units = p.state[s].units, width = p.state[s].width()
    cdef int axes
    cdef const char* at
    cdef npy_intp* steps
    memset(rows, 0, p.B * width * sizeof(real_t))
    if given is None:
        return 0
    axes = state_axes(given, k, sizeof(real_t), p.B, units)
    steps = PyArray_STRIDES(given) + axes - 2
    for r in range(p.B):
        at = <const char*> PyArray_DATA(given) + p.user_row(r) * steps[0]
        if axes == 3:
            at += k * PyArray_STRIDES(given)[0]
        if steps[1] == sizeof(real_t):
            memcpy(rows + r * width, at, units * sizeof(real_t))
        else:
            for unit in range(units):
                rows[r * width + unit] = (<const real_t*> (at + unit * steps[1]))[0]
    return 0


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
    cdef Rows rows = rows_of(x, shape.itemsize, False, False)
    cdef Rows outputs = rows_of(y, shape.itemsize, False, True)
    forward_at(shape, given, rows, batch, starts, masks, memory, outputs, ends, 0)


cdef int forward_at(
    Shape shape, given, Rows x, batch, starts, masks, memory, Rows y, ends, isize k
) except -1:
    """`starts` and `ends` may have those of a stack, of which this is the one at `k`."""
    cdef Pass[float] single
    cdef Pass[double] double_
    if shape.itemsize == sizeof(float):
        return forward_of[float](&single, shape, given, x, batch, starts, masks, memory, y, ends, k)
    return forward_of[double](&double_, shape, given, x, batch, starts, masks, memory, y, ends, k)


cdef int forward_of(
    Pass[real_t]* p, Shape shape, given, Rows x, batch, starts, masks, memory, Rows y, ends,
    isize k,
) except -1:
    cdef Arena[real_t] arena
    cdef Plan plan
    cdef bint unpacked
    cdef int s
    set_pass(p, shape)
    set_x[real_t](p, x, batch[0], batch[1])
    set_masks(p, masks)
    set_room[real_t](p, shape, batch[2], batch[3], memory, True)
    if p.h_in != NULL:
        memset(p.h_in, 0, p.steps * p.B * p.h_width() * sizeof(real_t))  # its padding
    set_y(p, y, p.P)
    check_sizes(len(starts) == len(ends) == p.cell.states)
    for s in range(p.cell.states):
        load_rows(p, s, starts[s], k, p.state[s].values)
        p.state[s].last = final(p, s, ends[s], k)
    plan = plan_of(p, thread_limit)
    unpacked = weights.reads_unpacked(p)
    take_weights(
        p, False, 0, unpacked, given,
        forward_scratch(p, plan, weights.lay_out(p, NULL, False, 0, unpacked), &arena),
    )
    return run_forward(p, plan)


def infer(Stack stack not None, given, x, const isize[::1] table, starts, y, ends):
    """Run a stack of layers and keep nothing but its outputs and final states.

    `given` has the weights of each layer and direction, packed or as for `pack`. `starts` and
    `ends` have an array for each state, whose first axis runs over the layers and within a layer
    over its directions; a start may be None, for zeros.
    """
    cdef Rows rows = rows_of(x, stack.itemsize, False, False)
    cdef Rows outputs = rows_of(y, stack.itemsize, False, True)
    infer_stack(stack, given, rows, table, starts, outputs, ends)


cdef int infer_stack(
    Stack stack, given, Rows x, const isize[::1] table, starts, Rows y, ends
) except -1:
    cdef Pass[float] single
    cdef Pass[double] double_
    if stack.itemsize == sizeof(float):
        return infer_of[float](&single, stack, given, x, table, starts, y, ends)
    return infer_of[double](&double_, stack, given, x, table, starts, y, ends)


cdef int infer_of(
    Pass[real_t]* p, Stack stack, given, Rows x, const isize[::1] table, starts, Rows y, ends
) except -1:
    """`y` may start at null: outputs that nobody wants."""
    cdef isize T = x.T, B = x.B, columns = stack.columns
    cdef isize layer, begin, k = 0, last = len(stack.layers) - 1, passed = 0
    cdef Shape shape
    cdef Arena[real_t] memory
    cdef real_t* states
    cdef real_t* between[2]
    check_sizes(0 < T and 0 < B and len(given) == stack.count)
    if last > 0:
        passed = T * B * columns
    memory.reserve(B * stack.row_size + 2 * passed, 0, 3)
    states = memory.reals(B * stack.row_size)
    for layer in range(2):  # the outputs of two layers, in turn
        between[layer] = memory.reals(passed)
    for layer in range(last + 1):
        begin = 0
        for shape, reverse in stack.layers[layer]:
            set_pass(p, shape)
            if layer == 0:
                set_x[real_t](p, x, reverse, table)
            else:
                check_sizes(p.I == columns)
                set_steps[real_t](p, T, B, reverse, table)
                p.x, p.x_step, p.x_row = between[(layer - 1) % 2], B * columns, columns
            check_sizes(begin + p.P <= columns)
            if layer < last:
                p.y, p.y_step, p.y_row = between[layer % 2], B * columns, columns
            else:
                set_y(p, y, columns)
            if p.y != NULL:
                p.y += begin
            begin += p.P
            states_of_pass(p, B, states)
            infer_one(p, shape, given[k], k, starts, ends)
            k += 1
        check_sizes(begin == columns)
    return 0


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


cdef int infer_one(Pass[real_t]* p, Shape shape, given, isize k, starts, ends) except -1:
    """Run one layer and direction, the one of the states' first axis at `k`."""
    cdef Arena[real_t] scratch
    cdef Plan plan
    cdef int s
    cdef bint packed = not isinstance(given, tuple), unpacked = weights.reads_unpacked(p)
    cdef isize more = 0
    cdef real_t* room
    check_sizes(len(starts) == len(ends) == p.cell.states)
    for s in range(p.cell.states):
        load_rows(p, s, starts[s], k, p.state[s].values)
        p.state[s].last = final(p, s, ends[s], k)
    plan = plan_of(p, thread_limit)
    if not packed:
        more = weights.lay_out(p, NULL, False, 0, unpacked)
    room = forward_scratch(p, plan, more, &scratch)
    if packed:
        use_packed(p, shape, given)
    else:
        take_weights(p, False, 0, unpacked, given, room)
    return run_forward(p, plan)


cdef int set_gradients(Pass[real_t]* p, dx, dweights) except -1:
    """`dweights` is laid out like the weights; a bias or vector without gradient may be None."""
    cdef isize rows = p.cell.gates * p.H, size = sizeof(real_t)
    cdef bint projected = (p.cell.options & PROJECTION) != 0
    check_sizes(len(dweights) == WEIGHTS)
    p.dx = <real_t*> target(dx, size, 3, p.duration, p.B, p.I)
    p.dw_ih = <real_t*> target(dweights[0], size, 2, rows, p.I)
    p.dw_hh = <real_t*> target(dweights[1], size, 2, rows, p.P)
    p.db_ih = <real_t*> target(dweights[2], size, 1, rows)
    p.db_hh = <real_t*> target(dweights[3], size, 1, rows)
    find_vectors[real_t](p.cell, p.H, dweights[4], <const real_t**> p.dvector)
    p.dw_hr = <real_t*> target(dweights[5], size, 2, p.P, p.H)
    check_sizes(p.dx != NULL and p.dw_ih != NULL)
    check_sizes((p.dw_hh != NULL or p.cell.products == 0) and (p.dw_hr != NULL or not projected))
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


cdef int store_rows(Pass[real_t]* p, int s, to, isize k) except -1:
    """Give the gradient of an initial state to the user."""
    cdef isize r, units = p.state[s].units
    cdef real_t* rows = final(p, s, to, k)
    check_sizes(rows != NULL)
    for r in range(p.B):
        memcpy(
            rows + p.user_row(r) * units, p.state[s].d + r * p.state[s].width(),
            units * sizeof(real_t),
        )
    return 0


def backward(
    Shape shape not None, given, x, batch, masks, memory, arriving, double[:, :, :] flow, gradients
):
    """Run back through the steps of a trace, from the last to the first.

    `given`, `batch` and `masks` are those of `forward`; no bias is read. `arriving` are the
    gradients of the outputs and of every final state, of which any may be None. `gradients` is
    (dx, dstarts, dweights), the last laid out like the weights: they are added to, the others
    written; `flow` as well, if it is not None: of each state the squared norms (duration, B).
    """
    cdef Rows rows = rows_of(x, shape.itemsize, False, False)
    cdef Rows dy = rows_of(arriving[0], shape.itemsize, False, False)
    backward_at(shape, given, rows, batch, masks, memory, dy, arriving[1:], flow, gradients, 0)


cdef int backward_at(
    Shape shape, given, Rows x, batch, masks, memory, Rows dy, dends, double[:, :, :] flow,
    gradients, isize k,
) except -1:
    """`dends` and the gradients of starts may be those of a stack, and this the one at `k`."""
    cdef Pass[float] single
    cdef Pass[double] double_
    if shape.itemsize == sizeof(float):
        return backward_of[float](
            &single, shape, given, x, batch, masks, memory, dy, dends, flow, gradients, k
        )
    return backward_of[double](
        &double_, shape, given, x, batch, masks, memory, dy, dends, flow, gradients, k
    )


cdef int backward_of(
    Pass[real_t]* p, Shape shape, given, Rows x, batch, masks, memory, Rows dy, dends,
    double[:, :, :] flow, gradients, isize k,
) except -1:
    cdef Arena[real_t] arena
    cdef Plan plan
    cdef bint unpacked
    cdef int s
    set_pass(p, shape)
    set_x[real_t](p, x, batch[0], batch[1])
    set_masks(p, masks)
    set_room[real_t](p, shape, batch[2], batch[3], memory, False)
    dx, dstarts, dweights = gradients
    check_sizes(len(dstarts) == len(dends) == p.cell.states)
    set_y(p, dy, p.P)
    set_flow[real_t](p, flow)
    set_gradients(p, dx, dweights)
    plan = plan_of(p, thread_limit)
    unpacked = weights.reads_unpacked(p)
    take_weights(
        p, True, chunk_block(p), unpacked, given,
        backward_scratch(p, plan, weights.lay_out(p, NULL, True, 0, unpacked), &arena),
    )
    for s in range(p.cell.states):
        load_rows(p, s, dends[s], k, p.state[s].d)
    begin_sums(p)
    run_backward(p, plan)
    end_sums(p)
    for s in range(p.cell.states):
        store_rows(p, s, dstarts[s], k)
    return 0
