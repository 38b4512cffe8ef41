// Work that threads share: tracks, each of which is a row of pieces that have to follow each other.
//
// A piece is claimed, not dealt out: a thread that is not there leaves its pieces to those that are, and
// nobody waits but for a piece that somebody is at.  No sum is split between pieces, so the bits of
// all results are those of one thread.
#pragma once

#include <deque>
#include <limits>
#include <vector>

#include "interrupts.h"
#include "pool.h"

namespace rnncore {

// Some tracks have to be `lead` ahead, or at their end, before the next piece can begin.
struct Need {
    int begin, end;
    isize lead;
};

constexpr int MOST_NEEDS = 4;

constexpr isize FINISHED = std::numeric_limits<isize>::max();

struct alignas(64) Track {
    std::atomic<isize> done{0};
    std::atomic<bool> taken{false};
    isize end = 0;
    int home = 0;  // the rank of the thread that should have it: the caches of its core hold its data
    isize (*run)(Track*) = nullptr;  // does the next piece and returns how far the track has come then
    int needs = 0;
    Need need[MOST_NEEDS];

    isize at() const { return done.load(std::memory_order_relaxed); }
    bool is_ahead(isize of) const {
        const isize at = done.load(std::memory_order_acquire);
        return at >= of || at >= end;
    }
    void after(int begin, int last, isize lead) { need[needs++] = Need{begin, last, lead}; }
};

// What the next layer waits for: of each direction, the tracks that write what it reads.
struct Neighbour {
    int passes = 0;
    int first[2], last[2];

    void add(int begin, int end) { first[passes] = begin, last[passes++] = end; }
};

// Where a track of a pass stands.
struct Position {
    isize pace = 1;   // steps of a piece
    isize most = 0;   // rows of a chunk of steps
    int slots = 1;    // chunks that there is room for
    isize chunk = -1, first = 0, until = 0;  // the one that it is at, and its steps
    isize step = 0, row = 0;                 // the next one, and its first row in the chunk
    int stage = -1;                          // the product that is next
};

// A track of a pass, with a copy of the pass that says which part of it this is.
template <class P>
struct PassTrack : Track {
    using Piece = isize (*)(P*, Position*, isize at);
    P pass;
    Position place;
    Piece piece;

    static isize run_piece(Track* track) {
        auto* own = static_cast<PassTrack*>(track);
        return own->piece(&own->pass, &own->place, own->at());
    }
};

class Crew final : public Job {
    static constexpr auto GRACE = std::chrono::microseconds(2);

    std::vector<Track*> tracks;
    std::vector<std::atomic<bool>> present;
    std::atomic<int> unfinished{0}, members{1}, pieces_of_others{0};
    std::atomic<bool> stopped{false};
    Bell progress;
    Pool* pool = nullptr;

    bool over() const { return unfinished.load() == 0 || stopped.load(); }

    bool ready(const Track& track) const {
        const isize at = track.done.load(std::memory_order_acquire);
        if (at >= track.end) return false;
        for (int n = 0; n < track.needs; ++n) {
            const Need& need = track.need[n];
            for (int k = need.begin; k < need.end; ++k) {
                if (!tracks[k]->is_ahead(at + need.lead)) return false;
            }
        }
        return true;
    }
    bool is_free(const Track& track) const {
        return !track.taken.load(std::memory_order_relaxed) && ready(track);
    }
    bool more_is_free() const {
        int count = 0;
        for (const Track* track : tracks) {
            if (is_free(*track) && ++count > 1) return true;
        }
        return false;
    }

    Track* claim(int rank, bool of_others) const {
        for (Track* track : tracks) {
            if (!of_others && track->home != rank && present[track->home].load()) continue;
            if (!is_free(*track) || track->taken.exchange(true)) continue;
            if (ready(*track)) return track;  // nobody did the piece in between
            track->taken.store(false);
        }
        return nullptr;
    }

    // A track that can go on; one of a thread that is there only after a moment, for it may be about to take
    // it itself.
    Track* find(int rank) const {
        Track* found = claim(rank, false);
        if (found || members.load() == 1) return found;
        Bell::spin([&] { return over() || (found = claim(rank, false)); }, GRACE);
        return found ? found : claim(rank, true);
    }

