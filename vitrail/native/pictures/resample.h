// Antialiased resizing, to the bit as torch does it (and Pillow, whose method it is): weights are whole numbers of up to
// 15 bits; first along rows, then along columns, rounded to bytes in between.
#pragma once
#include <cmath>

#include "scan.h"

typedef double (*Filter)(double);
static double triangle(double x) { return x = fabs(x), x < 1.0 ? 1.0 - x : 0.0; }
static double cubic(double x) {  // of Keys, with a = -1/2
    x = fabs(x);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
}

constexpr int TOGETHER = 8;  // so many taps are added at once

// How each place of a line, from `begin` to `end` of the places it has in all, is made of the places of another line.
struct Weights {
    int64_t count = 0;            // places that are made
    int taps = 0, bits = 0;       // taps: those there are and zeros, TOGETHER at a time; sums are of 2^bits
    int64_t least = 0, most = 0;  // what is needed of the other line: from the least to before the most
    Memory<int64_t> first;        // the first tap of each
    Memory<int> size;             // how many there are
    Memory<int16_t> each;         // [count][taps]

    // Of a line of `given` places to one of `wanted`. False where there is no memory.
    bool open(int64_t given, int64_t wanted, int64_t begin, int64_t end, bool bicubic) {
        const double scale = (double)given / (double)wanted, support = (bicubic ? 2 : 1) * (scale >= 1.0 ? scale : 1.0);
        const int64_t limit = (int64_t)ceil(support) * 2 + 1;
        count = end - begin, taps = (int)((limit + TOGETHER - 1) / TOGETHER * TOGETHER);
        Memory<double> exact;
        if (!exact.take(limit * count) || !first.take(count) || !size.take(count) || !each.take(count * taps)) return false;
        double largest = 0.0;  // of all places, also of those that are not made
        Memory<double> spare;
        if (!spare.take(limit)) return false;
        for (int64_t place = 0; place < wanted; place++) {
            const bool made = place >= begin && place < end;
            double* weights = made ? exact.data + (place - begin) * limit : spare.data;
            int64_t from;
            const int64_t found = weigh(place, given, scale, support, limit, bicubic ? cubic : triangle, weights, from);
            for (int64_t tap = 0; tap < found; tap++) largest = weights[tap] > largest ? weights[tap] : largest;
            if (made) first.data[place - begin] = from, size.data[place - begin] = (int)found;
        }
        while (bits < 22 && (int)(0.5 + largest * (1 << (bits + 1))) < 1 << 15) bits++;
        memset(each.data, 0, count * taps * sizeof(int16_t));
        least = given, most = 0;
        for (int64_t made = 0; made < count; made++) {
            const int64_t behind = first.data[made] + size.data[made];
            least = first.data[made] < least ? first.data[made] : least, most = behind > most ? behind : most;
            for (int tap = 0; tap < size.data[made]; tap++) {
                const double weight = exact.data[made * limit + tap] * (1 << bits);
                each.data[made * taps + tap] = (int16_t)(int)(weight < 0 ? weight - 0.5 : weight + 0.5);
            }
        }
        return true;
    }

    // The taps of one place, which add up to 1: how many, and the first.
    static int64_t weigh(int64_t place, int64_t given, double scale, double support, int64_t limit, Filter filter,
                         double* weights, int64_t& from) {
        const double center = scale * (place + 0.5), inverse = scale >= 1.0 ? 1.0 / scale : 1.0;
        const int64_t low = (int64_t)(center - support + 0.5), high = (int64_t)(center + support + 0.5);
        from = low > 0 ? low : 0;
        int64_t found = (high < given ? high : given) - from;
        found = found < 0 ? 0 : found > limit ? limit : found;
        double total = 0.0;
        for (int64_t tap = 0; tap < found; tap++)
            total += weights[tap] = filter((tap + from - center + 0.5) * inverse);
        for (int64_t tap = 0; tap < found && total != 0.0; tap++) weights[tap] /= total;
        return found;
    }
};

