// Of the tokens' numbers what `product` multiplies.
#pragma once
#include "product.h"
#include "product_fp32.h"

// Multiples of which `product` takes lengths: of rows, of columns, of what is summed over. And of which words can be
// turned.
template <class Number> constexpr Count ROW_STEP = PER_WORD<Number> == 2 ? 16 : 4;
template <class Number> constexpr Count COLUMN_STEP = PER_WORD<Number> == 2 ? 16 : LANES;
template <class Number> constexpr Count INNER_STEP = PER_WORD<Number> == 2 ? INNER : 1;
template <class Number> constexpr Count WHOLE = 16 * PER_WORD<Number>;

#if defined(__AVX2__)
INLINE void transpose_eight(const float* from, Count from_stride, float* to, Count to_stride) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm256_loadu_ps(from + i * from_stride);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + 2 + j], 0x44);
            a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + 2 + j], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[4 + i], 0x20));
        _mm256_storeu_ps(to + (4 + i) * to_stride, _mm256_permute2f128_ps(a[i], a[4 + i], 0x31));
    }
}
#endif

// to[column][row] = from[row][column], of 16 by 16 words
INLINE void transpose(const uint32_t* from, Count from_stride, uint32_t* to, Count to_stride) {
#if defined(__AVX512F__)
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(from + i * from_stride);
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + 2 + j]);
            a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + 2 + j]);
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            b[i + j] = _mm512_shuffle_i32x4(a[i + j], a[i + 4 + j], 0x88);
            b[i + 4 + j] = _mm512_shuffle_i32x4(a[i + j], a[i + 4 + j], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_i32x4(b[i], b[8 + i], 0x88));
        _mm512_storeu_si512(to + (8 + i) * to_stride, _mm512_shuffle_i32x4(b[i], b[8 + i], 0xdd));
    }
#elif defined(__AVX2__)
    for (int row = 0; row < 16; row += 8)
        for (int column = 0; column < 16; column += 8)
            transpose_eight((const float*)from + row * from_stride + column, from_stride,
                            (float*)to + column * to_stride + row, to_stride);
#else
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++) to[column * to_stride + row] = from[row * from_stride + column];
#endif
}

// rows[padded][width] <- the tokens' numbers, with the bias if there is one, then zeros
template <class Number>
static void gather(const Number* from, const Number* bias, Count stride, Number* rows, Count tokens, Count padded,
                   Count head, Count width) {
    memset(rows + tokens * width, 0, (padded - tokens) * width * sizeof(Number));
    for (Count token = 0; token < tokens; token++) {
        for (Count column = 0; column < head; column += LANES) {
            const Number* place = from + token * stride + column;
            Number* row = rows + token * width + column;
            if (bias) write(row, read(place) + read(bias + column));
            else memcpy(row, place, LANES * sizeof(Number));
        }
        if (width > head) memset(rows + token * width + head, 0, (width - head) * sizeof(Number));
    }
}

// words[width / PER_WORD][padded]: the transposed rows, in words of one token
template <class Number> static void across(const Number* rows, uint32_t* words, Count padded, Count width) {
    const Count across = width / PER_WORD<Number>;
    for (Count token = 0; token < padded; token += 16)
        for (Count word = 0; word < across; word += 16)
            transpose((const uint32_t*)(rows + token * width) + word, across, words + word * padded + token, padded);
}

// words[padded / PER_WORD][width]: the rows, in words of as many tokens
static void paired(const float* rows, uint32_t* words, Count padded, Count width) {
    memcpy(words, rows, padded * width * sizeof(float));
}
static void paired(const bf16* rows, uint32_t* words, Count padded, Count width) {
    for (Count two = 0; two < padded / 2; two++)
        for (Count column = 0; column < width; column += LANES) {
            const bf16* upper = rows + 2 * two * width + column;
            store(words + two * width + column, pair(load<Halves>(upper), load<Halves>(upper + width)));
        }
}

// turned[width][padded]: the transposed rows. `scratch` holds as many numbers.
template <class Number>
static void turn(const Number* rows, Number* turned, Number* scratch, Count padded, Count width) {
    const Count down = padded / PER_WORD<Number>;
    paired(rows, (uint32_t*)scratch, padded, width);
    for (Count word = 0; word < down; word += 16)
        for (Count column = 0; column < width; column += 16)
            transpose((uint32_t*)scratch + word * width + column, width, (uint32_t*)turned + column * down + word,
                      down);
}
