# Arrays that come from Python: looked at through NumPy's own interface, and pointed to. Part of
# core.pyx.
#
# An array costs 10 ns so; a typed memoryview in its place 90 to 180, which a small call would feel.

from numpy cimport (
    NPY_ARRAY_WRITEABLE,
    NPY_DOUBLE,
    NPY_FLOAT,
    NPY_INTP,
    NPY_UBYTE,
    NPY_USHORT,
    PyArray_CLEARFLAGS,
    PyArray_DATA,
    PyArray_DIMS,
    PyArray_EMPTY,
    PyArray_IS_C_CONTIGUOUS,
    PyArray_ISBEHAVED_RO,
    PyArray_ISNOTSWAPPED,
    PyArray_ISWRITEABLE,
    PyArray_NDIM,
    PyArray_SimpleNewFromData,
    PyArray_STRIDES,
    PyArray_TYPE,
    PyArray_ZEROS,
    import_array,
    npy_intp,
    set_array_base,
)

from numpy import memmap, ndarray

cdef extern from "numpy/arrayobject.h":
    bint PyArray_Check(object)
    bint PyArray_CheckExact(object)

import_array()


cdef int check_sizes(bint right) except -1:
    """What is checked before already, in words; here it is the memory of others that counts."""
    if not right:
        raise ValueError("arrays of types or sizes that do not fit each other")
    return 0


cdef inline int type_of(isize itemsize) noexcept:
    """NumPy's number of a type: the two kinds of reals, bytes, what has the bits of bfloat16."""
    if itemsize == sizeof(float):
        return NPY_FLOAT
    if itemsize == sizeof(double):
        return NPY_DOUBLE
    return NPY_USHORT if itemsize == 2 else NPY_UBYTE


cdef inline bint has(a, isize itemsize, int axes) noexcept:
    """Whether it is an array of such numbers, each at a whole element, and of so many axes."""
    return (
        PyArray_Check(a)
        and PyArray_NDIM(a) == axes
        and PyArray_TYPE(a) == type_of(itemsize)
        and PyArray_ISBEHAVED_RO(a)
    )


cdef const void* start(
    a, isize itemsize, int axes, isize first, isize second=1, isize third=1
) except? NULL:
    """Where a contiguous array of these sizes starts; null if it is None."""
    cdef npy_intp* sizes
    if a is None:
        return NULL
    check_sizes(has(a, itemsize, axes) and PyArray_IS_C_CONTIGUOUS(a))
    sizes = PyArray_DIMS(a)
    check_sizes(sizes[0] == first)
    check_sizes(axes < 2 or sizes[1] == second)
    check_sizes(axes < 3 or sizes[2] == third)
    return PyArray_DATA(a)


cdef void* target(
    a, isize itemsize, int axes, isize first, isize second=1, isize third=1
) except? NULL:
    """The same of an array that is to be written to."""
    check_sizes(a is None or PyArray_Check(a) and PyArray_ISWRITEABLE(a))
    return <void*> start(a, itemsize, axes, first, second, third)


cdef isize size_of(a) except -1:
    """Bytes of a number of an array of reals."""
    check_sizes(PyArray_Check(a))
    check_sizes(PyArray_TYPE(a) == NPY_FLOAT or PyArray_TYPE(a) == NPY_DOUBLE)
    return sizeof(float) if PyArray_TYPE(a) == NPY_FLOAT else sizeof(double)


cdef isize along(a, int axes, int axis) except -1:
    """The size of an array of so many axes along one of them."""
    check_sizes(PyArray_Check(a) and PyArray_NDIM(a) == axes)
    return PyArray_DIMS(a)[axis]


cdef const isize* indices(a, isize count) except? NULL:
    """Where so many indices start, one after the other."""
    check_sizes(along(a, 1, 0) == count and PyArray_TYPE(a) == NPY_INTP)
    check_sizes(PyArray_ISBEHAVED_RO(a) and PyArray_IS_C_CONTIGUOUS(a))
    return <const isize*> PyArray_DATA(a)


