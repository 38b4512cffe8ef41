// The memory of a trace: where its arrays lie.
#pragma once

#include "recurrence.h"

namespace rnncore {

// In elements, each at a cache line; -1: there is none.  The first line is that of the header.
struct Room {
    isize size, state[MOST_STATES], gates, made[MOST_STATES], h_in;
};

// `zoned` has a bit for every state.
template <class T>
static inline Room room_of(const Pass<T>& p, bool h_masked, int zoned) {
    constexpr isize line = 64 / sizeof(T);
    const Cell<T>& cell = *p.cell;
    Room room{};
    room.size = line;
    const auto piece = [&](bool wanted, isize steps, isize width) {
        const isize at = room.size;
        if (wanted) room.size += (steps * p.B * width + line - 1) / line * line;
        return wanted ? at : -1;
    };
    for (int s = 0; s < cell.states; ++s)
        room.state[s] = piece(true, p.steps + 1, p.state[s].width());
    room.gates = piece(cell.slots > 1, p.steps, p.gates_width());  // of one slot h says all
    for (int s = 0; s < cell.states; ++s) {
        const bool projected = s == 0 && cell.options & PROJECTION;
        room.made[s] = piece(zoned >> s & 1 || projected, p.steps, p.width());
    }
    room.h_in = piece(h_masked, p.steps, p.h_width());
    return room;
}

}  // namespace rnncore
