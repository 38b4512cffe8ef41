// A call of a whole stack whose arrays are addresses: what another runtime hands over.
#pragma once

#include <vector>

#include "given.h"
#include "states.h"

namespace rnncore {

// Of one layer and direction.
template <class T>
struct ForeignCell {
    Given<T> given, d;       // the weights, and where their gradients are written to
    T* values[MOST_STATES];  // what a trace keeps, as wide as registers: (T + 1, B, width) of each state,
    T *gates, *made;         // (T, B, gates_width), and with a projection (T, B, width)
};

template <class T>
struct Foreign {
    Cell<T> cell;
    isize layers, directions, steps, B, I, H, P;
    bool batch_first;
    std::vector<isize> table;  // of ragged rows, as `Batch` has them; else empty
    std::vector<ForeignCell<T>> cells;
    std::vector<T*> sources;   // (T, B, columns): what every layer but the first reads
    T *x, *y;                  // y, or dy
    T *starts[MOST_STATES], *ends[MOST_STATES];  // (layers * directions, B, width), or their gradients
    T* dx;                     // (T, B, I)

    isize columns() const { return directions * P; }
};

}  // namespace rnncore