cdef struct Rows:
    # Of every step and row of a batch some numbers, which are adjacent.
    void* at
    isize T
    isize B
    isize columns
    isize step  # elements from one to the next
    isize row


cdef inline bint lies_in_rows(a, isize itemsize) noexcept:
    """Whether the numbers of an array's last axis are adjacent, and whole elements from others."""
    cdef int axis, last = PyArray_NDIM(a) - 1
    cdef npy_intp* steps = PyArray_STRIDES(a)
    for axis in range(last):
        if steps[axis] % itemsize != 0:
            return False
    return steps[last] == itemsize or PyArray_DIMS(a)[last] == 1


cdef Rows no_rows() noexcept:
    """What nobody gives, or wants."""
    cdef Rows rows
    rows.at = NULL
    rows.T = rows.B = rows.columns = rows.step = rows.row = 0
    return rows


cdef Rows columns_of(Rows rows, isize begin, isize columns, isize itemsize) noexcept:
    """Some of the columns, if there are any rows."""
    if rows.at != NULL:
        rows.at = <char*> rows.at + begin * itemsize
        rows.columns = columns
    return rows


cdef Rows rows_of(a, isize itemsize, bint batch_first, bint written) except *:
    """Those of an array of two axes, of one step, or three; `no_rows` of None."""
    cdef Rows rows = no_rows()
    cdef npy_intp* sizes
    cdef npy_intp* steps
    cdef int axes = 2 if PyArray_Check(a) and PyArray_NDIM(a) == 2 else 3
    if a is None:
        return rows
    check_sizes(has(a, itemsize, axes) and lies_in_rows(a, itemsize))
    check_sizes(PyArray_ISWRITEABLE(a) or not written)
    sizes, steps = PyArray_DIMS(a), PyArray_STRIDES(a)
    rows.at = PyArray_DATA(a)
    rows.columns = sizes[axes - 1]
    rows.T = 1
    rows.B, rows.row = sizes[0], steps[0] // itemsize
    if axes == 3:
        rows.T, rows.step = sizes[0], steps[0] // itemsize
        rows.B, rows.row = sizes[1], steps[1] // itemsize
        if batch_first:
            rows.T, rows.step, rows.B, rows.row = rows.B, rows.row, rows.T, rows.step
    return rows


cdef int state_axes(a, isize k, isize itemsize, isize B, isize units) except -1:
    """Of an array that is a state of one layer and direction, or has such at `k` of its first."""
    cdef int axes = 2 if PyArray_Check(a) and PyArray_NDIM(a) == 2 else 3
    cdef npy_intp* sizes
    check_sizes(has(a, itemsize, axes))
    sizes = PyArray_DIMS(a)
    check_sizes(k < sizes[0] if axes == 3 else k == 0)
    check_sizes(sizes[axes - 2] == B and sizes[axes - 1] == units)
    return axes


cdef empty_reals(int axes, isize first, isize second, isize third, isize itemsize):
    """An array of the caller's own, not yet filled."""
    cdef npy_intp[3] sizes
    sizes[0], sizes[1], sizes[2] = first, second, third
    return PyArray_EMPTY(axes, sizes, type_of(itemsize), 0)


def empty(isize count, isize itemsize):
    """Uninitialised memory that starts at a cache line, so that no register straddles two.

    `itemsize` tells the type: 4 and 8 are the two kinds of reals, 1 are bytes.
    """
    cdef npy_intp bytes = count * itemsize + CACHE_LINE
    cdef npy_intp size = count
    cdef char* at
    check_sizes(count >= 0 and (itemsize == 1 or itemsize == 4 or itemsize == 8))
    raw = PyArray_EMPTY(1, &bytes, NPY_UBYTE, 0)
    at = <char*> PyArray_DATA(raw)
    at += CACHE_LINE - <size_t> at % CACHE_LINE
    found = PyArray_SimpleNewFromData(1, &size, type_of(itemsize), at)
    set_array_base(found, raw)
    return found
