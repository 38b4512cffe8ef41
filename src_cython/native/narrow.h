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

#include "narrow_rows.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rnncore {

// Pairs of 16 bits, multiplied and added within 32.
static inline Ints add_pairs(Ints sum, Shorts a, Shorts b) {
#if defined(__AVX512F__)
    return sum + (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return sum + (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sum + (Ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const Ints low = ((Ints)a << 16 >> 16) * ((Ints)b << 16 >> 16);
    return sum + low + ((Ints)a >> 16) * ((Ints)b >> 16);
#endif
}

// Four unsigned bytes of a times four signed ones of w, added within 32 bits.  Not by vpmaddubsw, which saturates.
template <bool UNIT>
static inline Ints add_bytes(Ints sum, Ints a, Ints w) {
    if constexpr (UNIT) {
        // As text, for a function that may use the instruction cannot be a part of one that may not.
#if defined(__AVX512F__)
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#elif defined(__AVX2__)
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(w));
#endif
        return sum;
    } else {
        const Shorts low = (Shorts)w << 8 >> 8, high = (Shorts)w >> 8, bytes = Shorts{} + 255;
        sum = add_pairs(sum, (Shorts)a & bytes, low);
        return add_pairs(sum, (Shorts)((Ints)a >> 8) & bytes, high);
    }
}

// What a tile is made of: what it reads of a row for a group of terms, and the sums of a register of columns.

template <bool UNIT>
struct DotW8A8 {
    static constexpr int ROWS = VECTOR_BYTES == 64 ? 6 : 2, PRECISION = W8A8;
    using Row = Ints;
    struct Sum {
        Ints sum;
        void start(const int32_t* offset, const float*) { sum = *(const StoredInts*)offset; }
        void add(Row a, Ints w) { sum = add_bytes<UNIT>(sum, a, w); }
        Floats total() const { return __builtin_convertvector(sum, Floats); }
    };
    static Row row(const char* a, isize) { return Ints{} + *(const int32_t*)a; }
};

// The upper bytes of a row are one plane of it, the lower ones another: each has a sum of its own.
template <bool UNIT>
struct DotW8A16 {
    static constexpr int ROWS = VECTOR_BYTES == 64 ? 3 : 1, PRECISION = W8A16;
    struct Row {
        Ints upper, lower;
    };
    struct Sum {
        Ints upper, lower;
        void start(const int32_t* offset, const float*) {
            upper = *(const StoredInts*)offset;
            lower = Ints{};
        }
        void add(Row a, Ints w) {
            upper = add_bytes<UNIT>(upper, a.upper, w);
            lower = add_bytes<UNIT>(lower, a.lower, w);
        }
        // Either sum may take 31 bits, both of them together more.
        Floats total() const {
            return __builtin_convertvector(upper, Floats) * 256 + __builtin_convertvector(lower, Floats);
        }
    };
    static Row row(const char* a, isize plane) {
        return {Ints{} + *(const int32_t*)a, Ints{} + *(const int32_t*)(a + plane)};
    }
};

template <bool UNIT>
struct DotBfloat16 {
    static constexpr int ROWS = TILE_ROWS, PRECISION = BFLOAT16;
    struct Row {
        Floats even, odd;
    };
    struct Sum {
        Floats sum;
        void start(const int32_t*, const float* c) { sum = *(const Register<float>::stored*)c; }
        void add(Row a, Ints w) {
            sum += a.even * (Floats)(w << 16);
            sum += a.odd * (Floats)(w & int32_t(0xffff0000));
        }
        Floats total() const { return sum; }
    };
    static Row row(const char* a, isize plane) {
        return {Floats{} + *(const float*)a, Floats{} + *(const float*)(a + plane)};
    }
};

#if defined(__AVX512F__)
template <>
struct DotBfloat16<true> {
    static constexpr int ROWS = TILE_ROWS, PRECISION = BFLOAT16;
    using Row = Ints;
    struct Sum {
        Floats sum;
        void start(const int32_t*, const float* c) { sum = *(const Register<float>::stored*)c; }
        void add(Row a, Ints w) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w)); }
        Floats total() const { return sum; }
    };
    static Row row(const char* a, isize) { return Ints{} + *(const int32_t*)a; }
};
#endif

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

