"""Entry points of the compiled core: rnncore.functional checks and allocates, then calls these.

Arrays come in with the right shapes and dtypes, states and gates padded to whole registers.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cells cimport set_cell
from arena cimport Arena
from linear cimport (
    linear_scratch,
    linear_team_size,
    run_linear_backward,
    run_linear_forward,
)
from recurrence cimport COUPLED, PEEPHOLE_CURRENT, PEEPHOLE_PREVIOUS, RELU, LinearPass, Pass
from through_time cimport (
    backward_block,
    backward_scratch,
    forward_scratch,
    forward_tables,
    run_backward,
    run_forward,
    team_size,
)
from vec cimport VECTOR_BYTES, isize, real_t
cimport cells
cimport weights

cdef extern from "native/peak.h" namespace "rnncore" nogil:
    double peak_flops[T](double seconds)

RNN = cells.RNN
GRU_AFTER = cells.GRU_AFTER
GRU_BEFORE = cells.GRU_BEFORE
LSTM = cells.LSTM
FLAGS = {
    "relu": RELU,
    "coupled": COUPLED,
    "previous": PEEPHOLE_PREVIOUS,
    "current": PEEPHOLE_CURRENT,
}
REGISTER_BYTES = VECTOR_BYTES


cdef void set_pass(Pass[real_t]* p, int kind, int options, isize I, isize H) noexcept:
    set_cell(&p.cell, kind, options)
    p.I = I
    p.H = H
    p.blocks = p.blocks_of(H)


cdef void set_data(
    Pass[real_t]* p,
    const real_t[:, :, :] x,
    const real_t[:, :, ::1] h,
    const real_t[:, :, ::1] c,
    const real_t[:, :, ::1] gates,
    bint reverse,
) noexcept:
    """The arrays that both passes have; the forward one writes to the last three."""
    p.steps = x.shape[0]
    p.reverse = reverse
    set_x(p, x)
    set_states(p, h, c, gates)


cdef void set_x(Pass[real_t]* p, const real_t[:, :, :] x) noexcept:
    p.x = &x[0, 0, 0]
    p.x_step = x.strides[0] // <isize> sizeof(real_t)
    p.x_row = x.strides[1] // <isize> sizeof(real_t)


cdef void set_states(
    Pass[real_t]* p,
    const real_t[:, :, ::1] h,
    const real_t[:, :, ::1] c,
    const real_t[:, :, ::1] gates,
) noexcept:
    """`c` is None for a cell without a memory, `gates` where they are not kept."""
    p.B = h.shape[1]
    p.h = <real_t*> &h[0, 0, 0]
    p.instants = h.shape[0]
    p.phase = 0
    p.c = p.h  # a cell without a memory does not look at it
    if c is not None:
        p.c = <real_t*> &c[0, 0, 0]
    p.keeps = gates is not None
    p.gates = p.h  # the RNN keeps none, and its backward step does not look at them
    if p.keeps:
        p.gates = <real_t*> &gates[0, 0, 0]


cdef void set_y(Pass[real_t]* p, const real_t[:, :, :] y) noexcept:
    p.y = NULL
    if y is not None:
        p.y = <real_t*> &y[0, 0, 0]
        p.y_step = y.strides[0] // <isize> sizeof(real_t)
        p.y_row = y.strides[1] // <isize> sizeof(real_t)


cdef const real_t* start_of(const real_t[::1] a) noexcept nogil:
    if a is None:
        return NULL
    return &a[0]


def address(const real_t[::1] a):
    """Where the array starts in memory."""
    return <size_t> &a[0] if a.shape[0] else 0


def packed_size(int kind, int options, bint backward, isize I, isize H, isize itemsize):
    """Elements that the packed weights take."""
    cdef Pass[float] single
    cdef Pass[double] double_
    if itemsize == sizeof(float):
        set_pass(&single, kind, options, I, H)
        return weights.lay_out[float](&single, NULL, backward, 0)
    set_pass(&double_, kind, options, I, H)
    return weights.lay_out[double](&double_, NULL, backward, 0)


def pack(
    int kind,
    int options,
    bint backward,
    const real_t[:, ::1] w_ih not None,
    const real_t[:, ::1] w_hh not None,
    const real_t[::1] b_ih,
    const real_t[::1] b_hh,
    const real_t[::1] w_ch,
    real_t[::1] packed not None,
):
    """Fill `packed` with the weights in the order in which a pass reads them."""
    cdef Pass[real_t] p
    set_pass(&p, kind, options, w_ih.shape[1], w_hh.shape[1])
    weights.lay_out(&p, &packed[0], backward, 0)
    with nogil:
        weights.pack(
            &p, backward, &w_ih[0, 0], &w_hh[0, 0], start_of(b_ih), start_of(b_hh), start_of(w_ch)
        )


def forward(
    int kind,
    int options,
    isize H,
    bint reverse,
    int threads,
    const real_t[:, :, :] x not None,
    real_t[::1] packed not None,
    real_t[:, :, ::1] h not None,
    real_t[:, :, ::1] c,
    real_t[:, :, ::1] gates,
):
    """Run through time from ``h[0]`` and ``c[0]`` and keep all T+1 states, and the gates.

    `c` is None for a cell without a memory, `gates` for one whose backward pass reads none.
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    set_pass(&p, kind, options, x.shape[2], H)
    set_data(&p, x, h, c, gates, reverse)
    p.y = NULL
    weights.lay_out(&p, &packed[0], False, 0)
    size = team_size(&p, threads)
    forward_scratch(&p, size, &arena)
    with nogil:
        run_forward(&p, size)


