// Passes of a stack that run together, each with its scratch, and the tracks of all.
#pragma once

#include <deque>

#include "arena.h"
#include "recurrence.h"
#include "track.h"

namespace rnncore {

template <class T>
struct Team {
    std::deque<Pass<T>> passes;
    std::deque<Arena<T>> scratch;
    Tracks<Pass<T>> tracks;
    Crew crew;
    Neighbour next, these;  // the layer that was added before, and the one that is being added

    Pass<T>* add(const Pass<T>& pass) {
        passes.push_back(pass);
        scratch.emplace_back();
        return &passes.back();
    }
    void end_layer() {
        next = these;
        these = Neighbour{};
    }
};

}  // namespace rnncore
