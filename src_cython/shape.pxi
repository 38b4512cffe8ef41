# What a layer and direction is to the core, and its packed weights. Part of core.pyx.

cdef enum:
    # Weights are given as w_ih, w_hh, b_ih, b_hh, a tuple of vectors, w_hr.
    WEIGHTS = 6
    VECTORS = 4


cdef class Shape:
    """One layer and direction as the core knows it: a cell, sizes, and all that follows from them.

    `cell` is (kind, flags, functions, eps): kind and flags of `KINDS` and `FLAGS`; None for the
    cell's own functions, or one row of float64 for each that is chosen: its code, alpha, beta, and
    the bound of its sums, or 0; what norms add to a variance. `precision` is one of `PRECISIONS`.
    """

    cdef readonly tuple cell
    cdef readonly isize I, H, P, itemsize
    cdef readonly int precision
    cdef readonly isize packed_size  # bytes of packed weights
    cdef isize row_size  # elements of what inference holds of the states of a row
    cdef double row_operations  # of its products at a step
    cdef readonly int slots  # values that a unit has at a step
    cdef readonly tuple shows  # the slots that a trace shows as gates
    cdef readonly tuple widths  # of the states
    cdef readonly tuple vectors  # of the 1-d weights besides biases: so many times H numbers each
    # Of one of the two dtypes: the cell, and a pass before anything else is known.
    cdef Cell[float] cell_single
    cdef Cell[double] cell_double
    cdef Pass[float] single
    cdef Pass[double] double_

    def __cinit__(self, tuple cell not None, isize I, isize H, isize P, isize itemsize,
                  int precision=FULL):
        kind, flags, functions, eps = cell
        check_sizes(0 <= kind < cells.COUNT and 0 < I and 0 < H and 0 < P)
        projected = flags & PROJECTION
        check_sizes(kind == cells.LSTM if projected else P == H)
        check_sizes(precision in PRECISIONS.values())
        check_sizes(precision == FULL or itemsize == sizeof(float))
        check_sizes(precision not in (W8A8, W8A16) or max(I, H) <= MOST_NARROW_TERMS)
        self.cell, self.I, self.H, self.P, self.itemsize = cell, I, H, P, itemsize
        self.precision = precision
        if itemsize == sizeof(float):
            describe(self, &self.cell_single, &self.single)
        else:
            check_sizes(itemsize == sizeof(double))
            describe(self, &self.cell_double, &self.double_)

    def room(self, isize steps, isize B, bint h_masked, zoned):
        """Where things lie in the memory of a trace, in elements; -1: they are not there.

        `zoned` tells for each state whether there is zoneout. Returned are the size of all, where
        the states begin (of each), the gates, what the cell made where that is not the state yet
        (of each state), and the h that products read.
        """
        cdef Room room
        if self.itemsize == sizeof(float):
            room = room_of_steps(&self.single, steps, B, h_masked, zoned)
        else:
            room = room_of_steps(&self.double_, steps, B, h_masked, zoned)
        states = range(len(self.widths))
        return (
            room.size, tuple([room.state[s] for s in states]), room.gates,
            tuple([room.made[s] for s in states]), room.h_in,
        )

    def memory(self, isize steps, isize B, bint h_masked, zoned):
        """Uninitialised memory for a trace; the arguments are those of `room`."""
        return empty(self.room_size(steps, B, h_masked, zoned), self.itemsize)

    cdef isize room_size(self, isize steps, isize B, bint h_masked, zoned) except -1:
        if self.itemsize == sizeof(float):
            return room_of_steps(&self.single, steps, B, h_masked, zoned).size
        return room_of_steps(&self.double_, steps, B, h_masked, zoned).size

    def __repr__(self):
        return f"Shape({self.cell}, {self.I}, {self.H}, {self.P}, {self.itemsize})"


