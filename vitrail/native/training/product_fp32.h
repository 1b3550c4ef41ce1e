// The same products of fp32, where a word of `right` is one number. Rows are multiples of 4, columns of LANES.
#pragma once
#include "lanes.h"

// Stays in its register: the compiler would read it from memory anew for each use.
INLINE Floats held(Floats lanes) {
#if defined(__AVX2__)
    asm("" : "+v"(lanes));
#endif
    return lanes;
}

// So many products are added up by themselves before they join the sums, whose rounding errors would grow with each.
constexpr Count PART = 64;

// The sums of 4 rows by `width` registers of columns, which stay in registers.
template <int width>
INLINE void tile(const float* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                 Count sums_stride, Count inner, bool add) {
    Floats kept[4][width] = {};
    for (Count at = 0; at < inner; at++) {
        Floats numbers[width];
        for (int part = 0; part < width; part++)
            numbers[part] = held(load<Floats>(right + at * right_stride + LANES * part));
        for (int row = 0; row < 4; row++)
            for (int part = 0; part < width; part++) kept[row][part] += left[row * left_stride + at] * numbers[part];
    }
    for (int row = 0; row < 4; row++)
        for (int part = 0; part < width; part++) {
            float* place = sums + row * sums_stride + LANES * part;
            store(place, add ? load<Floats>(place) + kept[row][part] : kept[row][part]);
        }
}

// Three registers of columns at a time; where that would leave one, two and two.
static void product(const float* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                    Count sums_stride, Count rows, Count columns, Count inner, bool add = false) {
    for (Count column = 0; column < columns;) {
        const Count more = (columns - column) / LANES, width = more == 4 ? 2 : more < 3 ? more : 3;
        for (Count row = 0; row < rows; row += 4)
            for (Count at = 0; at < inner; at += PART) {
                const float* from = left + row * left_stride + at;
                const uint32_t* words = right + at * right_stride + column;
                float* to = sums + row * sums_stride + column;
                const Count count = inner - at < PART ? inner - at : PART;
                const bool onto = add || at > 0;
                if (width == 3) tile<3>(from, left_stride, words, right_stride, to, sums_stride, count, onto);
                else if (width == 2) tile<2>(from, left_stride, words, right_stride, to, sums_stride, count, onto);
                else tile<1>(from, left_stride, words, right_stride, to, sums_stride, count, onto);
            }
        column += width * LANES;
    }
}
