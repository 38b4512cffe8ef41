# What bounds a pass on one core: multiply-adds, reading, the steps of the cells. Part of core.pyx.

from backward_step cimport extent_of, set_backward_unit
from forward_step cimport sweep_rows

cdef extern from "native/peak.h" namespace "rnncore" nogil:
    isize SUMS
    double peak_flops[T](double seconds)
    double read_rate[T](const T* a, isize count, double seconds)
    double least_seconds_of[P](void (*run)(P*) noexcept nogil, P* p, double seconds)

cdef enum:
    SWEEPS = 100  # in a row: some 30 us for 16 registers of an LSTM's units


def peak_gflops(dtype, double seconds=0.1):
    """What one core reaches in multiply-adds of "float32" or "float64", in GFLOP/s."""
    cdef double flops
    cdef bint single = str(dtype) == "float32"
    with nogil:
        flops = peak_flops[float](seconds) if single else peak_flops[double](seconds)
    return flops / 1e9


def read_gb_per_s(a, double seconds):
    """At which rate one core reads an array of positive numbers, again and again, in GB/s."""
    cdef double rate
    cdef isize size = size_of(a), count = along(a, 1, 0)
    cdef const void* at = start(a, size, 1, count)
    check_sizes(count >= SUMS * VECTOR_BYTES // size)
    with nogil:
        if size == sizeof(float):
            rate = read_rate(<const float*> at, count, seconds)
        else:
            rate = read_rate(<const double*> at, count, seconds)
    return rate / 1e9


cdef void sweep_forward(Pass[real_t]* p) noexcept nogil:
    """All of a step but its products."""
    cdef int s, time
    for time in range(SWEEPS):
        for s in range(p.cell.stages):
            if p.cell.stage[s].kind != PRODUCT:
                sweep_rows(p, &p.cell.stage[s], 0, 0, p.B, &p.gates)


cdef void sweep_backward(Pass[real_t]* p) noexcept nogil:
    cdef int s, time
    cdef Span blocks
    cdef Unit[real_t] unit
    cdef Extent over
    blocks.begin, blocks.end = 0, p.blocks
    for time in range(SWEEPS):
        over = extent_of(p, p.B, blocks)
        set_backward_unit(&unit, p, 0, 0, 0, 0)
        for s in range(p.cell.stages - 1, -1, -1):
            if p.cell.stage[s].kind != PRODUCT:
                p.cell.stage[s].backward(&unit, &over)


cdef tuple time_gates(Pass[real_t]* p, Shape shape, double seconds):
    cdef Arena[real_t] arena, scratch
    cdef real_t* memory
    cdef isize k, of_weights, of_states, of_gates
    cdef double ahead, back
    set_pass(p, shape)
    p.steps = p.duration = p.B = 1
    of_weights = weights.lay_out[real_t](p, NULL, False, 0, False)
    of_states, of_gates = shape.row_size, p.gates_width()
    arena.reserve(of_weights + of_states + of_gates, 0, 3)
    memory = arena.reals(of_weights)
    memset(memory, 0, of_weights * sizeof(real_t))
    weights.lay_out(p, memory, False, 0, False)
    memory = arena.reals(of_states)
    for k in range(of_states):
        memory[k] = <real_t> (k % 7) / 8
    states_of_pass(p, 1, memory)
    p.gates = arena.reals(of_gates)
    for k in range(of_gates):
        p.gates[k] = <real_t> (k % 7) / 8
    backward_scratch(p, plan_of(p, 1), 0, &scratch)
    with nogil:
        ahead = least_seconds_of(sweep_forward[real_t], p, seconds)
        back = least_seconds_of(sweep_backward[real_t], p, seconds)
    return ahead / (SWEEPS * p.H), back / (SWEEPS * p.H)


def gate_seconds(Shape shape not None, double seconds):
    """What a step of the cell takes for a unit of one row, forward and backward, without products.

    The same row again and again, so that all that it reads and writes lies in the first cache, if
    the layer is small enough.
    """
    cdef Pass[float] single
    cdef Pass[double] double_
    if shape.itemsize == sizeof(float):
        return time_gates(&single, shape, seconds)
    return time_gates(&double_, shape, seconds)
