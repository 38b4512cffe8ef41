// Products below float32: weights of 8 or 16 bits, and rows that are made as narrow before them.
//
// W8A8, W8A16: int8 weights q_w with a scale for each column (a row of a gate); rows x = s q with integers q
// of 8 or 16 bits.  c += (s s_w) sum(q q_w): the sum is one of integers, and so exact, in whatever order and on
// whatever instruction set.  The scale s is that of the row's largest magnitude, which it takes to 127 or
// 32767.  BFLOAT16: weights of 16 bits; rows too where the processor multiplies such pairs, else float32.
//
// A register of weights has four bytes for each of LANES columns, 4 or 2 terms, so that they are summed within
// a lane: [panel][group of terms][vector][lane][4 bytes].  Every panel has `width` vectors, of zeros if need be.
#pragma once

#include <utility>

#include "narrow_dots.h"

namespace rnncore {

// The weights of a product, in the order in which it reads them: the scale of every column, where there are
// such, what its sum starts from, and the panels.
struct NarrowPanels {
    const float* scale;
    const int32_t* offset;
    const char* panels;
};

template <class P>
static isize narrow_columns(const P& b) {
    return b.panels() * b.width * LANES<float>;
}

template <class P>
static NarrowPanels narrow_panels(const P& b) {
    const char* at = (const char*)b.packed;
    const isize columns = b.precision == BFLOAT16 ? 0 : narrow_columns(b) * 4;
    return {(const float*)at, (const int32_t*)(at + columns), at + 2 * columns};
}

// In units of float.
template <class P>
static isize narrow_size(const P& b) {
    const isize scales = b.precision == BFLOAT16 ? 0 : 2;
    return narrow_columns(b) * (groups_of(b.precision, b.terms.count()) + scales);
}

// Of `count` gates, blocks of H rows of a (G * H, K) matrix of elements of `size` bytes, and a scale a row.
template <class P>
static void pack_narrow(const P& b, const char* w, const float* scale, isize size, isize H, isize K,
                        const int* gates, isize count) {
    constexpr isize L = LANES<float>;
    const isize groups = groups_of(b.precision, K), columns = narrow_columns(b), row_bytes = K * size;
    const NarrowPanels to = narrow_panels(b);
    SignalWatch watch;
    for (isize column = 0; column < columns; ++column) {
        const isize v = column / L, lane = column % L, unit = v / count * L + lane;
        const isize row = gates[v % count] * H + unit;
        const bool real = unit < H && v < b.vectors;
        const char* from = w + row * row_bytes;
        char* at = const_cast<char*>(to.panels) +
                   ((v / b.width * groups * b.width + v % b.width) * L + lane) * 4;
        int32_t sum = 0;
        for (isize g = 0; g < groups; ++g, at += b.width * L * 4) {
            char four[4] = {};
            const isize left = row_bytes - g * 4;
            if (real) std::memcpy(four, from + g * 4, left < 4 ? left : 4);
            std::memcpy(at, four, 4);
            for (char each : four) sum += static_cast<signed char>(each);
        }
        if (scale) {
            const_cast<float*>(to.scale)[column] = real ? scale[row] : 0;
            const_cast<int32_t*>(to.offset)[column] = -128 * sum;  // rows come with 128 added
        }
        watch.after(groups * 8);
    }
}

// Tiles

// The sums of a row that the matrix unit has made already, for the first `groups` of its terms.
struct Begun {
    isize groups = 0;
    const int32_t* sums = nullptr;
};

// R rows by one panel of V registers, of which the last may be those of no column: they are not stored.  One
// row alone waits for nothing but weights: the sums of a panel hide the latency of an instruction, and with two
// panels at once it reads slower (256 units: 3.4 to 3.7 us a step).
template <class D, int R, int V>
static void narrow_tile(const NarrowRow& shape, const char* const* a, const char* b, const float* scale,
                        const int32_t* offset, const float* const* c_in, float* const* c_out,
                        const isize* c_at, isize vectors, Begun begun) {
    using stored = typename Register<float>::stored;
    constexpr int L = LANES<float>;
    typename D::Sum sum[R][V];
    const char* from[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        from[r] = a[r] + NarrowRow::HEADER;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            sum[r][v].start(offset + v * L, c_in[r] + c_at[v]);
            if constexpr (D::TILED) {
                if (begun.sums) sum[r][v].add_sum(begun.sums + (r * V + v) * L);
            }
        }
    }
    b += begun.groups * V * VECTOR_BYTES;
    for (isize g = begun.groups; g < shape.groups; ++g, b += V * VECTOR_BYTES) {
        Ints w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = *(const StoredInts*)(b + v * VECTOR_BYTES);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const typename D::Row row = D::row(from[r] + g * 4, shape.plane);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v].add(row, w[v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        const float of_row = *(const float*)a[r];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            Floats c = sum[r][v].total();
            // First with the scale of the column: the product of two scales may be too small or too large.
            if (D::PRECISION != BFLOAT16)
                c = *(const stored*)(c_in[r] + c_at[v]) + of_row * (*(const stored*)(scale + v * L) * c);
            if (v < vectors) *(stored*)(c_out[r] + c_at[v]) = c;
        }
    }
}

