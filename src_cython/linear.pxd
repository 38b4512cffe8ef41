"""y = x W' + b and its gradients, for rows that have nothing to do with each other."""

from libc.string cimport memcpy, memset

from arena cimport Arena
from cell cimport slots_from
from matmul cimport (
    NO_GATES,
    PANEL,
    Product,
    multiply,
    pack_columns,
    pack_rows,
    to_blocks,
)
from outer cimport multiply_outer
from plan cimport Span, part_of
from track cimport Crew, PassTrack, Position, Tracks
from vec cimport Vec, isize, real_t
from weights cimport shape_backward, shape_forward

cdef extern from "native/linear.h" namespace "rnncore" nogil:
    cdef cppclass LinearPass[T]:
        isize rows
        isize K
        isize N
        const T* x
        const T* b
        T* y
        T* dx
        T* dw
        Product[T] product
        T** tables
        T* chunk
        T* x_blocks
        T* dy_blocks
        T* zeros
        T* db_sum
        int part
        int parts
        isize lanes()
        isize blocks_of(isize units)

cdef enum:
    CHUNK = 192  # rows whose products are formed at once


cdef inline isize shape(LinearPass[real_t]* p, bint backward) noexcept nogil:
    """Shape the product, with W' forward and W backward; return the elements of its panels."""
    if backward:
        shape_backward(&p.product, p.blocks_of(p.K), 1, p.N, 0, p.lanes())
    else:
        shape_forward(&p.product, p.blocks_of(p.N), 1, slots_from(0, 1), p.K, p.lanes(), PANEL)
    return p.product.size()


cdef inline void linear_scratch(
    LinearPass[real_t]* p, int parts, bint backward, const real_t* w, Arena[real_t]* arena
) except *:
    """Reserve what the pass needs, and pack the weights."""
    cdef isize L = p.lanes(), width, panels = shape(p, backward)
    cdef isize x_blocks = p.blocks_of(p.K) * CHUNK * L, dy_blocks = p.blocks_of(p.N) * CHUNK * L
    cdef isize bias = p.blocks_of(p.N) * L
    width = p.product.vectors * L
    cdef isize sums = bias + (x_blocks + dy_blocks if backward else 0)
    arena.reserve(panels + (parts * CHUNK + 1) * width + sums, parts * 3 * CHUNK, 7)
    p.tables = arena.rows(parts * 3 * CHUNK)
    p.product.packed = arena.reals(panels)
    p.chunk = arena.reals(parts * CHUNK * width)
    p.zeros = arena.reals(width)
    p.db_sum = arena.reals(bias)
    memset(p.zeros, 0, width * sizeof(real_t))
    memset(p.db_sum, 0, bias * sizeof(real_t))
    if backward:
        p.x_blocks = arena.reals(x_blocks)
        p.dy_blocks = arena.reals(dy_blocks)
        with nogil:
            pack_columns(w, p.N, p.K, NO_GATES, 1, PANEL, <real_t*> p.product.packed)
    else:
        if p.b != NULL:
            memcpy(p.db_sum, p.b, p.N * sizeof(real_t))
        p.b = p.db_sum
        with nogil:
            pack_rows(w, p.N, p.K, NO_GATES, 1, PANEL, <real_t*> p.product.packed)


cdef inline void multiply_rows(
    LinearPass[real_t]* p, isize begin, isize rows, const real_t* a, isize a_width,
    const real_t* start, real_t* c, isize c_width,
) noexcept nogil:
    """Some rows of c = start + a B, for plain a and c."""
    cdef isize width = p.product.vectors * p.lanes(), r
    cdef real_t** a_rows = p.tables + p.part * 3 * CHUNK
    cdef real_t** c_in = a_rows + CHUNK
    cdef real_t** c_out = c_in + CHUNK
    for r in range(rows):
        a_rows[r] = <real_t*> a + (begin + r) * a_width
        c_in[r] = <real_t*> start
        c_out[r] = p.chunk + (p.part * CHUNK + r) * width
    multiply(p.product, 0, p.product.panels(), rows, a_rows, c_in, c_out)
    for r in range(rows):
        memcpy(c + (begin + r) * c_width, c_out[r], c_width * sizeof(real_t))


