// What follows the backward pass. AdamW of fp32 weights is one pass over memory: gradients are scaled (clipped),
// moments and weights move, and the model's copy in bf16 is rounded.
#pragma once
#include "lanes.h"

// In this order in a table of addresses: [weights, gradients, first moments, second moments, copies][tensors]
struct Adam {
    float *weight, *grad, *first, *second;
    bf16* copy;

    Adam(const int64_t* table, Count tensors, Count which)
        : weight((float*)table[which]), grad((float*)table[tensors + which]), first((float*)table[2 * tensors + which]),
          second((float*)table[3 * tensors + which]), copy((bf16*)table[4 * tensors + which]) {}

    Adam(const Adam& other, Count at)
        : weight(other.weight + at), grad(other.grad + at), first(other.first + at), second(other.second + at),
          copy(other.copy + at) {}
};

struct Rates {
    // kept: 1 - rate * decay; left1 and left2: 1 - beta1, 1 - beta2; rate and root: corrected for bias
    float scale, kept, beta1, left1, beta2, left2, rate, root, epsilon;
};

INLINE Floats root(Floats x) {
#if defined(__AVX512F__)
    return (Floats)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
    return (Floats)_mm256_sqrt_ps((__m256)x);
#else
    float each[LANES];
    store(each, x);
    for (Count lane = 0; lane < LANES; lane++) each[lane] = sqrtf(each[lane]);
    return load<Floats>(each);
#endif
}

INLINE void move(const Adam& at, const Rates& rates) {
    const Floats grad = load<Floats>(at.grad) * rates.scale;
    const Floats first = load<Floats>(at.first) * rates.beta1 + grad * rates.left1;
    const Floats second = load<Floats>(at.second) * rates.beta2 + grad * grad * rates.left2;
    const Floats weight = load<Floats>(at.weight) * rates.kept
                        - first * rates.rate / (root(second) * rates.root + rates.epsilon);
    store(at.first, first), store(at.second, second), store(at.weight, weight);
    write(at.copy, weight);
}

INLINE void ask_for(const Adam& at) {
    will_read(at.grad + AHEAD), will_write(at.first + AHEAD), will_write(at.second + AHEAD);
    will_write(at.weight + AHEAD);
    will_write(at.copy + AHEAD);
}

// The last numbers of a tensor, fewer than fill the lanes, by way of full ones.
static void move_rest(const Adam& at, const Rates& rates, Count count) {
    float weight[LANES] = {}, grad[LANES] = {}, first[LANES] = {}, second[LANES] = {};
    bf16 copy[LANES] = {};
    memcpy(weight, at.weight, 4 * count), memcpy(grad, at.grad, 4 * count);
    memcpy(first, at.first, 4 * count), memcpy(second, at.second, 4 * count);
    const int64_t table[] = {(int64_t)weight, (int64_t)grad, (int64_t)first, (int64_t)second, (int64_t)copy};
    move(Adam(table, 1, 0), rates);
    memcpy(at.weight, weight, 4 * count), memcpy(at.first, first, 4 * count), memcpy(at.second, second, 4 * count);
    memcpy(at.copy, copy, 2 * count);
}

extern "C" void adamw(const int64_t* table, const int64_t* sizes, Count tensors, const float* rates) {
    Rates chosen;
    memcpy(&chosen, rates, sizeof chosen);
#pragma omp parallel
    for (Count which = 0; which < tensors; which++) {
        const Adam all(table, tensors, which);
        const Count whole = sizes[which] / LANES;
#pragma omp for schedule(static) nowait
        for (Count part = 0; part < whole; part++) {
            const Adam here(all, part * LANES);
            ask_for(here);
            move(here, chosen);
        }
#pragma omp single nowait
        if (sizes[which] % LANES) move_rest(Adam(all, whole * LANES), chosen, sizes[which] % LANES);
    }
}

// sums[]: of the squares of so many numbers each (a multiple of 16), tensor after tensor; the same for any number of
// threads.
extern "C" void squares(const int64_t* table, const int64_t* sizes, Count tensors, Count part, double* sums) {
#pragma omp parallel
    for (Count which = 0, before = 0; which < tensors; which++) {
        const float* numbers = (const float*)table[which];
        const Count parts = (sizes[which] + part - 1) / part;
#pragma omp for schedule(static) nowait
        for (Count number = 0; number < parts; number++) {
            const Count end = sizes[which] < (number + 1) * part ? sizes[which] : (number + 1) * part;
            Floats total = {};
            Count at = number * part;
            for (; at + LANES <= end; at += LANES) {
                will_read(numbers + at + AHEAD);
                const Floats here = load<Floats>(numbers + at);
                total += here * here;
            }
            double all = sum(total);
            for (; at < end; at++) all += numbers[at] * numbers[at];
            sums[before + number] = all;
        }
        before += parts;
    }
}
