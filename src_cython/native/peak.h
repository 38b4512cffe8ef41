// What one core reaches in multiply-adds and in reading: the roofs that benchmarks compare with.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>

#include "denormals.h"
#include "matmul.h"

namespace rnncore {

// Seconds that `run` takes: the least of as many runs as `seconds` have room for, and of one at least.
template <class Run>
static double least_seconds(double seconds, const Run& run) {
    using clock = std::chrono::steady_clock;
    const auto length = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
    const auto start = clock::now();
    double least = std::numeric_limits<double>::infinity();
    do {
        const auto began = clock::now();
        run();
        least = std::min(least, length(clock::now() - began));
    } while (length(clock::now() - start) < seconds);
    return least;
}

// Of a part of a pass, in the mode in which passes run.
template <class P>
static double least_seconds_of(void (*run)(P*), P* pass, double seconds) {
    return least_seconds(seconds, [&] { flushing(run, pass); });
}

// Operations per second, the best of runs of 50 us or so for `seconds` in all.
template <class T>
static double peak_flops(double seconds) {
    using reals = typename Register<T>::reals;
    constexpr int CHAINS = 12, ROUNDS = 10000;  // enough chains for two units of four cycles each
    const volatile T factor = T(0.5), term = T(1);
    const reals a = reals{} + factor, b = reals{} + term;
    reals sum{};
    const double least = least_seconds(seconds, [&] {
        reals chain[CHAINS];  // of different values, or the compiler makes one of them
        for (int i = 0; i < CHAINS; ++i) chain[i] = a + i * factor;
        for (int round = 0; round < ROUNDS; ++round) {
#pragma GCC unroll 16
            for (int i = 0; i < CHAINS; ++i) chain[i] = chain[i] * a + b;
        }
        for (int i = 0; i < CHAINS; ++i) sum += chain[i];
    });
    // A use of the result: the loop cannot be left out.
    return sum[0] > 0 ? 2.0 * CHAINS * LANES<T> * ROUNDS / least : 0;
}

// Sums that are read into at once, for one would wait for itself: as many as 16 registers leave room for.
constexpr int SUMS = 12;

// Bytes per second of an array of positive numbers, read as so many parts side by side: the best of runs
// over 1 MB, or the array once if it is larger.
template <int PARTS, class T>
static double rate_in_parts(const T* a, isize count, double seconds) {
    using reals = typename Register<T>::reals;
    using stored = typename Register<T>::stored;
    constexpr int L = LANES<T>, EACH = SUMS / PARTS;
    const isize part = count / (SUMS * L) * EACH * L, bytes = PARTS * part * isize(sizeof(T));
    const isize times = std::max<isize>(1, (1 << 20) / bytes);
    reals total{};
    const double least = least_seconds(seconds, [&] {
        reals sum[PARTS][EACH] = {};
        for (isize time = 0; time < times; ++time) {
            for (const T* at = a; at < a + part; at += EACH * L) {
#pragma GCC unroll 16
                for (int p = 0; p < PARTS; ++p) {
#pragma GCC unroll 16
                    for (int k = 0; k < EACH; ++k) sum[p][k] += *(const stored*)(at + p * part + k * L);
                }
            }
        }
        for (int p = 0; p < PARTS; ++p) {
            for (int k = 0; k < EACH; ++k) total += sum[p][k];
        }
    });
    return total[0] > 0 ? double(bytes) * times / least : 0;
}

// Bytes per second from where an array of `SUMS` registers or more of positive numbers lies: the better of
// reading it from end to end and in four parts, as one row reads its weights.
template <class T>
static double read_rate(const T* a, isize count, double seconds) {
    return std::max(rate_in_parts<1>(a, count, seconds / 2), rate_in_parts<4>(a, count, seconds / 2));
}

}  // namespace rnncore
