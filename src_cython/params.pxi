# The weights of a stack, by the names of its parameters. Part of core.pyx.

cdef object new_tuple = tuple.__new__  # a named tuple's own is in Python


cdef class WeightPlaces:
    """Where the weights of one layer and direction go: entries (name, shape, place).

    A name may be None, for a vector that is not there and whose place is kept. What the methods
    give are `kind`, which is made of the weights in their places, as for `pack`.
    """

    cdef tuple entries
    cdef isize itemsize
    cdef object kind, fitted

    def __init__(self, entries, isize itemsize, kind not None, fitted=None):
        """``fitted(array)`` is a copy that is contiguous, with its numbers at whole elements."""
        self.entries, self.itemsize, self.kind, self.fitted = tuple(entries), itemsize, kind, fitted

    cdef read(self, dict params):
        """The weights of these names, or None where an array needs a closer look."""
        cdef list found = [None] * WEIGHTS, vectors = []
        cdef int place
        for name, shape, place in self.entries:
            value = None
            if name is not None:
                value = params.get(name)
                if not self.right(value, shape):
                    return None
                if not (PyArray_IS_C_CONTIGUOUS(value) and PyArray_ISBEHAVED_RO(value)):
                    value = self.fitted(value)
            if place == VECTORS:
                vectors.append(value)
            else:
                found[place] = value
        found[VECTORS] = tuple(vectors)
        return new_tuple(self.kind, found)

    cdef int name(self, given, dict into) except -1:
        """Undo `read`, as for gradients."""
        cdef int place, vector = 0
        for name, _, place in self.entries:
            value = given[VECTORS][vector] if place == VECTORS else given[place]
            vector += place == VECTORS
            if name is not None:
                into[name] = value
        return 0

    cdef bint right(self, value, tuple shape) except -1:
        """Whether it is an array of this shape and type, wherever its numbers lie."""
        cdef int axis, axes = len(shape)
        if not (
            PyArray_CheckExact(value)
            and PyArray_NDIM(value) == axes
            and PyArray_TYPE(value) == type_of(self.itemsize)
            and PyArray_ISNOTSWAPPED(value)
        ):
            return False
        for axis in range(axes):
            if PyArray_DIMS(value)[axis] != <isize> shape[axis]:
                return False
        return True

    def zeros(self):
        """Gradients of all weights, to which nothing was added yet."""
        cdef list found = [None] * WEIGHTS, vectors = []
        cdef npy_intp[2] sizes
        cdef int place, axis
        for _, shape, place in self.entries:
            for axis in range(len(shape)):
                sizes[axis] = shape[axis]
            value = PyArray_ZEROS(len(shape), sizes, type_of(self.itemsize), 0)
            if place == VECTORS:
                vectors.append(value)
            else:
                found[place] = value
        found[VECTORS] = tuple(vectors)
        return new_tuple(self.kind, found)


def name_weights(list places not None, cells, dict into not None):
    """Undo `read_weights`, as for gradients: put them `into` a dict by their names."""
    cdef WeightPlaces each
    for each, given in zip(places, cells):
        each.name(given, into)


def read_weights(list places not None, params, isize count):
    """The weights of a whole stack, or None where `params`, a dict of `count`, needs a closer look.

    `places` has the `WeightPlaces` of every layer and direction.
    """
    cdef WeightPlaces each
    if type(params) is not dict or len(params) != count:
        return None
    found = []
    for each in places:
        weights = each.read(params)
        if weights is None:
            return None
        found.append(weights)
    return found