INLINE Byte rounded(int sum, int bits) {
    sum >>= bits;
    return (Byte)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

#if HAS_AVX512
INLINE __m512i rounded(__m512i sum, int bits) {
    return _mm512_max_epi32(_mm512_srai_epi32(sum, bits), _mm512_setzero_si512());
}
#endif

// Resizes rows. With AVX-512 sixteen places at once, where all that they are made of lies within 64 bytes.
struct Along {
    static constexpr int AT_ONCE = 16, WINDOW = 64;
    const Weights& weights;
    int64_t ready = 0;   // so many places, from the first, are made sixteen at once
    int pairs = 0;       // of taps
    Memory<Byte> places;  // [ready / 16][pairs][64]: which bytes of the window, a pair of taps for each place
    Memory<int16_t> pair;  // [ready / 16][pairs][32]: their weights

    explicit Along(const Weights& weights) : weights(weights) {}

    bool open() {
#if HAS_AVX512
        const int64_t batches = weights.count / AT_ONCE;
        for (int64_t made = 0; made < weights.count; made++)
            pairs = (weights.size.data[made] + 1) / 2 > pairs ? (weights.size.data[made] + 1) / 2 : pairs;
        if (!places.take(batches * pairs * 64) || !pair.take(batches * pairs * 32)) return false;
        for (int64_t batch = 0; batch < batches && fits(batch); batch++, ready += AT_ONCE)
            for (int64_t lane = 0; lane < AT_ONCE; lane++)
                for (int tap = 0; tap < 2 * pairs; tap++) {
                    const int64_t made = batch * AT_ONCE + lane;
                    const bool there = tap < weights.size.data[made];
                    const int64_t to = (batch * pairs + tap / 2) * 32 + lane * 2 + tap % 2;
                    const int64_t from = weights.first.data[made] - weights.first.data[batch * AT_ONCE] + tap;
                    pair.data[to] = there ? weights.each.data[made * weights.taps + tap] : 0;
                    places.data[2 * to] = (Byte)(there ? from : 0), places.data[2 * to + 1] = 0;
                }
#endif
        return true;
    }

    bool fits(int64_t batch) const {
        const int64_t begin = batch * AT_ONCE, last = begin + AT_ONCE - 1;
        return weights.first.data[last] + weights.size.data[last] - weights.first.data[begin] <= WINDOW;
    }

    // A row of which from[0] is the place `weights.least`, and behind which lie `taps` and WINDOW bytes more.
    void make(const Byte* from, Byte* to) const {
        const int half = weights.bits ? 1 << (weights.bits - 1) : 0;
        from -= weights.least;
#if HAS_AVX512
        for (int64_t begin = 0; begin < ready; begin += AT_ONCE) {
            const __m512i window = _mm512_loadu_si512(from + weights.first.data[begin]);
            __m512i sum = _mm512_set1_epi32(half);
            for (int which = 0; which < pairs; which++) {
                const int64_t at = begin / AT_ONCE * pairs + which;
                const __m512i taps = _mm512_maskz_permutexvar_epi8(
                    0x5555555555555555u, _mm512_loadu_si512(places.data + at * 64), window);
                sum = _mm512_dpwssd_epi32(sum, taps, _mm512_loadu_si512(pair.data + at * 32));
            }
            _mm_storeu_si128((__m128i*)(to + begin), _mm512_cvtusepi32_epi8(rounded(sum, weights.bits)));
        }
#endif
        for (int64_t made = ready; made < weights.count; made++) {
            const Byte* taps = from + weights.first.data[made];
            const int16_t* weight = weights.each.data + made * weights.taps;
            int sum = half;
            for (int tap = 0; tap < weights.size.data[made]; tap += TOGETHER)
                for (int each = 0; each < TOGETHER; each++) sum += taps[tap + each] * weight[tap + each];
            to[made] = rounded(sum, weights.bits);
        }
    }
};

// Resizes columns: rows of `width` bytes, `stride` apart, of which the first is the place `weights.least`, to
// [weights.count][width]. Behind each row lie AT_ONCE bytes more.
struct Across {
    static constexpr int AT_ONCE = 32;

    static void make(const Weights& weights, const Byte* rows, int64_t stride, int64_t width, Byte* to) {
        for (int64_t made = 0; made < weights.count; made++)
            for (int64_t column = 0; column < width; column += AT_ONCE) {
                const Byte* from = rows + (weights.first.data[made] - weights.least) * stride + column;
                const int64_t left = width - column;
                some(weights, made, from, stride, left < AT_ONCE ? (int)left : AT_ONCE, to + made * width + column);
            }
    }

#if HAS_AVX512
    INLINE void some(const Weights& weights, int64_t made, const Byte* from, int64_t stride, int count, Byte* to) {
        const int16_t* weight = weights.each.data + made * weights.taps;
        const int size = weights.size.data[made];
        __m512i lower = _mm512_set1_epi32(weights.bits ? 1 << (weights.bits - 1) : 0), upper = lower;
        for (int tap = 0; tap < size; tap += 2) {  // behind the last tap lies a zero: there are an odd number of them
            const Byte *here = from + tap * stride, *below = tap + 1 < size ? here + stride : here;
            const __m512i a = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)here));
            const __m512i b = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i*)below));
            int32_t both;
            memcpy(&both, weight + tap, sizeof both);
            lower = _mm512_dpwssd_epi32(lower, _mm512_unpacklo_epi16(a, b), _mm512_set1_epi32(both));
            upper = _mm512_dpwssd_epi32(upper, _mm512_unpackhi_epi16(a, b), _mm512_set1_epi32(both));
        }
        const __m512i words = _mm512_packus_epi32(rounded(lower, weights.bits), rounded(upper, weights.bits));
        _mm256_mask_storeu_epi8(to, (__mmask32)((1ull << count) - 1), _mm512_cvtusepi16_epi8(words));
    }
#else
    INLINE void some(const Weights& weights, int64_t made, const Byte* from, int64_t stride, int count, Byte* to) {
        const int16_t* weight = weights.each.data + made * weights.taps;
        int sums[AT_ONCE];
        for (int column = 0; column < AT_ONCE; column++) sums[column] = weights.bits ? 1 << (weights.bits - 1) : 0;
        for (int tap = 0; tap < weights.size.data[made]; tap++)
            for (int column = 0; column < AT_ONCE; column++) sums[column] += from[tap * stride + column] * weight[tap];
        for (int column = 0; column < count; column++) to[column] = rounded(sums[column], weights.bits);
    }
#endif
};
