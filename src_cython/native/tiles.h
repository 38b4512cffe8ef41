// Tiles of the processor's matrix unit (AMX): eight registers of up to 16 rows of 64 bytes.
//
// As text for the assembler, as everywhere below float32: a function that may use the instructions
// cannot be a part of one that may not.  With RNNCORE_EMULATE_TILES they are computed one number at a
// time, so that what is built on them can be tested where there is no such unit.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vec.h"

namespace rnncore {

// As the processor reads it (Intel SDM, LDTILECFG): palette 1, then bytes of a row and rows of each tile.
struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
};

#if defined(RNNCORE_EMULATE_TILES)

struct Tile {
    std::uint8_t bytes[16][64];
};

class Tiles {
    static inline thread_local TileConfig config;
    static inline thread_local Tile tile[8];

    template <class Element>
    static Element at(const Tile& from, isize row, isize column) {
        Element found;
        std::memcpy(&found, &from.bytes[row][column * sizeof(Element)], sizeof(Element));
        return found;
    }
    static float widened(std::uint16_t half) {
        const std::uint32_t bits = std::uint32_t(half) << 16;
        float found;
        std::memcpy(&found, &bits, sizeof found);
        return found;
    }
    template <class Sum, class Add>
    static void add_to(int c, int rows, const Add& add) {
        for (isize m = 0; m < rows; ++m) {
            for (isize n = 0; n < 16; ++n) {
                const Sum sum = add(m, n, at<Sum>(tile[c], m, n));
                std::memcpy(&tile[c].bytes[m][n * 4], &sum, 4);
            }
        }
    }

public:
    static void configure(const TileConfig& now) {
        config = now;
        std::memset(tile, 0, sizeof tile);
    }
    static void release() { config = {}; }
    template <int T>
    static void zero() {
        std::memset(&tile[T], 0, sizeof(Tile));
    }
    template <int T>
    static void load(const void* from, isize step) {
        for (isize r = 0; r < config.rows[T]; ++r)
            std::memcpy(tile[T].bytes[r], (const char*)from + r * step, config.row_bytes[T]);
    }
    template <int T>
    static void store(void* to, isize step) {
        for (isize r = 0; r < config.rows[T]; ++r)
            std::memcpy((char*)to + r * step, tile[T].bytes[r], config.row_bytes[T]);
    }
    template <int C, int A, int B>
    static void add_bytes() {
        add_to<std::int32_t>(C, config.rows[C], [](isize m, isize n, std::int32_t sum) {
            for (isize k = 0; k < config.row_bytes[A]; ++k)
                sum += at<std::uint8_t>(tile[A], m, k) * at<std::int8_t>(tile[B], k / 4, n * 4 + k % 4);
            return sum;
        });
    }
    template <int C, int A, int B>
    static void add_bfloat16() {
        add_to<float>(C, config.rows[C], [](isize m, isize n, float sum) {
            float part[2] = {};
            for (isize k = 0; k < config.row_bytes[A] / 2; ++k)
                part[k % 2] = std::fma(widened(at<std::uint16_t>(tile[A], m, k)),
                                       widened(at<std::uint16_t>(tile[B], k / 2, n * 2 + k % 2)),
                                       part[k % 2]);
            return sum + (part[0] + part[1]);
        });
    }
};

#else

struct Tiles {
    static void configure(const TileConfig& now) { asm volatile("ldtilecfg %0" : : "m"(now)); }
    static void release() { asm volatile("tilerelease"); }
    template <int T>
    static void zero() {
        asm volatile("tilezero %%tmm%c0" : : "i"(T));
    }
    template <int T>
    static void load(const void* from, isize step) {
        asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(step) : "memory");
    }
    template <int T>
    static void store(void* to, isize step) {
        asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(step) : "memory");
    }
    // C += A B: of unsigned bytes of A and signed ones of B, four products to a sum of 32 bits.
    template <int C, int A, int B>
    static void add_bytes() {
        asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    }
    // Of pairs of bfloat16: the even and the odd ones have a sum each, from zero, which are then added.
    template <int C, int A, int B>
    static void add_bfloat16() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
    }
};

#endif

}  // namespace rnncore
