// The mean squared error and its gradient, a block at a time while it is in the first cache.
#pragma once

#include "interrupts.h"
#include "squares.h"
#include "sweep.h"

namespace rnncore {

// Summed in the order of `sum_of_squares`.
template <class T>
static double mean_squared_error(isize n, const T* y, const T* target, T* dy) {
    const T factor = static_cast<T>(2 / static_cast<double>(n));
    SignalWatch watch;
    const double total = sum_over_blocks(n, [=, &watch](isize k, isize length) {
        const auto subtract = [](const T* a, const T* b, T* d) { put(d, get(a) - get(b)); };
        sweep<T>(length, subtract, y + k, target + k, dy + k);
        const double squares = squares_of_block(dy + k, length);
        sweep<T>(length, [=](T* d) { put(d, get(d) * factor); }, dy + k);
        watch.after(length);
        return squares;
    });
    return total / static_cast<double>(n);
}

}  // namespace rnncore
