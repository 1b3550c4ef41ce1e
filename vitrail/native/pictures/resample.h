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

constexpr int TOGETHER = 32;  // so many taps are multiplied at once where one place has more than fit a window

// How each place of a line, from `begin` to `end` of the places it has in all, is made of the places of another line.
struct Weights {
    int64_t count = 0;            // places that are made
    int taps = 0, bits = 0;       // taps: those there are and zeros, TOGETHER at a time; sums are of 2^bits
    int64_t least = 0, most = 0;  // what is needed of the other line: from the least to before the most
    Memory<int64_t> first;        // the first tap of each
    Memory<int> size;             // how many there are
    Memory<int16_t> each;         // [count][taps]

    int half() const { return bits ? 1 << (bits - 1) : 0; }
    const int16_t* of(int64_t made) const { return each.data + made * taps; }

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

// Sums of 2^bits to bytes, those that are too large or too small to the nearest.
INLINE __m512i rounded(__m512i sum, int bits) {
    return _mm512_max_epi32(_mm512_srai_epi32(sum, bits), _mm512_setzero_si512());
}

// Resizes rows, sixteen places at once. Where the first taps of all sixteen lie within two windows of 64 bytes, each pair
// of taps is picked out of them; else (a line that becomes nine times shorter and more) one place follows the other.
struct Along {
    static constexpr int AT_ONCE = 16, WINDOW = 64;
    const Weights& weights;
    int64_t batches;
    int pairs = 0;           // of taps
    Memory<Byte> windows;    // [batches]: how many: 1, 2, or 0 where they do not fit
    Memory<Byte> places;     // [batches][64]: for each of the sixteen the first two taps, from the first of the batch on
    Memory<int16_t> factors;    // [batches][pairs][32]: their weights

    explicit Along(const Weights& weights) : weights(weights), batches((weights.count + AT_ONCE - 1) / AT_ONCE) {}

    // Bytes behind a row that are read, and must be there.
    int64_t beyond() const { return weights.taps + 2 * WINDOW; }

    bool open() {
        for (int64_t made = 0; made < weights.count; made++)
            pairs = (weights.size.data[made] + 1) / 2 > pairs ? (weights.size.data[made] + 1) / 2 : pairs;
        if (!windows.take(batches) || !places.take(batches * 64) || !factors.take(batches * pairs * 32)) return false;
        memset(places.data, 0, batches * 64), memset(factors.data, 0, batches * pairs * 32 * sizeof(int16_t));
        for (int64_t batch = 0; batch < batches; batch++) {
            const int64_t begin = batch * AT_ONCE, left = weights.count - begin, count = left < AT_ONCE ? left : AT_ONCE;
            const int64_t reach = weights.first.data[begin + count - 1] - weights.first.data[begin] + 2;
            windows.data[batch] = (Byte)(reach <= WINDOW ? 1 : reach <= 2 * WINDOW ? 2 : 0);
            for (int64_t lane = 0; lane < count && windows.data[batch]; lane++) {
                const int64_t from = weights.first.data[begin + lane] - weights.first.data[begin];
                places.data[batch * 64 + 4 * lane] = (Byte)from, places.data[batch * 64 + 4 * lane + 2] = (Byte)(from + 1);
                for (int tap = 0; tap < weights.size.data[begin + lane]; tap++)
                    factors.data[((batch * pairs + tap / 2) * AT_ONCE + lane) * 2 + tap % 2] = weights.of(begin + lane)[tap];
            }
        }
        return true;
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
        const int16_t* factor = factors.data + batch * pairs * 32;
        const __mmask64 even = 0x5555555555555555;  // bytes become words
        __m512i sum = _mm512_set1_epi32(weights.half());
        for (int pair = 0; pair < pairs; pair++, from += 2, factor += 32) {
            const __m512i low = _mm512_loadu_si512(from);
            const __m512i taps = WINDOWS == 1 ? _mm512_maskz_permutexvar_epi8(even, place, low)
                : _mm512_maskz_permutex2var_epi8(even, low, place, _mm512_loadu_si512(from + WINDOW));
            sum = _mm512_dpwssd_epi32(sum, taps, _mm512_loadu_si512(factor));
        }
        _mm_storeu_si128((__m128i*)to, _mm512_cvtusepi32_epi8(rounded(sum, weights.bits)));
    }

    void each(int64_t batch, const Byte* from, Byte* to) const {
        for (int64_t made = batch * AT_ONCE; made < weights.count && made < (batch + 1) * AT_ONCE; made++) {
            const Byte* taps = from + weights.first.data[made];
            __m512i sum = _mm512_setzero_si512();
            for (int tap = 0; tap < weights.size.data[made]; tap += TOGETHER)
                sum = _mm512_dpwssd_epi32(sum, wide(taps + tap), _mm512_loadu_si512(weights.of(made) + tap));
            const int level = (_mm512_reduce_add_epi32(sum) + weights.half()) >> weights.bits;
            to[made] = (Byte)(level < 0 ? 0 : level > 255 ? 255 : level);
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

    INLINE void some(const Weights& weights, int64_t made, const Byte* from, int64_t stride, int count, Byte* to) {
        const int16_t* weight = weights.of(made);
        const int size = weights.size.data[made];
        __m512i lower = _mm512_set1_epi32(weights.half()), upper = lower;
        for (int tap = 0; tap < size; tap += 2) {  // behind the last tap lies a zero, if there are an odd number of them
            const Byte *here = from + tap * stride, *below = tap + 1 < size ? here + stride : here;
            const __m512i a = wide(here), b = wide(below);
            int32_t both;
            memcpy(&both, weight + tap, sizeof both);
            lower = _mm512_dpwssd_epi32(lower, _mm512_unpacklo_epi16(a, b), _mm512_set1_epi32(both));
            upper = _mm512_dpwssd_epi32(upper, _mm512_unpackhi_epi16(a, b), _mm512_set1_epi32(both));
        }
        const __m512i words = _mm512_packus_epi32(rounded(lower, weights.bits), rounded(upper, weights.bits));
        _mm256_mask_storeu_epi8(to, (__mmask32)((1ull << count) - 1), _mm512_cvtusepi16_epi8(words));
    }
};
