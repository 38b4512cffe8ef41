# What layers of a model do with rows, one after the other or all at once. Part of core.pyx.

from row_steps cimport (
    CELU,
    CLAMP,
    EXPONENTIAL,
    FUNCTIONS,
    GELU,
    GELU_TANH,
    HARD_SWISH,
    LOG_SIGMOID,
    MISH,
    POOL_FIRST,
    POOL_LAST,
    POOL_MOST,
    POOL_SUM,
    SCALED_ELU,
    SILU,
    add_numbers,
    map_numbers,
    norm_of_rows,
    pool_numbers,
    scale_rows,
    softmax_of_rows,
)

OWN_FUNCTIONS = {
    "gelu": GELU,
    "gelu_tanh": GELU_TANH,
    "silu": SILU,
    "mish": MISH,
    "celu": CELU,
    "scaled_elu": SCALED_ELU,
    "clamp": CLAMP,
    "hard_swish": HARD_SWISH,
    "log_sigmoid": LOG_SIGMOID,
    "exponential": EXPONENTIAL,
}
POOLS = {"last": POOL_LAST, "first": POOL_FIRST, "sum": POOL_SUM, "max": POOL_MOST}


cdef class RowStep:
    """What turns rows of `inputs` numbers into rows of `outputs`: the bits of each are its own.

    ``step(x, y)`` does it for (rows, inputs) and (rows, outputs), contiguous and of one type.
    """

    cdef isize itemsize, inputs, outputs
    cdef isize ids  # how many are known, where it reads ids, each an isize; 0 of numbers
    cdef bint single
    cdef object held  # arrays that are pointed to

    cdef int set_sizes(self, isize itemsize, isize inputs, isize outputs) except -1:
        check_sizes(itemsize == sizeof(float) or itemsize == sizeof(double))
        check_sizes(inputs > 0 and outputs > 0)
        self.itemsize, self.inputs, self.outputs = itemsize, inputs, outputs
        self.single = itemsize == sizeof(float)
        return 0

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        """Do it for rows that lie end to end."""
        return 0

    cdef int commit(self) except -1:
        """Let what the last run has made be the state."""
        return 0

    def __call__(self, x, y):
        cdef isize rows = along(x, 2, 0)
        check_sizes(self.ids == 0)
        self.run(
            rows, start(x, self.itemsize, 2, rows, self.inputs),
            target(y, self.itemsize, 2, rows, self.outputs),
        )


cdef class LookupStep(RowStep):
    """The rows of (count, width) `weight` that are called by ids; only of a model's stream."""

    cdef const char* weight

    def __init__(self, weight not None):
        cdef isize width = along(weight, 2, 1)
        self.ids = along(weight, 2, 0)
        self.set_sizes(size_of(weight), 1, width)
        check_sizes(self.ids > 0)
        self.weight = <const char*> start(weight, self.itemsize, 2, self.ids, width)
        self.held = weight

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        cdef const isize* ids = <const isize*> x
        cdef isize r, bytes = self.outputs * self.itemsize
        for r in range(rows):
            memcpy(<char*> y + r * bytes, self.weight + ids[r] * bytes, bytes)
        return 0


cdef class NormStep(RowStep):
    """The norm over a row, times `w` and plus `b` where they are there."""

    cdef const void* w
    cdef const void* b
    cdef double eps
    cdef void* scales  # of the rows: null, or where they go to

    def __init__(self, isize itemsize, isize size, double eps, w, b):
        self.set_sizes(itemsize, size, size)
        check_sizes((w is None) == (b is None))
        self.w = start(w, itemsize, 1, size)
        self.b = start(b, itemsize, 1, size)
        self.eps, self.held = eps, (w, b)

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        with nogil:
            if self.single:
                norm_of_rows(
                    rows, self.inputs, <const float*> x, <const float*> self.w,
                    <const float*> self.b, <float> self.eps, <float*> y, <float*> self.scales,
                )
            else:
                norm_of_rows(
                    rows, self.inputs, <const double*> x, <const double*> self.w,
                    <const double*> self.b, self.eps, <double*> y, <double*> self.scales,
                )
        return 0

    def with_scales(self, x, y, scales):
        """The same; 1 / sqrt(var + eps) of each row goes into `scales` (rows,)."""
        cdef isize rows = along(scales, 1, 0)
        self.scales = target(scales, self.itemsize, 1, rows)
        try:
            check_sizes(along(x, 2, 0) == rows)
            self(x, y)
        finally:
            self.scales = NULL


