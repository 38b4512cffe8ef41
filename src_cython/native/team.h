// A team of threads that shares a pass.
#pragma once

#include "pool.h"

namespace rnncore {

// How many there are, and what they share: the rows, or the units of a single row.
struct Plan {
    int size;
    bool by_units;
};

// One thread's place in a team.
struct Team {
    int rank = 0, size = 1;
    bool by_units = false;
    Barrier* barrier = nullptr;

    void wait() const {
        if (barrier) barrier->wait();
    }
    isize begin(isize count) const { return count * rank / size; }
    isize end(isize count) const { return count * (rank + 1) / size; }
};

// Run a pass as planned, or on this thread alone if the others cannot be had.
template <class P>
static void run_team(const P* pass, Plan plan, void (*run)(P*)) {
    const FlushDenormals mode;
    struct Task {
        const P* pass;
        Plan plan;
        void (*run)(P*);
        Barrier barrier;
    } task{pass, plan, run, Barrier(plan.size)};
    const auto body = [](void* context, int rank) {
        Task& task = *static_cast<Task*>(context);
        P part = *task.pass;
        part.team = Team{rank, task.plan.size, task.plan.by_units, &task.barrier};
        task.run(&part);
    };
    if (plan.size > 1 && Pool::run(plan.size, body, &task)) return;
    P alone = *pass;
    alone.team = Team{};
    run(&alone);
}

}  // namespace rnncore
