// The matrix products of a recurrent layer: C += A B, with a fixed order of every sum.
//
// An element of C is one accumulator that takes its terms in the order of k, whatever rows are
// computed beside it: that makes a row's bits independent of batch, padding, chunking and threads.
//
// C stays in registers, A is read one element at a time and broadcast, B one register at a time.
// A tile of 6 rows by 4 registers (24 accumulators of the 32 registers of AVX-512 and NEON; 3 rows
// for the 16 of AVX2 and SSE) issues a multiply-add in every slot: 174 of 176 GFLOP/s from K = 64 up
// with B in the first or second cache (one core of a 2.75 GHz Xeon, float32, AVX-512).
#pragma once

#include <cstring>
#include <type_traits>

#include "pack.h"

namespace rnncore {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 6;
#else
constexpr int TILE_ROWS = 3;
#endif
constexpr int PANEL = 4;  // registers, the width of a tile
constexpr int ROW_PANELS = TILE_ROWS > 3 ? 4 : 2;  // panels that one row takes at once

// Terms of a panel that are used for all rows before the next ones: 64 KB in float32, so that they
// stay in the second cache, and half of them in the first, from row to row.  128 to 512 are alike.
constexpr isize PANEL_TERMS = 256;

// How far ahead of its use a panel is asked for: what lies in the second cache or beyond arrives in
// time (384 x 512 x 2048: from 87 to 158 GFLOP/s of a peak of 176).
constexpr isize PREFETCH_TERMS = 16;

constexpr int CACHE_LINE = 64;

// Weights beyond this do not stay in the second cache from step to step: rows of one panel ask for the
// next panel (64 x 512 x 2048: 151 to 162 GFLOP/s, 20 x 650 x 2600: 111 to 126; below it, 4 % slower).
constexpr isize NEAR_BYTES = 1 << 20;

// The k's of a sum and where the elements of a row of A lie: `groups` runs of `length` elements.
// Inside a run every LANES elements are adjacent, and the next LANES lie `step` elements on: LANES
// in a plain row, rows * LANES in a blocked matrix (see pack.h).
struct Terms {
    isize groups, group_step;
    isize length, step;
    isize count() const { return groups * length; }
};

// A packed matrix B of `count()` rows and `vectors` registers of columns, and the place of its
// columns in a row of C.  Panel p holds registers p * width to (p + 1) * width as [k][width][LANES].
// C is made of blocks of `slots` registers; the columns fill slots first to first + used of each.  Sums are
// of type T, whatever the type W of the elements of B.
template <class T, class W = T>
struct Product {
    const W* packed;
    Terms terms;
    isize vectors, width;
    isize slots, first, used;

    isize panels() const { return (vectors + width - 1) / width; }
    isize size() const { return vectors * LANES<T> * terms.count(); }
};

// A register of B, as the sums have it.
template <class T, class W>
static inline typename Register<T>::reals load(const W* b) {
    if constexpr (std::is_same_v<T, W>) {
        return *(const typename Register<T>::stored*)b;
    } else {
        typedef W narrow __attribute__((vector_size(LANES<T> * sizeof(W)), aligned(sizeof(W)), may_alias));
        return __builtin_convertvector(*(const narrow*)b, typename Register<T>::reals);
    }
}

// acc[r][v] += a(r) * b(v), for elements a and registers b.  The shorter side is held in registers: of 16,
// a tile of 3 by 4 leaves room for no more (held the other way, a sum lives in memory: AVX2, 256
// units: 0.53 of the peak instead of 0.74).
template <class T, int R, int V, class A, class B>
static inline void add_outer(A a, B b, typename Register<T>::reals (&acc)[R][V]) {
    using reals = typename Register<T>::reals;
    if constexpr (R < V) {
        reals rows[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) rows[r] = a(r) - reals{};  // -0 stays -0, so that this is a copy
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const reals w = b(v);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) acc[r][v] += rows[r] * w;
        }
    } else {
        reals w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = b(v);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) acc[r][v] += a(r) * w[v];
        }
    }
}

// R rows by V registers of C += A B.  With AHEAD, a register of what comes after B is asked for at every
// k: it then is in the second cache when its turn comes.
template <class T, bool AHEAD, int R, int V, class W>
static void tile(const Terms& terms, const T* const* a_rows, const W* b, const W* ahead,
                 const T* const* c_in, T* const* c_out, const isize* c_at) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr int L = LANES<T>;
    reals acc[R][V];
    const T* a[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        a[r] = a_rows[r];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = *(const stored*)(c_in[r] + c_at[v]);
    }
    const auto add = [&](isize at, isize count) {
#pragma GCC unroll 4
        for (isize k = at; k < at + count; ++k, b += V * L, ahead += L) {
            if constexpr (AHEAD) __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                if (v * L * int(sizeof(W)) % CACHE_LINE == 0)
                    __builtin_prefetch(b + (PREFETCH_TERMS * V + v) * L);
            }
            add_outer<T, R, V>([&](int r) { return a[r][k]; },
                               [&](int v) { return load<T>(b + v * L); }, acc);
        }
    };
    for (isize g = 0; g < terms.groups; ++g) {
        isize at = g * terms.group_step, left = terms.length;
        for (; left >= L; left -= L, at += terms.step) {
            // In a blocked matrix the next LANES lie too far off for the processor to foresee.
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) __builtin_prefetch(a[r] + at + 2 * terms.step);
            add(at, L);
        }
        add(at, left);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) *(stored*)(c_out[r] + c_at[v]) = acc[r][v];
    }
}

