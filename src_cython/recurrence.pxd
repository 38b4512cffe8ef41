"""What a cell is to the time loop, what a pass reads and writes, the sweep that cells share."""

from vec cimport Vec, isize, real_t

cdef extern from "native/recurrence.h" namespace "rnncore" nogil:
    enum:
        RELU
        COUPLED
        PEEPHOLE_PREVIOUS
        PEEPHOLE_CURRENT
        GENERAL
        FLOW
        PROJECTION
        RESET_BEFORE
        READS_H

    cdef cppclass Activation[T]:
        int code
        T alpha
        T beta
        T clip

    cdef cppclass Unit[T]:
        Vec[T]* gates
        const Vec[T]* h_prev
        const Vec[T]* c_prev
        Vec[T]* h
        Vec[T]* c
        const Vec[T]* w_ch
        Vec[T]* dh
        Vec[T]* dc
        const Vec[T]* drh
        Vec[T]* dgates
        Vec[T]* all_dc
        isize slot_step
        int options
        const Activation[T]* activation
        Vec[T] zeros()
        void next_block(isize slots, isize dgates_block)
        void next_row(isize slots, isize blocks)

    cdef cppclass Extent:
        isize rows
        isize blocks
        isize slots
        isize row_blocks
        isize dgates_block

    cdef cppclass Slots:
        isize first
        isize used
        bint holds(isize slot)

    cdef cppclass Stage[T]:
        Slots slots
        int reads
        void (*forward)(Unit[T], Extent) noexcept nogil
        void (*backward)(Unit[T], Extent) noexcept nogil

    cdef cppclass Cell[T]:
        int slots
        int gates
        int* gate_of
        int peepholes
        int* peephole_slot
        Slots x
        int stages
        Stage[T]* stage
        bint has_c
        int options
        Activation[T]* activation

    cdef cppclass Terms:
        isize groups
        isize group_step
        isize length
        isize step
        isize count()

    cdef cppclass Product[T]:
        const T* packed
        Terms terms
        isize vectors
        isize width
        isize slots
        isize first
        isize used
        isize panels()
        isize size()

    cdef cppclass Team:
        int rank
        int size
        bint by_units
        void wait()
        isize begin(isize count)
        isize end(isize count)

    cdef cppclass Pass[T]:
        Pass()
        Cell[T] cell
        isize first
        isize steps
        isize duration
        isize B
        isize I
        isize H
        isize P
        isize blocks
        isize h_blocks
        bint reverse
        const isize* order
        const isize* lengths
        const isize* alive_rows
        const T* x
        isize x_step
        isize x_row
        T* y
        isize y_step
        isize y_row
        T* dx
        T* h_n
        T* c_n
        const T* h_mask
        const T* keep_h
        const T* keep_c
        T* h
        T* c
        isize instants
        isize phase
        T* made_h
        T* made_c
        T* h_in
        T* gates
        bint keeps
        const T* w_ch
        const T* bias
        Product[T] x_product
        Product[T]* product
        Product[T] projection
        T* dw_ih
        T* dw_hh
        T* db_ih
        T* db_hh
        T* dw_ch
        T* dw_hr
        double* flow_h
        double* flow_c
        isize flow_step
        isize flow_row
        T** tables
        T* chunk_gates
        T* dh
        T* dc
        T* dmade_h
        T* dmade_c
        T* dh_in
        T* dgates
        T* dprojected
        T* x_blocks
        T** read_blocks
        T* made_blocks
        T* dx_rows
        T* zeros
        T* drh
        T* all_dc
        T* db
        T* dw_ch_sum
        Team team
        isize lanes()
        isize blocks_of(isize units)
        isize width()
        isize h_width()
        isize gates_width()
        T* h_at(isize instant)
        T* c_at(isize instant)
        T* made_h_at(isize step)
        T* made_c_at(isize step)
        T* h_in_at(isize step)
        isize user_row(isize row)
        isize time(isize step, isize row)
        isize alive(isize step)
        isize alive_of "alive" (isize step, isize begin, isize end)
        isize share(int rank, isize begin, isize end)

    cdef cppclass Room:
        isize size
        isize h
        isize c
        isize gates
        isize made_h
        isize made_c
        isize h_in

    Room room_of[T](const Pass[T]& p, bint masked, bint zoned_h, bint zoned_c)

    cdef cppclass Walk[T]:
        Walk()
        Walk(const Pass[T]* over, isize step, isize skipped)
        isize step
        isize row
        void next()

    cdef cppclass LinearPass[T]:
        isize rows
        isize K
        isize N
        const T* x
        const T* b
        T* y
        T* dx
        T* dw
        T* db
        Product[T] product
        T** tables
        T* chunk
        T* x_blocks
        T* dy_blocks
        T* zeros
        T* db_sum
        Team team
        isize lanes()
        isize blocks_of(isize units)

    void run_team[P](const P* p, int size, bint by_units, void (*run)(P*) noexcept nogil)


cdef inline void visit(
    void (*step)(Unit[real_t]*) noexcept nogil, Unit[real_t] row, Extent over
) noexcept nogil:
    cdef isize _r, _b
    cdef Unit[real_t] unit
    for _r in range(over.rows):
        unit = row
        for _b in range(over.blocks):
            step(&unit)
            unit.next_block(over.slots, over.dgates_block)
        row.next_row(over.slots, over.row_blocks)


cdef inline void sweep(
    void (*step)(Unit[real_t]*) noexcept nogil, Unit[real_t] row, Extent over
) noexcept nogil:
    """Take `step` over every block of units of every row.

    Inlined where a cell calls it with its own step, so that the step is inlined too; and twice, so
    that the compiler knows of the plain loop that no rare option is on, and leaves its code out.
    """
    if row.options & (GENERAL | FLOW):
        visit(step, row, over)
    else:
        row.options &= ~(GENERAL | FLOW)
        visit(step, row, over)


cdef inline Slots slots_from(isize first, isize used) noexcept nogil:
    cdef Slots slots
    slots.first = first
    slots.used = used
    return slots


cdef inline void set_stage(
    Stage[real_t]* stage,
    Slots slots,
    int reads,
    void (*forward)(Unit[real_t], Extent) noexcept nogil,
    void (*backward)(Unit[real_t], Extent) noexcept nogil,
) noexcept nogil:
    stage.slots = slots
    stage.reads = reads
    stage.forward = forward
    stage.backward = backward
