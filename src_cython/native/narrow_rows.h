// Rows below float32, as the products of narrow.h read them: a scale, then integers or bfloat16.
#pragma once

#include <limits>

#include "matmul.h"
#include "sweep.h"

namespace rnncore {

enum : int { FULL, W8A8, W8A16, BFLOAT16 };

// The most terms of a sum of bytes, with weights of -128 too: more would not fit 31 bits.
constexpr isize MOST_NARROW_TERMS = 1 << 16;

// Which of the instructions that multiply narrow pairs there are, and whether the matrix unit does too what
// those do: see machine.h.
struct DotUnits {
    bool int8, bfloat16, tiles;
};
static DotUnits dot_units{false, false, false};

using Floats = typename Register<float>::reals;
using Ints = typename Register<float>::bits;
typedef int16_t Shorts __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t StoredInts __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

static constexpr int terms_of(int precision) { return precision == BFLOAT16 ? 2 : 4; }
static inline isize groups_of(int precision, isize terms) {
    return (terms + terms_of(precision) - 1) / terms_of(precision);
}

// Rows, and groups of terms, of a tile of the matrix unit. All rows go through it in bfloat16, since its sums
// have roundings of their own; in W8A8 those that are worth it: fewer wait for the weights.
constexpr int UNIT_ROWS = 16, TILE_GROUPS = 16, LEAST_UNIT_ROWS = 4;

// A row as products read it: its scale, then one or two planes of four bytes for each group of terms.
struct NarrowRow {
    static constexpr isize HEADER = 64;
    int precision;
    isize groups, plane;
    NarrowRow(int precision, isize terms)
        : precision(precision), groups(groups_of(precision, terms)),
          plane((groups * 4 + 63) / 64 * 64) {}
    // Groups of terms that whole tiles of the matrix unit take.
    isize in_tiles() const { return groups / TILE_GROUPS * TILE_GROUPS; }
    isize bytes() const {
        const bool two = precision == W8A16 || (precision == BFLOAT16 && !dot_units.bfloat16);
        return HEADER + (two ? 2 : 1) * plane;
    }
};

static inline bool uses_tiles(int precision, isize terms, isize rows) {
    if (VECTOR_BYTES != 64 || !dot_units.tiles) return false;
    const bool there = precision == BFLOAT16 ? dot_units.bfloat16
                                             : precision == W8A8 && dot_units.int8 && rows >= LEAST_UNIT_ROWS;
    return there && NarrowRow(precision, terms).in_tiles() > 0;
}

// Register k / LANES of a row, with zeros where it ends.
static inline Floats part_of_row(const float* a, const Terms& terms, isize k) {
    const float* from = a + k / LANES<float> * terms.step;
    const isize left = terms.length - k;
    if (left >= LANES<float>) return *(const Register<float>::stored*)from;
    return copied_edge<float>(from, left);
}

// Each lane to a byte, of which all but the last 8 bits are left out.
static inline void put_bytes(char* to, Ints a) {
    typedef uint8_t Bytes __attribute__((vector_size(VECTOR_BYTES / 4), aligned(1), may_alias));
    *(Bytes*)to = __builtin_convertvector(a & 255, Bytes);
}

// Below this a row is zeros: its scale would be subnormal.
constexpr float FAINTEST = 0x1p-110f;

// x = scale q with |q| <= limit.  NaN and infinity make the scale NaN, and so all that is read of the row.
template <int PRECISION>
static void quantize_row(const float* a, const Terms& terms, const NarrowRow& shape, char* to) {
    constexpr isize L = LANES<float>;
    constexpr float LIMIT = PRECISION == W8A8 ? 127.0f : 32767.0f;
    constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: added to a number it leaves the nearest integer
    Floats most{}, strange{};
    for (isize k = 0; k < terms.length; k += L) {
        const Floats x = part_of_row(a, terms, k);
        const Floats magnitude = (Floats)((Ints)x & 0x7fffffff);
        most = magnitude > most ? magnitude : most;
        strange += x * 0.0f;
    }
    float top = most[0], nan = strange[0];
    for (int i = 1; i < L; ++i) {
        top = most[i] > top ? most[i] : top;
        nan += strange[i];
    }
    const bool faint = top < FAINTEST, finite = nan == 0;
    *(float*)to = !finite ? std::numeric_limits<float>::quiet_NaN() : faint ? 0.0f : top / LIMIT;
    const float inverse = !finite || faint ? 0.0f : LIMIT / top;
    to += NarrowRow::HEADER;
    for (isize k = 0; k < terms.length; k += L) {
        const Floats x = finite ? part_of_row(a, terms, k) : Floats{};
        const Floats shifted = rounded(x * inverse) + ROUND;
        const Ints q = (Ints)shifted - (Ints)(Floats{} + ROUND);
        if constexpr (PRECISION == W8A8) {
            put_bytes(to + k, q + 128);
        } else {
            put_bytes(to + k, (q >> 8) + 128);
            put_bytes(to + shape.plane + k, q);
        }
    }
}

static inline void bfloat16_row(const float* a, const Terms& terms, const NarrowRow& shape, char* to) {
    constexpr isize L = LANES<float>;
    to += NarrowRow::HEADER;
    const isize padded = shape.groups * 2;
    if (!dot_units.bfloat16) {
        float *even = (float*)to, *odd = (float*)(to + shape.plane);
        for (isize k = 0; k < padded; ++k)
            (k % 2 ? odd : even)[k / 2] = k < terms.length ? a[k / L * terms.step + k % L] : 0;
        return;
    }
    typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
    for (isize k = 0; k < terms.length; k += L) {
        const Floats x = part_of_row(a, terms, k);
        const Ints bits = (Ints)x, even = bits + 0x7fff + ((bits >> 16) & 1);  // to the nearest, ties to even
        const Ints kept = x == x ? even : bits | 0x400000;
        *(Halves*)(to + 2 * k) = __builtin_convertvector((kept >> 16) & 0xffff, Halves);
    }
}

}  // namespace rnncore
