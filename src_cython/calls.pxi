# Calls that come from XLA, on its threads and without Python. Part of core.pyx.

from cpython.exc cimport PyErr_Clear
from cpython.pycapsule cimport PyCapsule_New
from libc.stdio cimport snprintf

XLA_MAJOR = C_MAJOR

cdef enum:
    ONLY_OUTPUTS = 0
    KEEPS_ALL = 1
    GOES_BACK = 2


cdef struct Asked:  # whole numbers alone, for it travels as an array of them
    isize what
    isize kind
    isize options
    isize layers
    isize directions
    isize batch_first
    isize ragged
    isize bias
    isize H
    isize P


def asked(int what, Stack stack not None, bint ragged, bint bias):
    """What a call is to be about, as the bytes of int64 numbers: its attribute `a`.

    `what` is 0 for inference, 1 for a pass forward whose trace is kept, 2 for one back. Attribute
    `r` is float64: the epsilon of the cell and its functions, as of its `Shape`. The call has the
    arguments x, the initial states, the lengths (B,) int32 if rows are `ragged`, and the weights of
    each layer and direction in the order of the cell; results are y, the final states, and of a
    trace, for each layer and direction, its states (T + 1, B, width), gates, and what a projection
    reads; then, of each layer but the last, its outputs (T, B, columns). A pass back has x,
    lengths, weights, the trace, dy and the gradients of the final states; its results are dx
    (T, B, I), always time first, the gradients of the initial states and of the weights.
    """
    cdef Asked how
    cdef Shape shape = stack.layers[0][0][0]
    how.what, how.kind, how.options = what, shape.cell[0], shape.cell[1]
    how.layers, how.directions = len(stack.layers), stack.directions
    how.batch_first, how.ragged, how.bias = stack.batch_first, ragged, bias
    how.H, how.P = shape.H, shape.P
    return (<const char*> &how)[: sizeof(Asked)]


cdef int minor_version = 0


def handler(int minor):
    """The function that does it, for `jax.ffi.register_ffi_target`.

    `minor` is the version of the interface that XLA has, behind the major one `XLA_MAJOR`.
    """
    global minor_version
    minor_version = minor
    return PyCapsule_New(<void*> handle, NULL, NULL)


cdef void* handle(Frame* frame) noexcept nogil:
    return answer(frame, serve, minor_version)


# An exception would need Python: its function is called as one that has none, and returns -1.
ctypedef int (*OfFloat)(Pass[float]*, Call*) noexcept nogil
ctypedef int (*OfDouble)(Pass[double]*, Call*) noexcept nogil


cdef bint serve(Call* call) noexcept nogil:
    cdef Pass[float] single
    cdef Pass[double] double_
    cdef const Buffer* x = call.arguments.look()
    cdef int found
    if x != NULL and x.type == F32:
        found = (<OfFloat> serve_of[float])(&single, call)
    else:
        found = (<OfDouble> serve_of[double])(&double_, call)
    if found < 0:  # of the exceptions of the core, a call that was checked can have this one alone
        with gil:
            PyErr_Clear()
        snprintf(call.wrong, 100, "no memory is left")
    return found > 0


cdef int serve_of(Pass[real_t]* p, Call* call) except -1 nogil:
    """Return whether the arguments were as expected, and all is done."""
    cdef Foreign[real_t] f
    cdef const Asked* how = <const Asked*> call.asked
    if not (read_sizes(&f, call) and read_arrays(p, &f, call)):
        return 0
    if how.what == GOES_BACK:
        backward_foreign(p, &f)
    else:
        forward_foreign(p, &f, how.what == KEEPS_ALL)
    return 1


