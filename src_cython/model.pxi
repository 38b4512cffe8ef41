# Models that read one step at a time, without Python between their layers. Part of core.pyx.


cdef class LayerStep(RowStep):
    """The step of a recurrent layer, through its `Stream`."""

    cdef Stream stream

    def __init__(self, Stream stream not None):
        self.set_sizes(stream.itemsize, stream.I, stream.P)
        self.stream = stream

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        check_sizes(rows == self.stream.B)
        return self.stream.step(x, self.inputs, y, self.outputs)

    cdef int commit(self) except -1:
        self.stream.phase ^= 1
        return 0


cdef class WindowStep(RowStep):
    """The present row and some before it, side by side: what a causal convolution multiplies.

    `history` (2, B, span, C) has the last rows, oldest first, before the step and after it; of its
    span every `dilation`-th is taken.
    """

    cdef char* history
    cdef isize B, span, dilation
    cdef public int phase  # which of the two is before the next step

    def __init__(self, history not None, isize dilation):
        cdef isize C
        check_sizes(PyArray_Check(history) and PyArray_NDIM(history) == 4)
        check_sizes(PyArray_IS_C_CONTIGUOUS(history) and PyArray_ISWRITEABLE(history))
        _, self.B, self.span, C = history.shape
        check_sizes(history.shape[0] == 2 and dilation > 0 and (self.span - 1) % dilation == 0)
        self.dilation, self.held = dilation, history
        self.set_sizes(history.itemsize, C, C * ((self.span - 1) // dilation + 1))
        check_sizes(has(history, self.itemsize, 4))
        self.history = <char*> PyArray_DATA(history)

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        cdef isize row = self.inputs * self.itemsize, all_rows = self.span * row, b, k
        cdef char* before = self.history + (self.phase & 1) * self.B * all_rows
        cdef char* after = self.history + ((self.phase ^ 1) & 1) * self.B * all_rows
        cdef char* to = <char*> y
        check_sizes(rows == self.B)
        for b in range(self.B):
            memcpy(after, before + row, all_rows - row)
            memcpy(after + all_rows - row, <const char*> x + b * row, row)
            for k in range(0, self.span, self.dilation):
                memcpy(to, after + k * row, row)
                to += row
            before += all_rows
            after += all_rows
        return 0

    cdef int commit(self) except -1:
        self.phase ^= 1
        return 0


cdef class PoolStep(RowStep):
    """What the rows of all steps so far come to; `so_far` (2, B, C) is before and after a step.

    `counts` (B,) are the steps that were read of each row. `kind` is one of `POOLS`; of a sum comes
    the mean if that is asked for.
    """

    cdef char* so_far
    cdef isize* counts
    cdef public int phase  # which of the two is before the next step
    cdef isize B
    cdef int kind
    cdef bint mean

    def __init__(self, so_far not None, counts not None, int kind, bint mean):
        cdef isize C = along(so_far, 3, 2)
        self.B = along(so_far, 3, 1)
        self.set_sizes(size_of(so_far), C, C)
        self.so_far = <char*> target(so_far, self.itemsize, 3, 2, self.B, C)
        self.counts = <isize*> indices(counts, self.B)
        check_sizes(kind in POOLS.values() and PyArray_ISWRITEABLE(counts))
        self.kind, self.mean, self.held = kind, mean, (so_far, counts)

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        cdef isize row = self.inputs * self.itemsize, whole = self.B * row, b
        cdef char* before = self.so_far + (self.phase & 1) * whole
        cdef char* after = self.so_far + ((self.phase ^ 1) & 1) * whole
        check_sizes(rows == self.B)
        for b in range(self.B):
            if self.single:
                pool_row[float](self, b, <float*> x, <float*> before, <float*> after, <float*> y)
            else:
                pool_row[double](
                    self, b, <double*> x, <double*> before, <double*> after, <double*> y)
        return 0

    cdef int commit(self) except -1:
        cdef isize b
        self.phase ^= 1
        for b in range(self.B):
            self.counts[b] += 1
        return 0


cdef void pool_row(
    PoolStep step, isize b, real_t* x, real_t* before, real_t* after, real_t* y
) noexcept:
    cdef isize n = step.inputs, at = b * n, k
    cdef real_t count = <real_t> (step.counts[b] + 1)
    pool_numbers(n, step.kind, step.counts[b] == 0, x + at, before + at, after + at)
    for k in range(at, at + n):
        y[k] = after[k] / count if step.mean else after[k]


cdef class ChainStep(RowStep):
    """Steps after each other, for a batch of so many rows; `adds` adds x to what comes out."""

    cdef list steps, buffers
    cdef isize B
    cdef bint adds

    def __init__(self, list steps not None, isize B, bint adds):
        cdef RowStep step, last
        check_sizes(len(steps) > 0 and B > 0)
        self.steps, self.B, self.adds = steps, B, adds
        step, last = steps[0], steps[len(steps) - 1]
        self.set_sizes(step.itemsize, step.inputs, last.outputs)
        self.ids = step.ids
        check_sizes(not adds or (self.inputs == self.outputs and self.ids == 0))
        self.buffers, last = [], None
        for step in steps:
            check_sizes(step.itemsize == self.itemsize)
            check_sizes(last is None or (last.outputs == step.inputs and step.ids == 0))
            self.buffers.append(empty(B * step.outputs, self.itemsize))
            last = step

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        cdef RowStep step
        cdef isize k, last = len(self.steps) - 1, n
        cdef const void* at = x
        cdef void* to
        check_sizes(rows == self.B)
        for k in range(last + 1):
            step = self.steps[k]
            to = y if k == last and not self.adds else PyArray_DATA(self.buffers[k])
            step.run(rows, at, to)
            at = to
        n = rows * self.outputs
        if self.adds and self.single:
            add_numbers(n, <const float*> x, <const float*> at, <float*> y)
        elif self.adds:
            add_numbers(n, <const double*> x, <const double*> at, <double*> y)
        return 0

    cdef int commit(self) except -1:
        cdef RowStep step
        for step in self.steps:
            step.commit()
        return 0


cdef class ModelStream:
    """A model that reads one step at a time.

    A call reads x (B, inputs), or ids (B,) where the first step reads those, and returns `y`
    (B, outputs), or `out` if that is given, which it has written to. ``fitted(name, value)`` is
    called with what cannot be used as it is: it returns an array that can be, or raises.
    """

    cdef ChainStep chain
    cdef object y, fitted

    def __init__(self, ChainStep chain not None, y not None, fitted not None):
        target(y, chain.itemsize, 2, chain.B, chain.outputs)
        self.chain, self.y, self.fitted = chain, y, fitted

    cdef bint fits(self, x) noexcept:
        cdef isize k
        cdef const isize* ids
        if not PyArray_CheckExact(x) or not PyArray_IS_C_CONTIGUOUS(x):
            return False
        if self.chain.ids == 0:
            return (
                has(x, self.chain.itemsize, 2)
                and PyArray_DIMS(x)[0] == self.chain.B
                and PyArray_DIMS(x)[1] == self.chain.inputs
            )
        if PyArray_NDIM(x) != 1 or PyArray_TYPE(x) != NPY_INTP or not PyArray_ISBEHAVED_RO(x):
            return False
        if PyArray_DIMS(x)[0] != self.chain.B:
            return False
        ids = <const isize*> PyArray_DATA(x)
        for k in range(self.chain.B):
            if not 0 <= ids[k] < self.chain.ids:
                return False
        return True

    def __call__(self, x, out=None):
        cdef ChainStep chain = self.chain
        result = self.y if out is None else out
        if not self.fits(x):
            x = self.fitted("x", x)
            check_sizes(self.fits(x))
        if out is not None and not (
            PyArray_CheckExact(out)
            and has(out, chain.itemsize, 2)
            and PyArray_IS_C_CONTIGUOUS(out)
            and PyArray_ISWRITEABLE(out)
            and PyArray_DIMS(out)[0] == chain.B
            and PyArray_DIMS(out)[1] == chain.outputs
        ):
            return self.fitted("out", out)
        chain.run(chain.B, PyArray_DATA(x), PyArray_DATA(result))
        chain.commit()
        return result