template <class D, int V, int R = D::ROWS, class... More>
static inline void any_narrow_tile(isize rows, const More&... more) {
    if constexpr (R > 1) {
        if (rows < R) return any_narrow_tile<D, V, R - 1>(rows, more...);
    }
    narrow_tile<D, R, V>(more...);
}

// Sums of rows, which lie one after another, with one panel of V registers: of whole tiles of terms.
template <class D, int V, int... VS>
static void unit_sums(const NarrowRow& shape, const char* a, const char* b, int32_t* to,
                      std::integer_sequence<int, VS...>) {
    constexpr int A = V, B = V + 1;  // the tiles after the sums: one of rows, the others of weights in turn
    (Tiles::zero<VS>(), ...);
    a += NarrowRow::HEADER;
    for (isize g = 0; g < shape.in_tiles(); g += TILE_GROUPS, b += TILE_GROUPS * V * VECTOR_BYTES) {
        Tiles::load<A>(a + g * 4, shape.bytes());
        ((Tiles::load<B + VS % (8 - B)>(b + VS * VECTOR_BYTES, V * VECTOR_BYTES),
          D::template add_tiles<VS, A, B + VS % (8 - B)>()),
         ...);
    }
    (Tiles::store<VS>(to + VS * LANES<float>, V * VECTOR_BYTES), ...);
}

// Where one panel of weights lies, and where its columns do in a row of C.
template <int V>
struct NarrowPanel {
    const char* weights;
    const float* scale;
    const int32_t* offset;
    isize c_at[V], vectors;
};

template <class D, int V>
static void multiply_panel(const NarrowRow& shape, const NarrowPanel<V>& b, isize rows,
                           const char* const* a, const float* const* c_in, float* const* c_out,
                           Begun begun) {
    const isize tiles = (rows + D::ROWS - 1) / D::ROWS;
    isize row = 0;
    for (isize i = 0; i < tiles; ++i) {
        const isize n = rows_of_tile(rows, tiles, i);
        any_narrow_tile<D, V>(n, shape, a + row, b.weights, b.scale, b.offset, c_in + row, c_out + row,
                              b.c_at, b.vectors, begun);
        if (begun.sums) begun.sums += n * V * LANES<float>;
        row += n;
    }
}

// The same by the matrix unit, which leaves a few terms and the scales.
template <class D, int V>
static void multiply_panel_in_tiles(const NarrowRow& shape, const NarrowPanel<V>& b, isize rows,
                                    const char* const* a, const float* const* c_in,
                                    float* const* c_out) {
    alignas(64) int32_t sums[UNIT_ROWS * V * LANES<float>];
    const isize tiles = (rows + UNIT_ROWS - 1) / UNIT_ROWS;
    isize row = 0;
    for (isize i = 0; i < tiles; ++i) {
        const isize n = rows_of_tile(rows, tiles, i);
        unit_sums<D, V>(shape, a[row], b.weights, sums, std::make_integer_sequence<int, V>{});
        multiply_panel<D, V>(shape, b, n, a + row, c_in + row, c_out + row, {shape.in_tiles(), sums});
        row += n;
    }
}

