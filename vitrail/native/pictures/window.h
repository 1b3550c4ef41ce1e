// Two neighboring taps for each lane of a register, picked out of a row of bytes, wherever they lie within reach.
#pragma once
#include "basics.h"

#if SIXTY_FOUR

constexpr int SHARED = 16, NEAR = 64;  // so many lanes look into the same so many bytes, or into twice as many (FAR)
constexpr Byte NOWHERE = 0;            // masked out

template <bool FAR> struct Window {
    const Vector picks;
    const Byte* from;

    METHOD Window(const Byte* picks, const Byte* first, const Byte*) : picks(load(picks)), from(first) {}

    METHOD Vector taps(int64_t at) const {
        const __mmask64 even = 0x5555555555555555;  // bytes become words
        const Vector near = load(from + at);
        return FAR ? _mm512_maskz_permutex2var_epi8(even, near, picks, load(from + at + NEAR))
                   : _mm512_maskz_permutexvar_epi8(even, picks, near);
    }
};

#else

constexpr int SHARED = 4, NEAR = 16;
constexpr Byte NOWHERE = 255;  // a shuffle gives zero for places from 128 on

template <bool FAR> struct Window {
    const Vector near, far;
    const Byte *first, *last;

    METHOD Window(const Byte* picks, const Byte* first, const Byte* last)
        : near(_mm256_adds_epu8(load(picks), _mm256_set1_epi8(FAR ? 128 - NEAR : 0))),
          far(_mm256_sub_epi8(load(picks), _mm256_set1_epi8(NEAR))), first(first), last(last) {}

    METHOD Vector both(int64_t at) const {
        return _mm256_inserti128_si256(_mm256_castsi128_si256(load_half(first + at)), load_half(last + at), 1);
    }
    METHOD Vector taps(int64_t at) const {
        const Vector some = _mm256_shuffle_epi8(both(at), near);
        return FAR ? either(some, _mm256_shuffle_epi8(both(at + NEAR), far)) : some;
    }
};

#endif
