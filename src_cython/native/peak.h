// What one core's multiply-adds reach: the roof that benchmarks compare with.
#pragma once

#include <chrono>

#include "matmul.h"

namespace rnncore {

// Operations per second, the best of runs of 50 us or so for `seconds` in all.
template <class T>
static double peak_flops(double seconds) {
    using reals = typename Register<T>::reals;
    using clock = std::chrono::steady_clock;
    constexpr int CHAINS = 12, ROUNDS = 10000;  // enough chains for two units of four cycles each
    const volatile T factor = T(0.5), term = T(1);
    const reals a = reals{} + factor, b = reals{} + term;
    const auto length = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
    double best = 0;
    reals sum{};
    for (const auto start = clock::now(); length(clock::now() - start) < seconds;) {
        reals chain[CHAINS];  // of different values, or the compiler makes one of them
        for (int i = 0; i < CHAINS; ++i) chain[i] = a + i * factor;
        const auto began = clock::now();
        for (int round = 0; round < ROUNDS; ++round) {
#pragma GCC unroll 16
            for (int i = 0; i < CHAINS; ++i) chain[i] = chain[i] * a + b;
        }
        const double taken = length(clock::now() - began);
        for (int i = 0; i < CHAINS; ++i) sum += chain[i];
        const double rate = 2.0 * CHAINS * LANES<T> * ROUNDS / taken;
        if (rate > best) best = rate;
    }
    return sum[0] > 0 ? best : 0;  // a use of the result: the loop cannot be left out
}

}  // namespace rnncore
