// Of what a resized line is made, to the bit as torch has it (and Pillow, whose method it is): whole numbers of up to
// 15 bits.
#pragma once
#include <cmath>

#include "basics.h"

typedef double (*Filter)(double);
static double triangle(double x) { return x = fabs(x), x < 1.0 ? 1.0 - x : 0.0; }
static double cubic(double x) {  // of Keys, with a = -1/2
    x = fabs(x);
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
}

// How each place of a line, from `begin` to `end` of those it has in all, is made of the places of another line.
struct Weights {
    int64_t count = 0;            // places that are made
    int64_t taps = 0;             // of each: those there are, and zeros until there are a number of WORDS
    int bits = 0;                 // sums are of 2^bits
    int64_t least = 0, most = 0;  // what is needed of the other line: from the least to before the most
    Memory<int64_t> first;        // the first tap of each
    Memory<int64_t> size;         // how many there are
    Memory<int16_t> each;         // [count][taps]

    int half() const { return bits ? 1 << (bits - 1) : 0; }
    const int16_t* of(int64_t made) const { return each.data + made * taps; }

    // Of a line of `given` places to one of `wanted`. False where there is no memory.
    bool open(int64_t given, int64_t wanted, int64_t begin, int64_t end, bool bicubic) {
        const double scale = (double)given / (double)wanted, support = (bicubic ? 2 : 1) * (scale >= 1.0 ? scale : 1.0);
        const int64_t limit = (int64_t)ceil(support) * 2 + 1;
        count = end - begin, taps = (limit + WORDS - 1) / WORDS * WORDS;
        Memory<double> exact;
        if (!exact.take(limit * (count + 1)) || !first.take(count) || !size.take(count) || !each.take(count * taps))
            return false;
        double largest = 0.0;  // of all places, also of those that are not made
        for (int64_t place = 0; place < wanted; place++) {
            const int64_t made = place >= begin && place < end ? place - begin : count;
            double* weights = exact.data + made * limit;
            int64_t from;
            const int64_t found = weigh(place, given, scale, support, limit, bicubic ? cubic : triangle, weights, from);
            for (int64_t tap = 0; tap < found; tap++) largest = weights[tap] > largest ? weights[tap] : largest;
            if (made < count) first.data[made] = from, size.data[made] = found;
        }
        while (bits < 22 && (int)(0.5 + largest * (1 << (bits + 1))) < 1 << 15) bits++;
        round(exact.data, limit);
        return true;
    }

    void round(const double* exact, int64_t limit) {
        memset(each.data, 0, count * taps * sizeof(int16_t));
        least = first.data[0];
        for (int64_t made = 0; made < count; made++) {
            const int64_t behind = first.data[made] + size.data[made];
            most = behind > most ? behind : most;
            for (int64_t tap = 0; tap < size.data[made]; tap++) {
                const double weight = exact[made * limit + tap] * (1 << bits);
                each.data[made * taps + tap] = (int16_t)(int)(weight < 0 ? weight - 0.5 : weight + 0.5);
            }
        }
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
