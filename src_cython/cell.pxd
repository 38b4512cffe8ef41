"""What a cell is to the time loop, of native/cell.h, and how one is described."""

from activation cimport Activation
from matmul cimport Slots
from unit cimport Extent, Unit
from vec cimport isize, real_t

cdef extern from "native/cell.h" namespace "rnncore" nogil:
    enum:
        MOST_FUNCTIONS
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


cdef inline void add_product(Cell[real_t]* cell, Slots slots, int reads) noexcept nogil:
    """Let the step go on with a product that fills `slots` and reads h, or a slot."""
    cdef Stage[real_t]* stage = &cell.stage[cell.stages]
    stage.kind = PRODUCT
    stage.slots = slots
    stage.reads = reads
    stage.product = cell.products
    cell.stages += 1
    cell.products += 1


cdef inline void add_sweep(
    Cell[real_t]* cell,
    int kind,
    void (*forward)(const Unit[real_t]*, const Extent*) noexcept nogil,
    void (*backward)(const Unit[real_t]*, const Extent*) noexcept nogil,
) noexcept nogil:
    """Let the step go on with a sweep over units or rows."""
    cdef Stage[real_t]* stage = &cell.stage[cell.stages]
    stage.kind = kind
    stage.forward = forward
    stage.backward = backward
    cell.stages += 1


cdef inline void add_array(Cell[real_t]* cell) noexcept nogil:
    """Begin another 1-d array of the user's, to which vectors are added."""
    cell.array_size[cell.arrays] = 0
    cell.arrays += 1


cdef inline void add_vector(Cell[real_t]* cell, int slot, int operand, int of) noexcept nogil:
    cdef Vector* vector = &cell.vector[cell.vectors]
    vector.slot = slot
    vector.operand = operand
    vector.of = of
    cell.vectors += 1
    cell.array_size[cell.arrays - 1] += 1
