// Antialiased resizing, to the bit as torch does it: first along rows, then along columns, rounded to bytes in between.
#pragma once
#include "weights.h"
#include "window.h"

// Sums of 2^bits; those that are negative become 0.
INLINE Vector rounded(Vector sum, int bits) { return SIMD(max_epi32)(SIMD(srai_epi32)(sum, bits), zeros()); }

// Resizes rows, LANES places at once. Where the taps of the lanes lie near to each other, each two are picked out of
// what is loaded at once; else (a line becomes nine times shorter and more) one place follows the other.
struct Along {
    enum Fit : Byte { NOT, IN_NEAR, IN_FAR };
    const Weights& weights;
    int64_t batches, pairs = 0;  // of places; of taps
    Memory<Fit> fits;            // [batches]
    Memory<Byte> picks;          // [batches][LANES][4]: where the first two taps are in the window, as words
    Memory<int16_t> factors;     // [batches][pairs][LANES][2]: the weights

    explicit Along(const Weights& weights) : weights(weights), batches((weights.count + LANES - 1) / LANES) {}

    // Bytes behind a row that are read, and must be there.
    int64_t beyond() const { return weights.taps + 2 * NEAR; }

    bool open() {
        for (int64_t made = 0; made < weights.count; made++)
            pairs = (weights.size.data[made] + 1) / 2 > pairs ? (weights.size.data[made] + 1) / 2 : pairs;
        const int64_t numbers = batches * pairs * WORDS;
        if (!fits.take(batches) || !picks.take(batches * BYTES) || !factors.take(numbers)) return false;
        memset(picks.data, NOWHERE, batches * BYTES), memset(factors.data, 0, numbers * sizeof(int16_t));
        for (int64_t batch = 0; batch < batches; batch++) prepare(batch);
        return true;
    }

    // Where the window of a lane begins; of lanes that are not there any more, that of the last.
    int64_t window_of(int64_t batch, int64_t lane) const {
        const int64_t made = batch * LANES + lane / SHARED * SHARED;
        return weights.first.data[made < weights.count ? made : weights.count - 1];
    }

    void prepare(int64_t batch) {
        const int64_t begin = batch * LANES, left = weights.count - begin, count = left < LANES ? left : LANES;
        int64_t reach = 0;
        for (int64_t lane = 0; lane < count; lane++) {
            const int64_t place = weights.first.data[begin + lane] - window_of(batch, lane);
            Byte* pick = picks.data + batch * BYTES + 4 * lane;
            pick[0] = (Byte)place, pick[2] = (Byte)(place + 1);
            reach = place + 2 > reach ? place + 2 : reach;
            for (int64_t tap = 0; tap < weights.size.data[begin + lane]; tap++) {
                int16_t* factor = factors.data + (batch * pairs + tap / 2) * WORDS + 2 * lane;
                factor[tap % 2] = weights.of(begin + lane)[tap];
            }
        }
        fits.data[batch] = reach <= NEAR ? IN_NEAR : reach <= 2 * NEAR ? IN_FAR : NOT;
    }

    // A row of which from[0] is the place `weights.least`; up to LANES bytes behind the last place are written, too.
    void make(const Byte* from, Byte* to) const {
        from -= weights.least;
        for (int64_t batch = 0; batch < batches; batch++)
            if (fits.data[batch] == IN_NEAR) picked<false>(batch, from, to + batch * LANES);
            else if (fits.data[batch] == IN_FAR) picked<true>(batch, from, to + batch * LANES);
            else each(batch, from, to);
    }

    template <bool FAR> METHOD void picked(int64_t batch, const Byte* from, Byte* to) const {
        const Byte *first = from + window_of(batch, 0), *last = from + window_of(batch, LANES - 1);
        const Window<FAR> window(picks.data + batch * BYTES, first, last);
        const int16_t* factor = factors.data + batch * pairs * WORDS;
        Vector sum = SIMD(set1_epi32)(weights.half());
        for (int64_t pair = 0; pair < pairs; pair++, factor += WORDS)
            sum = add_products(sum, window.taps(2 * pair), load(factor));
        store_sums(to, rounded(sum, weights.bits));
    }

    void each(int64_t batch, const Byte* from, Byte* to) const {
        for (int64_t made = batch * LANES; made < weights.count && made < (batch + 1) * LANES; made++) {
            const Byte* taps = from + weights.first.data[made];
            Vector sum = zeros();
            for (int64_t tap = 0; tap < weights.size.data[made]; tap += WORDS)
                sum = add_products(sum, wide(taps + tap), load(weights.of(made) + tap));
            const int level = (total(sum) + weights.half()) >> weights.bits;
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
            Vector lower = SIMD(set1_epi32)(weights.half()), upper = lower;
            for (int64_t tap = 0; tap < size; tap += 2) {  // behind the last of an odd number lies a zero
                const Byte* here = top + tap * stride + column;
                const Vector a = wide(here), b = wide(tap + 1 < size ? here + stride : here);
                int32_t both;
                memcpy(&both, weight + tap, sizeof both);
                lower = add_products(lower, SIMD(unpacklo_epi16)(a, b), SIMD(set1_epi32)(both));
                upper = add_products(upper, SIMD(unpackhi_epi16)(a, b), SIMD(set1_epi32)(both));
            }
            const Vector words = SIMD(packus_epi32)(rounded(lower, weights.bits), rounded(upper, weights.bits));
            const Half bytes = words_to_bytes(words);
            if (column + WORDS <= width) store_half(to + column, bytes);
            else memcpy(to + column, &bytes, width - column);
        }
    }
}
