// The gradients of weights: C += A' B, summed over rows, with a fixed order of every sum.
#pragma once

#include <cstring>

#include "matmul.h"

namespace rnncore {

// R units by V registers of C += sum over rows of A[row][unit] B[row].  A block of A holds LANES units
// of every row, [row][LANES]; a register of B is LANES columns of every row.  Blocks of both are `block`
// elements apart.
template <class T, int R, int V>
static void outer_tile(isize rows, const T* a, const T* b, isize block, T* const* c) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr int L = LANES<T>;
    reals acc[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = *(const stored*)(c[r] + v * L);
    }
#pragma GCC unroll 4
    for (isize row = 0; row < rows; ++row, a += L, b += L) {
        __builtin_prefetch(a + block, 0, 2);  // the block of A that is next
        add_outer<T, R, V>([&](int r) { return a[r]; },
                           [&](int v) { return *(const stored*)(b + v * block); }, acc);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) *(stored*)(c[r] + v * L) = acc[r][v];
    }
}

template <class T, int R = TILE_ROWS, int V = PANEL>
static inline void any_outer_tile(isize units, isize vectors, isize rows, const T* a, const T* b,
                                  isize block, T* const* c) {
    if constexpr (R > 1) {
        if (units < R) return any_outer_tile<T, R - 1, V>(units, vectors, rows, a, b, block, c);
    }
    if constexpr (V > 1) {
        if (vectors < V) return any_outer_tile<T, R, V - 1>(units, vectors, rows, a, b, block, c);
    }
    outer_tile<T, R, V>(rows, a, b, block, c);
}

// C (units x columns, plain rows) += A' B for blocked A and B of `rows` rows, whose blocks of LANES
// columns are `block` elements apart.
template <class T>
static void multiply_outer(isize rows, isize block, const T* a, isize units, const T* b,
                           isize columns, T* c) {
    constexpr isize L = LANES<T>;
    const isize registers = (columns + L - 1) / L, groups = (registers + PANEL - 1) / PANEL;
    isize first = 0;
    for (isize g = 0; g < groups; ++g) {
        const isize vectors = rows_of_tile(registers, groups, g), width = vectors * L;
        const bool ragged = first * L + width > columns;
        for (isize u = 0; u < units;) {
            const isize in_block = units - u / L * L < L ? units - u / L * L : L;
            const isize tiles = (in_block + TILE_ROWS - 1) / TILE_ROWS;
            const T* a_block = a + u / L * block;
            isize lane = 0;
            for (isize i = 0; i < tiles; ++i) {
                const isize n = rows_of_tile(in_block, tiles, i);
                T* c_rows[TILE_ROWS];
                T edge[TILE_ROWS * PANEL * L];  // stands in for rows that end inside a register
                for (isize r = 0; r < n; ++r) {
                    c_rows[r] = c + (u + lane + r) * columns + first * L;
                    if (ragged) {
                        copy_padded(c_rows[r], columns - first * L, edge + r * width, width);
                        c_rows[r] = edge + r * width;
                    }
                }
                any_outer_tile(n, vectors, rows, a_block + lane, b + first * block, block, c_rows);
                if (ragged) {
                    for (isize r = 0; r < n; ++r)
                        std::memcpy(c + (u + lane + r) * columns + first * L, edge + r * width,
                                    (columns - first * L) * sizeof(T));
                }
                lane += n;
            }
            u += in_block;
        }
        first += vectors;
    }
}

}  // namespace rnncore