// As `multiply`; the rows are those that `begin_narrow` made.
template <class D, int V, class P>
static void multiply_panels(const P& b, isize begin, isize end, isize rows, const char* const* a,
                            const float* const* c_in, float* const* c_out) {
    constexpr isize L = LANES<float>;
    const NarrowPanels from = narrow_panels(b);
    const NarrowRow shape(b.precision, b.terms.count());
    for (isize panel = begin; panel < end; ++panel) {
        const isize vector = panel * V;
        NarrowPanel<V> now{from.panels + vector * shape.groups * VECTOR_BYTES, from.scale + vector * L,
                           from.offset + vector * L, {}, b.registers(panel)};
        place(b, vector, now.vectors, now.c_at);
        for (isize v = now.vectors; v < V; ++v) now.c_at[v] = now.c_at[0];
        if constexpr (D::TILED) {
            if (uses_tiles(b.precision, b.terms.count(), rows)) {
                multiply_panel_in_tiles<D, V>(shape, now, rows, a, c_in, c_out);
                continue;
            }
        }
        multiply_panel<D, V>(shape, now, rows, a, c_in, c_out, {});
    }
}

template <class D, class P, class... More>
static void multiply_as(const P& b, const More&... more) {
    if (b.width == 3) return multiply_panels<D, 3>(b, more...);
    multiply_panels<D, 4>(b, more...);
}

template <class P>
static void multiply_narrow(const P& b, isize begin, isize end, isize rows, const float* const* a,
                            const float* const* c_in, float* const* c_out) {
    const auto narrow = (const char* const*)a;
#if defined(__AVX2__) || defined(__aarch64__)
    if (b.precision == W8A8 && dot_units.int8)
        return multiply_as<DotW8A8<true>>(b, begin, end, rows, narrow, c_in, c_out);
    if (b.precision == W8A16 && dot_units.int8)
        return multiply_as<DotW8A16<true>>(b, begin, end, rows, narrow, c_in, c_out);
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
    if (b.precision == BFLOAT16 && dot_units.bfloat16)
        return multiply_as<DotBfloat16<true>>(b, begin, end, rows, narrow, c_in, c_out);
#endif
    if (b.precision == W8A8) return multiply_as<DotW8A8<false>>(b, begin, end, rows, narrow, c_in, c_out);
    if (b.precision == W8A16)
        return multiply_as<DotW8A16<false>>(b, begin, end, rows, narrow, c_in, c_out);
    multiply_as<DotBfloat16<false>>(b, begin, end, rows, narrow, c_in, c_out);
}

// Make rows as narrow as a product reads them, in `room`, and point to them there. The matrix unit is set for
// the first of the even tiles of them: where a later one has a row less, it reads one more than there is.
template <class P>
static void begin_narrow(const P& b, isize rows, float** a, char* room) {
    const NarrowRow shape(b.precision, b.terms.count());
    if (uses_tiles(b.precision, b.terms.count(), rows)) {
        TileConfig config;
        for (int t = 0; t < 8; ++t) {
            config.row_bytes[t] = 64;
            config.rows[t] = t > b.width ? UNIT_ROWS : rows_of_tile(rows, b.row_tiles(rows), 0);
        }
        Tiles::configure(config);
    }
    for (isize r = 0; r < rows; ++r, room += shape.bytes()) {
        if (b.precision == W8A8) quantize_row<W8A8>(a[r], b.terms, shape, room);
        if (b.precision == W8A16) quantize_row<W8A16>(a[r], b.terms, shape, room);
        if (b.precision == BFLOAT16) bfloat16_row(a[r], b.terms, shape, room);
        a[r] = (float*)room;
    }
}

// After the last product with those rows: the next thread that runs here need not keep the tiles.
template <class P>
static void end_narrow(const P& b, isize rows) {
    if (uses_tiles(b.precision, b.terms.count(), rows)) Tiles::release();
}

}  // namespace rnncore
