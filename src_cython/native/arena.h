// Scratch memory of a pass: reserved at once, given out in aligned pieces, freed at the end or when
// the next pass reserves.
#pragma once

#include <cstdlib>
#include <new>
#include <utility>

#include "vec.h"

namespace rnncore {

// Memory that a thread keeps from one pass for the next: fresh pages have to be cleared by the system
// (8 % of a training step of 25 x 128 x 1024).  More than KEPT goes back at once.
struct Block {
    static constexpr std::size_t KEPT = std::size_t{64} << 20;
    char* memory = nullptr;
    std::size_t bytes = 0;

    Block() = default;
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { std::free(memory); }

    void swap(Block& other) {
        std::swap(memory, other.memory);
        std::swap(bytes, other.bytes);
    }
    static Block& spare() {
        static thread_local Block block;
        return block;
    }
};

template <class T>
class Arena {
    static constexpr std::size_t ALIGNMENT = 64;  // a cache line, and the widest register
    Block block;
    char* free_from = nullptr;

public:
    ~Arena() {
        Block& spare = Block::spare();
        if (block.bytes <= Block::KEPT && block.bytes > spare.bytes) block.swap(spare);
    }

    // Room for `reals` and `rows` pointers in all, in at most `pieces` pieces.
    void reserve(isize reals, isize rows, isize pieces) {
        const std::size_t bytes = reals * sizeof(T) + rows * sizeof(T*) + (pieces + 1) * ALIGNMENT;
        if (block.bytes < bytes) block.swap(Block::spare());
        if (block.bytes < bytes) {
            std::free(block.memory);
            block.bytes = 0;
            block.memory = static_cast<char*>(std::malloc(bytes));
            if (!block.memory) throw std::bad_alloc();
            block.bytes = bytes;
        }
        const auto address = reinterpret_cast<std::uintptr_t>(block.memory);
        free_from = block.memory + (ALIGNMENT - address % ALIGNMENT);
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
