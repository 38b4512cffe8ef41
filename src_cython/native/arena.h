// Scratch memory of a pass: reserved at once, given out in aligned pieces, freed at the end or when
// the next pass reserves.
#pragma once

#include <cstdlib>
#include <new>

#include "vec.h"

namespace rnncore {

template <class T>
class Arena {
    static constexpr std::size_t ALIGNMENT = 64;  // a cache line, and the widest register
    char *memory = nullptr, *free_from = nullptr;

public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { std::free(memory); }

    // Room for `reals` and `rows` pointers in all, in at most `pieces` pieces.
    void reserve(isize reals, isize rows, isize pieces) {
        const std::size_t bytes = reals * sizeof(T) + rows * sizeof(T*) + (pieces + 1) * ALIGNMENT;
        std::free(memory);
        memory = static_cast<char*>(std::malloc(bytes));
        if (!memory) throw std::bad_alloc();
        free_from = memory + (ALIGNMENT - reinterpret_cast<std::uintptr_t>(memory) % ALIGNMENT);
    }

    T* reals(isize count) { return reinterpret_cast<T*>(piece(count * sizeof(T))); }
    T** rows(isize count) { return reinterpret_cast<T**>(piece(count * sizeof(T*))); }

private:
    char* piece(std::size_t bytes) {
        char* start = free_from;
        free_from += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        return start;
    }
};

}  // namespace rnncore
