// One SIMD register of reals, and the functions of it that recurrent cells are made of.
//
// Everything is a template over float and double and over the register width that the compiler was
// told of, written with the vector extensions of GCC and Clang: no intrinsics, one source for
// AVX-512, AVX2, SSE and NEON.  All is static: no wide instruction leaves its module.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rnncore {

using isize = std::ptrdiff_t;

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <class T>
constexpr int LANES = VECTOR_BYTES / static_cast<int>(sizeof(T));

// `reals` and `bits` are registers.  `stored` is what is loaded from any address and stored to any: an
// aligned one costs nothing extra.  Variables are none of that kind: where Clang deduces a template's
// arguments it forgets the alignment of a typedef, and takes it that a reference is to whole registers.
#define RNNCORE_VECTOR(T) __attribute__((vector_size(VECTOR_BYTES))) T
#define RNNCORE_STORED(T) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias)) T

template <class T>
struct Register;
template <>
struct Register<float> {
    typedef RNNCORE_VECTOR(float) reals;
    typedef RNNCORE_VECTOR(int32_t) bits;
    typedef RNNCORE_STORED(float) stored;
};
template <>
struct Register<double> {
    typedef RNNCORE_VECTOR(double) reals;
    typedef RNNCORE_VECTOR(int64_t) bits;
    typedef RNNCORE_STORED(double) stored;
};

#undef RNNCORE_VECTOR
#undef RNNCORE_STORED

template <class T>
struct Vec {
    typename Register<T>::stored v;

    friend inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
    friend inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
    friend inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
};

// A quotient that is not divided yet.  A division takes as long as ten multiply-adds, and a product of two
// quotients needs only one.
template <class T>
struct Fraction {
    Vec<T> above, below;

    friend inline Fraction operator*(Fraction a, Fraction b) {
        return {a.above * b.above, a.below * b.below};
    }
    friend inline Fraction operator*(Vec<T> a, Fraction b) { return {a * b.above, b.below}; }
};

template <class T>
static inline Vec<T> value(Fraction<T> a) {
    return {a.above.v / a.below.v};
}

template <class T>
static inline Fraction<T> over_one(Vec<T> a) {
    return {a, {typename Register<T>::reals{} + 1}};
}

// Where exp splits: exp(-x) = 2^n exp(-r), n = round(-x / ln 2), |r| <= ln(2) / 2.
//
// ROUND added to a real leaves its nearest integer, and the bias of the exponent, in the low bits of the
// sum.  ln 2 comes in two parts, the first short enough that n times it is exact (Cody and Waite 1980).  Q
// is the minimax polynomial in u^2 (2e-9 and 9e-19 of the whole) of u / tanh(u), with which
// exp(2u) = (Q + u) / (Q - u): half the degree that exp itself takes.
template <class T>
struct ExpOf;
template <>
struct ExpOf<float> {
    static constexpr float ROUND = 12582912.0f + 127;  // 1.5 * 2^23
    static constexpr float LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.42860682031e-6f;
    static constexpr int MANTISSA = 23;
    // At FAR a power of two is 0 or the largest there is.  From ONE on tanh is 1.
    static constexpr float FAR = 88.0f, ONE = 10.0f;
    static constexpr double Q[] = {1, 0.33333251518764738, -0.022134023503825222};
};
template <>
struct ExpOf<double> {
    static constexpr double ROUND = 6755399441055744.0 + 1023;  // 1.5 * 2^52
    static constexpr double LN2_HIGH = 0x1.62e42fefa3000p-1, LN2_LOW = 2.8235290563031577123e-13;
    static constexpr int MANTISSA = 52;
    static constexpr double FAR = 709.0, ONE = 20.0;
    static constexpr double Q[] = {1,
                                   0.33333333333333204060,
                                   -0.022222222221611651307,
                                   0.0021164020227651936398,
                                   -0.00021163394362588990588,
                                   0.000021187183830567233995};
};

// exp(-TIMES x) = 2^n (q - v) / (q + v), with x = v - n ln(2) / TIMES.
template <class T, int TIMES>
struct ExpSplit {
    using reals = typename Register<T>::reals;
    using bits = typename Register<T>::bits;
    reals power, v, q;

