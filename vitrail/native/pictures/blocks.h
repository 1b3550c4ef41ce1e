// From blocks of numbers to samples: the inverse discrete cosine transform, to the bit as libjpeg's accurate one
// ("islow", after Loeffler, Ligtenberg and Moschytz, 1989), of sixteen blocks at once, one in each lane.
#pragma once
#include "header.h"

typedef __m512i Words;  // sixteen of 32 bits, or as many pairs of 16

// low * (the first of each pair) + high * (the second)
INLINE Words products(Words pairs, int low, int high) {
    return _mm512_madd_epi16(pairs, _mm512_set1_epi32((int)((uint32_t)high << 16 | (uint16_t)low)));
}
INLINE Words sum(Words a, Words b) { return _mm512_add_epi32(a, b); }
INLINE Words difference(Words a, Words b) { return _mm512_sub_epi32(a, b); }

// The larger of what there was and of the sizes of 32 numbers.
INLINE void follow(Words& largest, Words shorts) { largest = _mm512_max_epu16(largest, _mm512_abs_epi16(shorts)); }

// Two sums of 32 bits to pairs of 16.
INLINE Words together(Words low, Words high) {
    const __m128i turn = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    return _mm512_shuffle_epi8(_mm512_packs_epi32(low, high), _mm512_broadcast_i32x4(turn));
}

// Eight numbers along one axis, in the pairs of PAIRS, as sums of 2^BITS, to which `more` is added before they are
// divided. The constants are those of libjpeg, cosines times 2^13: 4433, 6270 and 15137 for the even numbers and 2446,
// 3196, 7373, 9633, 12299, 16069, 16819, 20995 and 25172 for the odd ones, multiplied out.
template <int BITS> INLINE void transform(const Words in[SIDE / 2], int more, Words out[SIDE]) {
    const Words half = _mm512_set1_epi32(more);
    const Words zero = sum(products(in[0], 8192, 8192), half), one = sum(products(in[0], 8192, -8192), half);
    const Words two = products(in[1], 4433, 4433 - 15137), three = products(in[1], 4433 + 6270, 4433);
    const Words even[] = {sum(zero, three), sum(one, two), difference(one, two), difference(zero, three)};
    const int all = 9633, c = all - 16069, d = all - 3196;
    const Words odd[] = {
        sum(products(in[2], all - 7373, 12299 - 7373 + d), products(in[3], d, all)),
        sum(products(in[2], c, all), products(in[3], all - 20995, 25172 - 20995 + c)),
        sum(products(in[2], all, d), products(in[3], 16819 - 20995 + d, all - 20995)),
        sum(products(in[2], 2446 - 7373 + c, all - 7373), products(in[3], all, c))};
    for (int place = 0; place < SIDE / 2; place++) {
        out[place] = _mm512_srai_epi32(sum(even[place], odd[place]), BITS);
        out[SIDE - 1 - place] = _mm512_srai_epi32(difference(even[place], odd[place]), BITS);
    }
}

// Blocks that wait until there are sixteen, and where their samples go.
struct Group {
    alignas(64) int16_t numbers[NUMBERS * LANES];  // as PLACES has them
    Byte* target[LANES];
    int64_t stride[LANES];           // bytes from one row of samples to the next
    int count = 0;
    const int16_t* steps = nullptr;  // of quantization, at the places of one block
    Words largest = _mm512_setzero_si512();

    Group() { clear(); }
    void clear() { memset(numbers, 0, sizeof numbers), count = 0; }
    int16_t* next() { return numbers + 2 * count; }

    void add(Byte* to, int64_t row) {
        target[count] = to, stride[count] = row;
        if (++count == LANES) finish();
    }

    // Whether there were numbers that no picture has. libjpeg-turbo does now this, now that with them.
    bool damaged() const { return _mm512_cmpgt_epu16_mask(largest, _mm512_set1_epi16(8191)) != 0; }

    void finish() {
        Words work[SIDE][SIDE / 2], lines[2][SIDE], in[SIDE / 2];
        for (int which = 0; which < SIDE / 2; which++) {
            for (int half = 0; half < 2; half++) {
                for (int each = 0; each < SIDE / 2; each++) {
                    const int place = PAIRS[which][half] * SIDE / 2 + each;
                    int32_t step;
                    memcpy(&step, steps + 2 * place, sizeof step);
                    in[each] = _mm512_mullo_epi16(load(numbers + 2 * LANES * place), _mm512_set1_epi32(step));
                    follow(largest, in[each]);
                }
                transform<13 - 2>(in, 1 << 10, lines[half]);
            }
            for (int row = 0; row < SIDE; row++) {
                work[row][which] = together(lines[0][row], lines[1][row]);
                follow(largest, _mm512_srai_epi16(work[row][which], 1));
            }
        }
        for (int row = 0; row < SIDE; row++) {
            transform<13 + 2 + 3>(work[row], (1 << 17) + (128 << 18), lines[0]);
            put(row, lines[0]);
        }
        clear();
    }

    // One row of all blocks: lanes to eight neighboring bytes each.
    void put(int row, const Words line[SIDE]) {
        const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        Words fours[2];
        for (int which = 0; which < 2; which++) {
            const Words* four = line + 4 * which;
            const Words shorts[] = {_mm512_packs_epi32(four[0], four[1]), _mm512_packs_epi32(four[2], four[3])};
            fours[which] = _mm512_shuffle_epi8(_mm512_packus_epi16(shorts[0], shorts[1]), _mm512_broadcast_i32x4(turn));
        }
        alignas(64) Byte samples[2][4][2][SIDE];  // of lanes 0 and 1, 4 and 5, ...; then of 2 and 3, ...
        _mm512_store_si512(samples[0], _mm512_unpacklo_epi32(fours[0], fours[1]));
        _mm512_store_si512(samples[1], _mm512_unpackhi_epi32(fours[0], fours[1]));
        for (int lane = 0; lane < count; lane++)
            memcpy(target[lane] + row * stride[lane], samples[lane / 2 % 2][lane / 4][lane % 2], SIDE);
    }
};
