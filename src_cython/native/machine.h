/* What compiled this module, and which instruction sets the running machine offers. */
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
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

/* Which instructions there are that multiply narrow numbers and add the products, beside those of a level:
 * bit 0, of bytes with registers of 512 bits (AVX512-VNNI); bit 1, the same with 256 (AVX-VNNI); bit 2, of
 * bfloat16 with 512 (AVX512-BF16).  What the registers need of the system, the level tells. */
static inline int rnncore_x86_64_dot_units(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    unsigned a, b, c, d, vnni, more;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    vnni = c >> 11 & 1;
    more = a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) ? a >> 4 & 3 : 0;
    return (int)(vnni | more << 1);
#else
    return 0;
#endif
}
