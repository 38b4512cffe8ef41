// The cross-entropy of a softmax and its gradient, a row at a time.
//
// The order of the sums is fixed, by the number of classes alone, and the same on every instruction set:
// the exponentials of a block go into 32 sums, of class k into sum k % 32, and these into one by halves;
// blocks are added in turn, in double, and so are the losses of the rows.
#pragma once

#include <cmath>
#include <limits>

#include "denormals.h"
#include "interrupts.h"
#include "sweep.h"

namespace rnncore {

constexpr isize SOFTMAX_BLOCK = 1024;  // 32 in each sum: a few roundings

// exp(x) for x <= 0.  Below the smallest normal number it is 0, above no product on the way is.
template <class T>
static inline Reals<T> exp_of_negative(Reals<T> x) {
    const ExpSplit<T, 1> e(at_most(ExpOf<T>::FAR, Vec<T>{-x}).v);
    return e.power * (e.q - e.v) / (e.q + e.v);
}

// The largest of a row; NaN is none, for it is met again in the exponentials.
template <class T>
static T largest(const T* a, isize n) {
    constexpr int L = LANES<T>, MOST = 4;
    Reals<T> most[MOST];
    for (auto& each : most) each = Reals<T>{} - std::numeric_limits<T>::infinity();
    isize k = 0;
    for (; k + MOST * L <= n; k += MOST * L) {
#pragma GCC unroll 4
        for (int i = 0; i < MOST; ++i) {
            const Reals<T> x = get(a + k + i * L);
            most[i] = x > most[i] ? x : most[i];
        }
    }
    for (; k + L <= n; k += L) {
        const Reals<T> x = get(a + k);
        most[0] = x > most[0] ? x : most[0];
    }
    for (int i = 1; i < MOST; ++i) most[0] = most[i] > most[0] ? most[i] : most[0];
    T top = most[0][0];
    for (int i = 1; i < L; ++i) top = most[0][i] > top ? most[0][i] : top;
    for (; k < n; ++k) top = a[k] > top ? a[k] : top;
    return top;
}

// exps = exp(a - top) for a block, and their sum.
template <class T>
static T exps_of_block(const T* a, isize n, T top, T* exps) {
    constexpr int SUMS = 32, L = LANES<T>;
    Reals<T> acc[SUMS / L] = {};
    isize k = 0;
    for (; k + SUMS <= n; k += SUMS) {
#pragma GCC unroll 16
        for (int i = 0; i < SUMS / L; ++i) {
            const Reals<T> e = exp_of_negative<T>(get(a + k + i * L) - top);
            put(exps + k + i * L, e);
            acc[i] += e;
        }
    }
    T sum[SUMS];
    std::memcpy(sum, acc, sizeof(sum));
    for (T* to = sum; k < n; k += L, to += L) {
        const isize left = n - k < L ? n - k : L;
        T part[L] = {};
        std::memcpy(part, a + k, left * sizeof(T));
        put(part, exp_of_negative<T>(get(part) - top));
        std::memcpy(exps + k, part, left * sizeof(T));
        for (isize i = 0; i < left; ++i) to[i] += part[i];
    }
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) sum[i] += sum[half + i];
    }
    return sum[0];
}

// exps = exp(a - top) for a row, and their sum.
template <class T>
static double exps_of_row(const T* a, isize n, T top, T* exps) {
    double total = 0;
    for (isize k = 0; k < n; k += SOFTMAX_BLOCK) {
        const isize count = n - k < SOFTMAX_BLOCK ? n - k : SOFTMAX_BLOCK;
        total += exps_of_block(a + k, count, top, exps + k);
    }
    return total;
}

// The mean loss of the rows of (rows, K) logits, and its gradient.
template <class T>
static double mean_cross_entropy(
    isize rows, isize K, const T* logits, const isize* targets, T* dlogits) {
    const FlushDenormals flushed;
    SignalWatch watch;
    double loss = 0;
    for (isize r = 0; r < rows; ++r, logits += K, dlogits += K) {
        const T top = largest(logits, K);
        const double total = exps_of_row(logits, K, top, dlogits);
        loss += std::log(total) - static_cast<double>(logits[targets[r]] - top);
        const T factor = static_cast<T>(1 / (total * static_cast<double>(rows)));
        sweep<T>(K, [=](T* e) { put(e, get(e) * factor); }, dlogits);
        dlogits[targets[r]] -= static_cast<T>(1 / static_cast<double>(rows));
        watch.after(K);
    }
    return loss / static_cast<double>(rows);
}

}  // namespace rnncore
