// Scratch memory of a pass: reserved at once, given out in aligned pieces, freed at the end or when
// the next pass reserves.
#pragma once

#include <atomic>
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

// Let blocks of up to `bytes` in all come and go without the system.  glibc gives the end of its heap back
// above twice the largest block that was ever freed, and fresh pages are cleared anew: the gradients of an
// LSTM of 128 units, two blocks of 256 KB, would cost 156 pages at every call, four times what it computes.
// A block of that size, freed once, is enough; nothing is written to it.
static inline void expect_blocks(std::size_t bytes) {
    static std::atomic<std::size_t> most{0};
    if (bytes <= most.load(std::memory_order_relaxed) || bytes > Block::KEPT) return;
    most.store(bytes, std::memory_order_relaxed);
    void* volatile block = std::malloc(bytes);  // volatile: or the compiler leaves out both
    std::free(block);
}

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
