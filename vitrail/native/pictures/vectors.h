// The instructions that the other files use, once: of AVX-512 (with VBMI and VNNI), or of AVX2 on half as many numbers.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)

#define SIXTY_FOUR 1  // bytes of one register
#define SIMD(name) _mm512_##name
constexpr int BYTES = 64;
typedef __m512i Vector;
typedef __m256i Half;

INLINE Vector zeros() { return _mm512_setzero_si512(); }
INLINE Vector load(const void* from) { return _mm512_loadu_si512(from); }
INLINE void store(void* to, Vector vector) { _mm512_storeu_si512(to, vector); }
INLINE Vector either(Vector a, Vector b) { return _mm512_or_si512(a, b); }
INLINE bool any(Vector bits, Vector of) { return _mm512_test_epi16_mask(bits, of) != 0; }

// Turn the bytes of each sixteen.
INLINE Vector turned(Vector bytes, __m128i turn) { return _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(turn)); }

// sum + products of neighboring words, two by two
INLINE Vector add_products(Vector sum, Vector a, Vector b) { return _mm512_dpwssd_epi32(sum, a, b); }
INLINE int total(Vector sums) { return _mm512_reduce_add_epi32(sums); }

// As many bytes as there are words in a register.
INLINE Half load_half(const void* from) { return _mm256_loadu_si256((const __m256i*)from); }
INLINE void store_half(void* to, Half half) { _mm256_storeu_si256((__m256i*)to, half); }

// Words that are not negative to bytes, those that are too large to 255; likewise sums.
INLINE Half words_to_bytes(Vector words) { return _mm512_cvtusepi16_epi8(words); }
INLINE void store_sums(void* to, Vector sums) { _mm_storeu_si128((__m128i*)to, _mm512_cvtusepi32_epi8(sums)); }

INLINE __m512 floats(const uint8_t* from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from)));
}

#elif defined(__AVX2__)

#define SIXTY_FOUR 0
#define SIMD(name) _mm256_##name
constexpr int BYTES = 32;
typedef __m256i Vector;
typedef __m128i Half;

INLINE Vector zeros() { return _mm256_setzero_si256(); }
INLINE Vector load(const void* from) { return _mm256_loadu_si256((const __m256i*)from); }
INLINE void store(void* to, Vector vector) { _mm256_storeu_si256((__m256i*)to, vector); }
INLINE Vector either(Vector a, Vector b) { return _mm256_or_si256(a, b); }
INLINE bool any(Vector bits, Vector of) { return !_mm256_testz_si256(bits, of); }

INLINE Vector turned(Vector bytes, __m128i turn) {
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(turn));
}

INLINE Vector add_products(Vector sum, Vector a, Vector b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
INLINE int total(Vector sums) {
    const __m128i fours = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    const __m128i twos = _mm_add_epi32(fours, _mm_shuffle_epi32(fours, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(twos, _mm_shuffle_epi32(twos, 0xb1)));
}

INLINE Half load_half(const void* from) { return _mm_loadu_si128((const __m128i*)from); }
INLINE void store_half(void* to, Half half) { _mm_storeu_si128((__m128i*)to, half); }

INLINE Half words_to_bytes(Vector words) {
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
INLINE void store_sums(void* to, Vector sums) {
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storel_epi64((__m128i*)to, _mm_packus_epi16(words, words));
}

INLINE __m256 floats(const uint8_t* from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from)));
}

#else
#error made for processors with AVX2
#endif

constexpr int WORDS = BYTES / 2, LANES = BYTES / 4;  // numbers of 16 and of 32 bits in one register
