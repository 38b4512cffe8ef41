// What a cell is to the time loop, and what one pass through time reads and writes.
#pragma once

#include "activation.h"
#include "matmul.h"
#include "pool.h"

namespace rnncore {

// Options of a cell, as flags.  GENERAL: activations of choice, or clipped sums.  FLOW: the backward pass
// tells the memory's gradient.
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

constexpr int MOST_SLOTS = 4, MOST_VECTORS = 3;

// What a pointwise step sees: one row, one block of LANES units.  A state is one register; `gates` has
// the slots of the block side by side; `dgates` has them `slot_step` registers from each other.
template <class T>
struct Unit {
    Vec<T>* gates;  // forward: in the sums, out the activations; backward: read
    const Vec<T>*h_prev, *c_prev;
    Vec<T>*h, *c;         // forward: out; backward: c is read
    const Vec<T>* w_ch;   // peephole weights i, f, o
    Vec<T>*dh, *dc;       // in: gradient at this step's state; out: what goes straight to the one before
    const Vec<T>* drh;    // gradient of r * h_prev
    Vec<T>* dgates;       // out: gradient of the sums
    Vec<T>* all_dc;       // out, with FLOW: all that arrives at c
    isize slot_step;
    int options;
    const Activation<T>* activation;  // with GENERAL

    Vec<T> zeros() const { return {typename Register<T>::reals{}}; }
    inline void next_block(isize slots, isize dgates_block) {
        gates += slots;
        ++h_prev, ++c_prev, ++h, ++c, ++dh, ++dc, ++drh, ++all_dc;
        w_ch += 3;
        dgates += dgates_block;
    }
    // Rows lie `blocks` registers apart, in dgates next to each other; weights are of all rows.
    inline void next_row(isize slots, isize blocks) {
        gates += slots * blocks;
        h_prev += blocks, c_prev += blocks, h += blocks, c += blocks;
        dh += blocks, dc += blocks, drh += blocks, all_dc += blocks;
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
    int gates;  // row blocks of the user's weights
    int gate_of[MOST_SLOTS];  // the block of rows that fills a slot
    int peepholes, peephole_slot[MOST_VECTORS];
    Slots x;    // those that the product with x fills
    int stages;
    Stage<T> stage[2];
    bool has_c;
    int options;
    Activation<T> activation[3];  // of the gates, of the candidate, of the memory
};

// One layer, one direction, one pass through some steps of a sequence.  Steps are counted in the order of
// computation, rows by falling length: those alive at a step come first.
template <class T>
struct Pass {
    Cell<T> cell;
    isize first, steps, duration;  // the first step, how many, and of how many in all
    isize B, I, H, P;              // P: width of h, H but with a projection
    isize blocks, h_blocks;        // registers of H and of P units
    bool reverse;

    // Of a ragged batch; null where all rows have all steps.
    const isize *order, *lengths;  // of the rows as they are counted here: the user's row, its steps
    const isize* alive_rows;       // (duration) rows that have such a step

    // The user's arrays, in time order; a row is contiguous, steps and rows may lie anywhere.
    const T* x;
    isize x_step, x_row;
    T* y;  // forward: y or null; backward: dy or null, which is read
    isize y_step, y_row;
    T* dx;                     // (duration, B, I)
    T *h_n, *c_n;              // (B, P), (B, H), or null; backward: gradients of the initial states
    const T* h_mask;           // (B, P) or null: dropout of the h that products read
    const T *keep_h, *keep_c;  // (duration, B, P), (.., H) or null: zoneout, the part that stays

    T *h, *c;  // (instants, B, width): all of them, or two that are used in turn
    isize instants, phase;  // how many, and which is instant 0
    // What the cell computed, where that is not the state yet, and the h that products read, where that is
    // not the state: null, or (steps, B, width) if the pass `keeps` them, else (1, B, width).
    T *made_h, *made_c, *h_in;
    bool keeps;
    T* gates;  // (steps, B, gates_width), or null where they are not kept

    const T *w_ch, *bias;
    Product<T> x_product, product[2], projection;

    T *dw_ih, *dw_hh;         // (G * H, I), (G * H, P)
    T *db_ih, *db_hh;         // (G * H)
    T *dw_ch, *dw_hr;         // (3 * H), (P, H)
    double *flow_h, *flow_c;  // (duration, B) or null: squared norms of dh and dc, in time order
    isize flow_step, flow_row;

