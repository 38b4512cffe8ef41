// The activation functions that ONNX's recurrent operators may be given, and their slopes.
//
// A slope is told in terms of the function's value y, which is what a pass keeps.  These run one lane at a
// time where the field's own cells have no vector form; nobody pays for them who does not ask.
#pragma once

#include <cmath>

#include "vec.h"

namespace rnncore {

enum : int {
    SIGMOID,
    TANH,
    RELU_FUNCTION,
    AFFINE,
    LEAKY_RELU,
    THRESHOLDED_RELU,
    SCALED_TANH,
    HARD_SIGMOID,
    ELU,
    SOFTSIGN,
    SOFTPLUS,
    ACTIVATIONS,  // how many there are
};

// One function with its two constants; its argument is kept between -clip and clip if that is not 0.
template <class T>
struct Activation {
    int code;
    T alpha, beta, clip;
};

template <class T>
static inline T activated(const Activation<T>& f, T x) {
    const T a = f.alpha, b = f.beta;
    switch (f.code) {
        case AFFINE: return a * x + b;
        case LEAKY_RELU: return x < 0 ? a * x : x;
        case THRESHOLDED_RELU: return x <= a ? 0 : x;
        case SCALED_TANH: return a * std::tanh(b * x);
        case HARD_SIGMOID: {
            const T line = a * x + b;
            return line < 0 ? 0 : line > 1 ? 1 : line;
        }
        case ELU: return x < 0 ? a * std::expm1(x) : x;
        case SOFTSIGN: return x / (1 + std::abs(x));
        default: return (x < 0 ? 0 : x) + std::log1p(std::exp(-std::abs(x)));  // SOFTPLUS
    }
}

template <class T>
static inline T slope_of_activated(const Activation<T>& f, T y) {
    const T a = f.alpha, b = f.beta;
    switch (f.code) {
        case AFFINE: return a;
        case LEAKY_RELU: return y <= 0 ? a : 1;
        case THRESHOLDED_RELU: return y == 0 ? 0 : 1;
        case SCALED_TANH: return b * (a - y * y / a);
        case HARD_SIGMOID: return y <= 0 || y >= 1 ? 0 : a;
        case ELU: return y <= 0 ? y + a : 1;
        case SOFTSIGN: return (1 - std::abs(y)) * (1 - std::abs(y));
        default: return -std::expm1(-y);  // SOFTPLUS
    }
}

template <class T>
static Fraction<T> activation_fraction(const Activation<T>& f, Vec<T> x) {
    if (f.clip > 0) x = at_most(f.clip, at_least(-f.clip, x));
    if (f.code == SIGMOID) return sigmoid_fraction(x);
    if (f.code == TANH) return tanh_fraction(x);
    if (f.code == RELU_FUNCTION) return over_one(relu(x));
    for (int lane = 0; lane < LANES<T>; ++lane) x.v[lane] = activated(f, x.v[lane]);
    return over_one(x);
}

template <class T>
static Vec<T> activate(const Activation<T>& f, Vec<T> x) {
    return value(activation_fraction(f, x));
}

// 0 where the argument was clipped: there the value is that of the bound.
template <class T>
static Vec<T> activation_slope(const Activation<T>& f, Vec<T> y) {
    const typename Register<T>::reals one = typename Register<T>::reals{} + 1;
    Vec<T> slope;
    if (f.code == SIGMOID) {
        slope = sigmoid_slope(y);
    } else if (f.code == TANH) {
        slope = tanh_slope(y);
    } else if (f.code == RELU_FUNCTION) {
        slope = where_positive(y, Vec<T>{one});
    } else {
        for (int lane = 0; lane < LANES<T>; ++lane)
            slope.v[lane] = slope_of_activated(f, y.v[lane]);
    }
    if (f.clip > 0) {
        const auto low = activate(f, Vec<T>{one * -f.clip}).v;
        const auto high = activate(f, Vec<T>{one * f.clip}).v;
        slope.v = y.v == low || y.v == high ? one * 0 : slope.v;
    }
    return slope;
}

}  // namespace rnncore