// R rows by one panel of V registers, of which the last may be those of no column: they are not stored.  One
// row alone waits for nothing but weights: the sums of a panel hide the latency of an instruction, and with two
// panels at once it reads slower (256 units: 3.4 to 3.7 us a step).
template <class D, int R, int V>
static void narrow_tile(const NarrowRow& shape, const char* const* a, const char* b, const float* scale,
                        const int32_t* offset, const float* const* c_in, float* const* c_out,
                        const isize* c_at, isize vectors) {
    using stored = typename Register<float>::stored;
    constexpr int L = LANES<float>;
    typename D::Sum sum[R][V];
    const char* from[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        from[r] = a[r] + NarrowRow::HEADER;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v].start(offset + v * L, c_in[r] + c_at[v]);
    }
    for (isize g = 0; g < shape.groups; ++g, b += V * VECTOR_BYTES) {
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

// As `multiply`; the rows are those that `make_narrow` made.
template <class D, int V, class P>
static void multiply_panels(const P& b, isize begin, isize end, isize rows, const char* const* a,
                            const float* const* c_in, float* const* c_out) {
    constexpr isize L = LANES<float>;
    const NarrowPanels from = narrow_panels(b);
    const NarrowRow shape(b.precision, b.terms.count());
    const isize tiles = (rows + D::ROWS - 1) / D::ROWS;
    isize c_at[V];
    for (isize panel = begin; panel < end; ++panel) {
        const isize vector = panel * V, vectors = b.registers(panel);
        place(b, vector, vectors, c_at);
        for (isize v = vectors; v < V; ++v) c_at[v] = c_at[0];
        isize row = 0;
        for (isize i = 0; i < tiles; ++i) {
            const isize n = rows_of_tile(rows, tiles, i);
            any_narrow_tile<D, V>(n, shape, a + row, from.panels + vector * shape.groups * VECTOR_BYTES,
                                  from.scale + vector * L, from.offset + vector * L, c_in + row,
                                  c_out + row, c_at, vectors);
            row += n;
        }
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
#if defined(__AVX2__)
    if (b.precision == W8A8 && dot_units.int8)
        return multiply_as<DotW8A8<true>>(b, begin, end, rows, narrow, c_in, c_out);
    if (b.precision == W8A16 && dot_units.int8)
        return multiply_as<DotW8A16<true>>(b, begin, end, rows, narrow, c_in, c_out);
#endif
#if defined(__AVX512F__)
    if (b.precision == BFLOAT16 && dot_units.bfloat16)
        return multiply_as<DotBfloat16<true>>(b, begin, end, rows, narrow, c_in, c_out);
#endif
    if (b.precision == W8A8) return multiply_as<DotW8A8<false>>(b, begin, end, rows, narrow, c_in, c_out);
    if (b.precision == W8A16)
        return multiply_as<DotW8A16<false>>(b, begin, end, rows, narrow, c_in, c_out);
    multiply_as<DotBfloat16<false>>(b, begin, end, rows, narrow, c_in, c_out);
}

// Make rows as narrow as a product reads them, in `room`, and point to them there.
template <class P>
static void make_narrow(const P& b, isize rows, float** a, char* room) {
    const NarrowRow shape(b.precision, b.terms.count());
    for (isize r = 0; r < rows; ++r, room += shape.bytes()) {
        if (b.precision == W8A8) quantize_row<W8A8>(a[r], b.terms, b.least, shape, room);
        if (b.precision == W8A16) quantize_row<W8A16>(a[r], b.terms, b.least, shape, room);
        if (b.precision == BFLOAT16) bfloat16_row(a[r], b.terms, shape, room);
        a[r] = (float*)room;
    }
}

}  // namespace rnncore
