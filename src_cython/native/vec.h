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

// Where exp splits: exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2) / 2.
//
// ROUND added to a real leaves its nearest integer in the low bits of the sum.  ln 2 comes in two
// parts, the first short enough that n times it is exact (Cody and Waite 1980).  Q is the minimax
// polynomial (1e-8 and 2e-17 of exp) with exp(r) = 1 + r + r^2 Q(r): the form that keeps the leading
// digits of exp(r) - 1 for tanh.  At LOW the power of two is 0; from LOW to HIGH all is finite.
template <class T>
struct ExpOf;
template <>
struct ExpOf<float> {
    static constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23
    static constexpr float LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.42860682031e-6f;
    static constexpr float LOW = -88.0f, HIGH = 88.0f;
    static constexpr int32_t ONE = 0x3F800000, MANTISSA = 23;
    static constexpr float Q[] = {0.5f, 0.16666576845993976311f, 0.041666554437685938899f,
                                  0.0083632029715758549465f, 0.0013926213466332443037f};
};
template <>
struct ExpOf<double> {
    static constexpr double ROUND = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double LN2_HIGH = 0x1.62e42fefa3000p-1, LN2_LOW = 2.8235290563031577123e-13;
    static constexpr double LOW = -709.0, HIGH = 709.0;
    static constexpr int64_t ONE = 0x3FF0000000000000, MANTISSA = 52;
    static constexpr double Q[] = {
        0.50000000000000010262,    0.16666666666666667456,    0.041666666666623991516,
        0.0083333333333300513464,  0.0013888888917281793308,  0.00019841269863105968748,
        0.000024801521190217727651, 2.7557268378684192873e-6, 2.7620138719733995569e-7,
        2.5100424157005066788e-8};
};

// x = n ln 2 + r, as 2^n and exp(r) - 1.  NaN stays NaN in the second.
template <class T>
struct ExpSplit {
    using reals = typename Register<T>::reals;
    using bits = typename Register<T>::bits;
    reals power, expm1_r;

    inline explicit ExpSplit(reals x) {
        using E = ExpOf<T>;
        const auto shifted = x * static_cast<T>(1.44269504088896340736) + E::ROUND;
        const auto n = shifted - E::ROUND;
        const auto r = (x - n * E::LN2_HIGH) - n * E::LN2_LOW;
        constexpr int degree = static_cast<int>(sizeof(E::Q) / sizeof(T)) - 1;
        auto q = r * E::Q[degree] + E::Q[degree - 1];
#pragma GCC unroll 16
        for (int k = degree - 2; k >= 0; --k) q = q * r + E::Q[k];
        expm1_r = (r * r) * q + r;
        power = (reals)(((bits)shifted << E::MANTISSA) + E::ONE);
    }
};

// Clamps let NaN through: every comparison with NaN is false.
template <class T>
static inline Vec<T> at_least(T low, Vec<T> x) {
    const auto bound = typename Register<T>::reals{} + low;
    return {x.v < bound ? bound : x.v};
}

template <class T>
static inline Vec<T> at_most(T high, Vec<T> x) {
    const auto bound = typename Register<T>::reals{} + high;
    return {x.v > bound ? bound : x.v};
}

// s(x) = 1 / (1 + exp(-x)).  Below the smallest normal number it is 0, for subnormals are flushed.
template <class T>
static inline Vec<T> sigmoid(Vec<T> x) {
    using E = ExpOf<T>;
    const ExpSplit<T> e(at_most(E::HIGH, at_least(E::LOW, Vec<T>{-x.v})).v);
    return {1 / (e.power * e.expm1_r + e.power + 1)};
}

// tanh(x) = (0 - m) / (2 + m) with m = exp(-2|x|) - 1, and the sign of x: exact digits near 0.
template <class T>
static inline Vec<T> tanh(Vec<T> x) {
    using E = ExpOf<T>;
    using reals = typename Register<T>::reals;
    using bits = typename Register<T>::bits;
    const bits sign = (bits)x.v & (bits)(-reals{});
    const auto magnitude = (reals)((bits)x.v ^ sign);
    const ExpSplit<T> e(at_least(E::LOW, Vec<T>{magnitude * -2}).v);
    const reals m = e.power * e.expm1_r + (e.power - 1);
    return {(reals)((bits)((0 - m) / (2 + m)) | sign)};
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
