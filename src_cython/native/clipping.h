// What clipping does to gradients: their squares added up, all of them scaled, each of them bounded.
//
// Subnormal numbers are numbers here: a gradient may be scaled back to some.
#pragma once

#include "places.h"
#include "squares.h"
#include "sweep.h"

namespace rnncore {

// Array by array, in their order.
static inline double squares_of_all(const Places& arrays) {
    double total = 0;
    for (isize k = 0; k < arrays.count(); ++k) {
        const Place& a = arrays[k];
        total += a.wide() ? sum_of_squares(a.reals<const double>(), a.size)
                          : sum_of_squares(a.reals<const float>(), a.size);
    }
    return total;
}

template <class T>
static void scale(isize n, T* a, T factor) {
    sweep<T>(n, [=](T* x) { put(x, get(x) * factor); }, a);
}

// Infinity becomes the bound, NaN stays NaN.
template <class T>
static void bound(isize n, T* a, T limit) {
    const auto step = [=](T* x) { put(x, at_most(limit, at_least(-limit, Vec<T>{get(x)})).v); };
    sweep<T>(n, step, a);
}

// From the last to the first: what the sum of squares has read last the cache still has.
static inline void scale_all(const Places& arrays, double factor) {
    for (isize k = arrays.count() - 1; k >= 0; --k) {
        const Place& a = arrays[k];
        a.wide() ? scale(a.size, a.reals<double>(), factor)
                 : scale(a.size, a.reals<float>(), static_cast<float>(factor));
    }
}

static inline void bound_all(const Places& arrays, double limit) {
    for (isize k = 0; k < arrays.count(); ++k) {
        const Place& a = arrays[k];
        a.wide() ? bound(a.size, a.reals<double>(), limit)
                 : bound(a.size, a.reals<float>(), static_cast<float>(limit));
    }
}

}  // namespace rnncore
