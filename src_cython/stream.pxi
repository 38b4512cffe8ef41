# Streams: a stack of layers that reads one step at a time. Part of core.pyx.

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdlib cimport calloc, free

from forward cimport forward_tables, forward_tracks


cdef int prepare_layer(Pass[real_t]* p, layer) except -1:
    """Point the pass of a step to the arrays of a layer."""
    cdef Shape shape
    cdef isize size = sizeof(real_t)
    cdef int s
    shape, packed, states, made, gates = layer
    set_pass(p, shape)
    check_sizes(len(states) == len(made) == p.cell.states)
    p.steps = p.duration = 1
    p.B = len(states[0][0])
    p.instants = 2
    for s in range(p.cell.states):
        p.state[s].values = <real_t*> target(
            states[s], size, 3, 2, p.B, p.state[s].width())
        check_sizes(p.state[s].values != NULL)
    if p.cell.options & PROJECTION:
        p.state[H].made = <real_t*> target(made[H], size, 3, 1, p.B, p.width())
        check_sizes(p.state[H].made != NULL)
    p.gates = <real_t*> target(gates, size, 3, 1, p.B, p.gates_width())
    check_sizes(p.gates != NULL)
    use_packed[real_t](p, shape, packed)
    return 0


cdef isize place_tables(Pass[real_t]* p, int count, int threads, void** tables) noexcept:
    """Give each layer its room in `tables`, where that is not null; return how many they take."""
    cdef isize k, at = 0
    cdef Plan plan
    for k in range(count):
        if tables != NULL:
            p[k].tables = <real_t**> (tables + at)
        plan = plan_of(p + k, threads)
        at += forward_tables(p + k, plan) * forward_tracks(plan)
    return at


cdef int shared_step(Pass[real_t]* p, Plan plan) except -1 nogil:
    """The step of a layer that is more than one piece."""
    cdef Tracks[Pass[real_t]] tracks
    cdef Neighbour nobody, these
    cdef Crew crew
    add_forward(p, plan, 0, &nobody, &these, &tracks, &crew)
    return run_crew(&crew, plan.size)


cdef int stream_step(
    Pass[real_t]* p, int count, int threads, int phase, const real_t* x, isize x_row, real_t* y,
    isize y_row,
) except -1 nogil:
    """One step through `count` layers, each of which reads the state of the one below."""
    cdef isize k
    cdef Plan plan
    for k in range(count):
        p.phase = phase
        p.x = x
        p.x_row = x_row
        p.y = y if k == count - 1 else NULL
        p.y_row = y_row
        plan = plan_of(p, threads)
        if is_small(&plan, 1):
            forward_alone(p)
        else:
            shared_step(p, plan)
        x = p.at(H, 1)
        x_row = p.h_width()
        p += 1
    return 0


cdef class Stream:
    """A stack of layers that reads one step at a time, with its weights, states and buffers.

    `layers` has of each a tuple: its shape, its packed weights, two of every state, (2, B, width),
    of every state what the cell makes where that is not the state, (1, B, width), or None, and the
    gates of a step, (1, B, slots * width); all widths are padded to whole registers. A call reads
    x (B, I) and returns `y` (B, P), or `out` if that is given, which it has written to.
    ``fitted(name, value, shape)`` is called with what cannot be used as it is: it returns an array
    that can be, or raises.
    """

    cdef readonly int phase  # which of the two states is the present one
    cdef int count, threads
    cdef bint single
    cdef isize itemsize, B, I, P
    cdef void* passes  # Pass[float]* or Pass[double]*
    cdef void** tables
    cdef object layers, y, fitted

    def __init__(self, list layers not None, y not None, fitted not None):
        self.layers, self.y, self.fitted = layers, y, fitted
        self.count = len(layers)
        self.itemsize = y.itemsize
        self.B, self.P = y.shape
        self.I = (<Shape> layers[0][0]).I
        self.single = self.itemsize == sizeof(float)
        size = sizeof(Pass[float]) if self.single else sizeof(Pass[double])
        self.passes = calloc(self.count, size)
        if self.passes == NULL:
            raise MemoryError
        for k in range(self.count):
            self.prepare(k, layers[k])
        self.use_threads(thread_limit)

    def __dealloc__(self):
        free(self.passes)
        free(self.tables)

    cdef prepare(self, isize k, layer):
        if self.single:
            prepare_layer[float](<Pass[float]*> self.passes + k, layer)
        else:
            prepare_layer[double](<Pass[double]*> self.passes + k, layer)

    cdef isize point(self, int threads, void** tables):
        if self.single:
            return place_tables(<Pass[float]*> self.passes, self.count, threads, tables)
        return place_tables(<Pass[double]*> self.passes, self.count, threads, tables)

    cdef int use_threads(self, int threads) except -1:
        """Make room for the tables of a team of so many; not at every step."""
        cdef void** tables = <void**> calloc(self.point(threads, NULL), sizeof(void*))
        if tables == NULL:
            raise MemoryError
        free(self.tables)
        self.tables, self.threads = tables, threads
        self.point(threads, tables)
        return 0

    cdef bint fits(self, Py_buffer* a, isize columns) noexcept:
        """Whether rows of `columns` numbers of this dtype lie there as the core reads them."""
        cdef char kind = b"f" if self.single else b"d"
        return (
            a.ndim == 2
            and a.shape[0] == self.B
            and a.shape[1] == columns
            and a.format[0] == kind
            and a.format[1] == 0
            and (a.strides[1] == self.itemsize or columns == 1)
            and a.strides[0] % self.itemsize == 0
            and <size_t> a.buf % self.itemsize == 0
        )

    cdef int step(self, const void* x, isize x_row, void* y, isize y_row) except -1:
        """A step with all there is; the state stays that before until the phase changes."""
        if self.threads != thread_limit:
            self.use_threads(thread_limit)
        with nogil:
            if self.single:
                stream_step(
                    <Pass[float]*> self.passes, self.count, self.threads, self.phase,
                    <const float*> x, x_row, <float*> y, y_row,
                )
            else:
                stream_step(
                    <Pass[double]*> self.passes, self.count, self.threads, self.phase,
                    <const double*> x, x_row, <double*> y, y_row,
                )
        return 0

    def __call__(self, x, out=None):
        cdef Py_buffer source, target
        cdef bint fit
        result = self.y if out is None else out
        if type(x) is not ndarray:  # one of a subclass may mean more than its numbers
            return self(self.fitted("x", x, (self.B, self.I)), out)
        try:
            PyObject_GetBuffer(x, &source, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, TypeError, ValueError):
            return self(self.fitted("x", x, (self.B, self.I)), out)
        if not self.fits(&source, self.I):
            PyBuffer_Release(&source)
            return self(self.fitted("x", x, (self.B, self.I)), out)
        if type(result) is not ndarray and type(result) is not memmap:
            PyBuffer_Release(&source)
            return self.fitted("out", out, (self.B, self.P))
        try:
            PyObject_GetBuffer(result, &target, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (BufferError, TypeError, ValueError):
            PyBuffer_Release(&source)
            return self.fitted("out", out, (self.B, self.P))
        fit = self.fits(&target, self.P)
        fit = fit and (self.B == 1 or target.strides[0] >= self.P * self.itemsize)
        try:
            if fit:
                self.step(
                    source.buf, source.strides[0] // self.itemsize,
                    target.buf, target.strides[0] // self.itemsize,
                )
                self.phase ^= 1
        finally:  # Ctrl-C may have come
            PyBuffer_Release(&source)
            PyBuffer_Release(&target)
        return result if fit else self.fitted("out", out, (self.B, self.P))
