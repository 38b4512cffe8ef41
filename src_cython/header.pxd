"""What stands before packed weights and before a trace, and is checked before they are read.

They lie as the registers of one instruction set want them: read by another, they would be other
numbers, and past their end.
"""

from libc.string cimport memcmp, memcpy

from vec cimport VECTOR_BYTES, isize


cdef enum:
    HEADER_BYTES = 64  # a cache line, so that what follows starts at one
    PACKED_WEIGHTS = 0x726E6E01
    TRACE = 0x726E6E02


cdef struct Header:  # without gaps, for it is compared as bytes, and within HEADER_BYTES
    int what
    int version
    int register_bytes
    short itemsize  # of the sums
    short precision  # of packed weights
    int kind
    int options
    isize H
    isize P
    isize first
    isize second
    isize length


cdef inline Header header_of(
    int what, isize itemsize, int precision, tuple cell, isize H, isize P, isize first,
    isize second, isize length,
):
    """`cell` is that of a Shape; `first` and `second` are sizes, `length` counts the bytes."""
    cdef Header header
    header.what = what
    header.version = 1
    header.register_bytes = VECTOR_BYTES
    header.itemsize = itemsize
    header.kind, header.options = cell[0], cell[1]
    header.precision = precision
    header.H, header.P, header.first, header.second = H, P, first, second
    header.length = length
    return header


cdef inline void write_header(Header header, void* at) noexcept nogil:
    memcpy(at, &header, sizeof(Header))


cdef inline int check_header(Header expected, const void* at, isize length) except -1:
    """Raise if what is `at`, of `length` bytes, is not just what is expected."""
    cdef const Header* found = <const Header*> at
    if length < expected.length or memcmp(found, &expected, sizeof(Header)) != 0:
        refuse(expected, found, length)
    return 0


cdef inline int refuse(Header expected, const Header* found, isize length) except -1:
    what = "packed weights" if expected.what == PACKED_WEIGHTS else "the memory of a trace"
    if length < HEADER_BYTES or found.what != expected.what:
        raise ValueError(f"something else is given, expected {what}")
    if found.register_bytes != expected.register_bytes:
        raise ValueError(
            f"{what} for registers of {found.register_bytes} bytes came, expected "
            f"{expected.register_bytes}: it was made with another instruction set"
        )
    raise ValueError(f"{what} of another cell or of other sizes came")
