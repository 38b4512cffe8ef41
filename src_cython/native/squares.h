// The sum of the squares of many reals, in double: what the norm of a gradient is made of.
//
// The order of the sums is fixed, by the number of elements alone.  A block goes into 32 sums, element
// k into sum k % 32, and these into one by halves; blocks are added in turn to a piece, and pieces to all.
// So the bits depend neither on the layout in memory nor, for float, on the instruction set: the square
// of a float is exact in double, and adding it rounds once, with or without a fused multiply-add.
//
// Blocks are short because the last bits of squares are not as good as random (k^2 mod 16 is one of 0, 1,
// 4, 9), and so the roundings of a long sum do not cancel: 64 in a row are off by an epsilon, 512 by six.
#pragma once

#include "vec.h"

namespace rnncore {

constexpr isize SQUARES_BLOCK = 2048;
constexpr isize SQUARES_PIECE = 16384;  // elements: a copy of so many stays in the cache

// As many numbers as a register holds doubles, at any address.
template <class T>
struct AsDoubles {
    typedef T stored __attribute__((
        vector_size(LANES<double> * sizeof(T)), aligned(sizeof(T)), may_alias));
};

template <class T>
static double squares_of_block(const T* a, isize n) {
    constexpr int SUMS = 32, WIDE = LANES<double>;
    using reals = Register<double>::reals;
    reals acc[SUMS / WIDE] = {};
    isize k = 0;
    for (; k + SUMS <= n; k += SUMS) {
#pragma GCC unroll 16
        for (int i = 0; i < SUMS / WIDE; ++i) {
            const auto x = *reinterpret_cast<const typename AsDoubles<T>::stored*>(a + k + i * WIDE);
            const auto wide = __builtin_convertvector(x, reals);
            acc[i] += wide * wide;
        }
    }
    double sum[SUMS];
    for (int i = 0; i < SUMS; ++i) sum[i] = acc[i / WIDE][i % WIDE];
    for (int i = 0; k + i < n; ++i) {
        const double x = a[k + i];
        sum[i] += x * x;
    }
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) sum[i] += sum[half + i];
    }
    return sum[0];
}

// The sum of what `of_block(start, length)` gives, for all blocks of n elements.
template <class Block>
static double sum_over_blocks(isize n, const Block& of_block) {
    double total = 0, piece = 0;
    for (isize k = 0; k < n; k += SQUARES_BLOCK) {
        if (k % SQUARES_PIECE == 0) {
            total += piece;
            piece = 0;
        }
        piece += of_block(k, n - k < SQUARES_BLOCK ? n - k : SQUARES_BLOCK);
    }
    return total + piece;
}

template <class T>
static double sum_of_squares(const T* a, isize n) {
    return sum_over_blocks(n, [a](isize k, isize length) { return squares_of_block(a + k, length); });
}

}  // namespace rnncore
