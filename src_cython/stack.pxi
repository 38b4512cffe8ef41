# A stack of layers, and calls of it that come as they should. Part of core.pyx.


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


cdef class Stack:
    """Layers upon each other: a tuple of layers, each a tuple of directions, each (shape, reverse).

    `axes` says how the arrays of a call lie: "TB" with the steps first, "BT" with the rows first,
    or "B" for a single step, of which the state is all that is wanted.
    """

    cdef readonly tuple layers
    cdef readonly str axes
    cdef isize itemsize, count, directions, I, columns, row_size, weights_bytes
    cdef double row_operations
    cdef tuple widths, no_states, nothing_zoned
    cdef bint batch_first, single_step

    def __init__(self, tuple layers not None, str axes="TB"):
        cdef Shape shape, first
        check_sizes(len(layers) > 0 and axes in ("TB", "BT", "B"))
        self.layers, self.axes = layers, axes
        self.batch_first, self.single_step = axes == "BT", axes == "B"
        self.count = self.row_size = self.weights_bytes = 0
        self.row_operations = 0
        first = layers[0][0][0]
        self.I, self.itemsize, self.widths = first.I, first.itemsize, first.widths
        self.directions = len(layers[0])
        self.columns = self.directions * first.P
        for directions in layers:
            check_sizes(1 <= len(directions) <= 2 and len(directions) == self.directions)
            for shape, _ in directions:
                check_sizes(shape.itemsize == first.itemsize and shape.widths == first.widths)
                check_sizes(shape.cell[:2] == first.cell[:2] and shape.H == first.H)
                check_sizes(shape.I == (self.columns if self.count >= self.directions else self.I))
                self.count += 1
                self.weights_bytes += shape.packed_size
                self.row_size = max(self.row_size, shape.row_size)
                self.row_operations += shape.row_operations
        self.no_states = (None,) * len(self.widths)
        self.nothing_zoned = (False,) * len(self.widths)

    def infer(self, given, x, table, starts, y, ends):
        """Run all layers and keep nothing but outputs and final states; x and y have steps first.

        `given` has the weights of each layer and direction, packed or as for `pack`. `starts` and
        `ends` have an array for each state, whose first axis runs over the layers and within a
        layer over its directions; a start may be None, for zeros.
        """
        cdef Rows rows = rows_of(x, self.itemsize, False, False)
        infer_stack(self, given, rows, table, starts, rows_of(y, self.itemsize, False, True), ends)

    def forward(
        self, given, list sources not None, list drops not None, table, starts,
        list masks not None, list memories not None, y, ends
    ):
        """Run all layers and keep their states and gates in `memories`, of each (layer, direction).

        `sources` are the x of every layer, of which all but the first are written to; `drops` what
        they are multiplied with before the next layer reads them, or None. `masks` are as for
        `forward`, of each; the others as for `infer`.
        """
        cdef Rows outputs = rows_of(y, self.itemsize, False, True)
        forward_stack(self, given, sources, drops, table, starts, masks, memories, outputs, ends)

    def backward(
        self, given, list sources not None, list drops not None, table,
        list masks not None, list memories not None, dy, dends, flow,
        list dxs not None, list dweights not None, dstarts,
    ):
        """Run back through all layers; see `backward` for what is given of each, and `forward`.

        `flow` has each layer and direction on its second axis. `dxs` has for every layer a list of
        arrays, of each direction one, that are written to: those of one layer may be those of the
        one after the next. None stands for a gradient that nobody wants: of any weight, and of the
        x of the first layer.
        """
        cdef Rows arriving = rows_of(dy, self.itemsize, False, False)
        self.expect_gradients(rows_of(sources[0], self.itemsize, False, False))
        backward_stack(
            self, given, sources, drops, table, masks, memories, arriving, dends, flow, dxs,
            dweights, dstarts,
        )

    # Of arrays that are just as they should be, without any of the above

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
        starts = self.parts(state, rows.B, False)
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
        """What `call` gives, and what `back` reads: (outputs, final state, sources, memories).

        `sources` are the x of every layer, a copy and the outputs of the layer before; `memories`
        the trace of each layer and direction. Nothing is dropped.
        """
        cdef isize layer, size = self.itemsize
        cdef Rows rows
        cdef Shape shape
        cdef tuple starts
        cdef list sources, memories = []
        if self.single_step or not self.takes(x, self.I):
            return None
        rows = rows_of(x, size, self.batch_first, False)
        starts = self.parts(state, rows.B, False)
        if starts is None:
            return None
        sources = [copied(rows, size)]
        for layer in range(1, len(self.layers)):
            sources.append(empty_reals(3, rows.T, rows.B, self.columns, size))
        for directions in self.layers:
            for shape, _ in directions:
                memories.append(shape.memory(rows.T, rows.B, False, self.nothing_zoned))
        y, final = self.keep_all(given, rows, starts, sources, memories)
        for kept in (sources, memories):
            for array in kept:
                PyArray_CLEARFLAGS(array, NPY_ARRAY_WRITEABLE)
        return y, final, sources, memories

    def keep(self, given, x, state, memory not None):
        """What `call` gives; what `back` reads beside `x` is left in `memory`, to be `cut`."""
        cdef Rows rows
        cdef tuple starts
        cdef list inner, memories
        if self.single_step or not self.takes(x, self.I):
            return None
        rows = rows_of(x, self.itemsize, self.batch_first, False)
        starts = self.parts(state, rows.B, False)
        if starts is None:
            return None
        memories, inner = self.cut(memory, rows.T, rows.B, False, self.nothing_zoned)
        sources = [x.swapaxes(0, 1) if self.batch_first else x, *inner]
        return self.keep_all(given, rows, starts, sources, memories)

    cdef tuple keep_all(self, given, Rows x, tuple starts, list sources, list memories):
        cdef tuple ends = self.empty_states(x.B)
        y = self.empty_output(x)
        cdef Rows outputs = rows_of(y, self.itemsize, self.batch_first, True)
        forward_stack(self, given, sources, None, None, starts, None, memories, outputs, ends)
        return y, ends[0] if len(ends) == 1 else ends

    def cut(self, memory not None, isize T, isize B, bint h_masked, zoned):
        """The parts of one memory, each at whole cache lines from its start.

        These are the trace of each layer and direction, whose arguments are those of `Shape.room`,
        and then the x (T, B, columns) of all layers but the first.
        """
        cdef isize at = 0, size
        cdef Shape shape
        cdef list memories = [], inner = []
        for directions in self.layers:
            for shape, _ in directions:
                size = shape.room_size(T, B, h_masked, zoned)
                memories.append(memory[at:at + size])
                at += self.whole_lines(size)
        size = T * B * self.columns
        for _ in range(1, len(self.layers)):
            inner.append(memory[at:at + size].reshape(T, B, self.columns))
            at += self.whole_lines(size)
        return memories, inner

    cdef isize whole_lines(self, isize size) noexcept:
        cdef isize line = CACHE_LINE // self.itemsize
        return (size + line - 1) // line * line

    def back(
        self, given, list sources not None, list memories not None, list dweights not None,
        dy, dstate, bint wants_x=True,
    ):
        """The gradients of x (T, B, I) by direction, and of the initial state; or None as `call`.

        `sources` and `memories` are what `trace` gave, `dweights` has the gradients of the weights
        of each layer and direction, which are added to. `dy` or `dstate` may be None, and any part
        of `dstate`.
        """
        cdef isize layer, size = self.itemsize
        cdef Rows rows, arriving = no_rows()
        cdef tuple dends, dstarts
        cdef list dxs = []
        if len(sources) != len(self.layers) or not self.takes(sources[0], self.I):
            return None
        rows = rows_of(sources[0], size, False, False)
        if dy is not None:
            if not self.takes(dy, self.columns):
                return None
            arriving = rows_of(dy, size, self.batch_first, False)
            if arriving.T != rows.T or arriving.B != rows.B:
                return None
        dends = self.parts(dstate, rows.B, True)
        if dends is None or (dy is None and dstate is None):
            return None
        self.expect_gradients(rows)
        for layer in range(len(self.layers)):
            dxs.append(dxs[layer - 2] if layer > 2 else self.empty_inputs(rows, layer, wants_x))
        dstarts = self.empty_states(rows.B)
        backward_stack(
            self, given, sources, None, None, None, memories, arriving, dends, None, dxs,
            dweights, dstarts,
        )
        return dxs[0], dstarts[0] if len(dstarts) == 1 else dstarts

    cdef int expect_gradients(self, Rows x) except -1:
        """Let the arrays of gradients come and go without the system."""
        expect_blocks(self.weights_bytes + x.T * x.B * max(self.I, self.columns) * self.itemsize)
        return 0

    cdef bint takes(self, x, isize columns) except -1:
        """Whether it is an array of rows of so many numbers that can be read as they lie."""
        cdef int axis, axes = 2 if self.single_step else 3
        if not (PyArray_CheckExact(x) and has(x, self.itemsize, axes)):
            return False
        for axis in range(axes - 1):
            if PyArray_DIMS(x)[axis] == 0:
                return False
        return PyArray_DIMS(x)[axes - 1] == columns and lies_in_rows(x, self.itemsize)

    cdef tuple parts(self, state, isize B, bint some):
        """The parts of a state, or `some` of them and None; None where one needs a closer look."""
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
            if part is None and some:
                continue
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

    cdef list empty_inputs(self, Rows rows, isize layer, bint wanted):
        """Of every direction of a layer; of the first one None where nobody wants them."""
        cdef isize I = self.columns if layer else self.I
        if layer == 0 and not wanted:
            return [None] * self.directions
        return [
            empty_reals(3, rows.T, rows.B, I, self.itemsize) for _ in range(self.directions)
        ]

    cdef tuple empty_states(self, isize B):
        if self.single_step:
            return tuple([empty_reals(2, B, width, 0, self.itemsize) for width in self.widths])
        return tuple(
            [empty_reals(3, self.count, B, width, self.itemsize) for width in self.widths]
        )

    def __repr__(self):
        return f"Stack({self.layers}, {self.axes!r})"
