// The user's arrays for gradients: what there is not, or is not wanted, is null.
#pragma once

#include "cell.h"

namespace rnncore {

template <class T>
struct Gradients {
    T* dx;                     // (duration, B, I)
    T *dw_ih, *dw_hh, *dw_hr;  // (G * H, I), (G * H, P), (P, H)
    T *db_ih, *db_hh;          // (G * H)
    T* dvector[MOST_VECTORS];  // (H)
    isize flow_step, flow_row;
};

}  // namespace rnncore
