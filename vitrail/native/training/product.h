// Small matrix products of bf16 with sums in float, for operands that lie in the processor's nearest memories.
//
//     sums[rows][columns] (+)= left[rows][inner] * right[inner][columns]
//
// `right` comes as words: two numbers, one below the other, side by side: right[inner / 2][columns]. That is what
// Intel's matrix tiles (AMX) and the AVX512-BF16 instructions multiply. Rows and columns are multiples of 16, `inner`
// one of INNER; every stride is counted in elements.
#pragma once
#include "lanes.h"

#if defined(__AMX_BF16__) && !defined(WITHOUT_AMX)

constexpr Count INNER = 32;

// Eight tiles of 16 rows of 64 bytes, for this thread, until `end_products`.
static void begin_products() {
    struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } tiles = {};
    tiles.palette = 1;
    for (int tile = 0; tile < 8; tile++) tiles.bytes[tile] = 64, tiles.rows[tile] = 16;
    asm volatile("" ::: "memory");  // the header of GCC 12 does not say what the instruction reads; nor those below
    _tile_loadconfig(&tiles);
}
static void end_products() { _tile_release(); }

// Four tiles of sums, 32 rows by 32 columns; `low` and `wide` say whether the lower and the right ones exist.
template <bool low, bool wide>
INLINE void tiles(const bf16* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                  Count sums_stride, Count inner, bool add) {
    float* below = sums + 16 * sums_stride;
    const Count step = 4 * sums_stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (add) {
        _tile_loadd(0, sums, step);
        if (wide) _tile_loadd(1, sums + 16, step);
        if (low) _tile_loadd(2, below, step);
        if (low && wide) _tile_loadd(3, below + 16, step);
    }
    for (Count k = 0; k < inner; k += 32) {
        const uint32_t* pairs = right + k / 2 * right_stride;
        _tile_loadd(4, left + k, 2 * left_stride);
        _tile_loadd(6, pairs, 4 * right_stride);
        if (low) _tile_loadd(5, left + 16 * left_stride + k, 2 * left_stride);
        if (wide) _tile_loadd(7, pairs + 16, 4 * right_stride);
        _tile_dpbf16ps(0, 4, 6);
        if (wide) _tile_dpbf16ps(1, 4, 7);
        if (low) _tile_dpbf16ps(2, 5, 6);
        if (low && wide) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, step);
    if (wide) _tile_stored(1, sums + 16, step);
    if (low) _tile_stored(2, below, step);
    if (low && wide) _tile_stored(3, below + 16, step);
}

static void product(const bf16* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                    Count sums_stride, Count rows, Count columns, Count inner, bool add = false) {
    asm volatile("" ::: "memory");
    for (Count row = 0; row < rows; row += 32)
        for (Count column = 0; column < columns; column += 32) {
            const bool low = row + 16 < rows, wide = column + 16 < columns;
            auto part = low ? (wide ? tiles<true, true> : tiles<true, false>)
                            : (wide ? tiles<false, true> : tiles<false, false>);
            part(left + row * left_stride, left_stride, right + column, right_stride,
                 sums + row * sums_stride + column, sums_stride, inner, add);
        }
}

#else

constexpr Count INNER = 2;
static void begin_products() {}
static void end_products() {}

// sums + low * low + high * high, of the two numbers in each word
INLINE Floats multiply_add(Floats sums, uint32_t left, Words right) {
#if defined(__AVX512BF16__) && !defined(WITHOUT_AVX512BF16)
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32(left), (__m512bh)right);
#else
    Words both = Words{} + left;
    return sums + (Floats)(both << 16) * (Floats)(right << 16)
        + (Floats)(both & 0xffff0000u) * (Floats)(right & 0xffff0000u);
#endif
}

// The sums of `height` rows by `width` times 16 columns stay in registers.
template <int height, int width>
INLINE void block(const bf16* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                  Count sums_stride, Count inner, bool add) {
    Floats kept[height][width];
    for (int row = 0; row < height; row++)
        for (int part = 0; part < width; part++)
            kept[row][part] = add ? load<Floats>(sums + row * sums_stride + LANES * part) : Floats{};
    for (Count pair = 0; pair < inner / 2; pair++) {
        Words pairs[width];
        for (int part = 0; part < width; part++) pairs[part] = load<Words>(right + pair * right_stride + LANES * part);
        for (int row = 0; row < height; row++) {
            uint32_t two;
            memcpy(&two, left + row * left_stride + 2 * pair, sizeof two);
            for (int part = 0; part < width; part++) kept[row][part] = multiply_add(kept[row][part], two, pairs[part]);
        }
    }
    for (int row = 0; row < height; row++)
        for (int part = 0; part < width; part++) store(sums + row * sums_stride + LANES * part, kept[row][part]);
}

// Sixteen sums at a time, so that none waits for the one before it: 4 by 4 and, where columns are left over, 16 by 1.
static void product(const bf16* left, Count left_stride, const uint32_t* right, Count right_stride, float* sums,
                    Count sums_stride, Count rows, Count columns, Count inner, bool add = false) {
    for (Count column = 0; column < columns;) {
        const bool wide = column + 4 * LANES <= columns;
        for (Count row = 0; row < rows; row += wide ? 4 : 16)
            (wide ? block<4, 4> : block<16, 1>)(left + row * left_stride, left_stride, right + column, right_stride,
                                                sums + row * sums_stride + column, sums_stride, inner, add);
        column += wide ? 4 * LANES : LANES;
    }
}

#endif
