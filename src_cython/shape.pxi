# What a layer and direction is to the core, and its packed weights. Part of core.pyx.


cdef class Shape:
    """One layer and direction as the core knows it: a cell, sizes, and all that follows from them.

    `cell` is (kind, flags, functions, eps): kind and flags of `KINDS` and `FLAGS`; None for the
    cell's own functions, or one row of float64 for each that is chosen: its code, alpha, beta, and
    the bound of its sums, or 0; what norms add to a variance.
    """

    cdef readonly tuple cell
    cdef readonly isize I, H, P, itemsize
    cdef readonly isize packed_size  # bytes of packed weights
    cdef isize row_size  # elements of what inference holds of the states of a row
    cdef readonly int slots  # values that a unit has at a step
    cdef readonly tuple shows  # the slots that a trace shows as gates
    cdef readonly tuple widths  # of the states
    cdef readonly tuple vectors  # of the 1-d weights besides biases: so many times H numbers each
    # Of one of the two dtypes: the cell, and a pass before anything else is known.
    cdef Cell[float] cell_single
    cdef Cell[double] cell_double
    cdef Pass[float] single
    cdef Pass[double] double_

    def __cinit__(self, tuple cell not None, isize I, isize H, isize P, isize itemsize):
        kind, flags, functions, eps = cell
        check_sizes(0 <= kind < cells.COUNT and 0 < I and 0 < H and 0 < P)
        projected = flags & PROJECTION
        check_sizes(kind == cells.LSTM if projected else P == H)
        self.cell, self.I, self.H, self.P, self.itemsize = cell, I, H, P, itemsize
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

    def __repr__(self):
        return f"Shape({self.cell}, {self.I}, {self.H}, {self.P}, {self.itemsize})"


cdef int describe(Shape shape, Cell[real_t]* cell, Pass[real_t]* p) except -1:
    """Set all of a pass that does not change from call to call."""
    cdef const double[:, ::1] functions
    cdef int s
    kind, flags, chosen, eps = shape.cell
    set_cell[real_t](cell, kind, flags, eps)
    if not fits(cell):
        raise ValueError(f"cell {kind} has more stages, slots or vectors than native/cell.h allows")
    if chosen is not None:
        functions = chosen
        check_sizes(functions.shape[0] <= MOST_FUNCTIONS and functions.shape[1] == 4)
        for s in range(functions.shape[0]):
            check_sizes(0 <= functions[s, 0] < ACTIVATIONS)
        set_functions(cell, &functions[0, 0], functions.shape[0])
    p.cell = cell
    p.I, p.H, p.P = shape.I, shape.H, shape.P
    p.blocks = p.blocks_of(p.H)
    p.h_blocks = p.blocks_of(p.P)
    for s in range(cell.states):
        p.state[s].units = p.P if s == 0 else p.H
        p.state[s].blocks = p.blocks_of(p.state[s].units)
    shape.packed_size = HEADER_BYTES + weights.lay_out(p, NULL, False, 0) * sizeof(real_t)
    shape.row_size = states_of_pass(p, 1, NULL)
    shape.slots = cell.slots
    shape.shows = tuple([cell.shows[k] for k in range(cell.shown)])
    shape.widths = tuple([p.state[s].units for s in range(cell.states)])
    shape.vectors = tuple([cell.array_size[k] for k in range(cell.arrays)])
    return 0


cdef Room room_of_steps(
    Pass[real_t]* shape, isize steps, isize B, bint h_masked, zoned
) except *:
    cdef Pass[real_t] p = shape[0]
    check_sizes(len(zoned) == p.cell.states)
    p.steps, p.B = steps, B
    return room_of(p, h_masked, sum([bool(each) << s for s, each in enumerate(zoned)]))


cdef int set_pass(Pass[real_t]* p, Shape shape) except -1:
    """Begin with what the shape says; all else is zero."""
    check_sizes(shape.itemsize == sizeof(real_t))
    if real_t is float:
        p[0] = shape.single
    else:
        p[0] = shape.double_
    return 0


