// What a step of a cell sees of one row and one block of LANES units.
#pragma once

#include "activation.h"

namespace rnncore {

constexpr int MOST_STATES = 4;

// Options of a cell, as flags.  GENERAL: activations of choice, or clipped sums.  FLOW: the backward pass
// tells how much gradient arrives at the states.
enum : int {
    RELU = 1,
    COUPLED = 2,
    PEEPHOLE_PREVIOUS = 4,
    PEEPHOLE_CURRENT = 8,
    GENERAL = 16,
    FLOW = 32,
    PROJECTION = 64,
    RESET_BEFORE = 128,
};

// A state is one register; `gates` and `vectors` have all of a block side by side.
template <class T>
struct Unit {
    Vec<T>* gates;          // forward: in the sums, out the activations; backward: read
    const Vec<T>* vectors;  // weights that a unit has of its own, the same for all rows
    const Vec<T>* prev[MOST_STATES];
    Vec<T>* next[MOST_STATES];  // forward: out; backward: read
    const Vec<T>* h_in;         // the h before as the recurrence reads it

    Vec<T>* d[MOST_STATES];  // in: gradient at this step's states; out: what goes straight to those before
    Vec<T>* whole[MOST_STATES];  // out, with FLOW: all that arrives at a state the step has a part in
    Vec<T>* dh_in;               // is added to
    const Vec<T>* dslot;         // gradient of the slot that a product reads
    Vec<T>* dgates;              // out: gradients of the slots, `slot_step` registers from each other
    isize slot_step;

    int options;
    T eps;
    const Activation<T>* activation;  // with GENERAL

    Vec<T> zeros() const { return {typename Register<T>::reals{}}; }
    // Move by so many registers. `states` is a constant where a cell calls this with its own step; written
    // without a loop, so that each pointer is a variable of its own.
    template <int S = 0>
    inline void move_states(int states, isize by) {
        if constexpr (S < MOST_STATES) {
            if (S >= states) return;
            prev[S] += by, next[S] += by, d[S] += by, whole[S] += by;
            move_states<S + 1>(states, by);
        }
    }
    inline void next_block(int states, isize slots, isize count, isize dgates_block) {
        gates += slots;
        vectors += count;
        move_states(states, 1);
        ++h_in, ++dh_in, ++dslot;
        dgates += dgates_block;
    }
    // Rows lie `blocks` registers apart, in dgates next to each other.
    inline void next_row(int states, isize slots, isize blocks) {
        gates += slots * blocks;
        move_states(states, blocks);
        h_in += blocks, dh_in += blocks, dslot += blocks;
        ++dgates;
    }
};

// Layout of the units that a sweep visits.
struct Extent {
    isize rows, blocks;        // to visit
    isize units;               // of a whole row
    isize slots, row_blocks;   // of a row
    isize vectors;             // of a block
    isize dgates_block;        // registers from one block to the next
};

template <class T>
using Sweep = void (*)(const Unit<T>*, const Extent*);

// Inlined where a cell calls it with its own step, so that the step is inlined too: the compiler has to be
// told, or it calls the step for every block (50 x 8 x 64: 1.2 times as slow).
template <class T>
__attribute__((always_inline)) static inline void visit(void (*step)(Unit<T>*), int states,
                                                        Unit<T> row, const Extent* over) {
    for (isize r = 0; r < over->rows; ++r) {
        Unit<T> unit = row;
        for (isize b = 0; b < over->blocks; ++b) {
            step(&unit);
            unit.next_block(states, over->slots, over->vectors, over->dgates_block);
        }
        row.next_row(states, over->slots, over->row_blocks);
    }
}

// Take `step` over every block of units of every row of a cell that has so many states.  Twice, so that the
// compiler knows of the plain loop that no rare option is on, and leaves its code out.
template <class T>
__attribute__((always_inline)) static inline void sweep(void (*step)(Unit<T>*), int states,
                                                        const Unit<T>* first, const Extent* over) {
    Unit<T> row = *first;
    if (row.options & (GENERAL | FLOW)) {
        visit(step, states, row, over);
    } else {
        row.options &= ~(GENERAL | FLOW);
        visit(step, states, row, over);
    }
}

}  // namespace rnncore
