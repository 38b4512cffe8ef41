// Subnormal numbers count as zero while one of these lives; the caller's mode is back after it.
//
// A decaying state or gradient otherwise spends most of its time in microcode: 18 to 27 times slower.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace rnncore {

class FlushDenormals {
#if defined(__SSE2__)
    unsigned saved = _mm_getcsr();

public:
    FlushDenormals() { _mm_setcsr(saved | 0x8040); }  // flush to zero, denormals are zero
    ~FlushDenormals() { _mm_setcsr(saved); }
#elif defined(__aarch64__)
    std::uint64_t saved;

public:
    FlushDenormals() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
        __asm__ volatile("msr fpcr, %0" : : "r"(saved | (std::uint64_t{1} << 24)));
    }
    ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(saved)); }
#else
public:
    FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// Run a pass so.
template <class P>
static void flushing(void (*run)(P*), P* pass) {
    const FlushDenormals mode;
    run(pass);
}

}  // namespace rnncore