cdef class ScaleStep(RowStep):
    """x * w + b, the same of each row."""

    cdef const void* w
    cdef const void* b

    def __init__(self, w not None, b not None):
        cdef isize size = along(w, 1, 0)
        self.set_sizes(size_of(w), size, size)
        self.w = start(w, self.itemsize, 1, size)
        self.b = start(b, self.itemsize, 1, size)
        self.held = w, b

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        with nogil:
            if self.single:
                scale_rows(
                    rows, self.inputs, <const float*> x, <const float*> self.w,
                    <const float*> self.b, <float*> y,
                )
            else:
                scale_rows(
                    rows, self.inputs, <const double*> x, <const double*> self.w,
                    <const double*> self.b, <double*> y,
                )
        return 0


cdef class SoftmaxStep(RowStep):
    """The softmax of a row, or its logarithm."""

    cdef bint logarithm

    def __init__(self, isize itemsize, isize size, bint logarithm):
        self.set_sizes(itemsize, size, size)
        self.logarithm = logarithm

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        with nogil:
            if self.single:
                softmax_of_rows(
                    rows, self.inputs, <const float*> x, self.logarithm, <float*> y)
            else:
                softmax_of_rows(
                    rows, self.inputs, <const double*> x, self.logarithm, <double*> y)
        return 0


cdef class FunctionStep(RowStep):
    """A function of each number, by the number that activation.h or row_steps.h has for it."""

    cdef Activation[float] of_floats
    cdef Activation[double] of_doubles

    def __init__(self, isize itemsize, isize size, int code, double alpha, double beta):
        self.set_sizes(itemsize, size, size)
        check_sizes(0 <= code < FUNCTIONS)
        self.of_floats.code = self.of_doubles.code = code
        self.of_floats.alpha, self.of_floats.beta = <float> alpha, <float> beta
        self.of_doubles.alpha, self.of_doubles.beta = alpha, beta
        self.of_floats.clip = self.of_doubles.clip = 0

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        with nogil:
            if self.single:
                map_numbers(
                    rows * self.inputs, self.of_floats, <const float*> x, <float*> y)
            else:
                map_numbers(
                    rows * self.inputs, self.of_doubles, <const double*> x, <double*> y)
        return 0


cdef class LinearStep(RowStep):
    """x w' + b, with weights that are packed once."""

    cdef LinearPass[float] of_floats
    cdef LinearPass[double] of_doubles
    cdef Arena[float] floats
    cdef Arena[double] doubles

    def __init__(self, w not None, b):
        cdef isize N = along(w, 2, 0), K = along(w, 2, 1)
        self.set_sizes(size_of(w), K, N)
        if self.single:
            begin_linear(
                &self.of_floats, K, N, <const float*> start(w, self.itemsize, 2, N, K),
                <const float*> start(b, self.itemsize, 1, N), &self.floats,
            )
        else:
            begin_linear(
                &self.of_doubles, K, N, <const double*> start(w, self.itemsize, 2, N, K),
                <const double*> start(b, self.itemsize, 1, N), &self.doubles,
            )

    cdef int run(self, isize rows, const void* x, void* y) except -1:
        with nogil:
            if self.single:
                run_linear(&self.of_floats, rows, <const float*> x, <float*> y)
            else:
                run_linear(&self.of_doubles, rows, <const double*> x, <double*> y)
        return 0


cdef int begin_linear(
    LinearPass[real_t]* p, isize K, isize N, const real_t* w, const real_t* b,
    Arena[real_t]* arena,
) except -1:
    p.rows, p.K, p.N, p.b = 1, K, N, b
    linear_scratch(p, 1, False, w, arena)
    p.part, p.parts = 0, 1
    return 0


cdef int run_linear(
    LinearPass[real_t]* p, isize rows, const real_t* x, real_t* y
) except -1 nogil:
    cdef isize at = 0
    p.rows, p.x, p.y = rows, x, y
    while at < rows:
        at = linear_rows(p, NULL, at)
    return 0
