"""What a pass needs besides its results, of native/scratch.h."""

cdef extern from "native/scratch.h" namespace "rnncore" nogil:
    cdef cppclass Scratch[T]:
        T** tables
        char* narrow
        T* chunk_gates
        T* dh_in
        T* dslot
        T* dgates
        T* dprojected
        T* x_blocks
        T** read_blocks
        T* made_blocks
        T* dx_rows
        T* zeros
        T* db
        T* dvector_sums
