// What layers of a model do with a row: its norm, its softmax, a function of each of its numbers.
//
// Rows lie end to end.  The bits of a row are its own: every sum goes over one row, in the order of
// `RowSum` or of the softmax of a loss, and last elements go through a register as all others do.
#pragma once

#include <type_traits>

#include "activation.h"
#include "denormals.h"
#include "interrupts.h"
#include "rows.h"
#include "softmax.h"

namespace rnncore {

// Call `step` with the number of each block of a row, a register of it, and how many numbers count.
template <class T, class Step>
static inline void over_blocks(isize n, const T* x, const Step& step) {
    constexpr int L = LANES<T>;
    isize k = 0;
    for (; k + L <= n; k += L) step(k / L, Vec<T>{get(x + k)}, isize{L});
    if (k < n) {
        T part[L] = {};
        std::memcpy(part, x + k, (n - k) * sizeof(T));
        step(k / L, Vec<T>{get(part)}, n - k);
    }
}

// y = (x - mean(x)) / sqrt(var(x) + eps), times w and plus b where they are there (Ba et al. 2016);
// 1 / sqrt(..) of each row goes into `scales` where that is there.
template <class T>
static void norm_of_rows(
    isize rows, isize n, const T* x, const T* w, const T* b, T eps, T* y, T* scales) {
    const FlushDenormals flushed;
    SignalWatch watch;
    for (isize row = 0; row < rows; ++row, x += n, y += n) {
        RowSum<T> total, squares;
        over_blocks(n, x, [&](isize k, Vec<T> v, isize count) { total.add(k, v, count); });
        const auto mean = in_all_lanes<T>(total.total() / static_cast<T>(n));
        over_blocks(n, x, [&](isize k, Vec<T> v, isize count) {
            const auto deviation = v - mean;
            squares.add(k, deviation * deviation, count);
        });
        const T scale = one_over_root(squares.total() / static_cast<T>(n) + eps);
        const auto r = in_all_lanes(scale);
        if (w) {
            sweep<T>(n, [=](const T* a, const T* gain, const T* shift, T* to) {
                const Reals<T> normal = rounded((get(a) - mean.v) * r.v);
                put(to, rounded(normal * get(gain)) + get(shift));
            }, x, w, b, y);
        } else {
            sweep<T>(n, [=](const T* a, T* to) { put(to, (get(a) - mean.v) * r.v); }, x, y);
        }
        if (scales) scales[row] = scale;
        watch.after(n);
    }
}

// y = x * w + b, the same of each row.
template <class T>
static void scale_rows(isize rows, isize n, const T* x, const T* w, const T* b, T* y) {
    const FlushDenormals flushed;
    SignalWatch watch;
    for (isize row = 0; row < rows; ++row, x += n, y += n) {
        sweep<T>(n, [](const T* a, const T* gain, const T* shift, T* to) {
            put(to, rounded(get(a) * get(gain)) + get(shift));
        }, x, w, b, y);
        watch.after(n);
    }
}

// softmax(x) of each row, or its logarithm.
template <class T>
static void softmax_of_rows(isize rows, isize n, const T* x, bool logarithm, T* y) {
    const FlushDenormals flushed;
    SignalWatch watch;
    for (isize row = 0; row < rows; ++row, x += n, y += n) {
        const T top = largest(x, n);
        const double total = exps_of_row(x, n, top, y);
        if (logarithm) {
            const T less = static_cast<T>(std::log(total));
            sweep<T>(n, [=](const T* a, T* to) { put(to, (get(a) - top) - less); }, x, y);
        } else {
            const T factor = static_cast<T>(1 / total);
            sweep<T>(n, [=](T* e) { put(e, get(e) * factor); }, y);
        }
        watch.after(n);
    }
}

// Functions that are no cell's, with codes that follow upon those of activation.h.
enum : int {
    GELU = ACTIVATIONS,
    GELU_TANH,
    SILU,
    MISH,
    CELU,
    SCALED_ELU,
    CLAMP,
    HARD_SWISH,
    LOG_SIGMOID,
    EXPONENTIAL,
    FUNCTIONS,
};

// x Phi(x), of the normal distribution (Hendrycks and Gimpel 2016), in float32.
//
// With a = |x| the tail Phi(-a) is exp(-a^2 / 2) P(a) / Q(a), to 5e-9 of the whole from 0 to where it is
// no normal number any more; all coefficients are above 0, so nothing cancels.  exp and P / Q share one
// division.  NaN stays, and x = -inf is NaN, as -inf times 0 is.
static inline Reals<float> gelu(Reals<float> x) {
    constexpr float P[] = {0.5f, 0.4359176f, 0.18147722f, 0.040041417f, 0.004028636f};
    constexpr float Q[] = {1.0f, 1.6697201f, 1.1951942f, 0.46483022f, 0.10037624f, 0.010098152f};
    constexpr float END = 13.3f;  // exp(-END^2 / 2) is 0
    const Reals<float> a = at_most(END, Vec<float>{x < 0 ? -x : x}).v;
    const ExpSplit<float, 1> e(at_most(ExpOf<float>::FAR, Vec<float>{a * a / 2}).v);
    const auto above = ((((a * P[4] + P[3]) * a + P[2]) * a + P[1]) * a + P[0]) * (e.q - e.v);
    const auto below = (((((a * Q[5] + Q[4]) * a + Q[3]) * a + Q[2]) * a + Q[1]) * a + Q[0]) * (e.q + e.v);
    const auto tail = e.power * above / below;
    return x * (x < 0 ? tail : 1 - tail);
}

// One number at a time; alpha and beta are what the function takes.
template <class T>
static inline T own_function(const Activation<T>& f, T x) {
    const T a = f.alpha, b = f.beta, none{0};
    switch (f.code) {
        case GELU:  // x Phi(x), of the normal distribution (Hendrycks and Gimpel 2016)
            return x * (std::erfc(x * static_cast<T>(-0.70710678118654752440)) / 2);
        case MISH:  // (Misra 2019)
            return x * std::tanh((x < none ? none : x) + std::log1p(std::exp(-std::abs(x))));
        case CELU: return x > none ? x : a * std::expm1((x > none ? none : x) / a);
        case SCALED_ELU: return b * (x > none ? x : a * std::expm1(x > none ? none : x));
        case CLAMP: return x < a ? a : x > b ? b : x;
        case HARD_SWISH: return x * (x < -3 ? none : x > 3 ? T{6} : x + 3) / 6;
        case LOG_SIGMOID: return (x > none ? none : x) - std::log1p(std::exp(-std::abs(x)));
        default: return std::exp(x);
    }
}

template <class T>
__attribute__((noinline)) static Reals<T> function_of(const Activation<T>& f, Reals<T> x) {
    if (f.code < ACTIVATIONS) return activate(f, Vec<T>{x}).v;
    for (int lane = 0; lane < LANES<T>; ++lane) x[lane] = own_function(f, x[lane]);
    return x;
}

template <class T>
static inline Reals<T> gelu_tanh(Reals<T> x) {  // as Hendrycks and Gimpel approximate it
    const Reals<T> cubed = rounded(x * x) * x;
    const Reals<T> inner = x + rounded(cubed * static_cast<T>(0.044715));
    const Vec<T> t = tanh(Vec<T>{inner * static_cast<T>(0.79788456080286535588)});
    return x * (1 + t.v) / 2;
}

template <class T, class Value>
static inline void each_register(isize n, const Value& value, const T* x, T* y) {
    for (isize k = 0; k < n; k += LANES<T>) put(y + k, value(get(x + k)));
}

// A function of n numbers, which fill registers.  Functions of few operations have loops of their own: a
// call for each register takes longer.  It is in one place, for the compiler may fuse multiply-adds of one
// loop and not of another.
template <class T>
__attribute__((noinline)) static void map_registers(
    isize n, const Activation<T>& f, const T* x, T* y) {
    using reals = Reals<T>;
    if (f.code == RELU_FUNCTION) {
        each_register<T>(n, [](reals a) { return relu(Vec<T>{a}).v; }, x, y);
    } else if (f.code == SIGMOID) {
        each_register<T>(n, [](reals a) { return sigmoid(Vec<T>{a}).v; }, x, y);
    } else if (f.code == TANH) {
        each_register<T>(n, [](reals a) { return tanh(Vec<T>{a}).v; }, x, y);
    } else if (f.code == SILU) {  // (Elfwing et al. 2018)
        each_register<T>(n, [](reals a) { return a * sigmoid(Vec<T>{a}).v; }, x, y);
    } else if (f.code == GELU_TANH) {
        each_register<T>(n, [](reals a) { return gelu_tanh<T>(a); }, x, y);
    } else if (f.code == GELU && std::is_same_v<T, float>) {
        if constexpr (std::is_same_v<T, float>) {
            each_register<T>(n, [](reals a) { return gelu(a); }, x, y);
        }
    } else {
        each_register<T>(n, [&f](reals a) { return function_of<T>(f, a); }, x, y);
    }
}

// The same function of n numbers.
template <class T>
static void map_numbers(isize n, const Activation<T>& f, const T* x, T* y) {
    constexpr isize PIECE = 4096;
    const FlushDenormals flushed;
    SignalWatch watch;
    const isize filled = n - n % LANES<T>;
    for (isize k = 0; k < filled; k += PIECE) {
        const isize count = filled - k < PIECE ? filled - k : PIECE;
        map_registers(count, f, x + k, y + k);
        watch.after(count);
    }
    if (filled < n) {
        T rest[LANES<T>] = {};
        std::memcpy(rest, x + filled, (n - filled) * sizeof(T));
        map_registers(isize{LANES<T>}, f, rest, rest);
        std::memcpy(y + filled, rest, (n - filled) * sizeof(T));
    }
}

// y = a + b.
template <class T>
static void add_numbers(isize n, const T* a, const T* b, T* y) {
    sweep<T>(n, [](const T* p, const T* q, T* to) { put(to, get(p) + get(q)); }, a, b, y);
}

// What the rows of all steps so far come to, once one more is there: y, from x and what was before.
enum : int { POOL_LAST, POOL_FIRST, POOL_SUM, POOL_MOST };

template <class T>
static void pool_numbers(isize n, int kind, bool first, const T* x, const T* so_far, T* y) {
    if (first || kind == POOL_LAST) {
        std::memcpy(y, x, n * sizeof(T));
    } else if (kind == POOL_FIRST) {
        std::memcpy(y, so_far, n * sizeof(T));
    } else if (kind == POOL_SUM) {
        add_numbers(n, so_far, x, y);
    } else {  // NaN comes in, and stays
        sweep<T>(n, [](const T* a, const T* b, T* to) {
            const Reals<T> old = get(a), now = get(b);
            put(to, now > old || now != now ? now : old);
        }, so_far, x, y);
    }
}

}  // namespace rnncore
