"""Entry points of the compiled core: rnncore._engine allocates, then calls these.

Arrays come in with the right shapes and dtypes, states and gates padded to whole registers.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset
from libcpp.vector cimport vector

from activation cimport ACTIVATIONS, Activation
from arena cimport Arena, expect_blocks
from backward cimport (
    add_backward,
    backward_alone,
    backward_scratch,
    begin_sums,
    end_sums,
)
from cell cimport MOST_FUNCTIONS, PRODUCT, Cell, fits
from cells cimport set_cell, set_functions
from chunk cimport chunk_begin, chunk_block
from foreign cimport Foreign, ForeignCell
from forward cimport add_forward, forward_alone, forward_scratch
from given cimport Given
from header cimport (
    HEADER_BYTES,
    PACKED_WEIGHTS,
    TRACE,
    Header,
    check_header,
    header_of,
    write_header,
)
from linear cimport LinearPass, add_linear, linear_rows, linear_scratch
from matmul cimport (
    BFLOAT16,
    FULL,
    MOST_NARROW_TERMS,
    W8A8,
    W8A16,
    Matrix,
    dot_units,
)
from plan cimport (
    Plan,
    Span,
    is_small,
    linear_threads,
    operations_of_row,
    plan_of,
    plan_of_stack,
)
from recurrence cimport Pass
from room cimport Room, room_of
from team cimport Team
from track cimport Crew, Neighbour, Tracks
from unit cimport (
    COUPLED,
    PEEPHOLE_CURRENT,
    PEEPHOLE_PREVIOUS,
    PROJECTION,
    RELU,
    RESET_BEFORE,
    Extent,
    H,
    Unit,
)
from vec cimport VECTOR_BYTES, isize, real_t
from xla cimport C_MAJOR, F32, F64, Buffer, Buffers, Call, Frame, answer, read_lengths
cimport cells
cimport weights

cdef extern from "native/squares.h" namespace "rnncore" nogil:
    double c_sum_of_squares "rnncore::sum_of_squares"[T](const T* a, isize n)
    isize C_SQUARES_PIECE "rnncore::SQUARES_PIECE"

KINDS = {
    "RNN": cells.RNN,
    "GRU": cells.GRU,
    "LSTM": cells.LSTM,
    "IndRNN": cells.IND_RNN,
    "LayerNormLSTM": cells.LAYER_NORM_LSTM,
}
FLAGS = {
    "relu": RELU,
    "reset_before": RESET_BEFORE,
    "coupled": COUPLED,
    "previous": PEEPHOLE_PREVIOUS,
    "current": PEEPHOLE_CURRENT,
    "projection": PROJECTION,
}
PRECISIONS = {None: FULL, "w8a8": W8A8, "w8a16": W8A16, "bfloat16": BFLOAT16}
NARROW_TERMS = MOST_NARROW_TERMS
REGISTER_BYTES = VECTOR_BYTES
SQUARES_PIECE = C_SQUARES_PIECE

cdef enum:
    CACHE_LINE = 64  # bytes; also the widest register

cdef int thread_limit = 1  # of a team


cdef int run_crew(Crew* crew, int size) except -1 nogil:
    """Do all the work; raise KeyboardInterrupt, or whatever a handler of a signal raises."""
    return 0 if crew.run(size) else -1


cdef int run_forward(Pass[real_t]* p, Plan plan) except -1 nogil:
    cdef Tracks[Pass[real_t]] tracks
    cdef Neighbour nobody, these
    cdef Crew crew
    if is_small(&plan, p.steps):
        forward_alone(p)
        return 0
    add_forward(p, plan, 0, &nobody, &these, &tracks, &crew)
    return run_crew(&crew, plan.size)


cdef int run_backward(Pass[real_t]* p, Plan plan) except -1 nogil:
    cdef Tracks[Pass[real_t]] tracks
    cdef Neighbour nobody, these
    cdef Crew crew
    if is_small(&plan, p.steps):
        backward_alone(p)
        return 0
    add_backward(p, plan, 0, &nobody, &these, &tracks, &crew)
    return run_crew(&crew, plan.size)


def set_thread_limit(int n):
    """Let a pass, and a stream from its next step on, use at most `n` threads."""
    global thread_limit
    thread_limit = n


def set_dot_units(bint int8, bint bfloat16, bint tiles):
    """Use the instructions of the processor that multiply and add narrow numbers, or do without.

    `tiles` are those of a matrix unit, which takes part only where the others are used too.
    """
    dot_units.int8, dot_units.bfloat16, dot_units.tiles = int8, bfloat16, tiles


include "pointers.pxi"


def chunk_begins(isize T, isize B, isize units, alive):
    """The first step of every chunk of a backward pass, from the last chunk to the first.

    `units` is H; `alive` has the rows alive at each step; None: all `B`.
    """
    cdef Pass[float] p = Pass[float]()
    cdef isize end = T
    p.steps, p.B, p.H = T, B, units
    if alive is not None:
        p.alive_rows = indices(alive, T)
    begins = []
    while end > 0:
        end = chunk_begin(&p, end)
        begins.append(end)
    return begins


def sum_of_squares(a):
    """In double; the sums of pieces of `SQUARES_PIECE` elements, added in turn, are the same."""
    cdef double total
    cdef isize size = size_of(a), n = along(a, 1, 0)
    cdef const void* at = start(a, size, 1, n)
    if n == 0:
        return 0.0
    with nogil:
        if size == sizeof(float):
            total = c_sum_of_squares(<const float*> at, n)
        else:
            total = c_sum_of_squares(<const double*> at, n)
    return total


include "shape.pxi"
include "passes.pxi"
include "layers.pxi"
include "stack.pxi"
include "params.pxi"
include "stream.pxi"
include "products.pxi"
include "rows.pxi"
include "model.pxi"
include "serving.pxi"
include "calls.pxi"
include "arrays.pxi"
include "training.pxi"
include "limits.pxi"
