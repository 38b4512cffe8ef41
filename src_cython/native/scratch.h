// What a pass needs besides its results: the backward pass of a chunk, in blocks.
#pragma once

#include "cell.h"

namespace rnncore {

template <class T>
struct Scratch {
    T** tables;      // of pointers to rows; every thread has its own part
    char* narrow;    // below float32, rows as products read them; likewise
    T* chunk_gates;  // forward, where gates are not kept; every thread has its own part

    T *dh_in, *dslot;         // (B, width): of what products read, where that is not h
    T *dgates, *dprojected;   // gradients of slots and of the projection
    T *x_blocks, *read_blocks[MOST_PRODUCTS], *made_blocks;  // what products read
    T *dx_rows, *zeros;       // dx padded to whole registers, a row of zeros
    T *db, *dvector_sums;     // sums over the chunks so far
};

}  // namespace rnncore
