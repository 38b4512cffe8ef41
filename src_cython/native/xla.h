// What XLA hands to a function of others, its "typed FFI" (xla/ffi/api/c_api.h of OpenXLA, major version 0).
//
// The C structures stand here, so that nothing of XLA is needed to build.  Each says its size, which is
// compared before anything behind it is read: those that lie within others have to be just as they are here,
// of those behind pointers more fields may follow.
#pragma once

#include <cstdint>
#include <cstdio>
#include <vector>

#include "interrupts.h"
#include "vec.h"

namespace rnncore {
namespace xla {

struct Extension {
    std::size_t size;
    int type;
    Extension* next;
};
struct Head {
    std::size_t size;
    Extension* extension;
};
struct Version {
    Head head;
    int major, minor;
};
struct ErrorToMake {
    Head head;
    const char* message;
    int code;
};
struct Api {
    Head head;
    Version version;
    const void* internal;
    void* (*make_error)(ErrorToMake*);
};
struct Buffer {
    Head head;
    int type;
    void* data;
    std::int64_t axes;
    const std::int64_t* sizes;
};
struct Array {
    int type;
    std::size_t count;
    const void* data;
};
struct List {
    Head head;
    std::int64_t count;
    const int* types;
    void** items;
};
struct Text {
    const char* at;
    std::size_t length;
};
struct Attributes {
    Head head;
    std::int64_t count;
    const int* types;
    Text** names;  // sorted
    void** items;
};
struct Frame {
    Head head;
    const Api* api;
    void* context;
    int stage;
    List arguments, results;
    Attributes attributes;
    void* future;  // does not count to the size
};
struct Metadata {
    std::size_t size;
    Version version;
    std::uint32_t traits;
};
struct MetadataExtension {
    Extension extension;
    Metadata* metadata;
};

// Of what is called often and takes no time.
#if defined(__GNUC__)
#define RNNCORE_ONCE __attribute__((noinline, cold))
#else
#define RNNCORE_ONCE
#endif

constexpr int MAJOR = 0;  // that the structures are of
constexpr int METADATA = 1, EXECUTE = 3, BUFFER = 1, ARRAY = 1;
constexpr int S32 = 4, S64 = 5, F32 = 11, F64 = 12;
constexpr int INVALID = 3, UNIMPLEMENTED = 12;  // codes of errors

// Arguments, or results, one after another.  Whatever is not as expected makes all that follows null.
class Buffers {
    const List* list = nullptr;
    std::int64_t at = 0;
    bool right = true;

public:
    Buffers() = default;
    explicit Buffers(const List& list) : list(&list) {}

    std::int64_t count() const { return list->count; }
    const Buffer* look() const {
        if (!right || at >= list->count || list->types[at] != BUFFER) return nullptr;
        const auto* buffer = static_cast<const Buffer*>(list->items[at]);
        return buffer->head.size >= sizeof(Buffer) ? buffer : nullptr;
    }
    // The next one, of so many elements of a type.
    RNNCORE_ONCE void* next(isize count, int type) {
        const Buffer* buffer = look();
        right = right && buffer && buffer->type == type;
        isize found = 1;
        if (right) {
            for (std::int64_t k = 0; k < buffer->axes; ++k) found *= buffer->sizes[k];
        }
        right = right && found == count;
        ++at;
        return right ? buffer->data : nullptr;
    }
    bool is_read() const { return right && at == list->count; }
};

// A call: what comes, what is wanted, how.
struct Call {
    Buffers arguments, results;
    const void* asked = nullptr;  // whole numbers that say what is to be done
    const double* reals = nullptr;
    isize asked_count = 0, reals_count = 0;
    char wrong[160] = {};

    // An attribute that is an array of one type.
    static const Array* attribute(const Attributes& all, char name, int type) {
        for (std::int64_t k = 0; k < all.count; ++k) {
            if (all.names[k]->length != 1 || all.names[k]->at[0] != name || all.types[k] != ARRAY) continue;
            const auto* array = static_cast<const Array*>(all.items[k]);
            if (array->type == type) return array;
        }
        return nullptr;
    }
    bool read(const Frame& frame) {
        const Array* whole = attribute(frame.attributes, 'a', S64);
        const Array* real = attribute(frame.attributes, 'r', F64);
        if (!whole || !real) return false;
        arguments = Buffers(frame.arguments), results = Buffers(frame.results);
        asked = whole->data, asked_count = whole->count;
        reals = static_cast<const double*>(real->data), reals_count = real->count;
        return true;
    }
};

RNNCORE_ONCE static void* refusal(const Frame* frame, const char* message, int code) {
    ErrorToMake error{{offsetof(ErrorToMake, code) + sizeof(int), nullptr}, message, code};
    return frame->api->make_error(&error);
}

// The table of a ragged batch, of `Batch`: the rows by falling length, their lengths, who is alive at a step.
RNNCORE_ONCE static bool read_lengths(Call* call, isize T, isize B, std::vector<isize>* table) {
    const auto* lengths = static_cast<const std::int32_t*>(call->arguments.next(B, S32));
    if (!lengths) return B == 0;
    table->assign(2 * B + T, 0);
    isize *order = table->data(), *ordered = order + B, *alive = ordered + B;
    for (isize r = 0; r < B; ++r) {
        if (lengths[r] < 0 || lengths[r] > T) {
            std::snprintf(call->wrong, sizeof call->wrong, "lengths has %d at row %lld, expected 0 to %lld",
                          int(lengths[r]), static_cast<long long>(r), static_cast<long long>(T));
            return false;
        }
        for (isize step = 0; step < lengths[r]; ++step) ++alive[step];
    }
    std::vector<isize> next(alive, alive + T);  // the place of the next row of such a length
    next.push_back(0);
    for (isize r = 0; r < B; ++r) {
        const isize place = next[lengths[r]]++;
        order[place] = r, ordered[place] = lengths[r];
    }
    return true;
}

// Say whether the structures of a call are those above; null if so.
static const char* unlike(const Frame* frame) {
    if (frame->api->version.major != MAJOR) return "XLA's foreign function interface has another major version";
    const bool same = frame->head.size >= offsetof(Frame, future) &&
                      frame->arguments.head.size == sizeof(List) &&
                      frame->results.head.size == sizeof(List) &&
                      frame->attributes.head.size == sizeof(Attributes);
    return same ? nullptr : "XLA's foreign function interface has structures of other sizes";
}

// Answer XLA, and let `run` do what a call is about; it returns whether it did, or says what is `wrong`.
// XLA takes its own version alone, so it is told the `minor` one that it has: those add fields, and the
// sizes tell at every call whether they are where they were.
static inline void* answer(Frame* frame, int (*run)(Call*), int minor) {
    auto* metadata = reinterpret_cast<MetadataExtension*>(frame->head.extension);
    if (metadata && metadata->extension.type == METADATA) {
        metadata->metadata->version.major = MAJOR;
        metadata->metadata->version.minor = minor;
        return nullptr;
    }
    if (frame->stage != EXECUTE) return nullptr;
    if (const char* message = unlike(frame)) return refusal(frame, message, UNIMPLEMENTED);
    lent() = true;
    Call call;
    const bool done = call.read(*frame) && run(&call);
    lent() = false;
    if (done) return nullptr;
    return refusal(frame, call.wrong[0] ? call.wrong : "arguments of other types or sizes than rnncore.jax gives",
                   INVALID);
}

}  // namespace xla
}  // namespace rnncore
