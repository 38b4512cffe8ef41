"""Work that threads share, of native/track.h."""

from vec cimport isize

cdef extern from "native/denormals.h" namespace "rnncore" nogil:
    void flushing[P](void (*run)(P*) noexcept nogil, P* p)

cdef extern from "native/track.h" namespace "rnncore" nogil:
    isize FINISHED

    cdef cppclass Track:
        void after(int begin, int end, isize lead)

    cdef cppclass Neighbour:
        Neighbour()
        int passes
        int* first
        int* last
        void add(int begin, int end)

    cdef cppclass Position:
        Position()
        isize pace
        isize most
        int slots
        isize chunk
        isize first
        isize until
        isize step
        isize row
        int stage

    cdef cppclass PassTrack[P](Track):
        Position place

    cdef cppclass Crew:
        Crew()
        int count()
        bint run(int size) except +

    cdef cppclass Tracks[P]:
        Tracks()
        PassTrack[P]* add(
            Crew& crew, const P& p, isize end, int home,
            isize (*piece)(P*, Position*, isize) noexcept nogil
        ) except +