cdef inline isize linear_rows(LinearPass[real_t]* p, Position* own, isize at) noexcept nogil:
    """The next rows of a part of all."""
    cdef Span part = part_of(p.rows, p.part, p.parts)
    cdef isize rows = min(CHUNK, part.end - part.begin - at)
    multiply_rows(p, part.begin + at, rows, p.x, p.K, p.b, p.y, p.N)
    return at + rows


cdef inline void sum_of_rows(isize rows, const real_t* a, real_t* total) noexcept nogil:
    """Add to a register of sums the rows of a block."""
    cdef isize row
    cdef Vec[real_t] acc = (<Vec[real_t]*> total)[0]
    for row in range(rows):
        acc = acc + (<const Vec[real_t]*> a)[row]
    (<Vec[real_t]*> total)[0] = acc


cdef inline isize linear_dx(LinearPass[real_t]* p, Position* own, isize at) noexcept nogil:
    """dx = dy W, and what the other products read, of a part of the rows of the next chunk."""
    cdef isize L = p.lanes(), block = CHUNK * L, first = at, begin, count, r
    cdef isize rows = min(CHUNK, p.rows - first)
    cdef Span part = part_of(rows, p.part, p.parts)
    cdef real_t** a = p.tables + p.part * 3 * CHUNK
    begin, count = part.begin, part.end - part.begin
    multiply_rows(p, first + begin, count, p.y, p.N, p.zeros, p.dx, p.K)
    for r in range(count):
        a[r] = <real_t*> p.x + (first + begin + r) * p.K
    to_blocks(count, a, p.K, L, p.x_blocks + begin * L, block)
    for r in range(count):
        a[r] = p.y + (first + begin + r) * p.N
    to_blocks(count, a, p.N, L, p.dy_blocks + begin * L, block)
    return first + rows


cdef inline isize linear_dw(LinearPass[real_t]* p, Position* own, isize at) noexcept nogil:
    """dw = dy' x and db of the next chunk, of a part of the units of y."""
    cdef isize L = p.lanes(), block = CHUNK * L, first = at, b
    cdef isize rows = min(CHUNK, p.rows - first)
    cdef Span part = part_of(p.blocks_of(p.N), p.part, p.parts)
    cdef isize unit = part.begin * L, units = min(part.end * L, p.N) - unit
    multiply_outer(
        rows, block, p.dy_blocks + part.begin * block, units, p.x_blocks, p.K, p.dw + unit * p.K
    )
    for b in range(part.begin, part.end):
        sum_of_rows(rows, p.dy_blocks + b * block, p.db_sum + b * L)
    return first + rows


cdef inline int add_linear(
    LinearPass[real_t]* p, int parts, bint backward, Tracks[LinearPass[real_t]]* tracks, Crew* crew
) except -1:
    """The tracks of a pass: of parts of the rows, and backward of parts of the units after them."""
    cdef PassTrack[LinearPass[real_t]]* track
    cdef Span rows
    cdef int k
    p.parts = parts
    for k in range(parts):
        p.part = k
        rows = part_of(p.rows, k, parts)
        if backward:
            track = tracks.add(crew[0], p[0], p.rows, k, linear_dx[real_t])
            track.after(parts, 2 * parts, 0)
        else:
            tracks.add(crew[0], p[0], rows.end - rows.begin, k, linear_rows[real_t])
    if backward:
        for k in range(parts):
            p.part = k
            track = tracks.add(crew[0], p[0], p.rows, k, linear_dw[real_t])
            track.after(0, parts, CHUNK)
    return 0
