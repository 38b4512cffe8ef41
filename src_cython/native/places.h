// Where arrays of reals lie that are contiguous and at whole elements, and whether they overlap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vec.h"

namespace rnncore {

struct Place {
    char* data;
    isize size, itemsize;

    std::uintptr_t begin() const { return reinterpret_cast<std::uintptr_t>(data); }
    std::uintptr_t end() const { return begin() + size * itemsize; }
    bool wide() const { return itemsize == sizeof(double); }
    template <class T>
    T* reals() const {
        return reinterpret_cast<T*>(data);
    }
};

class Places {
    std::vector<Place> places;
    std::vector<isize> described;  // of each: element size, number of axes, the length of each

public:
    void reserve(isize count) {
        places.reserve(count);
        described.reserve(4 * count);
    }

    void add(void* data, isize itemsize, int axes, const isize* shape) {
        isize size = 1;
        described.push_back(itemsize);
        described.push_back(axes);
        for (int k = 0; k < axes; ++k) {
            described.push_back(shape[k]);
            size *= shape[k];
        }
        places.push_back({static_cast<char*>(data), size, itemsize});
    }

    isize count() const { return static_cast<isize>(places.size()); }
    const Place& operator[](isize k) const { return places[k]; }

    // The same shapes and element types.
    bool like(const Places& other) const { return described == other.described; }

    // Two lists of numbers are equal exactly when the arrays lie the same, one by one.
    std::vector<isize> layout() const {
        std::vector<isize> all(described);
        for (const Place& p : places) all.push_back(static_cast<isize>(p.begin()));
        return all;
    }

    // No byte belongs to two of them.
    bool apart() const {
        std::vector<Place> sorted = by_address(places);
        std::uintptr_t reached = 0;
        for (const Place& p : sorted) {
            if (p.begin() < reached) return false;
            reached = p.end();
        }
        return true;
    }

    // Some byte belongs to one of these and to one of the others.
    bool meets(const Places& other) const {
        const std::vector<Place> own = by_address(places), theirs = by_address(other.places);
        std::uintptr_t own_end = 0, their_end = 0;
        std::size_t j = 0, k = 0;
        while (j < own.size() || k < theirs.size()) {
            const bool next_is_own =
                k == theirs.size() || (j < own.size() && own[j].begin() < theirs[k].begin());
            const Place& next = next_is_own ? own[j++] : theirs[k++];
            if (next.begin() < (next_is_own ? their_end : own_end)) return true;
            std::uintptr_t& reached = next_is_own ? own_end : their_end;
            reached = std::max(reached, next.end());
        }
        return false;
    }

private:
    static std::vector<Place> by_address(const std::vector<Place>& all) {
        std::vector<Place> sorted;
        sorted.reserve(all.size());
        for (const Place& p : all) {
            if (p.size) sorted.push_back(p);
        }
        std::sort(sorted.begin(), sorted.end(), [](const Place& a, const Place& b) {
            return a.begin() < b.begin();
        });
        return sorted;
    }
};

}  // namespace rnncore
