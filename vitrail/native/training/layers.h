// GELU and layer norm in one pass over memory each way.
#pragma once
#include "lanes.h"

struct Gelu {
    Floats value, slope;
};

// Far out a density of 2^-126, which stands for 0, must not meet large factors.
INLINE Floats bounded(Floats x) { return between(-1e4f, x, 1e4f); }

// x * Phi(x) and its derivative. Phi by Abramowitz and Stegun, formula 7.1.26.
INLINE Gelu gelu_exact(Floats x) {
    const float root_half = 0.70710678f, root_two_pi = 0.39894228f, half_log2_e = 0.72134752f;
    Floats t = reciprocal(0.3275911f * root_half * larger(x, -x) + 1.0f), density = exp2(x * x * -half_log2_e);
    Floats tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    tail *= 0.5f * density;
    Floats phi = x < 0.0f ? tail : 1.0f - tail;
    return {x * phi, phi + bounded(x) * density * root_two_pi};
}

// The form of the paper's code: x * (1 + tanh(u)) / 2, which is x * sigmoid(2 u).
INLINE Gelu gelu_tanh(Floats x) {
    const float twice = 1.59576912f, log2_e = 1.44269504f;  // twice the root of 2 / pi
    Floats square = x * x, exponent = twice * log2_e * x * (1.0f + 0.044715f * square);
    Floats power = exp2(between(-125.0f, -exponent, 125.0f)), sigmoid = reciprocal(1.0f + power);
    Floats near = bounded(x), steepness = near * twice * (1.0f + 0.134145f * near * near);
    Floats other = power * sigmoid;  // 1 - sigmoid, to all digits
    return {x * sigmoid, sigmoid * (1.0f + steepness * other)};
}

// Of x + bias, [rows][width]; the width is a multiple of 16.
template <class Number, Gelu (*gelu)(Floats)>
static void gelu_forward(const Number* x, const Number* bias, Number* y, Count rows, Count width) {
#pragma omp parallel for schedule(static)
    for (Count row = 0; row < rows; row++)
        for (Count column = 0; column < width; column += LANES) {
            const Count at = row * width + column;
            will_read(x + at + AHEAD), will_write(y + at + AHEAD);
            write(y + at, gelu(read(x + at) + read(bias + column)).value);
        }
}

// changed: the gradient of x; sums[parts][width]: parts of the bias's
template <class Number, Gelu (*gelu)(Floats)>
static void gelu_backward(const Number* x, const Number* bias, const Number* grad, Number* changed, float* sums,
                          Count rows, Count width, Count parts) {
#pragma omp parallel for schedule(static)
    for (Count part = 0; part < parts; part++) {
        float* own = sums + part * width;
        memset(own, 0, width * sizeof(float));
        for (Count row = rows * part / parts; row < rows * (part + 1) / parts; row++)
            for (Count column = 0; column < width; column += LANES) {
                const Count at = row * width + column;
                will_read(x + at + AHEAD), will_read(grad + at + AHEAD), will_write(changed + at + AHEAD);
                Floats change = gelu(read(x + at) + read(bias + column)).slope * read(grad + at);
                write(changed + at, change);
                store(own + column, load<Floats>(own + column) + change);
            }
    }
}

// (x - mean) / deviation * weight + bias over rows whose width is a multiple of 16
template <class Number>
static void norm_forward(const Number* x, const Number* weight, const Number* bias, Number* y, float* means,
                         float* inverses, Count rows, Count width, float epsilon) {
#pragma omp parallel for schedule(static)
    for (Count row = 0; row < rows; row++) {
        const Number* from = x + row * width;
        Floats total = {}, squares = {};
        for (Count at = 0; at < width; at += LANES) {
            will_read(from + at + AHEAD), will_write(y + row * width + at + AHEAD);
            total += read(from + at);
        }
        const float mean = sum(total) / width;
        for (Count at = 0; at < width; at += LANES) {
            Floats far = read(from + at) - mean;
            squares += far * far;
        }
        const float inverse = 1.0f / sqrtf(sum(squares) / width + epsilon);
        for (Count at = 0; at < width; at += LANES)
            write(y + row * width + at, (read(from + at) - mean) * inverse * read(weight + at) + read(bias + at));
        means[row] = mean, inverses[row] = inverse;
    }
}

// changed: the gradient of x; sums[parts][weight, bias][width]: parts of theirs, the same for any number of threads
template <class Number>
static void norm_backward(const Number* x, const Number* grad, const Number* weight, const float* means,
                          const float* inverses, Number* changed, float* sums, Count rows, Count width, Count parts) {
#pragma omp parallel for schedule(static)
    for (Count part = 0; part < parts; part++) {
        float *weight_sums = sums + 2 * part * width, *bias_sums = weight_sums + width;
        memset(weight_sums, 0, 2 * width * sizeof(float));
        for (Count row = rows * part / parts; row < rows * (part + 1) / parts; row++) {
            const Number *from = x + row * width, *slope = grad + row * width;
            const float mean = means[row], inverse = inverses[row];
            Floats plain = {}, along = {};
            for (Count at = 0; at < width; at += LANES) {
                will_read(from + at + AHEAD), will_read(slope + at + AHEAD);
                will_write(changed + row * width + at + AHEAD);
                Floats unit = (read(from + at) - mean) * inverse, g = read(slope + at);
                Floats weighted = g * read(weight + at);
                plain += weighted, along += weighted * unit;
                store(weight_sums + at, load<Floats>(weight_sums + at) + g * unit);
                store(bias_sums + at, load<Floats>(bias_sums + at) + g);
            }
            const float mean_plain = sum(plain) / width, mean_along = sum(along) / width;
            for (Count at = 0; at < width; at += LANES) {
                Floats unit = (read(from + at) - mean) * inverse;
                Floats own = read(slope + at) * read(weight + at) - mean_plain - unit * mean_along;
                write(changed + row * width + at, own * inverse);
            }
        }
    }
}
