"""The gradient of an embedding, of native/embedding.h."""

from vec cimport isize

cdef extern from "native/embedding.h" namespace "rnncore" nogil:
    void add_rows[T](isize rows, isize width, const isize* ids, const T* dy, T* dweight) except +
