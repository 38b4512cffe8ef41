# y = x w' + b and its gradients, of rows of Python's arrays. Part of core.pyx.


cdef int multiply_linear(
    LinearPass[real_t]* p, isize rows, const real_t* x, isize K, const real_t* w, isize N,
    const real_t* b, real_t* y,
) except -1:
    cdef Arena[real_t] arena
    cdef Tracks[LinearPass[real_t]] tracks
    cdef Crew crew
    cdef int size = linear_threads(rows, K, N, thread_limit)
    p.rows, p.K, p.N, p.x, p.b, p.y = rows, K, N, x, b, y
    linear_scratch(p, size, False, w, &arena)
    add_linear(p, size, False, &tracks, &crew)
    with nogil:
        return run_crew(&crew, size)


def linear_forward(x, w, b, y):
    """y = x w' + b; `b` may be None."""
    cdef LinearPass[float] of_floats
    cdef LinearPass[double] of_doubles
    cdef isize size = size_of(x), rows = along(x, 2, 0), K = along(x, 2, 1), N = along(w, 2, 0)
    cdef const void* given = start(x, size, 2, rows, K)
    cdef const void* matrix = start(w, size, 2, N, K)
    cdef const void* bias = start(b, size, 1, N)
    cdef void* to = target(y, size, 2, rows, N)
    check_sizes(rows > 0 and to != NULL)
    if size == sizeof(float):
        multiply_linear(
            &of_floats, rows, <const float*> given, K, <const float*> matrix, N,
            <const float*> bias, <float*> to,
        )
    else:
        multiply_linear(
            &of_doubles, rows, <const double*> given, K, <const double*> matrix, N,
            <const double*> bias, <double*> to,
        )


cdef int undo_linear(
    LinearPass[real_t]* p, isize rows, const real_t* x, isize K, const real_t* w, isize N,
    real_t* dy, real_t* dx, real_t* dw, real_t* db,
) except -1:
    cdef Arena[real_t] arena
    cdef Tracks[LinearPass[real_t]] tracks
    cdef Crew crew
    cdef int size = linear_threads(rows, K, N, thread_limit)
    p.rows, p.K, p.N, p.x, p.y, p.dx, p.dw = rows, K, N, x, dy, dx, dw
    p.b = NULL
    linear_scratch(p, size, True, w, &arena)
    add_linear(p, size, True, &tracks, &crew)
    with nogil:
        run_crew(&crew, size)
    memcpy(db, p.db_sum, N * sizeof(real_t))
    return 0


def linear_backward(x, w, dy, dx, dw, db):
    """dx = dy w; dw, which comes in as zeros, = dy' x; db = the sum of dy."""
    cdef LinearPass[float] of_floats
    cdef LinearPass[double] of_doubles
    cdef isize size = size_of(x), rows = along(x, 2, 0), K = along(x, 2, 1), N = along(w, 2, 0)
    cdef const void* given = start(x, size, 2, rows, K)
    cdef const void* matrix = start(w, size, 2, N, K)
    cdef const void* arriving = start(dy, size, 2, rows, N)
    cdef void* to = target(dx, size, 2, rows, K)
    cdef void* of_matrix = target(dw, size, 2, N, K)
    cdef void* of_bias = target(db, size, 1, N)
    check_sizes(rows > 0 and arriving != NULL)
    check_sizes(to != NULL and of_matrix != NULL and of_bias != NULL)
    if size == sizeof(float):
        undo_linear(
            &of_floats, rows, <const float*> given, K, <const float*> matrix, N,
            <float*> arriving, <float*> to, <float*> of_matrix, <float*> of_bias,
        )
    else:
        undo_linear(
            &of_doubles, rows, <const double*> given, K, <const double*> matrix, N,
            <double*> arriving, <double*> to, <double*> of_matrix, <double*> of_bias,
        )
