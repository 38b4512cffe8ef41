"""The three functions of a cell, with their slopes: its own, or those it was given.

Forward a function is a fraction: what a cell multiplies is divided once. A unit without the flag
GENERAL has the plain ones; the sweep sees to it that it pays for no others.
"""

from activation cimport activate, activation_fraction, activation_slope
from unit cimport GENERAL, RELU, Unit
from vec cimport (
    Fraction,
    Vec,
    real_t,
    relu,
    sigmoid_fraction,
    sigmoid_slope,
    tanh,
    tanh_fraction,
    tanh_slope,
    where_positive,
)

cdef enum:
    GATES = 0
    CANDIDATE = 1
    MEMORY = 2


cdef inline Fraction[real_t] gate(Unit[real_t]* u, Vec[real_t] pre) noexcept nogil:
    if u.options & GENERAL:
        return activation_fraction(u.activation[GATES], pre)
    return sigmoid_fraction(pre)


cdef inline Vec[real_t] gate_slope(Unit[real_t]* u, Vec[real_t] y) noexcept nogil:
    if u.options & GENERAL:
        return activation_slope(u.activation[GATES], y)
    return sigmoid_slope(y)


cdef inline Fraction[real_t] squash(Unit[real_t]* u, int which, Vec[real_t] pre) noexcept nogil:
    """What is tanh in every cell: of the candidate, or of the memory."""
    if u.options & GENERAL:
        return activation_fraction(u.activation[which], pre)
    return tanh_fraction(pre)


cdef inline Vec[real_t] squash_slope(Unit[real_t]* u, int which, Vec[real_t] y) noexcept nogil:
    if u.options & GENERAL:
        return activation_slope(u.activation[which], y)
    return tanh_slope(y)


cdef inline Vec[real_t] output(Unit[real_t]* u, Vec[real_t] pre) noexcept nogil:
    """The only function of a cell without gates: tanh, relu or one of choice."""
    if u.options & GENERAL:
        return activate(u.activation[GATES], pre)
    if u.options & RELU:
        return relu(pre)
    return tanh(pre)


cdef inline Vec[real_t] output_backward(
    Unit[real_t]* u, Vec[real_t] y, Vec[real_t] d
) noexcept nogil:
    """The gradient of what `output` reads, from the gradient `d` of its value y."""
    if u.options & GENERAL:
        return d * activation_slope(u.activation[GATES], y)
    if u.options & RELU:
        return where_positive(y, d)
    return d * tanh_slope(y)
