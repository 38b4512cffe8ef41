# Arrays that are worked on from end to end, and what is done so. Part of core.pyx.

from cpython.buffer cimport PyBUF_FULL_RO
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mapping cimport PyMapping_Check

from clipping cimport bound_all, scale_all, squares_of_all
from optim cimport AdamRates, adam_step, sgd_step
from places cimport Places, numbers

from collections.abc import Mapping


cdef enum:
    DEEPEST = 20  # lists in lists


def gather(groups, list of, with_parameters):
    """The names and the values of `groups` as they stand there, in the order of a walk over them.

    Names are, for a list, the number of its groups, and for a dict the tuple of its keys. Both
    lists are empty where a group is no dict of its own kind, no list, and has no such thing as
    `params`. If `of` is not None these are gradients: what has a `backward` is none, and of a dict
    of the type `with_parameters` the parameters that it knows are appended to `of`.
    """
    cdef list names = [], values = []
    return (names, values) if walk(groups, names, values, of, with_parameters, 0) else ([], [])


cdef bint walk(
    groups, list names, list values, list of, with_parameters, int depth
) except -1:
    kind = type(groups)
    if not (kind is dict or kind is with_parameters or kind is list or kind is tuple):
        # The check for Mapping takes as long as all the rest: a tuple with names is none.
        if PyMapping_Check(groups) and not isinstance(groups, (tuple, list)):
            if isinstance(groups, Mapping):
                return False
        if of is not None and hasattr(groups, "backward"):
            return False
        groups = getattr(groups, "params", groups)
        kind = type(groups)
    if kind is list or kind is tuple:
        names.append(len(groups))
        for group in groups:
            # A list that is a part of itself has no end.
            if depth == DEEPEST or not walk(group, names, values, of, with_parameters, depth + 1):
                return False
        return True
    if kind is not dict and kind is not with_parameters:
        return False
    names.append(tuple(groups))
    values.extend(groups.values())
    if of is not None and kind is with_parameters:
        known = groups.of
        for name in groups:
            parameter = known.get(name)
            if parameter is not None:
                of.append(parameter)
    return True


cdef bint lies_plain(Py_buffer* a) noexcept:
    """Reals in the byte order of the machine, contiguous, at whole elements."""
    cdef isize step = a.itemsize
    cdef int k
    if (a.format[0] != b"f" and a.format[0] != b"d") or a.format[1] != 0:
        return False
    if <size_t> a.buf % a.itemsize:
        return False
    for k in range(a.ndim - 1, -1, -1):
        if a.shape[k] == 0:
            return True
        step = step if a.shape[k] == 1 or a.strides[k] == step else 0
        step *= a.shape[k]
    return step != 0


cdef class Arrays:
    """Arrays of float32 or float64, contiguous and at whole elements, one by one of either.

    Raises ValueError where one of the list is none, or with `writable` may not be changed. While
    this lives they are not freed.
    """

    cdef tuple held
    cdef bint writable
    cdef Places places

    def __cinit__(self, list arrays not None, bint writable):
        cdef Py_buffer found
        cdef bint right
        self.held, self.writable = tuple(arrays), writable
        self.places.reserve(len(self.held))
        for array in self.held:
            if type(array) is not ndarray:  # one of a subclass may mean more than its numbers
                raise ValueError("no plain array")
            PyObject_GetBuffer(array, &found, PyBUF_FULL_RO)
            right = lies_plain(&found) and not (writable and found.readonly)
            if right:
                self.places.add(found.buf, found.itemsize, found.ndim, found.shape)
            PyBuffer_Release(&found)
            if not right:
                raise ValueError("no array to work on from end to end")

    @property
    def layout(self):
        """Addresses, shapes and element types: equal exactly where they lie the same."""
        cdef numbers[isize] all_ = self.places.layout()
        return PyBytes_FromStringAndSize(<const char*> all_.data(), all_.size() * sizeof(isize))

    def like(self, Arrays other not None):
        """Whether the others have the same shapes and element types, one by one."""
        return self.places.like(other.places)

    def apart(self):
        """Whether no two have a byte in common."""
        return self.places.apart()

    def meets(self, Arrays other not None):
        """Whether one of these has a byte in common with one of the others."""
        return self.places.meets(other.places)


def squares_of(Arrays arrays not None):
    """The sum of the squares of all, in double: `sum_of_squares` of each, added in turn."""
    cdef double total
    with nogil:
        total = squares_of_all(arrays.places)
    return total


def scale(Arrays arrays not None, double factor):
    """Multiply every element by `factor`, rounded to its type."""
    check_sizes(arrays.writable)
    with nogil:
        scale_all(arrays.places, factor)


def bound(Arrays arrays not None, double limit):
    """Bring every element to between -limit and limit."""
    check_sizes(arrays.writable)
    with nogil:
        bound_all(arrays.places, limit)


def adam(
    Arrays param not None,
    Arrays grad not None,
    Arrays mean not None,
    Arrays square not None,
    double decay,
    double beta1,
    double beta2,
    double unbias,
    double eps,
    double rate,
):
    """One step: `unbias` is 1 / sqrt(1 - beta2^t), `rate` is lr / (1 - beta1^t)."""
    cdef AdamRates rates = AdamRates(decay, 1 - beta1, beta2, 1 - beta2, unbias, eps, rate)
    check_sizes(param.writable and mean.writable and square.writable)
    check_sizes(param.places.like(grad.places))
    check_sizes(param.places.like(mean.places) and param.places.like(square.places))
    with nogil:
        adam_step(param.places, grad.places, mean.places, square.places, rates)


def sgd(
    Arrays param not None,
    Arrays grad not None,
    Arrays velocity not None,
    double momentum,
    double lr,
):
    """One step; `velocity` is empty where there is no momentum."""
    check_sizes(param.writable and velocity.writable and param.places.like(grad.places))
    check_sizes(velocity.places.count() == 0 or param.places.like(velocity.places))
    with nogil:
        sgd_step(param.places, grad.places, velocity.places, momentum, lr)