def infer(
    list stack not None,
    int directions,
    bint reverse,
    int threads,
    const real_t[:, :, :] x not None,
    const real_t[:, :, :] h0,
    const real_t[:, :, :] c0,
    real_t[:, :, :] y not None,
    real_t[:, :, ::1] h_n not None,
    real_t[:, :, ::1] c_n,
):
    """Run a stack of layers and keep nothing but its outputs and final states.

    `stack` has every layer and direction as (kind, flags, H, packed), in the order of the first
    axis of the states. The first direction starts at the end of time if `reverse`, the second
    always does. `h0` and `c0` may be None; `c_n` is for cells with a memory.
    """
    cdef isize T = x.shape[0], B = x.shape[1], L = len(stack) // directions
    cdef isize H, W, layer, d, r, k = 0, columns = y.shape[2]
    cdef int size
    cdef Pass[real_t] p
    cdef Arena[real_t] memory, scratch
    cdef real_t* between[2]
    cdef real_t[::1] packed
    cdef int kind, flags
    kind, flags, H, _ = stack[0]
    set_pass(&p, kind, flags, 1, H)
    W = p.width()
    # Two states of h and of c, and the outputs of two layers of the stack in turn
    memory.reserve(4 * B * W + (2 * T * B * columns if L > 1 else 0), 0, 4)
    p.h = memory.reals(2 * B * W)
    p.c = memory.reals(2 * B * W)
    for d in range(2):
        between[d] = memory.reals(T * B * columns if L > 1 else 0)
    p.instants, p.phase, p.steps, p.B = 2, 0, T, B
    p.keeps = False
    p.gates = NULL
    for layer in range(L):
        for d in range(directions):
            kind, flags, H, packed = stack[k]
            set_pass(&p, kind, flags, x.shape[2] if layer == 0 else columns, H)
            p.reverse = d == 1 or reverse
            set_x(&p, x)
            if layer > 0:
                p.x, p.x_step, p.x_row = between[(layer - 1) % 2], B * columns, columns
            set_y(&p, y)
            if layer < L - 1:
                p.y, p.y_step, p.y_row = between[layer % 2], B * columns, columns
            p.y += d * H
            weights.lay_out(&p, &packed[0], False, 0)
            start_state(p.h, W, B, H, h0, k)
            start_state(p.c, W, B, H, c0, k)
            size = team_size(&p, threads)
            forward_scratch(&p, size, &scratch)
            with nogil:
                run_forward(&p, size)
            for r in range(B):
                memcpy(&h_n[k, r, 0], p.h_at(T) + r * W, H * sizeof(real_t))
                if c_n is not None:
                    memcpy(&c_n[k, r, 0], p.c_at(T) + r * W, H * sizeof(real_t))
            k += 1


