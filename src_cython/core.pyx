"""Entry points of the compiled core: rnncore._engine.passes allocates, then calls these.

Arrays come in with the right shapes and dtypes, states and gates padded to whole registers.
"""

from libc.string cimport memcpy, memset

from cells cimport set_cell, set_functions
from arena cimport Arena
from backward cimport backward_block, backward_scratch, chunk_begin, run_backward
from forward cimport forward_scratch, run_forward
from header cimport (
    HEADER_BYTES,
    PACKED_WEIGHTS,
    TRACE,
    Header,
    check_header,
    header_of,
    write_header,
)
from linear cimport (
    linear_scratch,
    linear_team_size,
    run_linear_backward,
    run_linear_forward,
)
from recurrence cimport (
    COUPLED,
    PEEPHOLE_CURRENT,
    PEEPHOLE_PREVIOUS,
    PROJECTION,
    RELU,
    LinearPass,
    Pass,
    Room,
    room_of,
)
from step cimport team_size
from vec cimport VECTOR_BYTES, isize, real_t
cimport cells
cimport weights

cdef extern from "native/peak.h" namespace "rnncore" nogil:
    double peak_flops[T](double seconds)

cdef extern from "native/squares.h" namespace "rnncore" nogil:
    double c_sum_of_squares "rnncore::sum_of_squares"[T](const T* a, isize n)
    isize C_SQUARES_PIECE "rnncore::SQUARES_PIECE"

RNN = cells.RNN
GRU_AFTER = cells.GRU_AFTER
GRU_BEFORE = cells.GRU_BEFORE
LSTM = cells.LSTM
FLAGS = {
    "relu": RELU,
    "coupled": COUPLED,
    "previous": PEEPHOLE_PREVIOUS,
    "current": PEEPHOLE_CURRENT,
    "projection": PROJECTION,
}
REGISTER_BYTES = VECTOR_BYTES
SQUARES_PIECE = C_SQUARES_PIECE

cdef int thread_limit = 1  # of a team


def set_thread_limit(int n):
    """Let a pass, and a stream from its next step on, use at most `n` threads."""
    global thread_limit
    thread_limit = n


cdef int set_pass(Pass[real_t]* p, tuple cell, isize I, isize H, isize P) except -1:
    """Shape a pass of a cell, given as (kind, flags, functions or None); all else is zero."""
    cdef const double[:, ::1] functions
    cdef int kind = cell[0], flags = cell[1]
    p[0] = Pass[real_t]()
    set_cell(&p.cell, kind, flags)
    if cell[2] is not None:
        functions = cell[2]
        set_functions(&p.cell, &functions[0, 0], functions.shape[0])
    p.I, p.H, p.P = I, H, P
    p.blocks = p.blocks_of(H)
    p.h_blocks = p.blocks_of(P)
    return 0


cdef int check_sizes(bint right) except -1:
    """What is checked before already, in words; here it is the memory of others that counts."""
    if not right:
        raise ValueError("arrays of sizes that do not fit each other")
    return 0


cdef int set_x(
    Pass[real_t]* p, const real_t[:, :, :] x, bint reverse, const isize[::1] ragged
) except -1:
    """`ragged` holds the order and the lengths of the rows, then the rows alive at each step."""
    p.x = &x[0, 0, 0]
    p.x_step = x.strides[0] // <isize> sizeof(real_t)
    p.x_row = x.strides[1] // <isize> sizeof(real_t)
    p.steps = p.duration = x.shape[0]
    p.B = x.shape[1]
    p.reverse = reverse
    if ragged is not None:
        check_ragged(ragged, p.steps, p.B)
        p.order = &ragged[0]
        p.lengths = &ragged[p.B]
        p.alive_rows = &ragged[2 * p.B]
    return 0


cdef int check_ragged(const isize[::1] ragged, isize T, isize B) except -1:
    """Rows by falling length, and how many have each step: all within what there is."""
    cdef isize k
    check_sizes(ragged.shape[0] == 2 * B + T)
    for k in range(B):
        check_sizes(0 <= ragged[k] < B and 0 <= ragged[B + k] <= T)
        check_sizes(k == 0 or ragged[B + k] <= ragged[B + k - 1])
    for k in range(T):
        check_sizes(0 <= ragged[2 * B + k] <= B)
        check_sizes(k == 0 or ragged[2 * B + k] <= ragged[2 * B + k - 1])
    return 0


cdef void set_y(Pass[real_t]* p, const real_t[:, :, :] y) noexcept:
    p.y = NULL
    if y is not None:
        p.y = <real_t*> &y[0, 0, 0]
        p.y_step = y.strides[0] // <isize> sizeof(real_t)
        p.y_row = y.strides[1] // <isize> sizeof(real_t)


