// A product with the weights where the user has them, for a single row: it reads each of them once, as
// packing them would.  An element of C takes its terms in the order of k, as everywhere, and so has the bits
// that it has with packed weights.
//
// One row, AVX-512, float32, LSTM of 64 units, weights in the second cache: 2.5 us, where packing them and
// the product with what was packed take 2.3 and 1.2, and comparing them with a copy would take 2.2.
#pragma once

#include "narrow.h"

namespace rnncore {

// A product that knows where its weights come from, and how narrow they are: packed ones have the bytes of
// narrow.h where there is a precision.  Where `packed` is null it reads the rows of w, blocks of H
// for each of the `used` gates: W' of such rows, or, `transposed`, W with its K columns.
template <class T>
struct AnyProduct : Product<T> {
    const T* w = nullptr;
    const int* gates = nullptr;
    isize H = 0, K = 0;
    bool transposed = false;
    int precision = FULL;

    isize size() const {
        return precision == FULL ? Product<T>::size() : narrow_size(*this);
    }
    // Tiles, as even as can be, in which so many rows are best multiplied.
    isize row_tiles(isize rows) const {
        const bool by_unit = precision != FULL && uses_tiles(precision, this->terms.count(), rows);
        return by_unit ? (rows + UNIT_ROWS - 1) / UNIT_ROWS : (rows + TILE_ROWS - 1) / TILE_ROWS;
    }
    // What a row takes that was made narrow, in bytes.
    isize narrow_bytes() const {
        return precision == FULL ? 0 : NarrowRow(precision, this->terms.count()).bytes();
    }
};

// A matrix of the user's; int8 with a scale for each row, bfloat16 as its bits.
struct Matrix {
    const void* values;
    const float* scale;
};

// Let the rows that a product is going to read be as narrow as it reads them, in `room`, and the processor
// be ready for it; when all of them are multiplied, `end_product`.
template <class T>
static inline void begin_product(const AnyProduct<T>& b, isize rows, T** a, char* room) {
    if constexpr (std::is_same_v<T, float>) {
        if (b.precision != FULL) begin_narrow(b, rows, a, room);
    }
}

template <class T>
static inline void end_product(const AnyProduct<T>& b, isize rows) {
    if constexpr (std::is_same_v<T, float>) {
        if (b.precision != FULL) end_narrow(b, rows);
    }
}

// Pack the `count` blocks of H rows of a (G * H, K) matrix that `gates` tells.
template <class T>
static void pack_weights(const AnyProduct<T>& b, const Matrix& w, isize H, isize K, const int* gates,
                         isize count) {
    T* to = const_cast<T*>(b.packed);
    const isize size = b.precision == BFLOAT16 ? 2 : 1;
    if (b.precision != FULL)
        pack_narrow(b, (const char*)w.values, w.scale, size, H, K, gates, count);
    else if (b.transposed)
        pack_columns((const T*)w.values, H, K, gates, count, PANEL, to);
    else
        pack_rows((const T*)w.values, H, K, gates, count, b.width, to);
}

// V registers of c += a W': LANES rows of W each, of which the last block of a gate may have fewer.
template <class T, int V>
static void rows_tile(const AnyProduct<T>& b, const T* end, isize vector, const T* a, const T* c_in,
                      T* c_out) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>;
    reals acc[V];
    const T* from[V];
    isize rows[V], at[V], whole = b.K;
    for (int v = 0; v < V; ++v) {
        const isize block = (vector + v) / b.used, slot = (vector + v) - block * b.used;
        const isize left = b.H - block * L;
        rows[v] = left < L ? left : L;
        if (rows[v] < L) whole = 0;
        from[v] = b.w + (b.gates[slot] * b.H + block * L) * b.K;
        at[v] = (block * b.slots + b.first + slot) * L;
        acc[v] = *(const stored*)(c_in + at[v]);
    }
    isize k = 0;
    for (; k + L <= whole; k += L, a += b.terms.step) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
            reals m[L];
            transpose(from[v] + k, b.K, m);
#pragma GCC unroll 16
            for (isize i = 0; i < L; ++i) acc[v] += a[i] * m[i];
        }
    }
    for (; k < b.K; k += L, a += b.terms.step) {
        const isize terms = b.K - k < L ? b.K - k : L;
        for (int v = 0; v < V; ++v) {
            reals m[L];
            transpose_edge(from[v] + k, b.K, rows[v], terms, end, m);
            for (isize i = 0; i < terms; ++i) acc[v] += a[i] * m[i];
        }
    }
    for (int v = 0; v < V; ++v) *(stored*)(c_out + at[v]) = acc[v];
}

// V registers of c += a W; with EDGE the last of them goes beyond the K columns, where zeros stand.
template <class T, int V, bool EDGE>
static void columns_tile(const AnyProduct<T>& b, const T* end, isize vector, const T* a,
                         const T* c_in, T* c_out) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>;
    const isize first = vector * L, edge = (vector + V - 1) * L;
    reals acc[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[v] = *(const stored*)(c_in + first + v * L);
    for (isize g = 0; g < b.terms.groups; ++g) {
        const T* row = b.w + b.gates[g] * b.H * b.K;
        const T* terms = a + g * b.terms.group_step;
        for (isize unit = 0; unit < b.H; unit += L, terms += b.terms.step) {
            const isize count = b.H - unit < L ? b.H - unit : L;
            for (isize i = 0; i < count; ++i, row += b.K) {
#pragma GCC unroll 8
                for (int v = 0; v < V - EDGE; ++v)
                    acc[v] += terms[i] * *(const stored*)(row + first + v * L);
                if constexpr (EDGE) acc[V - 1] += terms[i] * edge_of(row + edge, b.K - edge, end);
            }
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) *(stored*)(c_out + first + v * L) = acc[v];
}

// `count` registers from `vector` on, so many at once as hide the latency of a multiply-add.
template <class T, int V = 8>
static void columns(const AnyProduct<T>& b, const T* end, isize vector, isize count, const T* a,
                    const T* c_in, T* c_out) {
    for (; count >= V; vector += V, count -= V) {
        if ((vector + V) * LANES<T> > b.K)
            columns_tile<T, V, true>(b, end, vector, a, c_in, c_out);
        else
            columns_tile<T, V, false>(b, end, vector, a, c_in, c_out);
    }
    if constexpr (V > 1) columns<T, V / 2>(b, end, vector, count, a, c_in, c_out);
}

// As `multiply`, of packed weights or not.
template <class T>
static void multiply_any(const AnyProduct<T>& b, isize begin, isize end, isize rows,
                         const T* const* a, const T* const* c_in, T* const* c_out) {
    if constexpr (std::is_same_v<T, float>) {
        if (b.precision != FULL) return multiply_narrow(b, begin, end, rows, a, c_in, c_out);
    }
    if (b.packed) return multiply<T>(b, begin, end, rows, a, c_in, c_out);
    isize first = begin * b.width, last = end * b.width;
    if (last > b.vectors) last = b.vectors;
    const T* end_of_w = end_of(b.w, b.H, b.K, b.gates, b.transposed ? b.terms.groups : b.used);
    for (isize r = 0; r < rows; ++r) {
        if (b.transposed) {
            columns(b, end_of_w, first, last - first, a[r], c_in[r], c_out[r]);
            continue;
        }
        isize vector = first;
        for (; vector + 2 <= last; vector += 2) rows_tile<T, 2>(b, end_of_w, vector, a[r], c_in[r], c_out[r]);
        if (vector < last) rows_tile<T, 1>(b, end_of_w, vector, a[r], c_in[r], c_out[r]);
    }
}

}  // namespace rnncore
