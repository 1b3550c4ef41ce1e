// From the samples of a JPEG to rows of red, green and blue, to the bit as libjpeg: color of half the resolution is
// interpolated by a triangle ("fancy upsampling"), then YCbCr is turned to RGB by fixed-point numbers.
#pragma once
#include "planes.h"

// A row of color at the resolution of the picture, columns left <= x < right, to to[x - left]; up to BYTES behind it
// are written, too. `scratch` holds (right - left) / 2 + ROOM numbers.
constexpr int ROOM = 2 * WORDS + 8;
static void widen_row(const Plane& plane, const Header& header, int64_t y, int64_t left, int64_t right,
                      int16_t* scratch, Byte* to) {
    if (header.across() == 1) {
        memcpy(to, plane.row(y) + left, right - left);
        return;
    }
    const bool tall = header.down() == 2;
    const Byte *near = plane.row(tall ? y / 2 : y), *far = plane.row(tall ? y / 2 + (y % 2 ? 1 : -1) : y);
    // Three parts of the nearer row and one of the other, for one sample more on each side.
    const int64_t first = left / 2, count = (right - 1) / 2 - first + 1;
    const int64_t begin = first > 0 ? -1 : 0, end = first + count < plane.width ? count + 1 : count;
    const int weight = tall ? 3 : 1, other = tall ? 1 : 0;
    int16_t* sums = scratch + 1;
    for (int64_t at = begin; at < end; at++) sums[at] = (int16_t)(weight * near[first + at] + other * far[first + at]);
    if (begin == 0) sums[-1] = sums[0];
    if (end == count) sums[count] = sums[count - 1];
    // The same across. libjpeg rounds the two halves differently, so that there is no drift.
    const int low = tall ? 8 : 1, high = tall ? 7 : 2, bits = tall ? 4 : 2, odd = left % 2;
    if (odd) *to++ = (Byte)((3 * sums[0] + sums[1] + high) >> bits);
    const Vector three = SIMD(set1_epi16)(3), below = SIMD(set1_epi16)((short)low);
    const Vector above = SIMD(set1_epi16)((short)high);
    const __m128i shift = _mm_cvtsi32_si128(bits);
    const int16_t* from = sums + odd;
    for (int64_t at = 0; 2 * at < right - left - odd; at += WORDS) {
        const Vector here = SIMD(mullo_epi16)(load(from + at), three);
        const Vector before = SIMD(add_epi16)(SIMD(add_epi16)(here, load(from + at - 1)), below);
        const Vector behind = SIMD(add_epi16)(SIMD(add_epi16)(here, load(from + at + 1)), above);
        const Vector later = SIMD(slli_epi16)(SIMD(srl_epi16)(behind, shift), 8);
        store(to + 2 * at, either(SIMD(srl_epi16)(before, shift), later));
    }
}

// difference * factor / 2^16, rounded as in 32 bits: twice of it, halved.
INLINE Vector product(Vector difference, short factor) {
    const Vector one = SIMD(set1_epi16)(1), twice = SIMD(add_epi16)(difference, difference);
    return SIMD(srai_epi16)(SIMD(add_epi16)(SIMD(mulhi_epi16)(twice, SIMD(set1_epi16)(factor)), one), 1);
}
INLINE void narrow(Byte* to, Vector shorts) {
    store_half(to, words_to_bytes(SIMD(max_epi16)(shorts, zeros())));
}

// In place: y, blue and red differences become red, green and blue. Behind each lie WORDS bytes more.
//     red = y + 1.402 red', green = y - 0.34414 blue' - 0.71414 red', blue = y + 1.772 blue', in 16 bits
static void to_rgb(Byte* y, Byte* cb, Byte* cr, int64_t count) {
    const Vector middle = SIMD(set1_epi16)(128), half = SIMD(set1_epi32)(1 << 15);
    const Vector factors = SIMD(set1_epi32)((int)(18734u << 16 | (uint16_t)-22554));  // 1 - 0.71414, and -0.34414
    for (int64_t at = 0; at < count; at += WORDS) {
        const Vector light = wide(y + at);
        const Vector blue = SIMD(sub_epi16)(wide(cb + at), middle), red = SIMD(sub_epi16)(wide(cr + at), middle);
        const Vector lower = SIMD(madd_epi16)(SIMD(unpacklo_epi16)(blue, red), factors);
        const Vector upper = SIMD(madd_epi16)(SIMD(unpackhi_epi16)(blue, red), factors);
        const Vector green = SIMD(packs_epi32)(SIMD(srai_epi32)(SIMD(add_epi32)(lower, half), 16),
                                                 SIMD(srai_epi32)(SIMD(add_epi32)(upper, half), 16));
        const Vector lighter = SIMD(add_epi16)(light, SIMD(add_epi16)(blue, blue));
        narrow(y + at, SIMD(add_epi16)(SIMD(add_epi16)(light, red), product(red, 26345)));
        narrow(cb + at, SIMD(add_epi16)(SIMD(sub_epi16)(light, red), green));
        narrow(cr + at, SIMD(add_epi16)(lighter, product(blue, -14942)));
    }
}
