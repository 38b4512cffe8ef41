/* What compiled this module, and which instruction sets the running machine offers. */
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>

static inline int rnncore_has(const char* feature) {
    int there = 0;
    size_t size = sizeof there;
    return sysctlbyname(feature, &there, &size, 0, 0) == 0 && there;
}
#endif

#if defined(__clang__)
#define RNNCORE_COMPILER "Clang " __clang_version__
#elif defined(__GNUC__)
#define RNNCORE_COMPILER "GCC " __VERSION__
#elif defined(_MSC_VER)
#define RNNCORE_STRING(x) #x
#define RNNCORE_EXPAND(x) RNNCORE_STRING(x)
#define RNNCORE_COMPILER "MSVC " RNNCORE_EXPAND(_MSC_FULL_VER)
#else
#define RNNCORE_COMPILER "unknown"
#endif

/* The level of x86-64 (psABI micro-architecture levels) that processor and operating system offer
 * together: 2, 3, 4, or 1 below them, and 0 on another machine.
 *
 * The compiler's run-time library reads CPUID, and XGETBV for the registers that the system saves;
 * nobody asks for the vendor. The names of single features are understood by more compilers than
 * "x86-64-v3" is. What a level holds besides them (LZCNT, MOVBE, F16C) has no older name, and every
 * processor with the rest has it. */
static inline int rnncore_x86_64_level(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") &&
                    __builtin_cpu_supports("popcnt");
    const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return v4 ? 4 : v3 ? 3 : v2 ? 2 : 1;
#else
    return 0;
#endif
}

/* Whether the system lets this process use the tiles of the matrix unit (AMX). Linux is asked: they are 8 KB
 * more to save for every thread that uses them (Documentation/arch/x86/xstate.rst). */
static inline bool rnncore_may_use_tiles(void) {
#if defined(RNNCORE_EMULATE_TILES)
    return true;
#elif defined(__x86_64__) && defined(__linux__) && defined(__LP64__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

/* Which instructions there are that multiply narrow numbers and add the products, beside those of a level:
 * bit 0, of bytes with registers of 512 bits (AVX512-VNNI); bit 1, the same with 256 (AVX-VNNI); bit 2, of
 * bfloat16 with 512 (AVX512-BF16); bit 3, of both with tiles (AMX), and the system's leave to use them.
 * What the registers need of the system, the level tells. On arm64, bits 0 and 2 (DotProd, BF16). */
static inline int rnncore_dot_units(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    enum { AMX = 1 << 22 | 1 << 24 | 1 << 25 }; /* in bfloat16, tiles, in int8 */
    unsigned a, b, c, d, vnni, tiles, more;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    vnni = c >> 11 & 1;
    tiles = (d & AMX) == AMX;
#if defined(RNNCORE_EMULATE_TILES)
    tiles = 1;
#endif
    more = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) ? a >> 4 & 3 : 0;
    return (int)(vnni | more << 1 | (tiles && rnncore_may_use_tiles()) << 3);
#elif defined(__aarch64__) && defined(__linux__)
    enum { DOTPROD = 20, BF16 = 14 }; /* in the first and in the second word */
    return (int)((getauxval(AT_HWCAP) >> DOTPROD & 1) | (getauxval(AT_HWCAP2) >> BF16 & 1) << 2);
#elif defined(__aarch64__) && defined(__APPLE__)
    return rnncore_has("hw.optional.arm.FEAT_DotProd") | rnncore_has("hw.optional.arm.FEAT_BF16") << 2;
#else
    return 0;
#endif
}