cdef real_t* start_of(const real_t[:, :, ::1] a) noexcept:
    if a is None:
        return NULL
    return <real_t*> &a[0, 0, 0]


cdef real_t* piece(real_t* room, isize at) noexcept:
    if at < 0:
        return NULL
    return room + at


cdef int check_kept(Pass[real_t]* p, const real_t[:, :, ::1] keep, isize units) except -1:
    check_sizes(
        keep is None
        or (keep.shape[0] == p.duration and keep.shape[1] == p.B and keep.shape[2] == units)
    )
    return 0


cdef int set_room(
    Pass[real_t]* p, tuple cell, isize first, isize steps, tuple masks,
    const real_t[::1] memory, bint new,
) except -1:
    """Point to the states and gates of the steps from `first` on, in the memory of a trace.

    `masks` is None or (h_mask, keep_h, keep_c), each of three axes or None. The header is written
    where the memory is `new`, else checked.
    """
    cdef Header header
    cdef const real_t[:, :, ::1] h_mask, keep_h, keep_c
    cdef real_t* at = <real_t*> &memory[0]
    cdef Room room
    check_sizes(0 <= first and 0 < steps and steps <= p.duration - first)
    p.first, p.steps = first, steps
    p.instants = steps + 1
    p.keeps = True
    if masks is not None:
        h_mask, keep_h, keep_c = masks
        check_sizes(h_mask is None or (h_mask.shape[1] == p.B and h_mask.shape[2] == p.P))
        check_kept(p, keep_h, p.P)
        check_kept(p, keep_c, p.H)
        p.h_mask, p.keep_h, p.keep_c = start_of(h_mask), start_of(keep_h), start_of(keep_c)
    room = room_of(p[0], p.h_mask != NULL, p.keep_h != NULL, p.keep_c != NULL)
    header = header_of(TRACE, sizeof(real_t), cell, p.H, p.P, p.B, steps, room.size)
    if new:
        write_header(header, at)
    else:
        check_header(header, at, memory.shape[0])
    p.h = piece(at, room.h)
    p.c = piece(at, room.c) if p.cell.has_c else p.h  # which nobody looks at without a memory
    p.gates = piece(at, room.gates)
    p.made_h = piece(at, room.made_h)
    p.made_c = piece(at, room.made_c)
    p.h_in = piece(at, room.h_in)
    return 0


cdef const real_t* vector(const real_t[::1] a) noexcept nogil:
    if a is None:
        return NULL
    return &a[0]


def address(const real_t[::1] a):
    """Where the array starts in memory."""
    return <size_t> &a[0] if a.shape[0] else 0


def packed_size(tuple cell, isize I, isize H, isize P, isize itemsize):
    """Elements that the weights take, packed for passes forward, with their header."""
    cdef Pass[float] single
    cdef Pass[double] double_
    if itemsize == sizeof(float):
        set_pass(&single, cell, I, H, P)
        return HEADER_BYTES // itemsize + weights.lay_out[float](&single, NULL, False, 0)
    set_pass(&double_, cell, I, H, P)
    return HEADER_BYTES // itemsize + weights.lay_out[double](&double_, NULL, False, 0)


cdef int pack_into(
    Pass[real_t]* p, bint backward, isize block, tuple given, real_t* packed
) except -1:
    """Pack the weights `given`: (w_ih, w_hh, b_ih, b_hh, w_ch, w_hr), of which some may be None."""
    cdef const real_t[:, ::1] w_ih = given[0], w_hh = given[1], w_hr = given[5]
    cdef const real_t[::1] b_ih = given[2], b_hh = given[3], w_ch = given[4]
    cdef const real_t* projection = NULL
    cdef isize rows = p.cell.gates * p.H
    check_sizes(w_ih.shape[0] == rows and w_ih.shape[1] == p.I)
    check_sizes(w_hh.shape[0] == rows and w_hh.shape[1] == p.P)
    check_sizes((b_ih is None or b_ih.shape[0] == rows) and (b_hh is None or b_hh.shape[0] == rows))
    check_sizes(w_ch is None or w_ch.shape[0] == 3 * p.H)
    if w_hr is not None:
        check_sizes(w_hr.shape[0] == p.P and w_hr.shape[1] == p.H)
        projection = &w_hr[0, 0]
    weights.lay_out(p, packed, backward, block)
    with nogil:
        weights.pack(
            p, backward, &w_ih[0, 0], &w_hh[0, 0], vector(b_ih), vector(b_hh), vector(w_ch),
            projection,
        )
    return 0