    // Scratch.  Of the first two every thread has its own part.
    T** tables;      // of pointers to rows
    T* chunk_gates;  // forward, where gates are not kept
    T *dh, *dc;      // (B, width): gradients of the states, in the end of the initial ones
    T *dmade_h, *dmade_c, *dh_in;  // the same of made_h, made_c and h_in, where there are such
    // Backward, of a chunk: gradients of gates and projection and what the products read, in blocks.
    T *dgates, *dprojected;
    T *x_blocks, *read_blocks[2], *made_blocks;
    T *dx_rows, *zeros;  // dx padded to whole registers, a row of zeros
    T* drh;              // (B, width), gradient of r * h_prev
    T* all_dc;           // (B, width)
    T *db, *dw_ch_sum;   // sums over the chunks so far

    Team team;

    static constexpr isize lanes() { return LANES<T>; }
    static isize blocks_of(isize units) { return rnncore::blocks_of<T>(units); }
    isize width() const { return blocks * lanes(); }
    isize h_width() const { return h_blocks * lanes(); }
    isize gates_width() const { return cell.slots * width(); }
    // Without a division: those of a step of 16 units took 7 % of it.
    isize place(isize instant) const { return instants == 2 ? (instant + phase) & 1 : instant; }
    T* h_at(isize instant) const { return h + place(instant) * B * h_width(); }
    T* c_at(isize instant) const { return c + place(instant) * B * width(); }
    T* made_h_at(isize step) const {
        return made_h ? made_h + (keeps ? step : 0) * B * width() : h_at(step + 1);
    }
    T* made_c_at(isize step) const {
        return made_c ? made_c + (keeps ? step : 0) * B * width() : c_at(step + 1);
    }
    T* h_in_at(isize step) const {
        return h_in ? h_in + (keeps ? step : 0) * B * h_width() : h_at(step);
    }

    isize user_row(isize row) const { return order ? order[row] : row; }
    isize time(isize step, isize row) const {
        step += first;
        return reverse ? (lengths ? lengths[row] : duration) - 1 - step : step;
    }
    // Rows that are alive at a step: of all, or of those from `begin` to `end`.
    isize alive(isize step) const { return alive_rows ? alive_rows[first + step] : B; }
    isize alive(isize step, isize begin, isize end) const {
        const isize last = alive(step);
        return last <= begin ? 0 : (last < end ? last : end) - begin;
    }
    // Where the rows of a thread begin, if the team shares the rows' work of some steps.
    isize share(int rank, isize begin, isize end) const {
        if (!lengths) return B * rank / team.size;
        const auto work = [&](isize row) {
            const isize own = lengths[row] - first;
            return own <= begin ? 0 : (own < end ? own : end) - begin;
        };
        isize all = 0, before = 0, row = 0;
        for (isize r = 0; r < B; ++r) all += work(r);
        if (rank == team.size) return B;
        for (; before * team.size < all * rank; ++row) before += work(row);
        return row;
    }
};

// Where the arrays of a trace lie in its memory, in elements, each at a cache line; -1: there is none.
// The first line is that of the header.
struct Room {
    isize size, h, c, gates, made_h, made_c, h_in;
};

template <class T>
static inline Room room_of(const Pass<T>& p, bool masked, bool zoned_h, bool zoned_c) {
    constexpr isize line = 64 / sizeof(T);
    Room room{};
    room.size = line;
    const auto piece = [&](bool wanted, isize steps, isize width) {
        const isize at = room.size;
        if (wanted) room.size += (steps * p.B * width + line - 1) / line * line;
        return wanted ? at : -1;
    };
    room.h = piece(true, p.steps + 1, p.h_width());
    room.c = piece(p.cell.has_c, p.steps + 1, p.width());
    room.gates = piece(p.cell.slots > 1, p.steps, p.gates_width());  // the RNN's h says all
    room.made_h = piece(zoned_h || p.cell.options & PROJECTION, p.steps, p.width());
    room.made_c = piece(zoned_c, p.steps, p.width());
    room.h_in = piece(masked, p.steps, p.h_width());
    return room;
}

// A walk over all rows of some steps, step by step.
template <class T>
struct Walk {
    const Pass<T>* over;
    isize step, row;

    Walk() = default;
    Walk(const Pass<T>* over, isize step, isize skipped) : over(over), step(step), row(skipped) {
        while (row && row >= over->alive(this->step)) row -= over->alive(this->step++);
    }
    void next() {
        if (++row == over->alive(step)) ++step, row = 0;
    }
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
