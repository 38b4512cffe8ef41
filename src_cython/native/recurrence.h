// What a cell is to the time loop, and what one pass through time reads and writes.
#pragma once

#include "matmul.h"
#include "pool.h"

namespace rnncore {

// The gate, as a block of rows in the user's weights, that fills a slot: f i g o, n r z n.
static const int RNN_GATES[] = {0};
static const int GRU_GATES[] = {2, 0, 1, 2};
static const int LSTM_GATES[] = {1, 0, 2, 3};
static const int PEEPHOLE_SLOTS[] = {1, 0, 3};  // of the gates i f o that see a memory

// Options of a cell, as flags.
enum : int { RELU = 1, COUPLED = 2, PEEPHOLE_PREVIOUS = 4, PEEPHOLE_CURRENT = 8 };

// What a pointwise step sees: one row, one block of LANES units.  A state is one register; `gates` has
// the slots of the block side by side; `dgates` has them `apart` registers from each other.
template <class T>
struct Unit {
    Vec<T>* gates;  // forward: in the sums, out the activations; backward: read
    const Vec<T>*h_prev, *c_prev;
    Vec<T>*h, *c;         // forward: out; backward: c is read
    const Vec<T>* w_ch;   // peephole weights i, f, o
    Vec<T>*dh, *dc;       // in: gradient at this step's state; out: what goes straight to the one before
    const Vec<T>* drh;    // gradient of r * h_prev
    Vec<T>* dgates;       // out: gradient of the sums
    isize apart;
    int options;

    Vec<T> zeros() const { return {typename Register<T>::reals{}}; }
    inline void next_block(isize slots, isize dgates_block) {
        gates += slots;
        ++h_prev, ++c_prev, ++h, ++c, ++dh, ++dc, ++drh;
        w_ch += 3;
        dgates += dgates_block;
    }
    // Rows lie `blocks` registers apart, in dgates next to each other; weights are of all rows.
    inline void next_row(isize slots, isize blocks) {
        gates += slots * blocks;
        h_prev += blocks, c_prev += blocks, h += blocks, c += blocks;
        dh += blocks, dc += blocks, drh += blocks;
        ++dgates;
    }
};

// Layout of the units that a sweep visits.
struct Extent {
    isize rows, blocks;        // to visit
    isize slots, row_blocks;   // of a row
    isize dgates_block;        // registers from one block to the next
};

template <class T>
using Sweep = void (*)(Unit<T>, Extent);

// A product with recurrent weights and the pointwise step that follows it; backward the same two in
// the other order.  The product reads h_prev, or the slot `reads` of the gates.
template <class T>
struct Stage {
    Slots slots;
    int reads;
    Sweep<T> forward, backward;
};
constexpr int READS_H = -1;

template <class T>
struct Cell {
    int slots;  // registers of gates for a block of units
    Slots x;    // those that the product with x fills
    int stages;
    Stage<T> stage[2];
    bool has_c;
    int options;
};

// One layer, one direction, one pass.  Steps are counted in the order of computation.
template <class T>
struct Pass {
    Cell<T> cell;
    isize steps, B, I, H, blocks;
    bool reverse;

    // The user's arrays, in time order; a row is contiguous, steps and rows may lie anywhere.
    const T* x;
    isize x_step, x_row;
    T* y;  // forward: y or null; backward: dy or null, which is read
    isize y_step, y_row;
    T* dx;  // (steps, B, I)

    T *h, *c;  // (instants, B, width): all of them, or two that are used in turn
    isize instants, phase;  // how many, and which is instant 0
    T* gates;  // (steps, B, gates_width), where it keeps them
    bool keeps;

    const T *w_ch, *bias;
    Product<T> x_product, product[2];

    T *dh, *dc;  // (B, width): in the gradient of the final state, out that of the initial one
    T *dw_ih, *dw_hh;          // (G * H, I), (G * H, H)
    T *db_ih, *db_hh, *dw_ch;  // (G * H), (G * H), (3 * H)

    // Scratch.  Of the first two every thread has its own part.
    T** tables;      // of pointers to rows
    T* chunk_gates;  // forward, where gates are not kept
    // Backward, of a chunk: gradients of the gates and what the products read, in blocks.
    T *dgates, *x_blocks, *h_blocks[2];
    T *dx_rows, *zeros;  // dx padded to whole registers, a row of zeros
    T* drh;              // (B, width), gradient of r * h_prev
    T *db, *dw_ch_sum;   // sums over the chunks so far

    Team team;

    static constexpr isize lanes() { return LANES<T>; }
    static isize blocks_of(isize units) { return rnncore::blocks_of<T>(units); }
    isize time(isize step) const { return reverse ? steps - 1 - step : step; }
    isize width() const { return blocks * lanes(); }
    isize gates_width() const { return cell.slots * width(); }
    T* h_at(isize instant) const { return h + (instant + phase) % instants * B * width(); }
    T* c_at(isize instant) const { return c + (instant + phase) % instants * B * width(); }
    // The rows of a step that this thread computes.
    isize first_row() const { return team.by_units ? 0 : team.begin(B); }
    isize own_rows() const { return (team.by_units ? B : team.end(B)) - first_row(); }
};

// y = x W' + b for rows that have nothing to do with each other, or its gradients.
template <class T>
struct LinearPass {
    isize rows, K, N;  // x is (rows, K), w (N, K), y (rows, N), all contiguous
    const T *x, *b;    // b padded to whole registers
    T *y, *dx, *dw, *db;
    Product<T> product;

    T** tables;  // scratch; every thread has its own part of the first two
    T* chunk;    // of y or dx, padded to whole registers
    T *x_blocks, *dy_blocks;
    T *zeros, *db_sum;

    Team team;

    static constexpr isize lanes() { return LANES<T>; }
    static isize blocks_of(isize units) { return rnncore::blocks_of<T>(units); }
};

// Run a pass on a team of `size` threads, or on this one alone if they cannot be had.
template <class P>
static void run_team(const P* pass, int size, bool by_units, void (*run)(P*)) {
    const FlushDenormals mode;
    struct Task {
        const P* pass;
        int size;
        bool by_units;
        void (*run)(P*);
        Barrier barrier;
    } task{pass, size, by_units, run, Barrier(size)};
    const auto body = [](void* context, int rank) {
        Task& task = *static_cast<Task*>(context);
        P part = *task.pass;
        part.team = Team{rank, task.size, task.by_units, &task.barrier};
        task.run(&part);
    };
    if (size > 1 && Pool::run(size, body, &task)) return;
    P alone = *pass;
    alone.team = Team{};
    run(&alone);
}

}  // namespace rnncore
