// Which rows take part in which steps.
#pragma once

#include "vec.h"

namespace rnncore {

// Some steps of a sequence.  Steps are counted in the order of computation, rows by falling length: those
// alive at a step come first.
struct Batch {
    isize first, steps, duration;  // the first step, how many, and of how many in all
    isize B;
    bool reverse;
    // Of a ragged batch; null where all rows have all steps.
    const isize *order, *lengths;  // of the rows as they are counted here: the user's row, its steps
    const isize* alive_rows;       // (duration) rows that have such a step

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
    // Where the rows of one of `size` begin, who share the rows' work of some steps evenly.
    isize share(int rank, int size, isize begin, isize end) const {
        if (!lengths) return B * rank / size;
        const auto work = [&](isize row) {
            const isize own = lengths[row] - first;
            return own <= begin ? 0 : (own < end ? own : end) - begin;
        };
        isize all = 0, before = 0, row = 0;
        for (isize r = 0; r < B; ++r) all += work(r);
        if (rank == size) return B;
        for (; before * size < all * rank; ++row) before += work(row);
        return row;
    }
};

// A walk over all rows of some steps, step by step.
struct Walk {
    const Batch* over;
    isize step, row;

    Walk() = default;
    Walk(const Batch* over, isize step, isize skipped) : over(over), step(step), row(skipped) {
        while (row && row >= over->alive(this->step)) row -= over->alive(this->step++);
    }
    void next() {
        if (++row == over->alive(step)) ++step, row = 0;
    }
};

}  // namespace rnncore
