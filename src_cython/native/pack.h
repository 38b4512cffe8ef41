// Layouts: weights as panels in the order that a product reads them, activations in blocks.
//
// A plain row of H units is padded with zeros to whole registers.  A blocked matrix holds LANES columns
// of every row together, [column / LANES][row][LANES]: rows are adjacent there, whether a product runs
// along the columns or along the rows.
#pragma once

#include <cstring>
#include <utility>

#include "vec.h"

namespace rnncore {

template <class T>
static inline isize blocks_of(isize units) {
    return (units + LANES<T> - 1) / LANES<T>;
}

// Copy `count` elements and fill up to `width` with zeros.
template <class T>
static inline void copy_padded(const T* from, isize count, T* to, isize width) {
    std::memcpy(to, from, count * sizeof(T));
    std::memset(to + count, 0, (width - count) * sizeof(T));
}

// Slots, of those that a block of units has, that one product fills.
struct Slots {
    isize first, used;
    bool holds(isize slot) const { return first <= slot && slot < first + used; }
};

// The registers of a panel from `vector` on.
static inline isize panel_width(isize vectors, isize width, isize vector) {
    const isize left = vectors - vector / width * width;
    return left < width ? left : width;
}

// Swap the registers' halves that differ in bit S of the lane: one step of a transposition.
template <class T, isize S, isize... Lane>
static inline void exchange(typename Register<T>::reals& a, typename Register<T>::reals& b,
                            std::integer_sequence<isize, Lane...>) {
    constexpr isize L = LANES<T>;
    const auto low = __builtin_shufflevector(a, b, (Lane & S ? L + Lane - S : Lane)...);
    b = __builtin_shufflevector(a, b, (Lane & S ? L + Lane : Lane + S)...);
    a = low;
}

// Transpose LANES registers of LANES.
template <class T, isize S = 1>
static inline void transpose(typename Register<T>::reals* m) {
    constexpr isize L = LANES<T>;
    for (isize i = 0; i < L; ++i) {
        if (!(i & S)) exchange<T, S>(m[i], m[i + S], std::make_integer_sequence<isize, L>{});
    }
    if constexpr (S < L / 2) transpose<T, 2 * S>(m);
}

// W' for x W': a register is LANES rows of W, [panel][k][vector][lane]; block-major, slot-minor.  The slots
// are those that `count` gates fill, blocks of H rows of a (G * H, K) matrix.
template <class T>
static void pack_rows(const T* w, isize H, isize K, const int* gates, isize count, isize width,
                      T* to) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>;
    const isize vectors = blocks_of<T>(H) * count;
    for (isize v = 0; v < vectors; ++v) {
        const isize block = v / count;
        const isize gate = gates[v % count];
        const isize units = H - block * L < L ? H - block * L : L;
        const T* from = w + (gate * H + block * L) * K;
        const isize step = panel_width(vectors, width, v) * L;
        T* column = to + v / width * width * L * K + v % width * L;
        for (isize k = 0; k < K; k += L) {
            const isize terms = K - k < L ? K - k : L;
            reals m[L];
            for (isize lane = 0; lane < L; ++lane) {
                if (lane < units && terms == L)
                    m[lane] = *(const stored*)(from + lane * K + k);
                else
                    copy_padded(from + lane * K + k, lane < units ? terms : 0, (T*)&m[lane], L);
            }
            transpose<T>(m);
            for (isize i = 0; i < terms; ++i, column += step) *(stored*)column = m[i];
        }
    }
}

// W for dpre W: a register is LANES columns of W, [panel][k][vector][lane]; k slot by slot.
template <class T>
static void pack_columns(const T* w, isize H, isize K, const int* gates, isize count, isize width,
                         T* to) {
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>;
    const isize vectors = blocks_of<T>(K);
    for (isize first = 0; first < vectors; first += width) {
        const isize here = panel_width(vectors, width, first);
        const isize whole = (first + here) * L <= K ? here : here - 1;
        for (isize g = 0; g < count; ++g) {
            const T* from = w + gates[g] * H * K + first * L;
            for (isize unit = 0; unit < H; ++unit, from += K, to += here * L) {
                for (isize v = 0; v < whole; ++v)
                    *(stored*)(to + v * L) = *(const stored*)(from + v * L);
                if (whole < here) copy_padded(from + whole * L, K % L, to + whole * L, L);
            }
        }
    }
}

// Rows, which may lie anywhere, into a blocked matrix whose blocks are `block` elements apart.  In a row
// every LANES columns are adjacent, the next LANES `step` elements on.
template <class T>
static void to_blocks(isize rows, const T* const* from, isize columns, isize step, T* to,
                      isize block) {
    constexpr isize L = LANES<T>;
    const isize whole = columns / L, rest = columns % L;
    for (isize b = 0; b < whole; ++b) {
        for (isize row = 0; row < rows; ++row)
            std::memcpy(to + b * block + row * L, from[row] + b * step, L * sizeof(T));
    }
    if (rest) {
        for (isize row = 0; row < rows; ++row)
            copy_padded(from[row] + whole * step, rest, to + whole * block + row * L, L);
    }
}

}  // namespace rnncore
