// What a cell is to the time loop.
#pragma once

#include "pack.h"
#include "unit.h"

namespace rnncore {

constexpr int MOST_STAGES = 4, MOST_PRODUCTS = 2, MOST_SLOTS = 16;
constexpr int MOST_VECTORS = 18, MOST_ARRAYS = 6, MOST_FUNCTIONS = 3;

// A step of a cell is a list of stages; backward runs through it from the last.  A product adds to its
// slots what it reads times recurrent weights; a sweep visits units, each of which needs only itself, or
// whole rows.
enum : int { PRODUCT, ELEMENTWISE, ROW };
constexpr int READS_H = -1;

template <class T>
struct Stage {
    int kind;
    // Of a product: the slots that it fills, what it reads, h_in or a slot, and which one it is.
    Slots slots;
    int reads, product;
    Sweep<T> forward, backward;  // of the others
};

// Weights of which every unit has one of its own.  The gradient is the sum over the rows of that of a
// slot times an operand: 1, a state before the step or as the step made it, h_in, or a slot.
enum : int { ONE, BEFORE, MADE, H_IN, VALUE };
struct Vector {
    int slot;
    int operand, of;  // `of` which state or slot
};

template <class T>
struct Cell {
    int options;
    T eps;          // what a norm adds to a variance
    int states;     // h, and what else
    int completes;  // bit s: the step itself adds to the gradient that arrives at state s

    int gates;                // row blocks of the user's weights
    int slots;                // registers of values for a block of units
    int gate_of[MOST_SLOTS];  // the gate that a slot belongs to, a block of rows; -1: to none
    int shown, shows[MOST_SLOTS];  // the slots that a trace shows as gates, and how many
    Slots x, h;               // those that x and its bias are summed in, and h and its bias

    int stages, products;
    Stage<T> stage[MOST_STAGES + 1];  // the last is none

    int vectors, arrays;
    int array_size[MOST_ARRAYS];  // vectors in each of the user's 1-d arrays
    Vector vector[MOST_VECTORS];

    Activation<T> activation[MOST_FUNCTIONS];  // of the gates, of the candidate, of the memory
};

}  // namespace rnncore
