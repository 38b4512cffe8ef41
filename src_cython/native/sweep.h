// Elementwise work on arrays from end to end, a register at a time.
//
// The last elements, which are fewer than a register holds, go through a register too, filled up with
// zeros: so every element has the same roundings, wherever it stands and however arrays are cut.
#pragma once

#include <cstring>
#include <type_traits>
#include <utility>

#include "vec.h"

namespace rnncore {

template <class T>
using Reals = typename Register<T>::reals;

template <class T>
static inline Reals<T> get(const T* a) {
    return *reinterpret_cast<const typename Register<T>::stored*>(a);
}

template <class T>
static inline void put(T* a, Reals<T> x) {
    *reinterpret_cast<typename Register<T>::stored*>(a) = x;
}

// A product that is rounded before it is added to anything: a fused multiply-add, which the compiler
// makes of the two where the processor has one, would give other bits there than elsewhere.
template <class V>
static inline V rounded(V product) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(product));
#elif defined(__SSE2__)
    __asm__("" : "+x"(product));
#elif defined(__aarch64__)
    __asm__("" : "+w"(product));
#endif
    return product;
}

template <class T, class Step, std::size_t... I, class... Elements>
static inline void sweep_rest(
    isize n, const Step& step, std::index_sequence<I...>, Elements*... arrays) {
    T part[sizeof...(arrays)][LANES<T>] = {};
    (std::memcpy(part[I], arrays, n * sizeof(T)), ...);
    step(part[I]...);
    const auto back = [n](auto* array, const T* from) {
        if constexpr (!std::is_const_v<std::remove_pointer_t<decltype(array)>>) {
            std::memcpy(array, from, n * sizeof(T));
        }
    };
    (back(arrays, part[I]), ...);
}

// Call `step` with a pointer into each array, for every register of their n elements.
template <class T, class Step, class... Elements>
static inline void sweep(isize n, const Step& step, Elements*... arrays) {
    isize k = 0;
    for (; k + LANES<T> <= n; k += LANES<T>) step((arrays + k)...);
    if (k < n) {
        sweep_rest<T>(n - k, step, std::index_sequence_for<Elements...>(), (arrays + k)...);
    }
}

}  // namespace rnncore
