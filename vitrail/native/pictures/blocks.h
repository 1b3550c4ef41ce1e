// From blocks of numbers to samples: the inverse discrete cosine transform, to the bit as libjpeg's accurate one
// ("islow", after Loeffler, Ligtenberg and Moschytz, 1989), of as many blocks at once as a register has lanes.
#pragma once
#include "header.h"

// Of pairs of 16 bits: low * (the first of each) + high * (the second), in 32.
INLINE Vector products(Vector pairs, int low, int high) {
    return SIMD(madd_epi16)(pairs, SIMD(set1_epi32)((int)((uint32_t)high << 16 | (uint16_t)low)));
}
INLINE Vector sum(Vector a, Vector b) { return SIMD(add_epi32)(a, b); }
INLINE Vector difference(Vector a, Vector b) { return SIMD(sub_epi32)(a, b); }

// The larger of what there was and of the sizes of some numbers.
INLINE void follow(Vector& largest, Vector shorts) { largest = SIMD(max_epu16)(largest, SIMD(abs_epi16)(shorts)); }

// Two sums of 32 bits to pairs of 16.
INLINE Vector together(Vector low, Vector high) {
    const __m128i turn = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return turned(SIMD(packs_epi32)(low, high), turn);
}

// Eight numbers along one axis, in the pairs of PAIRS, as sums of 2^BITS, to which `more` is added before they are
// divided. The constants are those of libjpeg, cosines times 2^13: 4433, 6270 and 15137 for the even numbers and 2446,
// 3196, 7373, 9633, 12299, 16069, 16819, 20995 and 25172 for the odd ones, multiplied out.
template <int BITS> INLINE void transform(const Vector in[SIDE / 2], int more, Vector out[SIDE]) {
    const Vector half = SIMD(set1_epi32)(more);
    const Vector zero = sum(products(in[0], 8192, 8192), half), one = sum(products(in[0], 8192, -8192), half);
    const Vector two = products(in[1], 4433, 4433 - 15137), three = products(in[1], 4433 + 6270, 4433);
    const Vector even[] = {sum(zero, three), sum(one, two), difference(one, two), difference(zero, three)};
    const int all = 9633, c = all - 16069, d = all - 3196;
    const Vector odd[] = {
        sum(products(in[2], all - 7373, 12299 - 7373 + d), products(in[3], d, all)),
        sum(products(in[2], c, all), products(in[3], all - 20995, 25172 - 20995 + c)),
        sum(products(in[2], all, d), products(in[3], 16819 - 20995 + d, all - 20995)),
        sum(products(in[2], 2446 - 7373 + c, all - 7373), products(in[3], all, c))};
    for (int place = 0; place < SIDE / 2; place++) {
        out[place] = SIMD(srai_epi32)(sum(even[place], odd[place]), BITS);
        out[SIDE - 1 - place] = SIMD(srai_epi32)(difference(even[place], odd[place]), BITS);
    }
}

// Blocks that wait until there is one for each lane, and where their samples go.
struct Group {
    alignas(64) int16_t numbers[NUMBERS * LANES];  // as PLACES has them
    Byte* target[LANES];
    int64_t stride[LANES];           // bytes from one row of samples to the next
    int count = 0;
    const int16_t* steps = nullptr;  // of quantization, at the places of one block
    Vector largest = zeros();

    Group() { clear(); }
    void clear() { memset(numbers, 0, sizeof numbers), count = 0; }
    int16_t* next() { return numbers + 2 * count; }

    void add(Byte* to, int64_t row) {
        target[count] = to, stride[count] = row;
        if (++count == LANES) finish();
    }

    // Whether there were numbers that no picture has. libjpeg-turbo does now this, now that with them.
    bool damaged() const { return any(largest, SIMD(set1_epi16)((short)~8191)); }

    void finish() {
        Vector work[SIDE][SIDE / 2], lines[2][SIDE], in[SIDE / 2];
        for (int which = 0; which < SIDE / 2; which++) {
            for (int half = 0; half < 2; half++) {
                for (int each = 0; each < SIDE / 2; each++) {
                    const int place = PAIRS[which][half] * SIDE / 2 + each;
                    int32_t step;
                    memcpy(&step, steps + 2 * place, sizeof step);
                    in[each] = SIMD(mullo_epi16)(load(numbers + 2 * LANES * place), SIMD(set1_epi32)(step));
                    follow(largest, in[each]);
                }
                transform<13 - 2>(in, 1 << 10, lines[half]);
            }
            for (int row = 0; row < SIDE; row++) {
                work[row][which] = together(lines[0][row], lines[1][row]);
                follow(largest, SIMD(srai_epi16)(work[row][which], 1));
            }
        }
        for (int row = 0; row < SIDE; row++) {
            transform<13 + 2 + 3>(work[row], (1 << 17) + (128 << 18), lines[0]);
            put(row, lines[0]);
        }
        clear();
    }

    // One row of all blocks: lanes to eight neighboring bytes each.
    void put(int row, const Vector line[SIDE]) {
        const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        Vector fours[2];
        for (int which = 0; which < 2; which++) {
            const Vector* four = line + 4 * which;
            const Vector shorts[] = {SIMD(packs_epi32)(four[0], four[1]), SIMD(packs_epi32)(four[2], four[3])};
            fours[which] = turned(SIMD(packus_epi16)(shorts[0], shorts[1]), turn);
        }
        alignas(64) Byte samples[2][LANES / 4][2][SIDE];  // of lanes 0 and 1, 4 and 5, ...; then of 2 and 3, ...
        store(samples[0], SIMD(unpacklo_epi32)(fours[0], fours[1]));
        store(samples[1], SIMD(unpackhi_epi32)(fours[0], fours[1]));
        for (int lane = 0; lane < count; lane++)
            memcpy(target[lane] + row * stride[lane], samples[lane / 2 % 2][lane / 4][lane % 2], SIDE);
    }
};
