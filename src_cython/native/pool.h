// A small thread pool: workers that spin for a moment after a task, then sleep.
//
// People call NumPy between calls of this package, and two pools that spin fight: libgomp's default
// alternating with a threaded matmul made a 220 us kernel take 3600 us, a bounded spin 270.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
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

static inline void pause() {
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Something that threads wait for: they spin for a moment, then sleep.  Who waits too long has to
// sleep, not yield: where more threads than cores want to run, an idle core takes over the thread
// that all wait for, and a busy one does not.  A training step of two threads beside one busy
// process on two cores: 10 and 13 ms in two runs, where yielding took 13 and 48.
class Event {
    static constexpr auto SPIN = std::chrono::microseconds(20);  // 5 and 50 measured alike
    std::mutex mutex;
    std::condition_variable changed;

public:
    template <class Ready>
    void wait(Ready ready) {
        const auto until = std::chrono::steady_clock::now() + SPIN;
        do {
            for (int i = 0; i < 64; ++i) {
                if (ready()) return;
                pause();
            }
        } while (std::chrono::steady_clock::now() < until);
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, ready);
    }

    template <class Change>
    void announce(Change change) {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            change();
        }
        changed.notify_all();
    }
};

// Where all threads of a team wait for each other.
class Barrier {
    const int size;
    std::atomic<int> waiting{0}, round{0};
    Event next;

public:
    explicit Barrier(int size) : size(size) {}

    void wait() {
        const int now = round.load(std::memory_order_relaxed);
        if (waiting.fetch_add(1, std::memory_order_acq_rel) + 1 < size) {
            next.wait([&] { return round.load(std::memory_order_acquire) != now; });
        } else {
            waiting.store(0, std::memory_order_relaxed);
            next.announce([&] { round.store(now + 1, std::memory_order_release); });
        }
    }
};

class Pool {
    using Body = void (*)(void* context, int rank);

    std::mutex calling;
    Event called, finished;
    std::atomic<unsigned> task{0};  // counts the tasks given out
    std::atomic<int> working{0};
    Body body = nullptr;
    void* context = nullptr;
    int members = 1, workers = 0;
    const int process = RNNCORE_GETPID();

    void work(int rank, unsigned done) {
        const FlushDenormals mode;
        for (;;) {
            called.wait([&] { return task.load(std::memory_order_acquire) != done; });
            ++done;
            if (rank < members) body(context, rank);
            finished.announce([&] { working.fetch_sub(1, std::memory_order_release); });
        }
    }

    bool start_workers(int count) {
        try {
            while (workers < count) {
                std::thread(&Pool::work, this, workers + 1, task.load()).detach();
                ++workers;
            }
        } catch (const std::system_error&) {
        }
        return workers >= count;
    }

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

public:
    // Run body(context, rank) for every rank below `size`, the caller as rank 0.  False, and nothing
    // is done, if the pool works for another thread or the system gives no more threads.
    static bool run(int size, Body body, void* context) {
        Pool& pool = own();
        const std::unique_lock<std::mutex> lock(pool.calling, std::try_to_lock);
        if (!lock || !pool.start_workers(size - 1)) return false;
        pool.body = body;
        pool.context = context;
        pool.members = size;
        pool.working.store(pool.workers, std::memory_order_relaxed);
        pool.called.announce([&] { pool.task.fetch_add(1, std::memory_order_release); });
        body(context, 0);
        pool.finished.wait([&] { return pool.working.load(std::memory_order_acquire) == 0; });
        return true;
    }
};

}  // namespace rnncore
