// Antialiased resizing, to the bit as torch does it: first along rows, then along columns, rounded to bytes in between.
#pragma once
#include "weights.h"

// Sums of 2^bits to bytes, those that are too large or too small to the nearest.
INLINE __m512i rounded(__m512i sum, int bits) {
    return _mm512_max_epi32(_mm512_srai_epi32(sum, bits), _mm512_setzero_si512());
}

// Resizes rows, sixteen places at once. Where the first taps of all sixteen lie within two windows of 64 bytes, each
// pair of taps is picked out of them; else (a line becomes nine times shorter and more) one place follows the other.
struct Along {
    static constexpr int AT_ONCE = 16, WINDOW = 64;
    const Weights& weights;
    int64_t batches, pairs = 0;  // of places; of taps
    Memory<Byte> windows;        // [batches]: how many: 1, 2, or 0 where they do not fit
    Memory<Byte> places;         // [batches][64]: for each of the sixteen the first two taps, from that of the batch on
    Memory<int16_t> factors;     // [batches][pairs][WORDS]: their weights

    explicit Along(const Weights& weights) : weights(weights), batches((weights.count + AT_ONCE - 1) / AT_ONCE) {}

    // Bytes behind a row that are read, and must be there.
    int64_t beyond() const { return weights.taps + 2 * WINDOW; }

    bool open() {
        for (int64_t made = 0; made < weights.count; made++)
            pairs = (weights.size.data[made] + 1) / 2 > pairs ? (weights.size.data[made] + 1) / 2 : pairs;
        const int64_t numbers = batches * pairs * WORDS;
        if (!windows.take(batches) || !places.take(batches * 64) || !factors.take(numbers)) return false;
        memset(places.data, 0, batches * 64), memset(factors.data, 0, numbers * sizeof(int16_t));
        for (int64_t batch = 0; batch < batches; batch++) prepare(batch);
        return true;
    }

    void prepare(int64_t batch) {
        const int64_t begin = batch * AT_ONCE, left = weights.count - begin, count = left < AT_ONCE ? left : AT_ONCE;
        const int64_t *first = weights.first.data + begin, *size = weights.size.data + begin;
        const int64_t reach = first[count - 1] - first[0] + 2;
        windows.data[batch] = (Byte)(reach <= WINDOW ? 1 : reach <= 2 * WINDOW ? 2 : 0);
        for (int64_t lane = 0; lane < count && windows.data[batch]; lane++) {
            Byte* place = places.data + batch * 64 + 4 * lane;
            place[0] = (Byte)(first[lane] - first[0]), place[2] = (Byte)(first[lane] - first[0] + 1);
            for (int64_t tap = 0; tap < size[lane]; tap++) {
                int16_t* factor = factors.data + (batch * pairs + tap / 2) * WORDS + 2 * lane;
                factor[tap % 2] = weights.of(begin + lane)[tap];
            }
        }
    }

    // A row of which from[0] is the place `weights.least`; up to AT_ONCE bytes behind the last place are written, too.
    void make(const Byte* from, Byte* to) const {
        from -= weights.least;
        for (int64_t batch = 0; batch < batches; batch++) {
            const Byte* begin = from + weights.first.data[batch * AT_ONCE];
            if (windows.data[batch] == 1) some<1>(batch, begin, to + batch * AT_ONCE);
            else if (windows.data[batch] == 2) some<2>(batch, begin, to + batch * AT_ONCE);
            else each(batch, from, to);
        }
    }

    template <int WINDOWS> METHOD void some(int64_t batch, const Byte* from, Byte* to) const {
        const __m512i place = _mm512_loadu_si512(places.data + batch * 64);
        const int16_t* factor = factors.data + batch * pairs * WORDS;
        const __mmask64 even = 0x5555555555555555;  // bytes become words
        __m512i sum = _mm512_set1_epi32(weights.half());
        for (int64_t pair = 0; pair < pairs; pair++, from += 2, factor += WORDS) {
            const __m512i low = _mm512_loadu_si512(from);
            const __m512i taps = WINDOWS == 1 ? _mm512_maskz_permutexvar_epi8(even, place, low)
                : _mm512_maskz_permutex2var_epi8(even, low, place, _mm512_loadu_si512(from + WINDOW));
            sum = _mm512_dpwssd_epi32(sum, taps, load(factor));
        }
        _mm_storeu_si128((__m128i*)to, _mm512_cvtusepi32_epi8(rounded(sum, weights.bits)));
    }

    void each(int64_t batch, const Byte* from, Byte* to) const {
        for (int64_t made = batch * AT_ONCE; made < weights.count && made < (batch + 1) * AT_ONCE; made++) {
            const Byte* taps = from + weights.first.data[made];
            __m512i sum = _mm512_setzero_si512();
            for (int64_t tap = 0; tap < weights.size.data[made]; tap += WORDS)
                sum = _mm512_dpwssd_epi32(sum, wide(taps + tap), load(weights.of(made) + tap));
            const int level = (_mm512_reduce_add_epi32(sum) + weights.half()) >> weights.bits;
            to[made] = (Byte)(level < 0 ? 0 : level > 255 ? 255 : level);
        }
    }
};

// Resizes columns: rows of `width` bytes, `stride` apart, of which the first is the place `weights.least`, to
// [weights.count][width]. Behind each row lie WORDS bytes more.
INLINE void resize_columns(const Weights& weights, const Byte* rows, int64_t stride, int64_t width, Byte* to) {
    for (int64_t made = 0; made < weights.count; made++, to += width) {
        const Byte* top = rows + (weights.first.data[made] - weights.least) * stride;
        const int16_t* weight = weights.of(made);
        const int64_t size = weights.size.data[made];
        for (int64_t column = 0; column < width; column += WORDS) {
            __m512i lower = _mm512_set1_epi32(weights.half()), upper = lower;
            for (int64_t tap = 0; tap < size; tap += 2) {  // behind the last of an odd number lies a zero
                const Byte* here = top + tap * stride + column;
                const __m512i a = wide(here), b = wide(tap + 1 < size ? here + stride : here);
                int32_t both;
                memcpy(&both, weight + tap, sizeof both);
                lower = _mm512_dpwssd_epi32(lower, _mm512_unpacklo_epi16(a, b), _mm512_set1_epi32(both));
                upper = _mm512_dpwssd_epi32(upper, _mm512_unpackhi_epi16(a, b), _mm512_set1_epi32(both));
            }
            const __m512i words = _mm512_packus_epi32(rounded(lower, weights.bits), rounded(upper, weights.bits));
            const __m256i bytes = _mm512_cvtusepi16_epi8(words);
            const int64_t left = width - column;
            if (left >= WORDS) _mm256_storeu_si256((__m256i*)(to + column), bytes);
            else _mm256_mask_storeu_epi8(to + column, (1u << left) - 1, bytes);
        }
    }
}
