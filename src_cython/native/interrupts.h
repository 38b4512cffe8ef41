// Long work that Ctrl-C, or another signal, may end.
//
// Python calls the handlers of signals in its main thread alone, and there only when asked to.
#pragma once

#include <Python.h>

#include <chrono>

namespace rnncore {

// How long at most nobody asks.
constexpr auto UNASKED = std::chrono::milliseconds(20);

// Whether another runtime has lent this thread: then it does not ask, for it must not wait for Python.
static inline bool& lent() {
    static thread_local bool of_others = false;
    return of_others;
}

// Whether a handler has raised an exception in this thread: it is that of who called.
static inline bool interrupted() {
    if (lent()) return false;
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool raised = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return raised;
}

// Ends work that nobody else takes part in.
struct Interrupted {};

// Of work that one thread does: told how far it is, it asks now and then, and throws.
class SignalWatch {
    using Clock = std::chrono::steady_clock;
    static constexpr Py_ssize_t OFTEN = 1 << 17;  // elements, some tens of us; the clock costs as many ns
    Py_ssize_t unseen = 0;
    Clock::time_point asked{};

public:
    void after(Py_ssize_t elements) {
        unseen += elements;
        if (unseen < OFTEN) return;
        unseen = 0;
        const Clock::time_point now = Clock::now();
        if (asked == Clock::time_point{}) asked = now;
        if (now - asked <= UNASKED) return;
        asked = now;
        if (interrupted()) throw Interrupted{};
    }
};

}  // namespace rnncore