cdef int describe(Shape shape, Cell[real_t]* cell, Pass[real_t]* p) except -1:
    """Set all of a pass that does not change from call to call."""
    cdef const double* functions
    cdef isize count
    cdef int s
    kind, flags, chosen, eps = shape.cell
    set_cell[real_t](cell, kind, flags, eps)
    if not fits(cell):
        raise ValueError(f"cell {kind} has more stages, slots or vectors than native/cell.h allows")
    if chosen is not None:
        count = len(chosen)
        functions = <const double*> start(chosen, sizeof(double), 2, count, 4)
        check_sizes(count <= MOST_FUNCTIONS)
        for s in range(count):
            check_sizes(0 <= functions[4 * s] < ACTIVATIONS)
        set_functions(cell, functions, count)
    set_sizes(p, cell, shape.I, shape.H, shape.P)
    p.precision = shape.precision
    shape.packed_size = HEADER_BYTES + weights.lay_out(p, NULL, False, 0, False) * sizeof(real_t)
    shape.row_size = states_of_pass(p, 1, NULL)
    shape.row_operations = operations_of_row(p, True)
    shape.slots = cell.slots
    shape.shows = tuple([cell.shows[k] for k in range(cell.shown)])
    shape.widths = tuple([p.state[s].units for s in range(cell.states)])
    shape.vectors = tuple([cell.array_size[k] for k in range(cell.arrays)])
    return 0


cdef void set_sizes(
    Pass[real_t]* p, const Cell[real_t]* cell, isize I, isize H, isize P
) noexcept nogil:
    """What a cell of these sizes is to a pass, of which all else is zero."""
    cdef int s
    p.cell, p.I, p.H, p.P = cell, I, H, P
    p.blocks = p.blocks_of(H)
    p.h_blocks = p.blocks_of(P)
    for s in range(cell.states):
        p.state[s].units = P if s == 0 else H
        p.state[s].blocks = p.blocks_of(p.state[s].units)


cdef Room room_of_steps(
    Pass[real_t]* shape, isize steps, isize B, bint h_masked, zoned
) except *:
    cdef Pass[real_t] p = shape[0]
    cdef int s, zoned_states = 0
    check_sizes(len(zoned) == p.cell.states)
    p.steps, p.B = steps, B
    for s in range(p.cell.states):
        zoned_states |= <int> bool(zoned[s]) << s
    return room_of(p, h_masked, zoned_states)


cdef int set_pass(Pass[real_t]* p, Shape shape) except -1:
    """Begin with what the shape says; all else is zero."""
    check_sizes(shape.itemsize == sizeof(real_t))
    if real_t is float:
        p[0] = shape.single
    else:
        p[0] = shape.double_
    return 0


cdef int find_vectors(
    const Cell[real_t]* cell, isize H, arrays, const real_t** found
) except -1:
    """Where the vectors start that lie in the arrays of a cell; null for those of a missing one."""
    cdef const real_t* first
    cdef int a, at = 0
    check_sizes(len(arrays) == cell.arrays)
    for a in range(cell.arrays):
        first = <const real_t*> start(arrays[a], sizeof(real_t), 1, cell.array_size[a] * H)
        at = set_vectors(first, cell.array_size[a], H, found, at)
    return 0


cdef int set_vectors(
    const real_t* first, int count, isize H, const real_t** found, int at
) noexcept nogil:
    """Let those of an array be found, the first as the `at`-th; return which one is next."""
    cdef int k
    for k in range(count):
        found[at + k] = first
        if first != NULL:
            found[at + k] += k * H
    return at + count