// One row by P panels of V registers: several panels at once hide the latency of a multiply-add.
template <class T, int P, int V, class W>
static void row_tile(const Terms& terms, const T* a, const W* b, isize panel_step, const T* c_in,
                     T* c_out, const isize* c_at) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr int L = LANES<T>;
    reals acc[P][V];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[p][v] = *(const stored*)(c_in + c_at[p * V + v]);
    }
    for (isize g = 0; g < terms.groups; ++g) {
        isize at = g * terms.group_step;
        for (isize left = terms.length; left > 0; left -= L, at += terms.step) {
            const isize count = left < L ? left : L;
#pragma GCC unroll 4
            for (isize k = at; k < at + count; ++k, b += V * L) {
#pragma GCC unroll 4
                for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v)
                        acc[p][v] += a[k] * load<T>(b + p * panel_step + v * L);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) *(stored*)(c_out + c_at[p * V + v]) = acc[p][v];
    }
}

// The tile of `rows` <= R by `vectors` <= V.
template <class T, bool AHEAD, int R = TILE_ROWS, int V = PANEL, class W>
static inline void any_tile(isize rows, isize vectors, const Terms& terms, const T* const* a,
                            const W* b, const W* ahead, const T* const* c_in, T* const* c_out,
                            const isize* c_at) {
    if constexpr (R > 1) {
        if (rows < R)
            return any_tile<T, AHEAD, R - 1, V>(rows, vectors, terms, a, b, ahead, c_in, c_out,
                                                c_at);
    }
    if constexpr (V > 1) {
        if (vectors < V)
            return any_tile<T, AHEAD, R, V - 1>(rows, vectors, terms, a, b, ahead, c_in, c_out,
                                                c_at);
    }
    tile<T, AHEAD, R, V>(terms, a, b, ahead, c_in, c_out, c_at);
}

// The row tile of `panels` <= P panels of `vectors` <= V.
template <class T, int P = ROW_PANELS, int V = PANEL, class W>
static inline void any_row_tile(isize panels, isize vectors, const Terms& terms, const T* a,
                                const W* b, isize panel_step, const T* c_in, T* c_out,
                                const isize* c_at) {
    if constexpr (P > 1) {
        if (panels < P)
            return any_row_tile<T, P - 1, V>(panels, vectors, terms, a, b, panel_step, c_in, c_out,
                                             c_at);
    }
    if constexpr (V > 1) {
        if (vectors < V)
            return any_row_tile<T, P, V - 1>(panels, vectors, terms, a, b, panel_step, c_in, c_out,
                                             c_at);
    }
    row_tile<T, P, V>(terms, a, b, panel_step, c_in, c_out, c_at);
}

// Rows in the i-th of the tiles that share `rows` evenly: 8 = 4 + 4, not 6 + 2.
static inline isize rows_of_tile(isize rows, isize tiles, isize i) {
    return rows / tiles + (i < rows % tiles);
}

// c_out = c_in + A B for `rows` rows and the panels from `begin` to `end`; rows are pointers, so that
// they may lie anywhere.  Every panel of the range but the last has `width` registers.
template <class T, class W>
static void multiply(const Product<T, W>& b, isize begin, isize end, isize rows, const T* const* a,
                     const T* const* c_in, T* const* c_out) {
    constexpr isize L = LANES<T>;
    const isize panel_step = b.terms.count() * b.width * L;
    const auto registers = [&](isize panel) {
        const isize left = b.vectors - panel * b.width;
        return left < b.width ? left : b.width;
    };
    const bool far = b.size() * isize(sizeof(W)) > NEAR_BYTES;
    isize c_at[ROW_PANELS * PANEL];
    const auto place = [&](isize vector, isize count) {
        isize block = vector / b.used, slot = vector - block * b.used;
        for (isize v = 0; v < count; ++v) {
            c_at[v] = (block * b.slots + b.first + slot) * L;
            if (++slot == b.used) slot = 0, ++block;
        }
    };
    for (isize panel = begin; panel < end;) {
        const isize vectors = registers(panel);
        const W* packed = b.packed + panel * panel_step;
        if (rows == 1) {
            isize together = 1;
            while (together < ROW_PANELS && panel + together < end &&
                   registers(panel + together) == vectors)
                ++together;
            place(panel * b.width, together * vectors);
            any_row_tile<T>(together, vectors, b.terms, a[0], packed, panel_step, c_in[0], c_out[0],
                         c_at);
            panel += together;
            continue;
        }
        place(panel * b.width, vectors);
        const isize tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
        const T* const* c_now = c_in;
        for (isize g = 0; g < b.terms.groups; ++g) {
            for (isize k = 0; k < b.terms.length; k += PANEL_TERMS) {
                const isize left = b.terms.length - k;
                const Terms part{1, 0, left < PANEL_TERMS ? left : PANEL_TERMS, b.terms.step};
                const W* ahead = packed + part.length * vectors * L;
                const isize a_at = g * b.terms.group_step + k / L * b.terms.step;
                isize row = 0;
                for (isize i = 0; i < tiles; ++i) {
                    const isize n = rows_of_tile(rows, tiles, i);
                    const T* a_part[TILE_ROWS];
                    for (isize r = 0; r < n; ++r) a_part[r] = a[row + r] + a_at;
                    (far ? any_tile<T, true, TILE_ROWS, PANEL, W>
                         : any_tile<T, false, TILE_ROWS, PANEL, W>)(
                        n, vectors, part, a_part, packed, ahead, c_now + row, c_out + row, c_at);
                    if (i < vectors - 1) ahead += part.length * L;
                    row += n;
                }
                packed += part.length * vectors * L;
                c_now = c_out;
            }
        }
        ++panel;
    }
}

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
