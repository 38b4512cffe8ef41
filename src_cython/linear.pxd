"""y = x W' + b and its gradients, for rows that have nothing to do with each other."""

from libc.string cimport memcpy, memset

from arena cimport Arena
from cell cimport slots_from
from matmul cimport (
    PANEL,
    Product,
    multiply,
    multiply_outer,
    pack_columns,
    pack_rows,
    to_blocks,
)
from plan cimport Span, part_of
from team cimport Plan, Team, run_team
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
        T* db
        Product[T] product
        T** tables
        T* chunk
        T* x_blocks
        T* dy_blocks
        T* zeros
        T* db_sum
        Team team
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
    LinearPass[real_t]* p, int size, bint backward, const real_t* w, Arena[real_t]* arena
) except *:
    """Reserve what the pass needs, and pack the weights."""
    cdef isize L = p.lanes(), width, panels = shape(p, backward)
    cdef isize x_blocks = p.blocks_of(p.K) * CHUNK * L, dy_blocks = p.blocks_of(p.N) * CHUNK * L
    cdef isize bias = p.blocks_of(p.N) * L
    cdef int whole = 0  # the weights are of no gate
    width = p.product.vectors * L
    cdef isize sums = bias + (x_blocks + dy_blocks if backward else 0)
    arena.reserve(panels + (size * CHUNK + 1) * width + sums, size * 3 * CHUNK, 7)
    p.tables = arena.rows(size * 3 * CHUNK)
    p.product.packed = arena.reals(panels)
    p.chunk = arena.reals(size * CHUNK * width)
    p.zeros = arena.reals(width)
    p.db_sum = arena.reals(bias)
    memset(p.zeros, 0, width * sizeof(real_t))
    memset(p.db_sum, 0, bias * sizeof(real_t))
    if backward:
        p.x_blocks = arena.reals(x_blocks)
        p.dy_blocks = arena.reals(dy_blocks)
        pack_columns(w, p.N, p.K, &whole, 1, PANEL, <real_t*> p.product.packed)
    else:
        if p.b != NULL:
            memcpy(p.db_sum, p.b, p.N * sizeof(real_t))
        p.b = p.db_sum
        pack_rows(w, p.N, p.K, &whole, 1, PANEL, <real_t*> p.product.packed)


cdef inline void multiply_rows(
    LinearPass[real_t]* p, isize begin, isize rows, const real_t* a, isize a_width,
    const real_t* start, real_t* c, isize c_width,
) noexcept nogil:
    """Some rows of c = start + a B, for plain a and c."""
    cdef isize width = p.product.vectors * p.lanes(), r
    cdef real_t** a_rows = p.tables + p.team.rank * 3 * CHUNK
    cdef real_t** c_in = a_rows + CHUNK
    cdef real_t** c_out = c_in + CHUNK
    for r in range(rows):
        a_rows[r] = <real_t*> a + (begin + r) * a_width
        c_in[r] = <real_t*> start
        c_out[r] = p.chunk + (p.team.rank * CHUNK + r) * width
    multiply(p.product, 0, p.product.panels(), rows, a_rows, c_in, c_out)
    for r in range(rows):
        memcpy(c + (begin + r) * c_width, c_out[r], c_width * sizeof(real_t))


cdef inline void linear_forward_part(LinearPass[real_t]* p) noexcept nogil:
    cdef Span own = part_of(&p.team, p.rows)
    cdef isize k, begin
    for k in range((own.end - own.begin + CHUNK - 1) // CHUNK):
        begin = own.begin + k * CHUNK
        multiply_rows(p, begin, min(CHUNK, own.end - begin), p.x, p.K, p.b, p.y, p.N)


cdef inline void sum_of_rows(isize rows, const real_t* a, real_t* total) noexcept nogil:
    """Add to a register of sums the rows of a block."""
    cdef isize row
    cdef Vec[real_t] acc = (<Vec[real_t]*> total)[0]
    for row in range(rows):
        acc = acc + (<const Vec[real_t]*> a)[row]
    (<Vec[real_t]*> total)[0] = acc


cdef inline void linear_backward_part(LinearPass[real_t]* p) noexcept nogil:
    """dx = dy W by rows; dw = dy' x and db by units of y, in the same order for any team."""
    cdef isize L = p.lanes(), block = CHUNK * L, blocks = p.blocks_of(p.N)
    cdef Span own = part_of(&p.team, blocks), of_rows
    cdef isize unit = own.begin * L, units = min(own.end * L, p.N) - unit
    cdef isize k, first, rows, begin, count, r, b
    cdef real_t** a = p.tables + p.team.rank * 3 * CHUNK
    for k in range((p.rows + CHUNK - 1) // CHUNK):
        first = k * CHUNK
        rows = min(CHUNK, p.rows - first)
        of_rows = part_of(&p.team, rows)
        begin, count = of_rows.begin, of_rows.end - of_rows.begin
        multiply_rows(p, first + begin, count, p.y, p.N, p.zeros, p.dx, p.K)
        for r in range(count):
            a[r] = <real_t*> p.x + (first + begin + r) * p.K
        to_blocks(count, a, p.K, L, p.x_blocks + begin * L, block)
        for r in range(count):
            a[r] = p.y + (first + begin + r) * p.N
        to_blocks(count, a, p.N, L, p.dy_blocks + begin * L, block)
        p.team.wait()
        multiply_outer(
            rows, block, p.dy_blocks + own.begin * block, units, p.x_blocks, p.K,
            p.dw + unit * p.K,
        )
        for b in range(own.begin, own.end):
            sum_of_rows(rows, p.dy_blocks + b * block, p.db_sum + b * L)
        p.team.wait()


cdef inline void run_linear_forward(LinearPass[real_t]* p, Plan plan) noexcept nogil:
    run_team(p, plan, linear_forward_part[real_t])


cdef inline void run_linear_backward(LinearPass[real_t]* p, Plan plan) noexcept nogil:
    run_team(p, plan, linear_backward_part[real_t])
    memcpy(p.db, p.db_sum, p.N * sizeof(real_t))