cdef void start_state(
    real_t* rows, isize W, isize B, isize H, const real_t[:, :, :] start, isize k
) noexcept:
    """Set the first state of a cell to ``start[k]``, or to zeros; the padding is zeros."""
    cdef isize r, unit
    memset(rows, 0, B * W * sizeof(real_t))
    if start is not None:
        for r in range(B):
            for unit in range(H):
                rows[r * W + unit] = start[k, r, unit]


def backward(
    int kind,
    int options,
    isize H,
    bint reverse,
    int threads,
    const real_t[:, :, :] x not None,
    real_t[::1] packed not None,
    const real_t[:, :, ::1] h not None,
    const real_t[:, :, ::1] c,
    const real_t[:, :, ::1] gates,
    const real_t[:, :, :] dy,
    real_t[:, ::1] dh not None,
    real_t[:, ::1] dc not None,
    real_t[:, :, ::1] dx not None,
    real_t[:, ::1] dw_ih not None,
    real_t[:, ::1] dw_hh not None,
    real_t[::1] db_ih not None,
    real_t[::1] db_hh not None,
    real_t[::1] dw_ch not None,
):
    """Run back through time.

    `dh` and `dc` come in with the gradient of the final state, padded, and leave with that of the
    initial one. The parameters' gradients are added to what their arrays hold.
    """
    cdef Pass[real_t] p
    cdef Arena[real_t] arena
    cdef int size
    set_pass(&p, kind, options, x.shape[2], H)
    set_data(&p, x, h, c, gates, reverse)
    set_y(&p, dy)
    p.dh = &dh[0, 0]
    p.dc = &dc[0, 0]
    p.dx = &dx[0, 0, 0]
    p.dw_ih = &dw_ih[0, 0]
    p.dw_hh = &dw_hh[0, 0]
    p.db_ih = &db_ih[0]
    p.db_hh = &db_hh[0]
    p.dw_ch = &dw_ch[0]
    weights.lay_out(&p, &packed[0], True, backward_block(&p))
    size = team_size(&p, threads)
    backward_scratch(&p, size, &arena)
    with nogil:
        run_backward(&p, size)


