// Sums over the units of a row, for steps that need all of it.
#pragma once

#include <cmath>

#include "vec.h"

namespace rnncore {

// A sum of registers in a fixed order, on every instruction set the same: unit k goes into sum k % 16, and
// the sums into one by halves.
template <class T>
class RowSum {
    static constexpr int SUMS = 16, REGISTERS = SUMS / LANES<T>;
    Vec<T> sums[REGISTERS] = {};

public:
    // Add what the block has in its first `count` lanes.
    inline void add(isize block, Vec<T> x, isize count) {
        if (count < LANES<T>) {
            for (isize lane = count; lane < LANES<T>; ++lane) x.v[lane] = 0;
        }
        sums[block % REGISTERS] = sums[block % REGISTERS] + x;
    }
    T total() const {
        T all[SUMS];
        for (int k = 0; k < SUMS; ++k) all[k] = sums[k / LANES<T>].v[k % LANES<T>];
        for (int half = SUMS / 2; half > 0; half /= 2) {
            for (int k = 0; k < half; ++k) all[k] += all[half + k];
        }
        return all[0];
    }
};

template <class T>
static inline Vec<T> in_all_lanes(T x) {
    return {typename Register<T>::reals{} + x};
}

template <class T>
static inline T one_over_root(T x) {
    return 1 / std::sqrt(x);
}

}  // namespace rnncore
