// What a step of a cell sees of one row and one block of LANES units.
#pragma once

#include "activation.h"

namespace rnncore {

constexpr int MOST_STATES = 4;

// Options of a cell, as flags.  GENERAL: activations of choice, or clipped sums.  FLOW: the backward pass
// tells how much gradient arrives at the states.  KEEPS: values of the gates are read after the pass.
enum : int {
    RELU = 1,
    COUPLED = 2,
    PEEPHOLE_PREVIOUS = 4,
    PEEPHOLE_CURRENT = 8,
    GENERAL = 16,
    FLOW = 32,
    PROJECTION = 64,
    RESET_BEFORE = 128,
    KEEPS = 256,
};

// Layout of the units that a sweep visits.
struct Extent {
    isize row, block;          // the first to visit
    isize rows, blocks;        // and how many
    isize units;               // of a whole row
    isize slots, row_blocks;   // of a row
    isize vectors;             // of a block
    isize dgates_block;        // registers from one block to the next
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
    // What a sweep sees of a block of a row, counted from here.  Rows lie `row_blocks` registers apart, in
    // dgates next to each other.  Made anew for every step, which pays for no pointer that it leaves alone:
    // pointers that were moved from row to row lay in memory (AVX-512, 60 cycles a row).
    __attribute__((always_inline)) inline Unit at(int states, isize row, isize block,
                                                  const Extent& over) const {
        const isize by = row * over.row_blocks + block;
        Unit unit;
        unit.gates = gates + by * over.slots;
        unit.vectors = vectors + block * over.vectors;
#pragma GCC unroll 4
        for (int s = 0; s < states; ++s) {
            unit.prev[s] = prev[s] + by;
            unit.next[s] = next[s] + by;
            unit.d[s] = d[s] + by;
            unit.whole[s] = whole[s] + by;
        }
        unit.h_in = h_in + by;
        unit.dh_in = dh_in + by;
        unit.dslot = dslot + by;
        unit.dgates = dgates + row + block * over.dgates_block;
        unit.slot_step = slot_step;
        unit.options = options;
        unit.eps = eps;
        unit.activation = activation;
        return unit;
    }
};

template <class T>
using Sweep = void (*)(const Unit<T>*, const Extent*);

// Inlined where a cell calls it with its own step, so that the step is inlined too: the compiler has to be
// told, or it calls the step for every block (50 x 8 x 64: 1.2 times as slow).
template <class T>
__attribute__((always_inline)) static inline void visit(void (*step)(Unit<T>*), int states,
                                                        const Unit<T>& first, Extent over) {
    for (isize r = over.row; r < over.row + over.rows; ++r) {
        for (isize b = over.block; b < over.block + over.blocks; ++b) {
            Unit<T> unit = first.at(states, r, b, over);
            step(&unit);
        }
    }
}

// Take `step` over every block of units of every row of a cell that has so many states.  Twice, so that the
// compiler knows of the plain loop that no rare option is on, and leaves its code out.  Not once more without
// KEEPS: with a trace or without, the states are to be those of the same instructions, bit for bit.
template <class T>
__attribute__((always_inline)) static inline void sweep(void (*step)(Unit<T>*), int states,
                                                        const Unit<T>* first, const Extent* over) {
    Unit<T> row = *first;
    if (row.options & (GENERAL | FLOW)) {
        visit(step, states, row, *over);
    } else {
        row.options &= ~(GENERAL | FLOW);
        visit(step, states, row, *over);
    }
}

}  // namespace rnncore
