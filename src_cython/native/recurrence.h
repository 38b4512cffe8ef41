// One layer, one direction, one pass through some steps of a sequence.
#pragma once

#include "batch.h"
#include "gradients.h"
#include "scratch.h"
#include "states.h"
#include "unpacked.h"

namespace rnncore {

// What a track takes of a pass: some rows, and of their units one of several parts.
struct Part {
    isize begin, end;  // rows
    int unit, units;
};

template <class T>
struct Pass : Batch, States<T>, Gradients<T>, Scratch<T> {
    const Cell<T>* cell;
    isize I, H, P;           // P: width of h, H but with a projection
    isize blocks, h_blocks;  // registers of H and of P units
    int precision;           // of the weights, and of what they are multiplied with

    // The user's arrays, in time order; a row is contiguous, steps and rows may lie anywhere.
    const T* x;
    isize x_step, x_row;
    T* y;  // forward: y or null; backward: dy or null, which is read
    isize y_step, y_row;
    // To the next layer, and back from it: dropout, and what its second direction adds to dy.  Laid out as y.
    const T *y_mask, *dy_more;  // or null
    const T* h_mask;  // (B, P) or null: dropout of the h that products read

    T* h_in;   // the h that products read, where that is not the state: as the `made` of a state, or null
    T* gates;  // (steps, B, gates_width), or null where they are not kept

    const T *vectors, *bias;
    AnyProduct<T> x_product, product[MOST_PRODUCTS], projection;

    Part part;

    static constexpr isize lanes() { return LANES<T>; }
    static isize blocks_of(isize units) { return rnncore::blocks_of<T>(units); }
    isize width() const { return blocks * lanes(); }
    isize h_width() const { return h_blocks * lanes(); }
    isize gates_width() const { return cell->slots * width(); }
    T* at(int s, isize instant) const {
        const State<T>& state = this->state[s];
        return state.values + this->place(instant) * B * state.width();
    }
    T* made_at(int s, isize step) const {
        T* made = this->state[s].made;
        return made ? made + (this->keeps ? step : 0) * B * width() : at(s, step + 1);
    }
    T* h_in_at(isize step) const {
        return h_in ? h_in + (this->keeps ? step : 0) * B * h_width() : at(0, step);
    }
};

}  // namespace rnncore
