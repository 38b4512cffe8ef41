"""The norm of a layer's values over the units of a row (Ba et al. 2016), forward and backward.

Of slots side by side, one after the other in the sums: n = (a - mean(a)) * r with
r = 1 / sqrt(var(a) + eps). The true units count, the padding does not.
"""

from unit cimport Extent, Unit
from vec cimport Vec, isize, real_t

cdef extern from "native/rows.h" namespace "rnncore" nogil:
    cdef cppclass RowSum[T]:
        RowSum()
        void add(isize block, Vec[T] x, isize count)
        T total()

    Vec[T] in_all_lanes[T](T x)
    T one_over_root[T](T x)


cdef inline void normalise(
    const Unit[real_t]* row, const Extent* over, int slot, int count, int scale
) noexcept nogil:
    """Turn the values a of `count` slots into n, and put r into the slot `scale`."""
    cdef isize L = sizeof(Vec[real_t]) // sizeof(real_t), b
    cdef int s
    cdef Vec[real_t]* values
    cdef Vec[real_t] mean, deviation, r
    cdef RowSum[real_t] total, squares
    for b in range(over.blocks):
        values = row.gates + b * over.slots + slot
        for s in range(count):
            total.add(b, values[s], over.units - b * L)
    mean = in_all_lanes(total.total() / <real_t> (count * over.units))
    for b in range(over.blocks):
        values = row.gates + b * over.slots + slot
        for s in range(count):
            deviation = values[s] - mean
            squares.add(b, deviation * deviation, over.units - b * L)
    r = in_all_lanes(
        one_over_root(squares.total() / <real_t> (count * over.units) + row.eps)
    )
    for b in range(over.blocks):
        values = row.gates + b * over.slots
        for s in range(slot, slot + count):
            values[s] = (values[s] - mean) * r
        values[scale] = r


cdef inline void undo_norm(
    const Unit[real_t]* row, const Extent* over, int slot, int count, int scale, int gain, int of,
    int to,
) noexcept nogil:
    """da = r (dn - mean(dn) - n mean(dn n)), with dn the gradients of slots from `of` times gains.

    The values n are in `count` slots from `slot`, their gains in the vectors from `gain`; da goes
    to the gradients of the slots from `to`.
    """
    cdef isize L = sizeof(Vec[real_t]) // sizeof(real_t), b
    cdef int s
    cdef const Vec[real_t]* values
    cdef const Vec[real_t]* gains
    cdef Vec[real_t]* d
    cdef Vec[real_t] dn, mean, mean_n
    cdef RowSum[real_t] total, total_n
    for b in range(over.blocks):
        values = row.gates + b * over.slots + slot
        gains = row.vectors + b * over.vectors + gain
        d = row.dgates + b * over.dgates_block
        for s in range(count):
            dn = d[(of + s) * row.slot_step] * gains[s]
            total.add(b, dn, over.units - b * L)
            total_n.add(b, dn * values[s], over.units - b * L)
    mean = in_all_lanes(total.total() / <real_t> (count * over.units))
    mean_n = in_all_lanes(total_n.total() / <real_t> (count * over.units))
    for b in range(over.blocks):
        values = row.gates + b * over.slots
        gains = row.vectors + b * over.vectors + gain
        d = row.dgates + b * over.dgates_block
        for s in range(count):
            dn = d[(of + s) * row.slot_step] * gains[s]
            d[(to + s) * row.slot_step] = (
                values[scale] * (dn - mean - values[slot + s] * mean_n)
            )