cdef const real_t* vector(const real_t[::1] a, isize length) except? NULL:
    """Where an array of so many numbers starts; null if it is None."""
    if a is None:
        return NULL
    check_sizes(a.shape[0] == length)
    return &a[0]


cdef const real_t* matrix(const real_t[:, ::1] a, isize rows, isize columns) except? NULL:
    if a is None:
        return NULL
    check_sizes(a.shape[0] == rows and a.shape[1] == columns)
    return &a[0, 0]


cdef int find_vectors(
    const Cell[real_t]* cell, isize H, arrays, const real_t** found
) except -1:
    """Where the vectors start that lie in the arrays of a cell; null for those of a missing one."""
    cdef const real_t* start
    cdef int a, k, at = 0
    check_sizes(len(arrays) == cell.arrays)
    for a in range(cell.arrays):
        start = vector[real_t](arrays[a], cell.array_size[a] * H)
        for k in range(cell.array_size[a]):
            found[at] = start
            if start != NULL:
                found[at] += k * H
            at += 1
    return 0


cdef int pack_into(
    Pass[real_t]* p, bint backward, isize block, given, real_t* packed
) except -1:
    """Pack the weights `given`: (w_ih, w_hh, b_ih, b_hh, vectors, w_hr), of which some are None."""
    cdef isize rows = p.cell.gates * p.H
    cdef const real_t* w_ih = matrix[real_t](given[0], rows, p.I)
    cdef const real_t* w_hh = matrix[real_t](given[1], rows, p.P)
    cdef const real_t* b_ih = vector[real_t](given[2], rows)
    cdef const real_t* b_hh = vector[real_t](given[3], rows)
    cdef const real_t* w_hr = matrix[real_t](given[5], p.P, p.H)
    cdef const real_t* vectors[MOST_VECTORS]
    find_vectors[real_t](p.cell, p.H, given[4], vectors)
    check_sizes(w_ih != NULL and (w_hh != NULL) == (p.cell.products > 0))
    check_sizes((w_hr != NULL) == ((p.cell.options & PROJECTION) != 0))
    weights.lay_out(p, packed, backward, block)
    with nogil:
        weights.pack(p, backward, w_ih, w_hh, b_ih, b_hh, vectors, w_hr)
    return 0


cdef Header packed_header(Shape shape):
    return header_of(
        PACKED_WEIGHTS, shape.itemsize, shape.cell, shape.H, shape.P, shape.I, 0,
        shape.packed_size,
    )


cdef int pack_forward(Pass[real_t]* p, Shape shape, given, unsigned char* packed) except -1:
    set_pass(p, shape)
    return pack_into(p, False, 0, given, <real_t*> (packed + HEADER_BYTES))


def pack(Shape shape not None, given not None, unsigned char[::1] packed not None):
    """Fill `packed` with the weights in the order in which a pass forward reads them.

    `given` are w_ih, w_hh, b_ih, b_hh, a tuple of vectors in the order in which the cell has them,
    and w_hr; None for what there is not.
    """
    cdef Pass[float] single
    cdef Pass[double] double_
    check_sizes(packed.shape[0] == shape.packed_size)
    check_sizes(<size_t> &packed[0] % shape.itemsize == 0)
    if shape.itemsize == sizeof(float):
        pack_forward(&single, shape, given, &packed[0])
    else:
        pack_forward(&double_, shape, given, &packed[0])
    write_header(packed_header(shape), &packed[0])


cdef int use_packed(Pass[real_t]* p, Shape shape, const unsigned char[::1] packed) except -1:
    """Let a pass forward read what `pack` has filled."""
    check_header(packed_header(shape), &packed[0], packed.shape[0])
    check_sizes(<size_t> &packed[0] % sizeof(real_t) == 0)
    weights.lay_out(p, <real_t*> (&packed[0] + HEADER_BYTES), False, 0)
    return 0
