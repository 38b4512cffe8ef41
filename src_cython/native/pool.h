// A small thread pool: workers that spin for a moment after a task, then sleep.
//
// People call NumPy and torch between calls of this package, and pools that spin fight for the cores.
// So a worker soon sleeps, and a team whose members are kept from running is sent away for a while:
// a call then takes what it takes on one thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(_WIN32)
#include <process.h>
#define RNNCORE_GETPID _getpid
#else
#include <unistd.h>
#define RNNCORE_GETPID getpid
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "denormals.h"
#include "vec.h"

namespace rnncore {

using Clock = std::chrono::steady_clock;

// How long this thread has run: what is missing of the time that passed, others have had.
static inline Clock::duration time_run() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
    timespec time;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0)
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
#endif
    return Clock::now().time_since_epoch();
}

static inline void pause() {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// What threads wait by: they spin for a moment, then sleep.  Who waits too long has to sleep, not yield:
// where more threads than cores want to run, an idle core takes over the thread that all wait for, and
// a busy one does not.  A training step of two threads beside one busy process on two cores: 10 and 13
// ms in two runs, where yielding took 13 and 48.
class Bell {
public:
    static constexpr auto SPIN = std::chrono::microseconds(20);  // 5 and 50 measured alike

    template <class Ready>
    static bool spin(Ready ready, Clock::duration time = SPIN) {
        const auto until = Clock::now() + time;
        do {
            for (int i = 0; i < 64; ++i) {
                if (ready()) return true;
                pause();
            }
        } while (Clock::now() < until);
        return false;
    }

    template <class Ready>
    void wait(Ready ready) {
        if (spin(ready)) return;
        std::unique_lock<std::mutex> lock(mutex);
        sleeping.fetch_add(1);  // before the last look: who changes something looks for sleepers after it
        rung.wait(lock, ready);
        sleeping.fetch_sub(1);
    }

    bool has_sleepers() const { return sleeping.load() > 0; }

    void ring() {
        if (!has_sleepers()) return;
        { const std::lock_guard<std::mutex> lock(mutex); }
        rung.notify_all();
    }

private:
    std::atomic<int> sleeping{0};
    std::mutex mutex;
    std::condition_variable rung;
};

// How large a team may be, by what it gained and lost so far: gained are the pieces that others did,
// lost is the time in which the thread that calls waits for them, or does not run: a system may let a
// thread that it wakes have the core of the one that woke it.  Others may be kept from running, by
// other programs or by threads of other libraries that spin.  Once more is lost than gained, half of the team
// works for twenty times as long as what is lacking, and twice as long where that comes again at once: so
// wherever it runs, a twentieth of the time is lost at most.  The credit has to outlast what disturbs a quiet
// machine: with 1 ms a virtual one, which was kept waiting itself for 1 % of the time, rested nearly always.  Nor
// does one loss count for more than twice the credit: such a machine may stand still for 200 ms, once.
class Caution {
    using Time = Clock::duration;
    static constexpr int MADE_UP = 20;
    static constexpr Time CREDIT = std::chrono::milliseconds(10), LONGEST = std::chrono::seconds(2);
    Clock::time_point until{}, trusted{};
    Time balance = CREDIT, rest{};
    int few = 1;

public:
    bool rests(Clock::time_point now) const { return now < until; }
    int allowed(int size, Clock::time_point now) const {
        return rests(now) && few < size ? few : size;
    }

    void count(Time gained, Time lost, int size, Clock::time_point now) {
        balance += gained - std::min(lost, 2 * CREDIT);
        if (balance > CREDIT) balance = CREDIT;
        if (balance >= Time::zero()) return;
        rest = now < trusted ? 2 * rest : Time::zero();
        rest = std::min(std::max(rest, MADE_UP * (CREDIT - balance)), LONGEST);
        few = std::max(1, size / 2);
        until = now + rest;
        trusted = until + rest;
        balance = CREDIT;
    }
};

// What a team does together; `work` returns when nothing is left that this thread could do.
class Job {
public:
    virtual void work(int rank) = 0;

protected:
    ~Job() = default;
};

class Pool {
    std::mutex calling;
    std::atomic<Job*> job{nullptr};
    std::atomic<int> inside{0};      // workers that look at the job
    std::atomic<unsigned> calls{0};  // counts how often they were called
    Bell called, left;
    int workers = 0;
    const int process = RNNCORE_GETPID();

    void serve(int rank, unsigned seen) {
        const FlushDenormals mode;
        for (;;) {
            called.wait([&] { return calls.load() != seen; });
            seen = calls.load();
            inside.fetch_add(1);
            Job* now = job.load();
            if (now) now->work(rank);
            inside.fetch_sub(1);
            left.ring();
        }
    }

    bool start_workers(int count) {
        try {
            while (workers < count) {
                std::thread(&Pool::serve, this, workers + 1, calls.load()).detach();
                ++workers;
            }
        } catch (const std::system_error&) {
        }
        return workers >= count;
    }

public:
    Caution caution;  // of the thread that calls

    // The pool of this process: a child after a fork has none of its parent's threads.  A pool is
    // never taken down, for its workers sleep until the process ends.
    static Pool& own() {
        static std::atomic<Pool*> pool{nullptr};
        Pool* now = pool.load();
        while (!now || now->process != RNNCORE_GETPID()) {
            Pool* fresh = new Pool;
            if (pool.compare_exchange_strong(now, fresh)) return *fresh;
            delete fresh;  // another thread was first
        }
        return *now;
    }

    // Take the pool for a team of at most `size`; false if it works for another thread or the system gives
    // no more threads.
    bool take(int size) {
        if (!calling.try_lock()) return false;
        if (start_workers(size - 1)) return true;
        calling.unlock();
        return false;
    }

    void give(Job* to) {
        job.store(to);
        call();
    }
    // Let workers come back to the job, who found nothing to do.
    void call() {
        calls.fetch_add(1);
        called.ring();
    }
    bool has_sleepers() const { return called.has_sleepers(); }

    // Let none come any more, and wait for those who did: they leave where they find nothing to do.
    void dismiss() {
        job.store(nullptr);
        left.wait([&] { return inside.load() == 0; });
    }
    void release() { calling.unlock(); }
};

}  // namespace rnncore
