"""The matrix products and the layouts they read, of native/ matmul.h, pack.h and unpacked.h."""

from vec cimport isize

cdef extern from "native/unpacked.h" namespace "rnncore" nogil:
    int PANEL
    size_t CACHE_LINE
    const int* NO_GATES

    cdef cppclass Slots:
        isize first
        isize used
        bint holds(isize slot)

    cdef cppclass Terms:
        isize groups
        isize group_step
        isize length
        isize step
        isize count()

    enum:
        FULL
        W8A8
        W8A16
        BFLOAT16

    isize MOST_NARROW_TERMS

    cdef struct DotUnits:
        bint int8
        bint bfloat16
        bint tiles

    DotUnits dot_units

    cdef struct Matrix:
        const void* values
        const float* scale

    cdef cppclass Product "rnncore::AnyProduct" [T]:
        const T* packed
        const T* w
        const int* gates
        isize H
        isize K
        bint transposed
        int precision
        Terms terms
        isize vectors
        isize width
        isize slots
        isize first
        isize used
        isize panels()
        isize together(isize steps)
        isize size()
        isize row_tiles(isize rows)
        isize narrow_bytes()

    isize rows_of_tile(isize rows, isize tiles, isize i)
    void pack_rows[T](
        const T* w, isize H, isize K, const int* gates, isize count, isize width, T* to
    ) except +
    void pack_columns[T](
        const T* w, isize H, isize K, const int* gates, isize count, isize width, T* to
    ) except +
    void pack_weights[T](
        const Product[T]& b, const Matrix& w, isize H, isize K, const int* gates, isize count
    ) except +
    void begin_product[T](const Product[T]& b, isize rows, T** a, char* room)
    void end_product[T](const Product[T]& b, isize rows)
    void to_blocks[T](
        isize rows, T** source, isize columns, isize step, T* to, isize block
    )
    void multiply "rnncore::multiply_any" [T](
        const Product[T]& b, isize begin, isize end, isize rows,
        T** a, T** c_in, T** c_out,
    )