    void advance(Track& track) {
        const isize at = track.run(&track);
        if (at >= track.end) unfinished.fetch_sub(1);
        track.done.store(at);
        track.taken.store(false);
        if (!pool) return;
        progress.ring();
        if (members.load() > 1 && pool->has_sleepers() && more_is_free()) pool->call();
    }

    // What the thread that calls did since it invited others, and what it lost that was not counted yet.
    struct Account {
        Clock::time_point start{};
        int size = 1, pieces = 0, of_others = 0;
        Clock::duration run{}, worked{}, lost{}, slept{};

        void waited(Clock::duration time) {
            lost += time;
            if (time > Bell::SPIN) slept += time - Bell::SPIN;
        }
        Clock::duration of_piece() const { return worked / std::max(1, pieces); }
        // At the end, the time beside the waits in which this thread did not run (waits sleep, but for the
        // first moment).  It made its own pieces look longer, and so what others did.
        void count_not_run(Clock::time_point now) {
            const auto time = now - start - (time_run() - run) - slept;
            if (time > Clock::duration::zero()) lost += time + of_others * (time / std::max(1, pieces));
        }
    };

    Account invite(int size, Clock::time_point now) {
        members.store(pool->caution.allowed(size, now));
        if (members.load() == 1) return Account{};
        Account account;
        account.start = now, account.size = size, account.run = time_run();
        pool->give(this);
        account.lost = Clock::now() - now;  // to wake a thread takes a call of the system
        return account;
    }

    // Others' pieces count for as long as one takes this thread; where there was nobody, nothing counts.
    void settle(Account& account, Clock::time_point now, bool ends = false) {
        if (account.size == 1) return;
        const int others = pieces_of_others.exchange(0, std::memory_order_relaxed);
        const Clock::duration gained = others * account.of_piece();
        account.of_others += others;
        if (ends) account.count_not_run(now);
        pool->caution.count(gained, account.lost, account.size, now);
        account.lost = Clock::duration::zero();
        members.store(pool->caution.allowed(account.size, now));
    }

public:
    void add(Track* track) { tracks.push_back(track); }
    int count() const { return int(tracks.size()); }

    void work(int rank) override {
        if (rank >= members.load()) return;
        present[rank].store(true);
        while (!over() && rank < members.load()) {
            Track* track = find(rank);
            if (!track) {
                Bell::spin([&] { return over() || (track = claim(rank, true)); });
                if (!track) break;
            }
            advance(*track);
            pieces_of_others.fetch_add(1, std::memory_order_relaxed);
        }
        present[rank].store(false);
    }

    // Do all that there is, with a team of at most `size`; false if this thread was interrupted.
    bool run(int size) {
        const FlushDenormals mode;
        for (const Track* track : tracks) unfinished += track->at() < track->end;
        present = std::vector<std::atomic<bool>>(size);
        present[0].store(true);
        if (size > 1 && Pool::own().take(size)) pool = &Pool::own();
        Clock::time_point now = Clock::now(), asked = now;
        Account account = pool ? invite(size, now) : Account{};
        while (!over()) {
            Track* track = find(0);
            if (!track) {
                const Clock::time_point before = Clock::now();
                progress.wait([&] { return over() || (track = claim(0, true)); });
                now = Clock::now();
                account.waited(now - before);
                settle(account, now);
                if (!track) break;
            }
            advance(*track);
            const Clock::time_point then = now;
            now = Clock::now();
            account.worked += now - then;
            ++account.pieces;
            if (over()) break;
            if (pool && members.load() < size && !pool->caution.rests(now))
                account = invite(size, now);
            if (now - asked > UNASKED) {
                asked = now;
                if (interrupted()) stopped.store(true);
            }
        }
        if (pool) {
            const Clock::time_point before = Clock::now();
            pool->dismiss();
            now = Clock::now();
            account.waited(now - before);
            settle(account, now, true);
            pool->release();
        }
        return !stopped.load();
    }
};

// The tracks of a kind of pass.
template <class P>
struct Tracks {
    std::deque<PassTrack<P>> all;

    PassTrack<P>* add(Crew& crew, const P& pass, isize end, int home,
                      typename PassTrack<P>::Piece piece) {
        PassTrack<P>& track = all.emplace_back();
        track.pass = pass;
        track.end = end;
        track.home = home;
        track.piece = piece;
        track.run = PassTrack<P>::run_piece;
        crew.add(&track);
        return &track;
    }
};

}  // namespace rnncore
