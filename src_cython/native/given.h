// The weights of one layer and direction as they are given: what there is not is null.
#pragma once

#include "cell.h"
#include "unpacked.h"

namespace rnncore {

template <class T>
struct Given {
    Matrix w_ih, w_hh, w_hr;         // (G * H, I), (G * H, P), (P, H)
    const T *b_ih, *b_hh;            // (G * H)
    const T* vectors[MOST_VECTORS];  // (H)
};

}  // namespace rnncore
