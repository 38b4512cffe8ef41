# A stack of layers, and calls of it that come as they should. Part of core.pyx.

cdef object new_tuple = tuple.__new__  # a named tuple's own is in Python


cdef copied(Rows rows, isize itemsize):
    """An array (T, B, columns) with the same numbers."""
    cdef isize step, row, length = rows.columns * itemsize
    found = empty_reals(3, rows.T, rows.B, rows.columns, itemsize)
    cdef char* to = <char*> PyArray_DATA(found)
    for step in range(rows.T):
        for row in range(rows.B):
            memcpy(to, <char*> rows.at + (step * rows.step + row * rows.row) * itemsize, length)
            to += length
    return found


cdef added(a, b, isize itemsize):
    """a + b, in the memory of `a`; of the same sizes, and contiguous."""
    cdef isize k, count = PyArray_SIZE(a)
    cdef void* to = PyArray_DATA(a)
    cdef void* terms = PyArray_DATA(b)
    if itemsize == sizeof(float):
        for k in range(count):
            (<float*> to)[k] += (<float*> terms)[k]
    else:
        for k in range(count):
            (<double*> to)[k] += (<double*> terms)[k]
    return a


cdef class Stack:
    """Layers upon each other: a tuple of layers, each a tuple of directions, each (shape, reverse).

    `axes` says how the arrays of a call lie: "TB" with the steps first, "BT" with the rows first,
    or "B" for a single step, of which the state is all that is wanted.
    """

    cdef readonly tuple layers
    cdef readonly str axes
    cdef isize itemsize, count, I, columns, row_size, weights_bytes
    cdef tuple widths, no_states, nothing_zoned
    cdef bint batch_first, single_step

    def __init__(self, tuple layers not None, str axes="TB"):
        cdef Shape shape
        check_sizes(len(layers) > 0 and axes in ("TB", "BT", "B"))
        self.layers, self.axes = layers, axes
        self.batch_first, self.single_step = axes == "BT", axes == "B"
        self.count = self.row_size = self.columns = self.weights_bytes = 0
        for directions in layers:
            self.columns = 0
            for shape, _ in directions:
                self.itemsize, self.widths = shape.itemsize, shape.widths
                self.count += 1
                self.columns += shape.P
                self.weights_bytes += shape.packed_size
                self.row_size = max(self.row_size, shape.row_size)
        check_sizes(self.count > 0)
        shape = layers[0][0][0]
        self.I = shape.I
        self.no_states = (None,) * len(self.widths)
        self.nothing_zoned = (False,) * len(self.widths)

    def call(self, given, x, state):
        """The outputs and the final state, or None where a call needs a closer look.

        It needs one if `x` or the state is not an array just as it should be, of the right shape
        and type with rows that can be read as they lie, or if there is no step or no row. `given`
        are the weights, as for `infer`; `state` may be None, for zeros.
        """
        cdef Rows rows, outputs = no_rows()
        cdef tuple starts, ends
        y = None
        if not self.takes(x, self.I):
            return None
        rows = rows_of(x, self.itemsize, self.batch_first, False)
        starts = self.parts(state, rows.B)
        if starts is None:
            return None
        if not self.single_step:
            y = self.empty_output(rows)
            outputs = rows_of(y, self.itemsize, self.batch_first, True)
        ends = self.empty_states(rows.B)
        infer_stack(self, given, rows, None, starts, outputs, ends)
        final = ends[0] if len(ends) == 1 else ends
        return final if self.single_step else (y, final)

    def trace(self, given, x, state):
        """What `call` gives, and of each layer and direction (x, memory), for `back`.

        Nothing is dropped. x is a copy, or the output of the layer before.
        """
        cdef isize layer, begin, k = 0, size = self.itemsize
        cdef Rows rows, outputs
        cdef Shape shape
        cdef tuple starts, ends
        if self.single_step or not self.takes(x, self.I):
            return None
        rows = rows_of(x, size, self.batch_first, False)
        starts = self.parts(state, rows.B)
        if starts is None:
            return None
        ends, kept = self.empty_states(rows.B), []
        source = copied(rows, size)
        for layer in range(len(self.layers)):
            PyArray_CLEARFLAGS(source, NPY_ARRAY_WRITEABLE)
            rows = rows_of(source, size, False, False)
            if layer < len(self.layers) - 1:
                y = empty_reals(3, rows.T, rows.B, self.columns, size)
                outputs = rows_of(y, size, False, True)
            else:
                y = self.empty_output(rows)
                outputs = rows_of(y, size, self.batch_first, True)
            begin = 0
            for shape, reverse in self.layers[layer]:
                batch = (reverse, None, 0, rows.T)
                memory = shape.memory(rows.T, rows.B, False, self.nothing_zoned)
                forward_at(
                    shape, given[k], rows, batch, starts, None, memory,
                    columns_of(outputs, begin, shape.P, size), ends, k,
                )
                PyArray_CLEARFLAGS(memory, NPY_ARRAY_WRITEABLE)
                kept.append((source, memory))
                begin += shape.P
                k += 1
            source = y
        return y, ends[0] if len(ends) == 1 else ends, kept

    def back(self, given, list kept not None, list dweights not None, dy, dstate):
        """The gradients of x (T, B, I) and of the initial state, or None as `call`.

        `kept` is what `trace` gave, `dweights` has the gradients of the weights of each layer and
        direction, which are added to. `dy` or `dstate` may be None.
        """
        cdef isize layer, begin, k = self.count, size = self.itemsize
        cdef Rows rows, arriving = no_rows()
        cdef Shape shape
        cdef tuple dends, dstarts
        if len(kept) != k or len(dweights) != k or not self.takes(kept[0][0], self.I):
            return None
        rows = rows_of(kept[0][0], size, False, False)
        if dy is not None:
            if not self.takes(dy, self.columns):
                return None
            arriving = rows_of(dy, size, self.batch_first, False)
            if arriving.T != rows.T or arriving.B != rows.B:
                return None
        dends = self.parts(dstate, rows.B)
        if dends is None or (dy is None and dstate is None):
            return None
        expect_blocks(self.weights_bytes + rows.T * rows.B * max(self.I, self.columns) * size)
        dstarts, dx_above = self.empty_states(rows.B), dy
        for layer in range(len(self.layers) - 1, -1, -1):
            begin, total = self.columns, None
            for shape, reverse in reversed(self.layers[layer]):
                k -= 1
                begin -= shape.P
                source, memory = kept[k]
                rows = rows_of(source, size, False, False)
                batch = (reverse, None, 0, rows.T)
                dx = empty_reals(3, rows.T, rows.B, shape.I, size)
                backward_at(
                    shape, given[k], rows, batch, None, memory,
                    columns_of(arriving, begin, shape.P, size), dends, None,
                    (dx, dstarts, dweights[k]), k,
                )
                total = dx if total is None else added(dx, total, size)
            dx_above = total  # which has to be there as long as somebody points to it
            arriving = rows_of(dx_above, size, False, False)
        return dx_above, dstarts[0] if len(dstarts) == 1 else dstarts

    cdef bint takes(self, x, isize columns) except -1:
        """Whether it is an array of rows of so many numbers that can be read as they lie."""
        cdef int axis, axes = 2 if self.single_step else 3
        if not (PyArray_CheckExact(x) and has(x, self.itemsize, axes)):
            return False
        for axis in range(axes - 1):
            if PyArray_DIMS(x)[axis] == 0:
                return False
        return PyArray_DIMS(x)[axes - 1] == columns and lies_in_rows(x, self.itemsize)

    cdef tuple parts(self, state, isize B):
        """The parts of a state; None where one needs a closer look."""
        cdef npy_intp* sizes
        cdef int s, axes = 2 if self.single_step else 3
        cdef tuple parts
        if state is None:
            return self.no_states
        parts = state if type(state) is tuple else (state,)
        if len(parts) != len(self.widths) or (type(state) is tuple) != (len(parts) > 1):
            return None
        for s in range(len(parts)):
            part = parts[s]
            if not (PyArray_CheckExact(part) and has(part, self.itemsize, axes)):
                return None
            sizes = PyArray_DIMS(part)
            if axes == 3 and sizes[0] != self.count:
                return None
            if sizes[axes - 2] != B or sizes[axes - 1] != <isize> self.widths[s]:
                return None
        return parts

    cdef empty_output(self, Rows rows):
        """As users have it."""
        if self.batch_first:
            return empty_reals(3, rows.B, rows.T, self.columns, self.itemsize)
        return empty_reals(3, rows.T, rows.B, self.columns, self.itemsize)

    cdef tuple empty_states(self, isize B):
        if self.single_step:
            return tuple([empty_reals(2, B, width, 0, self.itemsize) for width in self.widths])
        return tuple(
            [empty_reals(3, self.count, B, width, self.itemsize) for width in self.widths]
        )

    def __repr__(self):
        return f"Stack({self.layers}, {self.axes!r})"


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
