// The gradient of an embedding: rows added up by their ids.
#pragma once

#include "interrupts.h"
#include "vec.h"

namespace rnncore {

// dweight[ids[r]] += dy[r] for r = 0, 1, ...: in order of position, one pass over dy.
template <class T>
static void add_rows(isize rows, isize width, const isize* ids, const T* dy, T* dweight) {
    SignalWatch watch;
    for (isize r = 0; r < rows; ++r) {
        const T* __restrict from = dy + r * width;
        T* __restrict to = dweight + ids[r] * width;
        for (isize d = 0; d < width; ++d) to[d] += from[d];
        watch.after(width);
    }
}

}  // namespace rnncore
