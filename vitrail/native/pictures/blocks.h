// From blocks of numbers to samples: the inverse discrete cosine transform, to the bit as libjpeg's accurate one ("islow",
// after Loeffler, Ligtenberg and Moschytz, 1989), of sixteen blocks at once, one in each lane.
#pragma once
#include "header.h"

typedef int32_t Lanes __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef int16_t Shorts __attribute__((vector_size(32)));
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef Byte Bytes __attribute__((vector_size(16)));

// What only numbers of damaged files do: sums that are too large for 16 bits wrap around, as in libjpeg-turbo.
INLINE Words wrapped(Words sum) { return (Words)((Lanes)(sum << 16) >> 16); }

// sample = (sum + half) >> bits
INLINE Words descale(Words sum, int bits) { return (Words)((Lanes)(sum + (1u << (bits - 1))) >> bits); }

// Eight numbers along one axis, in place. The constants are cosines times 2^13, as libjpeg rounds them.
INLINE void transform(Words in[SIDE], int bits) {
    Words even = (in[2] + in[6]) * 4433u;
    Words two = even - in[6] * 15137u, three = even + in[2] * 6270u;
    Words zero = wrapped(in[0] + in[4]) << 13, one = wrapped(in[0] - in[4]) << 13;
    const Words sums[4] = {zero + three, one + two, one - two, zero - three};

    Words a = in[7] + in[1], b = in[5] + in[3], c = wrapped(in[7] + in[3]), d = wrapped(in[5] + in[1]);
    const Words all = (c + d) * 9633u;
    a *= -7373u, b *= -20995u, c = all - c * 16069u, d = all - d * 3196u;
    const Words differences[4] = {in[1] * 12299u + a + d, in[3] * 25172u + b + c, in[5] * 16819u + b + d,
                                  in[7] * 2446u + a + c};
    for (int place = 0; place < 4; place++) {
        in[place] = descale(sums[place] + differences[place], bits);
        in[SIDE - 1 - place] = descale(sums[place] - differences[place], bits);
    }
}

#if HAS_AVX512
INLINE __m256i load(const int16_t* from) { return _mm256_loadu_si256((const __m256i*)from); }
INLINE Words read(const int16_t* from) { return (Words)_mm512_cvtepi16_epi32(load(from)); }
INLINE Words read(const int16_t* from, int16_t step) {
    return (Words)_mm512_cvtepi16_epi32(_mm256_mullo_epi16(load(from), _mm256_set1_epi16(step)));
}
INLINE void write(int16_t* to, Words number) {
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtsepi32_epi16((__m512i)number));
}
INLINE Bytes clamped(Words sample) {
    const __m512i level = _mm512_max_epi32((__m512i)(sample + 128u), _mm512_setzero_si512());
    return (Bytes)_mm512_cvtusepi32_epi8(level);
}
#else
INLINE Shorts load(const int16_t* from) {
    Shorts shorts;
    memcpy(&shorts, from, sizeof shorts);
    return shorts;
}
INLINE Words read(const int16_t* from) { return (Words)__builtin_convertvector(load(from), Lanes); }
INLINE Words read(const int16_t* from, int16_t step) {
    return (Words)__builtin_convertvector(load(from) * step, Lanes);
}
INLINE Shorts between(Lanes low, Words number, Lanes high) {
    Lanes level = (Lanes)number;
    level = level < low ? low : level;
    level = level > high ? high : level;
    return __builtin_convertvector(level, Shorts);
}
INLINE void write(int16_t* to, Words number) {
    const Shorts shorts = between(Lanes{} - 32768, number, Lanes{} + 32767);
    memcpy(to, &shorts, sizeof shorts);
}
INLINE Bytes clamped(Words sample) {
    return __builtin_convertvector(between(Lanes{}, sample + 128u, Lanes{} + 255), Bytes);
}
#endif

INLINE Bytes lower(Bytes a, Bytes b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
INLINE Bytes upper(Bytes a, Bytes b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Blocks that wait until there are sixteen, and where their samples go.
struct Group {
    alignas(64) int16_t numbers[NUMBERS][LANES];
    Byte* target[LANES];
    int64_t stride[LANES];  // bytes from one row of samples to the next
    int count = 0;
    bool damaged = false;  // numbers that no picture has, with which libjpeg-turbo does now this, now that
    const int16_t* steps = nullptr;  // of quantization

    Group() { clear(); }
    void clear() { memset(numbers, 0, sizeof numbers), count = 0; }
    int16_t* next() { return &numbers[0][count]; }

    void add(Byte* to, int64_t row) {
        target[count] = to, stride[count] = row;
        if (++count == LANES) finish();
    }

    void finish() {
        alignas(64) int16_t work[NUMBERS][LANES];
        Words line[SIDE];
        Lanes beyond = {};
        for (int column = 0; column < SIDE; column++) {
            for (int row = 0; row < SIDE; row++) {
                const int place = row * SIDE + column;
                line[row] = read(numbers[place], steps[place]);
            }
            beyond |= line[0] + 8192u > 16383u;
            transform(line, 13 - 2);
            for (int row = 0; row < SIDE; row++) write(work[row * SIDE + column], line[row]);
        }
        for (int row = 0; row < SIDE; row++) {
            for (int column = 0; column < SIDE; column++) line[column] = read(work[row * SIDE + column]);
            transform(line, 13 + 2 + 3);
            put(row, line);
        }
        for (int lane = 0; lane < LANES; lane++) damaged |= beyond[lane] != 0;
        clear();
    }

    // One row of all blocks: lanes to eight neighboring bytes each.
    void put(int row, const Words line[SIDE]) {
        Bytes bytes[SIDE], mixed[SIDE];
        for (int column = 0; column < SIDE; column++) bytes[column] = clamped(line[column]);
        for (int step = 0; step < 3; step++) {  // each brings columns together that are half of the others apart
            for (int column = 0; column < SIDE / 2; column++) {
                mixed[2 * column] = lower(bytes[column], bytes[column + SIDE / 2]);
                mixed[2 * column + 1] = upper(bytes[column], bytes[column + SIDE / 2]);
            }
            memcpy(bytes, mixed, sizeof bytes);
        }
        Byte samples[LANES][SIDE];
        memcpy(samples, bytes, sizeof samples);
        for (int lane = 0; lane < count; lane++)
            memcpy(target[lane] + row * stride[lane], samples[lane], SIDE);
    }
};
