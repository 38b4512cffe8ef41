// What multiplies narrow numbers and adds the products, on each instruction set: for the tiles of narrow.h.
#pragma once

#include "narrow_rows.h"
#include "tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// What the assembler has to be told, where the compiler does not: it takes no `.arch_extension dotprod`.
#if defined(__ARM_FEATURE_DOTPROD)
#define RNNCORE_ASSEMBLE_SDOT ""
#else
#define RNNCORE_ASSEMBLE_SDOT ".arch armv8.2-a+dotprod\n\t"
#endif
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define RNNCORE_ASSEMBLE_BFDOT ""
#else
#define RNNCORE_ASSEMBLE_BFDOT ".arch_extension bf16\n\t"
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
#elif defined(__aarch64__)
        // Of signed bytes: 128 times the sum of w is missing, with which `start_of_bytes` begins.
        const Ints signs = Ints{} + int32_t(0x80808080);
        asm(RNNCORE_ASSEMBLE_SDOT "sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a ^ signs), "w"(w));
#endif
        return sum;
    } else {
        const Shorts low = (Shorts)w << 8 >> 8, high = (Shorts)w >> 8, bytes = Shorts{} + 255;
        sum = add_pairs(sum, (Shorts)a & bytes, low);
        return add_pairs(sum, (Shorts)((Ints)a >> 8) & bytes, high);
    }
}

// What a sum of rows that have 128 added begins with, so that it becomes that of the rows, and one of unsigned
// bytes: -128 times the sum of the weights, and nothing.
template <bool UNIT>
static inline Ints start_of_bytes(const int32_t* offset, bool added) {
#if defined(__aarch64__)
    if (UNIT) return added ? Ints{} : -*(const StoredInts*)offset;
#endif
    return added ? *(const StoredInts*)offset : Ints{};
}

// What a tile is made of: what it reads of a row for a group of terms, and the sums of a register of columns.

template <bool UNIT>
struct DotW8A8 {
    static constexpr int ROWS = TILE_ROWS == 6 ? 6 : 2, PRECISION = W8A8;
    static constexpr bool TILED = UNIT && VECTOR_BYTES == 64;
    using Row = Ints;
    struct Sum {
        Ints sum;
        void start(const int32_t* offset, const float*) { sum = start_of_bytes<UNIT>(offset, true); }
        void add_sum(const int32_t* of_tile) { sum += *(const StoredInts*)of_tile; }
        void add(Row a, Ints w) { sum = add_bytes<UNIT>(sum, a, w); }
        Floats total() const { return __builtin_convertvector(sum, Floats); }
    };
    static Row row(const char* a, isize) { return Ints{} + *(const int32_t*)a; }
    template <int C, int A, int B>
    static void add_tiles() {
        Tiles::add_bytes<C, A, B>();
    }
};

// The upper bytes of a row are one plane of it, the lower ones another: each has a sum of its own.
template <bool UNIT>
struct DotW8A16 {
    static constexpr int ROWS = TILE_ROWS == 6 ? 3 : 1, PRECISION = W8A16;
    static constexpr bool TILED = false;
    struct Row {
        Ints upper, lower;
    };
    struct Sum {
        Ints upper, lower;
        void start(const int32_t* offset, const float*) {
            upper = start_of_bytes<UNIT>(offset, true);
            lower = start_of_bytes<UNIT>(offset, false);
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
    static constexpr bool TILED = false;
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

#if defined(__AVX512F__) || defined(__aarch64__)
template <>
struct DotBfloat16<true> {
    static constexpr int ROWS = TILE_ROWS, PRECISION = BFLOAT16;
    static constexpr bool TILED = VECTOR_BYTES == 64;
    using Row = Ints;
    struct Sum {
        Floats sum;
        void start(const int32_t*, const float* c) { sum = *(const Register<float>::stored*)c; }
        void add(Row a, Ints w) {
#if defined(__AVX512F__)
            asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
#else
            asm(RNNCORE_ASSEMBLE_BFDOT "bfdot %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(a), "w"(w));
#endif
        }
        void add_sum(const int32_t* of_tile) { sum += *(const Register<float>::stored*)of_tile; }
        Floats total() const { return sum; }
    };
    static Row row(const char* a, isize) { return Ints{} + *(const int32_t*)a; }
    template <int C, int A, int B>
    static void add_tiles() {
        Tiles::add_bfloat16<C, A, B>();
    }
};
#endif

}  // namespace rnncore
