"""What a cell is to the time loop, of native/cell.h, and how one is described."""

from activation cimport Activation
from matmul cimport Slots
from unit cimport MOST_STATES, Extent, Unit
from vec cimport isize, real_t

cdef extern from "native/cell.h" namespace "rnncore" nogil:
    enum:
        MOST_FUNCTIONS
        MOST_SLOTS
        MOST_STAGES
        MOST_PRODUCTS
        MOST_ARRAYS
        MOST_VECTORS

    enum:
        PRODUCT
        ELEMENTWISE
        ROW
        READS_H

    enum:
        ONE
        BEFORE
        MADE
        H_IN
        VALUE

    cdef cppclass Stage[T]:
        int kind
        Slots slots
        int reads
        int product
        void (*forward)(const Unit[T]*, const Extent*) noexcept nogil
        void (*backward)(const Unit[T]*, const Extent*) noexcept nogil

    cdef cppclass Vector:
        int slot
        int operand
        int of

    cdef cppclass Cell[T]:
        int options
        T eps
        int states
        int completes
        int gates
        int slots
        int* gate_of
        int shown
        int* shows
        Slots x
        Slots h
        int stages
        int products
        Stage[T]* stage
        int vectors
        int arrays
        int* array_size
        Vector* vector
        Activation[T]* activation


cdef inline Slots slots_from(isize first, isize used) noexcept nogil:
    cdef Slots slots
    slots.first = first
    slots.used = used
    return slots


# Whatever is added counts, also beyond what there is room for: `fits` tells of it.


cdef inline bint fits(const Cell[real_t]* cell) noexcept nogil:
    """Whether there was room for all that a cell was described with."""
    return (
        cell.states <= MOST_STATES and cell.slots <= MOST_SLOTS and cell.shown <= MOST_SLOTS
        and cell.stages <= MOST_STAGES and cell.products <= MOST_PRODUCTS
        and cell.arrays <= MOST_ARRAYS and cell.vectors <= MOST_VECTORS
    )


cdef inline Stage[real_t]* next_stage(Cell[real_t]* cell, int kind) noexcept nogil:
    cdef Stage[real_t]* stage = &cell.stage[min(cell.stages, MOST_STAGES)]
    stage.kind = kind
    cell.stages += 1
    return stage


cdef inline void show(Cell[real_t]* cell, int slot) noexcept nogil:
    """Let a trace show the values of a slot next, as `gates`."""
    if cell.shown < MOST_SLOTS:
        cell.shows[cell.shown] = slot
    cell.shown += 1


cdef inline void add_product(Cell[real_t]* cell, Slots slots, int reads) noexcept nogil:
    """Let the step go on with a product that fills `slots` and reads h, or a slot."""
    cdef Stage[real_t]* stage = next_stage(cell, PRODUCT)
    stage.slots = slots
    stage.reads = reads
    stage.product = cell.products
    cell.products += 1


cdef inline void add_sweep(
    Cell[real_t]* cell,
    int kind,
    void (*forward)(const Unit[real_t]*, const Extent*) noexcept nogil,
    void (*backward)(const Unit[real_t]*, const Extent*) noexcept nogil,
) noexcept nogil:
    """Let the step go on with a sweep over units or rows."""
    cdef Stage[real_t]* stage = next_stage(cell, kind)
    stage.forward = forward
    stage.backward = backward


cdef inline void add_array(Cell[real_t]* cell) noexcept nogil:
    """Begin another 1-d array of the user's, to which vectors are added."""
    if cell.arrays < MOST_ARRAYS:
        cell.array_size[cell.arrays] = 0
    cell.arrays += 1


cdef inline void add_vector(Cell[real_t]* cell, int slot, int operand, int of) noexcept nogil:
    cdef Vector* vector = &cell.vector[cell.vectors]
    cell.vectors += 1
    if cell.vectors <= MOST_VECTORS and cell.arrays <= MOST_ARRAYS:
        vector.slot = slot
        vector.operand = operand
        vector.of = of
        cell.array_size[cell.arrays - 1] += 1
