// y = x W' + b for rows that have nothing to do with each other, or its gradients.
#pragma once

#include "unpacked.h"

namespace rnncore {

template <class T>
struct LinearPass {
    isize rows, K, N;  // x is (rows, K), w (N, K), y (rows, N), all contiguous
    const T *x, *b;    // b padded to whole registers
    T *y, *dx, *dw;
    AnyProduct<T> product;

    T** tables;  // scratch; every thread has its own part of the first two
    T* chunk;    // of y or dx, padded to whole registers
    T *x_blocks, *dy_blocks;
    T *zeros, *db_sum;

    int part, parts;  // which of the parts of all rows, or units, a track takes

    static constexpr isize lanes() { return LANES<T>; }
    static isize blocks_of(isize units) { return rnncore::blocks_of<T>(units); }
};

}  // namespace rnncore