def linear_forward(
    int threads,
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
    p.x = &x[0, 0]
    p.b = start_of(b)
    p.y = &y[0, 0]
    size = linear_team_size(&p, threads)
    linear_scratch(&p, size, False, &w[0, 0], &arena)
    with nogil:
        run_linear_forward(&p, size)


def linear_backward(
    int threads,
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
    p.x = &x[0, 0]
    p.b = NULL
    p.y = <real_t*> &dy[0, 0]
    p.dx = &dx[0, 0]
    p.dw = &dw[0, 0]
    p.db = &db[0]
    size = linear_team_size(&p, threads)
    linear_scratch(&p, size, True, &w[0, 0], &arena)
    with nogil:
        run_linear_backward(&p, size)


def peak_gflops(dtype, double seconds=0.1):
    """What one core reaches in multiply-adds of "float32" or "float64", in GFLOP/s."""
    cdef double flops
    cdef bint single = str(dtype) == "float32"
    with nogil:
        flops = peak_flops[float](seconds) if single else peak_flops[double](seconds)
    return flops / 1e9


cdef int prepare_layer(Pass[real_t]* p, layer, int threads, real_t[::1] packed) except -1:
    """Point the pass of a step to the arrays of a layer; return the pointers it takes."""
    cdef real_t[:, :, ::1] h = layer.states[0], gates = layer.gates, c = None
    if len(layer.states) > 1:
        c = layer.states[1]
    cdef int kind = layer.packed.cell.kind, flags = layer.packed.cell.flags
    cdef isize I = layer.packed.I, H = layer.packed.H
    set_pass(p, kind, flags, I, H)
    set_states(p, h, c, gates)
    p.steps = 1
    weights.lay_out(p, &packed[0], False, 0)
    return forward_tables(p, threads) * threads


cdef void stream_step(
    Pass[real_t]* p, int count, int threads, int phase, const real_t* x, isize x_row, real_t* y
) noexcept nogil:
    """One step through `count` layers, each of which reads the state of the one below."""
    cdef isize k
    for k in range(count):
        p.phase = phase
        p.x = x
        p.x_row = x_row
        p.y = y if k == count - 1 else NULL
        p.y_row = p.H
        run_forward(p, team_size(p, threads))
        x = p.h_at(1)
        x_row = p.width()
        p += 1


cdef class Stream:
    """A stack of layers that reads one step at a time, with its weights, states and buffers.

    `layers` holds for each (packed, states, gates), as rnncore.functional.StreamBuffers does. A
    call reads x (B, I) and returns `y` (B, H), or `out` if that is given, which it has written to.
    ``fitted(name, value, shape)`` is called with what cannot be used as it is: it returns an array
    that can be, or raises.
    """

    cdef readonly int phase  # which of the two states is the present one
    cdef int count, threads
    cdef bint single
    cdef isize itemsize, B, I, H
    cdef void* passes  # Pass[float]* or Pass[double]*
    cdef void** tables
    cdef object layers, y, fitted

    def __init__(self, list layers not None, int threads, y not None, fitted not None):
        self.layers, self.y, self.fitted = layers, y, fitted
        self.count, self.threads = len(layers), threads
        self.itemsize = y.itemsize
        self.B, self.H = y.shape
        self.I = layers[0].packed.I
        self.single = self.itemsize == sizeof(float)
        size = sizeof(Pass[float]) if self.single else sizeof(Pass[double])
        self.passes = calloc(self.count, size)
        if self.passes == NULL:
            raise MemoryError
        places = [self.prepare(k, layers[k]) for k in range(self.count)]
        self.tables = <void**> calloc(sum(places), sizeof(void*))
        if self.tables == NULL:
            raise MemoryError
        for k in range(self.count):
            self.place_tables(k, sum(places[:k]))

    def __dealloc__(self):
        free(self.passes)
        free(self.tables)

    cdef prepare(self, isize k, layer):
        if self.single:
            return prepare_layer[float](
                <Pass[float]*> self.passes + k, layer, self.threads, layer.packed.weights
            )
        return prepare_layer[double](
            <Pass[double]*> self.passes + k, layer, self.threads, layer.packed.weights
        )

    cdef place_tables(self, isize k, isize at):
        if self.single:
            (<Pass[float]*> self.passes + k).tables = <float**> self.tables + at
        else:
            (<Pass[double]*> self.passes + k).tables = <double**> self.tables + at

    cdef bint fits(self, Py_buffer* a, isize columns) noexcept:
        """Whether rows of `columns` numbers of this dtype lie there as the core reads them."""
        cdef char kind = b"f" if self.single else b"d"
        return (
            a.ndim == 2
            and a.shape[0] == self.B
            and a.shape[1] == columns
            and a.format[0] == kind
            and a.format[1] == 0
            and a.strides[1] == self.itemsize
            and a.strides[0] % self.itemsize == 0
            and <size_t> a.buf % self.itemsize == 0
        )

    def __call__(self, x, out=None):
        cdef Py_buffer source, target
        cdef bint fit
        result = self.y if out is None else out
        try:
            PyObject_GetBuffer(x, &source, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, TypeError):
            return self(self.fitted("x", x, (self.B, self.I)), out)
        if not self.fits(&source, self.I):
            PyBuffer_Release(&source)
            return self(self.fitted("x", x, (self.B, self.I)), out)
        try:
            PyObject_GetBuffer(result, &target, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (BufferError, TypeError, ValueError):
            PyBuffer_Release(&source)
            return self.fitted("out", out, (self.B, self.H))
        fit = self.fits(&target, self.H) and target.strides[0] == self.H * self.itemsize
        if fit:
            with nogil:
                if self.single:
                    stream_step(
                        <Pass[float]*> self.passes, self.count, self.threads, self.phase,
                        <const float*> source.buf, source.strides[0] // self.itemsize,
                        <float*> target.buf,
                    )
                else:
                    stream_step(
                        <Pass[double]*> self.passes, self.count, self.threads, self.phase,
                        <const double*> source.buf, source.strides[0] // self.itemsize,
                        <double*> target.buf,
                    )
            self.phase ^= 1
        PyBuffer_Release(&source)
        PyBuffer_Release(&target)
        return result if fit else self.fitted("out", out, (self.B, self.H))
