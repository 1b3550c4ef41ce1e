// What the other files share.
#pragma once
#if !defined(__AVX512VBMI__) || !defined(__AVX512VNNI__) || !defined(__AVX512BW__)
#error made for processors with AVX-512 (VBMI and VNNI)
#endif
#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))
#define METHOD inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

typedef uint8_t Byte;

constexpr int WORDS = 32;  // of 16 bits, in one register

// 32 bytes as words.
INLINE __m512i wide(const Byte* from) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)from)); }
INLINE __m512i load(const int16_t* from) { return _mm512_loadu_si512(from); }

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