cdef int find_weights(Pass[real_t]* p, given, Given[real_t]* found) except -1:
    """`given` is (w_ih, w_hh, b_ih, b_hh, vectors, w_hr), some of it None."""
    cdef isize rows = p.cell.gates * p.H, size = sizeof(real_t)
    check_sizes(len(given) == WEIGHTS)
    found.w_ih = matrix_of(p, given[0], rows, p.I)
    found.w_hh = matrix_of(p, given[1], rows, p.P)
    found.b_ih = <const real_t*> start(given[2], size, 1, rows)
    found.b_hh = <const real_t*> start(given[3], size, 1, rows)
    found.w_hr = matrix_of(p, given[5], p.P, p.H)
    find_vectors[real_t](p.cell, p.H, given[4], found.vectors)
    check_sizes(found.w_ih.values != NULL)
    check_sizes((found.w_hh.values != NULL) == (p.cell.products > 0))
    check_sizes((found.w_hr.values != NULL) == ((p.cell.options & PROJECTION) != 0))
    return 0


cdef Matrix matrix_of(Pass[real_t]* p, given, isize rows, isize columns) except *:
    """An array; the pair of int8 and the scales of its rows; bits of bfloat16. Null for None."""
    cdef Matrix w
    w.scale = NULL
    if p.precision in (W8A8, W8A16) and given is not None:
        given, scale = given
        w.scale = <const float*> start(scale, sizeof(float), 1, rows)
        check_sizes(w.scale != NULL)
    cdef isize size = sizeof(real_t)
    if p.precision != FULL:
        size = 2 if p.precision == BFLOAT16 else 1  # int8 comes as bytes
    w.values = start(given, size, 2, rows, columns)
    return w


cdef Header packed_header(Shape shape):
    return header_of(
        PACKED_WEIGHTS, shape.itemsize, shape.precision, shape.cell, shape.H, shape.P, shape.I, 0,
        shape.packed_size,
    )


cdef int pack_forward(Pass[real_t]* p, Shape shape, given, unsigned char* packed) except -1:
    cdef Given[real_t] found
    set_pass(p, shape)
    find_weights(p, given, &found)
    with nogil:
        weights.take(p, False, 0, False, &found, <real_t*> (packed + HEADER_BYTES))
    return 0


def pack(Shape shape not None, given not None, packed not None):
    """Fill `packed` with the weights in the order in which a pass forward reads them.

    `given` are w_ih, w_hh, b_ih, b_hh, a tuple of vectors in the order in which the cell has them,
    and w_hr; None for what there is not. Below float32 a matrix is the pair of int8 and the scales
    of its rows, or has the bits of bfloat16 as uint16.
    """
    cdef Pass[float] single
    cdef Pass[double] double_
    cdef unsigned char* at = <unsigned char*> target(packed, 1, 1, shape.packed_size)
    check_sizes(<size_t> at % shape.itemsize == 0)
    if shape.itemsize == sizeof(float):
        pack_forward(&single, shape, given, at)
    else:
        pack_forward(&double_, shape, given, at)
    write_header(packed_header(shape), at)


cdef int use_packed(Pass[real_t]* p, Shape shape, packed) except -1:
    """Let a pass forward read what `pack` has filled."""
    check_sizes(has(packed, 1, 1) and PyArray_IS_C_CONTIGUOUS(packed))
    cdef char* at = <char*> PyArray_DATA(packed)
    check_header(packed_header(shape), at, PyArray_DIMS(packed)[0])
    check_sizes(<size_t> at % sizeof(real_t) == 0)
    weights.lay_out(p, <real_t*> (at + HEADER_BYTES), False, 0, False)
    return 0


cdef Header trace_header(Shape shape, isize steps, isize B, isize size):
    return header_of(
        TRACE, shape.itemsize, FULL, shape.cell, shape.H, shape.P, B, steps,
        size * shape.itemsize,
    )


def begin_trace(Shape shape not None, isize steps, isize B, h_masked, zoned, memory not None):
    """Write the header of a trace into memory that is to be filled by the caller.

    `h_masked` and `zoned` are those of `Shape.room`.
    """
    cdef isize size = shape.room(steps, B, h_masked, zoned)[0]
    write_header(
        trace_header(shape, steps, B, size), target(memory, shape.itemsize, 1, size)
    )