cdef inline Header packed_header(Pass[real_t]* p, tuple cell):
    cdef isize length = HEADER_BYTES // sizeof(real_t) + weights.lay_out(p, NULL, False, 0)
    return header_of(PACKED_WEIGHTS, sizeof(real_t), cell, p.H, p.P, p.I, 0, length)


def pack(tuple cell, isize I, isize H, isize P, tuple given, real_t[::1] packed not None):
    """Fill `packed` with the weights in the order in which a pass forward reads them."""
    cdef Pass[real_t] p
    set_pass(&p, cell, I, H, P)
    write_header(packed_header(&p, cell), &packed[0])
    pack_into(&p, False, 0, given, &packed[0] + HEADER_BYTES // <isize> sizeof(real_t))


cdef int use_packed(Pass[real_t]* p, tuple cell, const real_t[::1] packed) except -1:
    """Let a pass forward read what `pack` has filled."""
    check_header(packed_header(p, cell), &packed[0], packed.shape[0])
    weights.lay_out(
        p, <real_t*> &packed[0] + HEADER_BYTES // <isize> sizeof(real_t), False, 0
    )
    return 0


def trace_room(
    tuple cell, isize H, isize P, isize steps, isize B, isize itemsize,
    bint masked, bint zoned_h, bint zoned_c,
):
    """The fields of rnncore._engine.traces.Room."""
    cdef Pass[float] single
    cdef Pass[double] double_
    cdef Room room
    if itemsize == sizeof(float):
        set_pass(&single, cell, 1, H, P)
        single.steps, single.B = steps, B
        room = room_of(single, masked, zoned_h, zoned_c)
    else:
        set_pass(&double_, cell, 1, H, P)
        double_.steps, double_.B = steps, B
        room = room_of(double_, masked, zoned_h, zoned_c)
    return room.size, room.h, room.c, room.gates, room.made_h, room.made_c, room.h_in


def begin_trace(
    tuple cell, isize H, isize P, isize steps, isize B,
    bint masked, bint zoned_h, bint zoned_c, real_t[::1] memory not None,
):
    """Write the header of a trace into memory that is to be filled by the caller."""
    cdef isize size = trace_room(
        cell, H, P, steps, B, sizeof(real_t), masked, zoned_h, zoned_c
    )[0]
    write_header(header_of(TRACE, sizeof(real_t), cell, H, P, B, steps, size), &memory[0])


def forward(
    tuple cell,
    isize H,
    isize P,
    bint reverse,
    const real_t[:, :, :] x not None,
    tuple given,
    const isize[::1] ragged,
    isize first,
    isize steps,
    const real_t[:, :] h0,
    const real_t[:, :] c0,
    tuple masks,
    real_t[::1] memory not None,
    real_t[:, :, :] y,
    real_t[:, ::1] h_n,
    real_t[:, ::1] c_n,
):
    """Run through the steps from `first` on and keep all states and gates in `memory`.

    `given` are the weights, as for `pack`. `h0` and `c0` may be None, for zeros; `y`, `h_n` and
    `c_n`, where they are not wanted.
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    set_pass(&p, cell, x.shape[2], H, P)
    set_x(&p, x, reverse, ragged)
    set_room(&p, cell, first, steps, masks, memory, True)
    if p.h_in != NULL:
        memset(p.h_in, 0, steps * p.B * p.h_width() * sizeof(real_t))  # its padding
    set_y(&p, y)
    if h_n is not None:
        p.h_n = &h_n[0, 0]
    if c_n is not None:
        p.c_n = &c_n[0, 0]
    load_rows(&p, p.h, p.h_width(), P, h0)
    if p.cell.has_c:
        load_rows(&p, p.c, p.width(), H, c0)
    size = team_size(&p, thread_limit)
    pack_into(
        &p, False, 0, given,
        forward_scratch(&p, size, weights.lay_out[real_t](&p, NULL, False, 0), &arena),
    )
    with nogil:
        run_forward(&p, size)


def infer(
    tuple stack not None,
    int directions,
    bint reverse,
    const real_t[:, :, :] x not None,
    const isize[::1] ragged,
    const real_t[:, :, :] h0,
    const real_t[:, :, :] c0,
    real_t[:, :, :] y not None,
    real_t[:, :, ::1] h_n not None,
    real_t[:, :, ::1] c_n,
):
    """Run a stack of layers and keep nothing but its outputs and final states.

    `stack` has every layer and direction as rnncore._engine.passes.PackedCell, in the order of the first
    axis of the states. The first direction starts at the end of time if `reverse`, the second
    always does. `h0` and `c0` may be None; `c_n` is for cells with a memory.
    """
    cdef isize T = x.shape[0], B = x.shape[1], L = len(stack) // directions
    cdef isize H, P, layer, d, k = 0, columns = y.shape[2]
    cdef int size
    cdef Pass[real_t] p
    cdef Arena[real_t] memory, scratch
    cdef real_t* h
    cdef real_t* c
    cdef real_t* made_h
    cdef real_t* between[2]
    cdef const real_t[::1] packed
    spec, _, H, P, _ = stack[0]
    cell = spec.core
    set_pass(&p, cell, 1, H, P)
    # Two states of h and of c, what a projection reads, and the outputs of two layers in turn
    memory.reserve(
        2 * B * p.h_width() + 3 * B * p.width() + (2 * T * B * columns if L > 1 else 0), 0, 5
    )
    h = memory.reals(2 * B * p.h_width())
    c = memory.reals(2 * B * p.width())
    made_h = memory.reals(B * p.width())
    for d in range(2):
        between[d] = memory.reals(T * B * columns if L > 1 else 0)
    for layer in range(L):
        for d in range(directions):
            spec, _, H, P, packed = stack[k]
            cell = spec.core
            set_pass(&p, cell, x.shape[2] if layer == 0 else columns, H, P)
            set_x(&p, x, d == 1 or reverse, ragged)
            if layer > 0:
                p.x, p.x_step, p.x_row = between[(layer - 1) % 2], B * columns, columns
            set_y(&p, y)
            if layer < L - 1:
                p.y, p.y_step, p.y_row = between[layer % 2], B * columns, columns
            p.y += d * P
            p.h, p.c, p.instants = h, c, 2
            if p.cell.options & PROJECTION:
                p.made_h = made_h
            p.h_n = &h_n[k, 0, 0]
            load_rows(&p, h, p.h_width(), P, entry(h0, k))
            if c_n is not None:
                p.c_n = &c_n[k, 0, 0]
                load_rows(&p, c, p.width(), H, entry(c0, k))
            use_packed(&p, cell, packed)
            size = team_size(&p, thread_limit)
            forward_scratch(&p, size, 0, &scratch)
            with nogil:
                run_forward(&p, size)
            k += 1


cdef const real_t[:, :] entry(const real_t[:, :, :] a, isize k):
    return None if a is None else a[k]


cdef void load_rows(
    Pass[real_t]* p, real_t* rows, isize width, isize units, const real_t[:, :] given
) noexcept:
    """Set states, or their gradients, to what the user gave or to zeros; the padding is zeros."""
    cdef isize r, unit, user
    memset(rows, 0, p.B * width * sizeof(real_t))
    if given is not None:
        for r in range(p.B):
            user = p.user_row(r)
            for unit in range(units):
                rows[r * width + unit] = given[user, unit]


def backward(
    tuple cell,
    isize H,
    isize P,
    bint reverse,
    const real_t[:, :, :] x not None,
    tuple given,
    const isize[::1] ragged,
    isize first,
    isize steps,
    tuple masks,
    const real_t[::1] memory not None,
    const real_t[:, :, :] dy,
    const real_t[:, :] dh,
    const real_t[:, :] dc,
    double[:, :, :] flow,
    real_t[:, :, ::1] dx not None,
    real_t[:, ::1] dh0 not None,
    real_t[:, ::1] dc0,
    real_t[:, ::1] dw_ih not None,
    real_t[:, ::1] dw_hh not None,
    real_t[::1] db_ih not None,
    real_t[::1] db_hh not None,
    real_t[::1] dw_ch,
    real_t[:, ::1] dw_hr,
):
    """Run back through the steps from the last to `first`.

    `given` are the weights, as for `pack`; no bias is read. `dy`, `dh` and `dc`, the gradients of
    outputs and final states, may be None. The parameters' gradients are added to what their arrays
    hold; `dx` is written where there are steps.
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    cdef isize r, user
    set_pass(&p, cell, x.shape[2], H, P)
    set_x(&p, x, reverse, ragged)
    set_room(&p, cell, first, steps, masks, memory, False)
    check_sizes(dy is None or (dy.shape[0] == p.duration and dy.shape[1] == p.B))
    check_sizes(dy is None or dy.shape[2] == P)
    check_sizes(dh is None or (dh.shape[0] == p.B and dh.shape[1] == P))
    check_sizes(dc is None or (dc.shape[0] == p.B and dc.shape[1] == H))
    set_y(&p, dy)
    if flow is not None:
        p.flow_step = flow.strides[1] // <isize> sizeof(double)
        p.flow_row = flow.strides[2] // <isize> sizeof(double)
        p.flow_h = &flow[0, 0, 0]
        if p.cell.has_c:
            p.flow_c = &flow[1, 0, 0]
    p.dx = &dx[0, 0, 0]
    p.dw_ih = &dw_ih[0, 0]
    p.dw_hh = &dw_hh[0, 0]
    p.db_ih = &db_ih[0]
    p.db_hh = &db_hh[0]
    p.dw_ch = <real_t*> vector(dw_ch)
    if dw_hr is not None:
        p.dw_hr = &dw_hr[0, 0]
    size = team_size(&p, thread_limit)
    pack_into(
        &p, True, backward_block(&p), given,
        backward_scratch(&p, size, weights.lay_out[real_t](&p, NULL, True, 0), &arena),
    )
    load_rows(&p, p.dh, p.h_width(), P, dh)
    load_rows(&p, p.dc, p.width(), H, dc)
    with nogil:
        run_backward(&p, size)
    for r in range(p.B):
        user = p.user_row(r)
        memcpy(&dh0[user, 0], p.dh + r * p.h_width(), P * sizeof(real_t))
        if p.cell.has_c:
            memcpy(&dc0[user, 0], p.dc + r * p.width(), H * sizeof(real_t))


def chunk_begins(isize T, isize B, isize H, const isize[::1] alive):
    """The first step of every chunk of a backward pass, from the last chunk to the first.

    `alive` has the rows alive at each step; None: all `B`.
    """
    cdef Pass[float] p = Pass[float]()
    cdef isize end = T
    p.steps, p.B, p.H = T, B, H
    if alive is not None:
        p.alive_rows = &alive[0]
    begins = []
    while end > 0:
        end = chunk_begin(&p, end)
        begins.append(end)
    return begins


def linear_forward(
    const real_t[:, ::1] x not None,
    const real_t[:, ::1] w not None,
    const real_t[::1] b,
    real_t[:, ::1] y not None,
):
    """y = x w' + b; `b` may be None."""
    cdef LinearPass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    p.rows, p.K, p.N = x.shape[0], x.shape[1], w.shape[0]
    check_sizes(w.shape[1] == p.K and y.shape[0] == p.rows and y.shape[1] == p.N)
    check_sizes(b is None or b.shape[0] == p.N)
    p.x = &x[0, 0]
    p.b = vector(b)
    p.y = &y[0, 0]
    size = linear_team_size(&p, thread_limit)
    linear_scratch(&p, size, False, &w[0, 0], &arena)
    with nogil:
        run_linear_forward(&p, size)


def linear_backward(
    const real_t[:, ::1] x not None,
    const real_t[:, ::1] w not None,
    const real_t[:, ::1] dy not None,
    real_t[:, ::1] dx not None,
    real_t[:, ::1] dw not None,
    real_t[::1] db not None,
):
    """dx = dy w; dw, which comes in as zeros, = dy' x; db = the sum of dy."""
    cdef LinearPass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    p.rows, p.K, p.N = x.shape[0], x.shape[1], w.shape[0]
    check_sizes(w.shape[1] == p.K and dy.shape[0] == p.rows and dy.shape[1] == p.N)
    check_sizes(dx.shape[0] == p.rows and dx.shape[1] == p.K)
    check_sizes(dw.shape[0] == p.N and dw.shape[1] == p.K and db.shape[0] == p.N)
    p.x = &x[0, 0]
    p.b = NULL
    p.y = <real_t*> &dy[0, 0]
    p.dx = &dx[0, 0]
    p.dw = &dw[0, 0]
    p.db = &db[0]
    size = linear_team_size(&p, thread_limit)
    linear_scratch(&p, size, True, &w[0, 0], &arena)
    with nogil:
        run_linear_backward(&p, size)


def sum_of_squares(const real_t[::1] a not None):
    """In double; the sums of pieces of `SQUARES_PIECE` elements, added in turn, are the same."""
    cdef double total
    cdef isize n = a.shape[0]
    if n == 0:
        return 0.0
    with nogil:
        total = c_sum_of_squares(&a[0], n)
    return total


def peak_gflops(dtype, double seconds=0.1):
    """What one core reaches in multiply-adds of "float32" or "float64", in GFLOP/s."""
    cdef double flops
    cdef bint single = str(dtype) == "float32"
    with nogil:
        flops = peak_flops[float](seconds) if single else peak_flops[double](seconds)
    return flops / 1e9


include "stream.pxi"
