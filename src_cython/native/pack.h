// Layouts: weights as panels in the order that a product reads them, activations in blocks.
//
// A plain row of H units is padded with zeros to whole registers.  A blocked matrix holds LANES columns
// of every row together, [column / LANES][row][LANES]: rows are adjacent there, whether a product runs
// along the columns or along the rows.
#pragma once

#include <cstring>
#include <utility>

#include "interrupts.h"
#include "vec.h"

namespace rnncore {

template <class T>
static inline isize blocks_of(isize units) {
    return (units + LANES<T> - 1) / LANES<T>;
}

// 128 bits, the piece of a register that every instruction set has: AVX and AVX-512 shuffle within these.
template <class T>
constexpr int QUAD = 16 / static_cast<int>(sizeof(T));
template <class T>
struct Quad;
template <>
struct Quad<float> {
    typedef float reals __attribute__((vector_size(16)));
    typedef float stored __attribute__((vector_size(16), aligned(4), may_alias));
};
template <>
struct Quad<double> {
    typedef double reals __attribute__((vector_size(16)));
    typedef double stored __attribute__((vector_size(16), aligned(8), may_alias));
};

// Copy `count` elements and fill up to `width`, whole registers, with zeros.  Without calls of memcpy, which
// cost more than what they copy here.
template <class T>
static inline void copy_padded(const T* from, isize count, T* to, isize width) {
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>, E = QUAD<T>;
    isize k = 0;
    for (; k + L <= count; k += L) *(stored*)(to + k) = *(const stored*)(from + k);
    for (isize at = k; at < width; at += L) *(stored*)(to + at) = stored{};
    for (; k + E <= count; k += E)
        *(typename Quad<T>::stored*)(to + k) = *(const typename Quad<T>::stored*)(from + k);
    const isize rest = count - k;  // 3 at most
    if (rest > 0) to[k] = from[k];
    if (rest > 1) to[k + 1] = from[k + 1];
    if (rest > 2) to[k + 2] = from[k + 2];
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

// The quads at `from` and every `step` elements on, side by side in a register.
template <class T, isize... Lane, isize... Half>
static inline typename Register<T>::reals quads(const T* from, isize step,
                                                std::integer_sequence<isize, Lane...>,
                                                std::integer_sequence<isize, Half...>) {
    const auto quad = [&](isize q) -> typename Quad<T>::reals {
        return *(const typename Quad<T>::stored*)(from + q * step);
    };
    if constexpr (LANES<T> == QUAD<T>) {
        return quad(0);
    } else if constexpr (LANES<T> == 2 * QUAD<T>) {
        return __builtin_shufflevector(quad(0), quad(1), Lane...);
    } else {
        const auto low = __builtin_shufflevector(quad(0), quad(1), Half...);
        const auto high = __builtin_shufflevector(quad(2), quad(3), Half...);
        return __builtin_shufflevector(low, high, Lane...);
    }
}

// Of both registers' quads the lower halves, or the upper ones, in turns of `Run` elements.
template <class T, isize Run, bool UPPER, isize... Lane>
static inline typename Register<T>::reals zip(typename Register<T>::reals a,
                                              typename Register<T>::reals b,
                                              std::integer_sequence<isize, Lane...>) {
    constexpr isize L = LANES<T>, E = QUAD<T>, half = UPPER ? E / 2 : 0;
    return __builtin_shufflevector(
        a, b, (Lane / E * E + half + Lane % E / (2 * Run) * Run + Lane % Run + (Lane / Run % 2) * L)...);
}

// Transpose the quads of as many registers as a quad has elements.
template <class T>
static inline void transpose_quads(typename Register<T>::reals* m) {
    constexpr auto lanes = std::make_integer_sequence<isize, LANES<T>>{};
    const auto a = zip<T, 1, false>(m[0], m[1], lanes), b = zip<T, 1, true>(m[0], m[1], lanes);
    if constexpr (QUAD<T> == 2) {
        m[0] = a, m[1] = b;
    } else {
        const auto c = zip<T, 1, false>(m[2], m[3], lanes), d = zip<T, 1, true>(m[2], m[3], lanes);
        m[0] = zip<T, 2, false>(a, c, lanes), m[1] = zip<T, 2, true>(a, c, lanes);
        m[2] = zip<T, 2, false>(b, d, lanes), m[3] = zip<T, 2, true>(b, d, lanes);
    }
}

// LANES columns of LANES rows that are `step` elements apart, a register each.  What crosses quads is done by
// the loads: half the shuffles of a transposition within registers (64 units of AVX-512: 2.3 instead of 5.2 us).
template <class T>
static inline void transpose(const T* from, isize step, typename Register<T>::reals* m) {
    constexpr isize L = LANES<T>, E = QUAD<T>;
    constexpr auto lanes = std::make_integer_sequence<isize, L>{};
    constexpr auto half = std::make_integer_sequence<isize, 2 * E>{};
#pragma GCC unroll 4
    for (isize k = 0; k < L; k += E) {
#pragma GCC unroll 4
        for (isize i = 0; i < E; ++i) m[k + i] = quads<T>(from + i * step + k, E * step, lanes, half);
    }
#pragma GCC unroll 4
    for (isize k = 0; k < L; k += E) transpose_quads<T>(m + k);
}

// The first `count` lanes; zeros are the others.
template <class T>
static inline typename Register<T>::reals first_lanes(typename Register<T>::reals m, isize count) {
    using bits = typename Register<T>::bits;
    bits lane;
    for (int i = 0; i < LANES<T>; ++i) lane[i] = i;
    return lane < bits{} + static_cast<int>(count) ? m : typename Register<T>::reals{};
}

template <class T>
__attribute__((noinline, cold)) static typename Register<T>::reals copied_edge(const T* from,
                                                                               isize count) {
    typename Register<T>::reals last;
    copy_padded(from, count, (T*)&last, LANES<T>);
    return last;
}

// A register of which `count` lanes are in the row.  The others may be read too, but not from `end` on.
template <class T>
static inline typename Register<T>::reals edge_of(const T* from, isize count, const T* end) {
    if (end - from >= LANES<T>)
        return first_lanes<T>(*(const typename Register<T>::stored*)from, count);
    return copied_edge(from, count);
}

// The same of `rows` of `columns`, of which one is fewer than LANES.  Lanes of missing rows are zeros,
// registers of missing columns are anything: nobody stores or adds them.
template <class T>
static inline void transpose_edge(const T* from, isize step, isize rows, isize columns, const T* end,
                                  typename Register<T>::reals* m) {
    constexpr isize L = LANES<T>;
    if (end - from >= (L - 1) * step + L) {
        transpose(from, step, m);
        if (rows == L) return;
        for (isize i = 0; i < L; ++i) m[i] = first_lanes<T>(m[i], rows);
    } else {
        typename Register<T>::reals edge[L] = {};
        for (isize row = 0; row < rows; ++row)
            copy_padded(from + row * step, columns, (T*)&edge[row], L);
        transpose((const T*)edge, L, m);
    }
}

// A matrix whose rows are of no gates is one block.
constexpr int NO_GATES[] = {0};

// Where the last of the gates ends in a matrix of blocks of H rows.
template <class T>
static inline const T* end_of(const T* w, isize H, isize K, const int* gates, isize count) {
    int last = 0;
    for (isize g = 0; g < count; ++g) last = gates[g] > last ? gates[g] : last;
    return w + (last + 1) * H * K;
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
    const T* end = end_of(w, H, K, gates, count);
    SignalWatch watch;
    for (isize v = 0; v < vectors; ++v) {
        const isize block = v / count;
        const isize gate = gates[v % count];
        const isize units = H - block * L < L ? H - block * L : L;
        const T* from = w + (gate * H + block * L) * K;
        const isize step = panel_width(vectors, width, v) * L;
        T* column = to + v / width * width * L * K + v % width * L;
        isize k = 0;
        reals m[L];
        if (units == L) {
            for (; k + L <= K; k += L) {
                transpose(from + k, K, m);
#pragma GCC unroll 16
                for (isize i = 0; i < L; ++i, column += step) *(stored*)column = m[i];
            }
        }
        for (; k < K; k += L) {
            const isize terms = K - k < L ? K - k : L;
            transpose_edge(from + k, K, units, terms, end, m);
            for (isize i = 0; i < terms; ++i, column += step) *(stored*)column = m[i];
        }
        watch.after(K * L);
    }
}

// W for dpre W: a register is LANES columns of W, [panel][k][vector][lane]; k slot by slot.
template <class T>
static void pack_columns(const T* w, isize H, isize K, const int* gates, isize count, isize width,
                         T* to) {
    using stored = typename Register<T>::stored;
    constexpr isize L = LANES<T>;
    const isize vectors = blocks_of<T>(K);
    const T* end = end_of(w, H, K, gates, count);
    SignalWatch watch;
    for (isize first = 0; first < vectors; first += width) {
        const isize here = panel_width(vectors, width, first);
        const isize whole = (first + here) * L <= K ? here : here - 1;
        for (isize g = 0; g < count; ++g) {
            const T* from = w + gates[g] * H * K + first * L;
            for (isize unit = 0; unit < H; ++unit, from += K, to += here * L) {
                for (isize v = 0; v < whole; ++v)
                    *(stored*)(to + v * L) = *(const stored*)(from + v * L);
                if (whole < here) *(stored*)(to + whole * L) = edge_of(from + whole * L, K % L, end);
            }
            watch.after(H * here * L);
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
