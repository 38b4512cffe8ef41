// The states of a pass, at all instants or at two that take turns.
#pragma once

#include "pack.h"
#include "unit.h"

namespace rnncore {

template <class T>
struct State {
    isize units, blocks;  // of a row: numbers, and registers
    T* values;            // (instants, B, width)
    // What the cell computes, where that is not the state yet, as wide as the cell: null, or (steps, B, ..)
    // if the pass `keeps` it, else (1, B, ..).
    T* made;
    const T* keep;  // (duration, B, units) or null: zoneout, the part that stays
    T* last;        // (B, units) or null: the user's, for the final state; backward for the gradient of the first
    double* flow;   // (duration, B) or null: squared norms of the gradient, in time order

    T* d;      // (B, width): gradient of the state, in the end of the initial one
    T* dmade;  // (B, width of the cell): of what was made, or d
    T* whole;  // (B, width): all that arrives, where the step has a part in it, or d

    isize width() const { return blocks * LANES<T>; }
};

template <class T>
struct States {
    State<T> state[MOST_STATES];
    isize instants, phase;  // how many instants there are, and which is the first
    bool keeps;

    // Without a division: those of a step of 16 units took 7 % of it.
    isize place(isize instant) const { return instants == 2 ? (instant + phase) & 1 : instant; }
};

}  // namespace rnncore