cdef bint read_sizes(Foreign[real_t]* f, Call* call) except -1 nogil:
    cdef const Asked* how = <const Asked*> call.asked
    cdef const Buffer* x = call.arguments.look()
    cdef isize k, functions = call.reals_count // 4
    if call.asked_count * sizeof(int64_t) != sizeof(Asked) or x == NULL or x.axes != 3:
        return False
    if call.reals_count != 1 + 4 * functions or functions > MOST_FUNCTIONS:
        return False
    for k in range(functions):
        if not 0 <= call.reals[1 + 4 * k] < ACTIVATIONS:
            return False
    if not (0 <= how.what <= GOES_BACK and 0 <= how.kind <= cells.LSTM):
        return False
    if not 0 < how.layers <= call.arguments.count():
        return False
    if not (1 <= how.directions <= 2 and how.H > 0 and how.P > 0 and x.sizes[2] > 0):
        return False
    if how.P != how.H and not (how.kind == cells.LSTM and how.options & PROJECTION):
        return False
    memset(&f.cell, 0, sizeof(f.cell))
    set_cell(&f.cell, <int> how.kind, <int> how.options, call.reals[0])
    set_functions(&f.cell, call.reals + 1, functions)
    f.layers, f.directions, f.H, f.P = how.layers, how.directions, how.H, how.P
    f.batch_first = how.batch_first
    f.steps, f.B, f.I = x.sizes[f.batch_first], x.sizes[not f.batch_first], x.sizes[2]
    f.cells.resize(f.layers * f.directions)
    f.sources.resize(f.layers - 1)
    return True


cdef bint read_arrays(Pass[real_t]* p, Foreign[real_t]* f, Call* call) except -1 nogil:
    cdef const Asked* how = <const Asked*> call.asked
    cdef bint back = how.what == GOES_BACK
    cdef isize k, rows = f.steps * f.B
    cdef ForeignCell[real_t]* cell
    f.x = next_reals(p, &call.arguments, rows * f.I)
    begin_foreign(p, f, 0, 0)
    if not back:
        next_states(p, f, &call.arguments, f.starts)
    if how.ragged and not read_lengths(call, f.steps, f.B, &f.table):
        return False
    if back:
        f.dx = next_reals(p, &call.results, rows * f.I)
        next_states(p, f, &call.results, f.starts)
    else:
        f.y = next_reals(p, &call.results, rows * f.columns())
        next_states(p, f, &call.results, f.ends)
    for k in range(f.layers * f.directions):
        cell = &f.cells[k]
        begin_foreign(p, f, k // f.directions, 0)
        next_weights(p, &call.arguments, how.bias, &cell.given)
        if back:
            next_weights(p, &call.results, how.bias, &cell.d)
    if how.what != ONLY_OUTPUTS:
        next_kept(p, f, &call.arguments if back else &call.results)
    if back:
        f.y = next_reals(p, &call.arguments, rows * f.columns())
        next_states(p, f, &call.arguments, f.ends)
    return call.arguments.is_read() and call.results.is_read()


cdef real_t* next_reals(Pass[real_t]* p, Buffers* of, isize count) noexcept nogil:
    return <real_t*> of.next(count, F32 if sizeof(real_t) == sizeof(float) else F64)


cdef void next_states(
    Pass[real_t]* p, Foreign[real_t]* f, Buffers* of, real_t** states
) noexcept nogil:
    cdef int s
    for s in range(f.cell.states):
        states[s] = next_reals(p, of, f.layers * f.directions * f.B * p.state[s].units)


cdef void next_weights(
    Pass[real_t]* p, Buffers* of, bint bias, Given[real_t]* found
) noexcept nogil:
    cdef isize rows = p.cell.gates * p.H
    cdef int a, at = 0
    cdef const real_t* first
    found[0] = Given[real_t]()
    found.w_ih.values = next_reals(p, of, rows * p.I)
    found.w_hh.values = next_reals(p, of, rows * p.P)
    if bias:
        found.b_ih = next_reals(p, of, rows)
        found.b_hh = next_reals(p, of, rows)
    for a in range(p.cell.arrays):
        first = next_reals(p, of, p.cell.array_size[a] * p.H)
        at = set_vectors[real_t](first, p.cell.array_size[a], p.H, found.vectors, at)
    if p.cell.options & PROJECTION:
        found.w_hr.values = next_reals(p, of, p.P * p.H)


cdef void next_kept(Pass[real_t]* p, Foreign[real_t]* f, Buffers* of) noexcept nogil:
    cdef isize k, rows = f.steps * f.B
    cdef ForeignCell[real_t]* cell
    cdef int s
    for k in range(f.layers * f.directions):
        cell = &f.cells[k]
        for s in range(f.cell.states):
            cell.values[s] = next_reals(p, of, (rows + f.B) * p.state[s].width())
        cell.gates = cell.made = NULL
        if f.cell.slots > 1:
            cell.gates = next_reals(p, of, rows * p.gates_width())
        if f.cell.options & PROJECTION:
            cell.made = next_reals(p, of, rows * p.width())
    for k in range(f.layers - 1):
        f.sources[k] = next_reals(p, of, rows * f.columns())