    inline explicit ExpSplit(reals x) {
        using E = ExpOf<T>;
        const auto shifted = x * static_cast<T>(-TIMES * 1.44269504088896340736) + E::ROUND;
        const auto n = shifted - E::ROUND;
        // The power of two; n = 0 gives 1.
        power = (reals)((bits)shifted << E::MANTISSA);
        if constexpr (TIMES == 1) {
            v = (x + n * E::LN2_HIGH) + n * E::LN2_LOW;
        } else {
            v = x + n * static_cast<T>(0.69314718055994530942 / TIMES);
        }
        // q = v / tanh(TIMES v / 2)
        constexpr int degree = static_cast<int>(sizeof(E::Q) / sizeof(double)) - 1;
        T c[degree + 1];
        double scale = 2.0 / TIMES;
#pragma GCC unroll 16
        for (int k = 0; k <= degree; ++k, scale *= TIMES * TIMES / 4.0)
            c[k] = static_cast<T>(E::Q[k] * scale);
        const auto z = v * v;
        q = z * c[degree] + c[degree - 1];
#pragma GCC unroll 16
        for (int k = degree - 2; k >= 0; --k) q = q * z + c[k];
    }
};

// The same, of which the compiler does not know where it comes from.  GCC makes of a clamp one instruction,
// but a comparison and a blend where it knows the bound, or sees that x was made of bits (gates of an LSTM,
// AVX-512: 74 cycles instead of 62).
template <class T>
static inline typename Register<T>::reals unknown(typename Register<T>::reals x) {
#if defined(__x86_64__)
    asm("" : "+v"(x));
#endif
    return x;
}

// Clamps let NaN through: every comparison with NaN is false.
template <class T>
static inline Vec<T> at_least(T low, Vec<T> x) {
    const auto end = unknown<T>(typename Register<T>::reals{} + low);
    return {x.v < end ? end : x.v};
}

template <class T>
static inline Vec<T> at_most(T high, Vec<T> x) {
    const auto end = unknown<T>(typename Register<T>::reals{} + high);
    return {x.v > end ? end : x.v};
}

// s(x) = 1 / (1 + exp(-x)) = (q + r) / (q + r + 2^n (q - r)).  Below the smallest normal number it is 0,
// for subnormals are flushed.
template <class T>
static inline Fraction<T> sigmoid_fraction(Vec<T> x) {
    using E = ExpOf<T>;
    const ExpSplit<T, 1> e(at_most(E::FAR, at_least(-E::FAR, x)).v);
    const auto above = e.q + e.v;
    return {{above}, {e.power * (e.q - e.v) + above}};
}

// tanh(x) = (1 - e) / (1 + e) with e = exp(-2|x|), and the sign of x.  Above is q + v - 2^n (q - v), so
// written that n = 0 leaves 2v exactly; below adds 2 2^n (q - v), so that both round alike near 1.
template <class T>
static inline Fraction<T> tanh_fraction(Vec<T> x) {
    using reals = typename Register<T>::reals;
    using bits = typename Register<T>::bits;
    const bits sign = (bits)x.v & (bits)(-reals{});
    const Vec<T> magnitude{unknown<T>((reals)((bits)x.v ^ sign))};
    const ExpSplit<T, 2> e(at_most(ExpOf<T>::ONE, magnitude).v);
    const auto above = e.q * (1 - e.power) + e.v * (1 + e.power);
    const auto below = (e.power + e.power) * (e.q - e.v) + above;
    return {{(reals)((bits)above | sign)}, {below}};
}

template <class T>
static inline Vec<T> sigmoid(Vec<T> x) {
    return value(sigmoid_fraction(x));
}

template <class T>
static inline Vec<T> tanh(Vec<T> x) {
    return value(tanh_fraction(x));
}

template <class T>
static inline Vec<T> one_minus(Vec<T> x) {
    return {1 - x.v};
}

// The derivatives of both, in terms of their value y.
template <class T>
static inline Vec<T> sigmoid_slope(Vec<T> y) {
    return {y.v * (1 - y.v)};
}

template <class T>
static inline Vec<T> tanh_slope(Vec<T> y) {
    return {1 - y.v * y.v};
}

// max(0, x); NaN stays NaN.
template <class T>
static inline Vec<T> relu(Vec<T> x) {
    return at_least(T{0}, x);
}

// d where y > 0, else 0; NaN in y lets d through, as it does in PyTorch.
template <class T>
static inline Vec<T> where_positive(Vec<T> y, Vec<T> d) {
    const typename Register<T>::reals zero{};
    return {y.v <= zero ? zero : d.v};
}

}  // namespace rnncore
