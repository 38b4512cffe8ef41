// One step of an optimiser: what is kept of a parameter, and the parameter, in one pass over memory.
//
// Every operation is rounded by itself, as NumPy does it: the bits are those of the formulas in NumPy,
// on every instruction set.  Subnormal numbers count as zero: the mean of the gradients of a row that
// an embedding does not use decays into them, and stays there for good.
#pragma once

#include "denormals.h"
#include "places.h"
#include "sweep.h"

namespace rnncore {

struct AdamRates {
    double decay;   // of the parameter, a part of the gradient
    double mean;    // 1 - beta1
    double kept;    // beta2
    double square;  // 1 - beta2
    double unbias;  // 1 / sqrt(1 - beta2^t)
    double eps;
    double rate;    // lr / (1 - beta1^t)
};

template <class T>
static inline Reals<T> square_root(Reals<T> x) {
    for (int i = 0; i < LANES<T>; ++i) {
        x[i] = sizeof(T) == sizeof(double) ? T(__builtin_sqrt(x[i])) : T(__builtin_sqrtf(x[i]));
    }
    return x;
}

template <class T>
static void adam(isize n, T* param, const T* grad, T* mean, T* square, const AdamRates& rates) {
    const T decay = T(rates.decay), mean_rate = T(rates.mean), kept = T(rates.kept);
    const T square_rate = T(rates.square), unbias = T(rates.unbias);
    const T eps = T(rates.eps), rate = T(rates.rate);
    const auto step = [=](T* p_at, const T* g_at, T* m_at, T* v_at) {
        const Reals<T> p = get(p_at);
        Reals<T> g = get(g_at), m = get(m_at), v = get(v_at);
        if (decay != 0) g = g + rounded(p * decay);
        m = m + rounded((g - m) * mean_rate);  // exact where g equals m
        v = rounded(v * kept) + rounded(rounded(g * g) * square_rate);
        const Reals<T> root = rounded(square_root<T>(v) * unbias) + eps;
        put(m_at, m);
        put(v_at, v);
        put(p_at, p - rounded(m / root * rate));
    };
    sweep<T>(n, step, param, grad, mean, square);
}

template <class T>
static void sgd(isize n, T* param, const T* grad, double lr) {
    const T rate = T(lr);
    const auto step = [=](T* p, const T* g) { put(p, get(p) - rounded(get(g) * rate)); };
    sweep<T>(n, step, param, grad);
}

template <class T>
static void sgd(isize n, T* param, const T* grad, T* velocity, double momentum, double lr) {
    const T rate = T(lr), kept = T(momentum);
    const auto step = [=](T* p, const T* g, T* v_at) {
        const Reals<T> v = rounded(get(v_at) * kept) + get(g);
        put(v_at, v);
        put(p, get(p) - rounded(v * rate));
    };
    sweep<T>(n, step, param, grad, velocity);
}

// Of all arrays; there are as many of each, of the same sizes and types.
static inline void adam_step(
    const Places& param, const Places& grad, const Places& mean, const Places& square,
    const AdamRates& rates) {
    const FlushDenormals flushed;
    for (isize k = 0; k < param.count(); ++k) {
        const auto all = [&](auto zero) {
            using T = decltype(zero);
            adam(param[k].size, param[k].reals<T>(), grad[k].reals<const T>(),
                 mean[k].reals<T>(), square[k].reals<T>(), rates);
        };
        param[k].wide() ? all(double()) : all(float());
    }
}

// `velocity` has no arrays where there is no momentum.
static inline void sgd_step(
    const Places& param, const Places& grad, const Places& velocity, double momentum, double lr) {
    const FlushDenormals flushed;
    for (isize k = 0; k < param.count(); ++k) {
        const auto all = [&](auto zero) {
            using T = decltype(zero);
            T* p = param[k].reals<T>();
            const T* g = grad[k].reals<const T>();
            if (velocity.count() == 0) return sgd(param[k].size, p, g, lr);
            sgd(param[k].size, p, g, velocity[k].reals<T>(), momentum, lr);
        };
        param[k].wide() ? all(double()) : all(float());
    }
}

}  // namespace rnncore
