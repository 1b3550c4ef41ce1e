// As many numbers at once as a register of this processor has floats, in the vector extensions of GCC and Clang. In
// memory they are fp32 or bf16, the upper half of a float; what is computed in between is float.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error the first of two numbers in a word must be its lower half
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
typedef int64_t Count;

#if defined(__AVX512F__)
constexpr Count LANES = 16;
#else
constexpr Count LANES = 8;
#endif
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

template <class Number> constexpr Count PER_WORD = sizeof(uint32_t) / sizeof(Number);

INLINE Count up_to(Count number, Count multiple) { return (number + multiple - 1) / multiple * multiple; }

template <class Vector, class Number> INLINE Vector load(const Number* from) {
    Vector lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}
template <class Vector, class Number> INLINE void store(Number* to, Vector lanes) { memcpy(to, &lanes, sizeof lanes); }

// Ask for what is read, or written, a little later: without it each line of memory that is not in the cache is waited
// for, and GELU takes twice as long. An address behind the end of an array does no harm.
constexpr Count AHEAD = 1024;
INLINE void will_read(const void* place) { __builtin_prefetch(place, 0); }
INLINE void will_write(const void* place) { __builtin_prefetch(place, 1); }

INLINE Floats all(float value) { return Floats{} + value; }
INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }  // b where either is not a number
INLINE Floats between(float low, Floats x, float high) {  // what is not a number stays so
    x = larger(all(low), x);
    return all(high) < x ? all(high) : x;
}

INLINE Floats widen(Halves halves) { return (Floats)(__builtin_convertvector(halves, Words) << 16); }
INLINE Floats read(const bf16* from) { return widen(load<Halves>(from)); }
INLINE Floats read(const float* from) { return load<Floats>(from); }

// To the nearest bf16, ties to even. Not-a-number stays one.
INLINE Halves narrow(Floats value) {
#if defined(__AVX512BF16__)
    return (Halves)_mm512_cvtneps_pbh((__m512)value);  // the same but for numbers below 2^-126, which become 0
#else
    Words bits = (Words)value, upper = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
#if defined(__AVX512F__)
    return (Halves)_mm512_cvtepi32_epi16((__m512i)upper);
#else
    return __builtin_convertvector(upper, Halves);
#endif
#endif
}
INLINE void write(bf16* to, Floats value) { store(to, narrow(value)); }
INLINE void write(float* to, Floats value) { store(to, value); }

// Two numbers, one below the other, in each word.
INLINE Words pair(Halves upper, Halves lower) {
    return __builtin_convertvector(upper, Words) | __builtin_convertvector(lower, Words) << 16;
}

#if defined(__AVX512F__)
INLINE float sum(Floats lanes) { return _mm512_reduce_add_ps((__m512)lanes); }
INLINE float largest(Floats lanes) { return _mm512_reduce_max_ps((__m512)lanes); }
#elif defined(__AVX2__)
INLINE float sum(Floats lanes) {
    const __m128 fours = _mm_add_ps(_mm256_castps256_ps128((__m256)lanes), _mm256_extractf128_ps((__m256)lanes, 1));
    const __m128 twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
    return _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)));
}
INLINE float largest(Floats lanes) {
    const __m128 fours = _mm_max_ps(_mm256_castps256_ps128((__m256)lanes), _mm256_extractf128_ps((__m256)lanes, 1));
    const __m128 twos = _mm_max_ps(fours, _mm_movehl_ps(fours, fours));
    return _mm_cvtss_f32(_mm_max_ss(twos, _mm_movehdup_ps(twos)));
}
#else
template <class Pick> INLINE float fold(Floats lanes, Pick pick) {
    float each[LANES];
    store(each, lanes);
    for (Count half = LANES / 2; half > 0; half /= 2)
        for (Count lane = 0; lane < half; lane++) each[lane] = pick(each[lane], each[lane + half]);
    return each[0];
}
INLINE float sum(Floats lanes) {
    return fold(lanes, [](float a, float b) { return a + b; });
}
INLINE float largest(Floats lanes) {
    return fold(lanes, [](float a, float b) { return a > b ? a : b; });
}
#endif

// 2^x to 2e-7 for x below 128, and 2^-126 below -126. A Taylor series between -1/2 and 1/2, times a power that is added
// to the exponent.
INLINE Floats exp2(Floats x) {
    const float half_mantissa = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, in the lowest bits
    x = larger(all(-126.0f), x);
    Floats shifted = x + half_mantissa, rest = x - (shifted - half_mantissa);
    Floats series = all(1.5403530e-4f);
    series = series * rest + 1.3333558e-3f;
    series = series * rest + 9.6181291e-3f;
    series = series * rest + 5.5504109e-2f;
    series = series * rest + 2.4022651e-1f;
    series = series * rest + 6.9314718e-1f;
    series = series * rest + 1.0f;
    return (Floats)((Words)series + ((Words)shifted << 23));
}

// 1 / x for 1 <= x < 2^126, to 2e-7: three of Newton's steps, which take less time than a division.
INLINE Floats reciprocal(Floats x) {
    Floats guess = (Floats)(0x7EF311C7u - (Words)x);
    for (int step = 0; step < 3; step++) guess = guess * (2.0f - x * guess);
    return guess;
}

// Work for numbers of so many bytes: is called with one of their type.
template <class Work> INLINE void for_numbers(Count bytes, Work work) {
    if (bytes == sizeof(bf16)) work(bf16());
    else work(float());
}
