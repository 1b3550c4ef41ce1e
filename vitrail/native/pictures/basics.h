// What the other files share.
#pragma once
#include <cstdlib>
#include <cstring>

#include "vectors.h"

#define METHOD inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

typedef uint8_t Byte;

// Bytes as words.
INLINE Vector wide(const Byte* from) { return SIMD(cvtepu8_epi16)(load_half(from)); }

// Memory of one call, given back at its end.
template <class Number> struct Memory {
    Number* data = nullptr;

    Memory() = default;
    Memory(const Memory&) = delete;
    ~Memory() { free(data); }

    bool take(int64_t count) {
        data = (Number*)malloc(count * sizeof(Number));
        return data != nullptr;
    }
};
