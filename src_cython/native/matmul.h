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

#include "pack.h"

namespace rnncore {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 6;
#else
constexpr int TILE_ROWS = 3;
#endif
constexpr int PANEL = 4;  // registers, the width of a tile
constexpr int ROW_PANELS = TILE_ROWS > 3 ? 4 : 2;  // the most panels that one row takes at once

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

// Of small numbers; a division of 64 bits takes twice as long.
static inline isize quotient(isize a, isize b) {
    return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
}

// One row goes through the panels there and back: of weights up to this, more than the first cache holds, it
// takes two at once, so that the last ones are still there (one row of 64 units: 495 cycles instead of 570).
constexpr isize FEW_PANELS_BYTES = 1 << 17;

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
// C is made of blocks of `slots` registers; the columns fill slots first to first + used of each.
template <class T>
struct Product {
    const T* packed;
    Terms terms;
    isize vectors, width;
    isize slots, first, used;

    isize panels() const { return quotient(vectors + width - 1, width); }
    isize size() const { return vectors * LANES<T> * terms.count(); }
    // Panels that one row takes at once, which goes through them at so many steps.
    isize together(isize steps) const {
        return steps > 1 && size() * isize(sizeof(T)) <= FEW_PANELS_BYTES ? 2 : ROW_PANELS;
    }
    isize registers(isize panel) const {
        const isize left = vectors - panel * width;
        return left < width ? left : width;
    }
};

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
template <class T, bool AHEAD, int R, int V>
static void tile(const Terms& terms, const T* const* a_rows, const T* b, const T* ahead,
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
                if (v * L * int(sizeof(T)) % CACHE_LINE == 0)
                    __builtin_prefetch(b + (PREFETCH_TERMS * V + v) * L);
            }
            add_outer<T, R, V>([&](int r) { return a[r][k]; },
                               [&](int v) { return *(const stored*)(b + v * L); }, acc);
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
template <class T, int P, int V>
static void row_tile(const Terms& terms, const T* a, const T* b, isize panel_step, const T* c_in,
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
                        acc[p][v] += a[k] * *(const stored*)(b + p * panel_step + v * L);
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
template <class T, bool AHEAD, int R = TILE_ROWS, int V = PANEL>
static inline void any_tile(isize rows, isize vectors, const Terms& terms, const T* const* a,
                            const T* b, const T* ahead, const T* const* c_in, T* const* c_out,
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
template <class T, int P = ROW_PANELS, int V = PANEL>
static inline void any_row_tile(isize panels, isize vectors, const Terms& terms, const T* a,
                                const T* b, isize panel_step, const T* c_in, T* c_out,
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
    const isize least = quotient(rows, tiles);
    return least + (i < rows - least * tiles);
}

// Where `count` registers of columns from `vector` on lie in a row of C.
template <class T>
static inline void place(const Product<T>& b, isize vector, isize count, isize* c_at) {
    constexpr isize L = LANES<T>;
    if (b.used == b.slots) {
        for (isize v = 0; v < count; ++v) c_at[v] = (vector + v) * L;
        return;
    }
    isize block = quotient(vector, b.used), slot = vector - block * b.used;
    for (isize v = 0; v < count; ++v) {
        c_at[v] = (block * b.slots + b.first + slot) * L;
        if (++slot == b.used) slot = 0, ++block;
    }
}

// c_out = c_in + A B for one row.
template <class T>
static void multiply_row(const Product<T>& b, isize begin, isize end, const T* a, const T* c_in,
                         T* c_out) {
    constexpr isize L = LANES<T>;
    const isize panel_step = b.terms.count() * b.width * L;
    isize c_at[ROW_PANELS * PANEL];
    for (isize panel = begin; panel < end;) {
        const isize vectors = b.registers(panel);
        isize together = 1;
        while (together < ROW_PANELS && panel + together < end &&
               b.registers(panel + together) == vectors)
            ++together;
        place(b, panel * b.width, together * vectors, c_at);
        any_row_tile<T>(together, vectors, b.terms, a, b.packed + panel * panel_step, panel_step,
                        c_in, c_out, c_at);
        panel += together;
    }
}

// c_out = c_in + A B for `rows` rows and the panels from `begin` to `end`; rows are pointers, so that
// they may lie anywhere.  Every panel of the range but the last has `width` registers.
template <class T>
static void multiply(const Product<T>& b, isize begin, isize end, isize rows, const T* const* a,
                     const T* const* c_in, T* const* c_out) {
    constexpr isize L = LANES<T>;
    if (rows == 1) return multiply_row(b, begin, end, a[0], c_in[0], c_out[0]);
    const isize panel_step = b.terms.count() * b.width * L;
    const auto any = b.size() * isize(sizeof(T)) > NEAR_BYTES ? any_tile<T, true>
                                                              : any_tile<T, false>;
    const isize tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    isize c_at[PANEL];
    for (isize panel = begin; panel < end; ++panel) {
        const isize vectors = b.registers(panel);
        const T* packed = b.packed + panel * panel_step;
        place(b, panel * b.width, vectors, c_at);
        const T* const* c_now = c_in;
        // Some terms for all rows, tile by tile; `a_at` is where they begin in a row of A.
        const auto add = [&](const Terms& part, isize a_at) {
            const isize size = part.count() * vectors * L, ahead_step = part.count() * L;
            const T* ahead = packed + size;
            isize row = 0;
            for (isize i = 0; i < tiles; ++i) {
                const isize n = rows_of_tile(rows, tiles, i);
                const T* a_part[TILE_ROWS];
                if (a_at) {
#pragma GCC unroll 1
                    for (isize r = 0; r < n; ++r) a_part[r] = a[row + r] + a_at;
                }
                any(n, vectors, part, a_at ? a_part : a + row, packed, ahead, c_now + row,
                    c_out + row, c_at);
                if (i < vectors - 1) ahead += ahead_step;
                row += n;
            }
            packed += size;
            c_now = c_out;
        };
        if (b.terms.count() <= PANEL_TERMS) {
            add(b.terms, 0);
            continue;
        }
        for (isize g = 0; g < b.terms.groups; ++g) {
            for (isize k = 0; k < b.terms.length; k += PANEL_TERMS) {
                const isize left = b.terms.length - k;
                add({1, 0, left < PANEL_TERMS ? left : PANEL_TERMS, b.terms.step},
                    g * b.terms.group_step + k / L * b.terms.step);
            }
        }
    }
}

}  // namespace rnncore
