// Attention among the tokens of one image and one head at a time, so that its maps never leave the second-level cache.
//
// Queries, keys and values are read where the dense layer wrote them, [image][token][q, k, v][head][width], and the
// gradient is written in the same places. Maps are not kept: backward computes them anew from each row's largest score
// and the logarithm of its sum (FlashAttention, 2205.14135). Lengths are padded with zeros to what `product` takes.
#pragma once
#include <omp.h>

#include "operands.h"

constexpr Count ROWS = 32;  // of a map, at a time
constexpr float LOG2_E = 1.44269504f;

// Memory that one thread works in, handed out from its beginning.
struct Scratch {
    char* next;
    template <class Number> Number* take(Count numbers) {
        Number* taken = (Number*)next;
        next += up_to(numbers * sizeof(Number), 64);
        return taken;
    }
};

// A row of answers, and what was lost in rounding it (of bf16).
template <class Number> static void write_row(Number* to, Number* rest, const float* sums, Count head, float factor) {
    for (Count column = 0; column < head; column += LANES) {
        Floats answer = load<Floats>(sums + column) * factor;
        write(to + column, answer);
        if (rest) write(rest + column, answer - read(to + column));
    }
}

// The same of a gradient's rows, which are added up for that of the bias.
template <class Number>
static void write_rows(Number* to, Count stride, const float* sums, Count sums_stride, Count rows, Count head,
                       float* totals) {
    for (Count column = 0; column < head; column += LANES) {
        Floats total = load<Floats>(totals + column);
        for (Count row = 0; row < rows; row++) {
            Floats lanes = load<Floats>(sums + row * sums_stride + column);
            write(to + row * stride + column, lanes);
            total += lanes;
        }
        store(totals + column, total);
    }
}

// Powers of two of some rows of scores, their sums, and the largest score of each, which is taken off before
// anything is rounded. Four rows take turns, since each step of one waits for the step before.
template <int together, class Number>
INLINE void exponentials(float* scores, Number* map, Count padded, Count tokens, float scale, float* tops,
                         float* totals) {
    const Count columns = up_to(tokens, LANES);
    Floats most[together], total[together];
    float top[together];
    for (int row = 0; row < together; row++)
        for (Count column = tokens; column < columns; column++) scores[row * padded + column] = -INFINITY;
    for (int row = 0; row < together; row++) most[row] = load<Floats>(scores + row * padded), total[row] = Floats{};
    for (Count column = LANES; column < columns; column += LANES)
        for (int row = 0; row < together; row++)
            most[row] = larger(load<Floats>(scores + row * padded + column), most[row]);
    for (int row = 0; row < together; row++) tops[row] = top[row] = largest(most[row]);
    for (Count column = 0; column < columns; column += LANES)
        for (int row = 0; row < together; row++) {
            Floats power = exp2((load<Floats>(scores + row * padded + column) - top[row]) * scale);
            total[row] += power;
            write(map + row * padded + column, power);
        }
    for (int row = 0; row < together; row++) totals[row] = sum(total[row]);
}

// Bytes that a thread of `attention_forward` or `attention_backward` works in.
static Count bytes_of_thread(Count tokens, Count head, Count bytes) {
    const Count padded = up_to(tokens, 32), width = up_to(head, 32);
    return padded * width * (7 * bytes + 4) + ROWS * padded * (3 * bytes + 10) + ROWS * width * 4 + padded * 12 + 2048;
}

// mixed[image][token][head][width] and, for the way back, the rest of its numbers below bf16 (gradients of the scores
// are small differences of products with it) and logs[image][head][2][token]: each row's largest score, and log2 of
// its sum
template <class Number>
static void attention_forward(const Number* qkv, const Number* bias, Number* mixed, Number* rest, float* logs,
                              char* scratch, Count images, Count tokens, Count heads, Count head) {
    const Count padded = up_to(tokens, WHOLE<Number>), width = up_to(head, WHOLE<Number>);
    const Count columns = up_to(tokens, COLUMN_STEP<Number>);
    const Count whole = heads * head, stride = 3 * whole, size = bytes_of_thread(tokens, head, sizeof(Number));
    const float scale = LOG2_E / sqrtf(head);
#pragma omp parallel
    {
        Scratch own{scratch + size * omp_get_thread_num()};
        Number *rows = own.take<Number>(padded * width), *map = own.take<Number>(ROWS * padded);
        const Count words = padded * width / PER_WORD<Number>;
        uint32_t *keys = own.take<uint32_t>(words), *values = own.take<uint32_t>(words);
        float *scores = own.take<float>(ROWS * padded), *sums = own.take<float>(ROWS * width);
        float factors[ROWS], tops[ROWS], totals[ROWS];
        memset(map, 0, ROWS * padded * sizeof(Number));
        begin_products();
#pragma omp for schedule(static)
        for (Count one = 0; one < images * heads; one++) {
            const Count image = one / heads, place = one % heads * head;
            const Number* queries = qkv + image * tokens * stride + place;
            auto take = [&](Count part) {  // 0, 1, 2: queries, keys, values
                gather(queries + part * whole, bias ? bias + part * whole + place : nullptr, stride, rows, tokens,
                       padded, head, width);
            };
            take(1), across(rows, keys, padded, width);
            take(2), paired(rows, values, padded, width);
            take(0);
            for (Count first = 0; first < tokens; first += ROWS) {
                const Count true_rows = tokens - first < ROWS ? tokens - first : ROWS;
                const Count some = up_to(true_rows, ROW_STEP<Number>);
                product(rows + first * width, width, keys, padded, scores, padded, some, columns, width);
                for (Count row = 0; row < some; row += 4)
                    exponentials<4>(scores + row * padded, map + row * padded, padded, tokens, scale, tops + row,
                                    totals + row);
                for (Count row = 0; row < true_rows; row++) {
                    factors[row] = 1.0f / totals[row];
                    logs[2 * one * tokens + first + row] = tops[row];
                    logs[(2 * one + 1) * tokens + first + row] = log2f(totals[row]);
                }
                product(map, padded, values, width, sums, width, some, up_to(head, 16),
                        up_to(tokens, INNER_STEP<Number>));
                for (Count row = 0; row < true_rows; row++) {
                    const Count at = (image * tokens + first + row) * whole + place;
                    write_row(mixed + at, rest ? rest + at : nullptr, sums + row * width, head, factors[row]);
                }
            }
        }
        end_products();
    }
}

// Of the rows of a transposed map (keys) that make a row of words: the map and the gradient of its scores, the latter of
// two keys also in pairs.
template <class Number>
INLINE void map_gradient(const float* scores, const float* grads, const float* tops, const float* logs,
                         const float* deltas, Number* map, Number* changes, uint32_t* pairs, Count padded,
                         Count columns, float scale, float factor) {
    for (Count column = 0; column < columns; column += LANES) {
        Floats top = load<Floats>(tops + column), log = load<Floats>(logs + column);
        Floats delta = load<Floats>(deltas + column), change[PER_WORD<Number>];
        for (int row = 0; row < PER_WORD<Number>; row++) {
            const Count at = row * padded + column;
            Floats power = exp2((load<Floats>(scores + at) - top) * scale - log);
            write(map + at, power);
            change[row] = power * (load<Floats>(grads + at) - delta) * factor;
            write(changes + at, change[row]);
        }
        if constexpr (PER_WORD<Number> == 2) store(pairs + column, pair(narrow(change[0]), narrow(change[1])));
    }
}

// changed: the gradient of qkv; totals[image][q, k, v][head][width]: that of the bias; grad: that of `mixed`
template <class Number>
static void attention_backward(const Number* qkv, const Number* bias, const Number* mixed, const Number* rest,
                               const Number* grad, const float* logs, Number* changed, float* totals, char* scratch,
                               Count images, Count tokens, Count heads, Count head) {
    const Count padded = up_to(tokens, WHOLE<Number>), width = up_to(head, WHOLE<Number>);
    const Count columns = up_to(tokens, COLUMN_STEP<Number>);
    const Count whole = heads * head, stride = 3 * whole, size = bytes_of_thread(tokens, head, sizeof(Number));
    const Count wide = up_to(head, 16), deep = up_to(tokens, INNER_STEP<Number>);
    const float factor = 1.0f / sqrtf(head), scale = LOG2_E * factor;
#pragma omp parallel
    {
        Scratch own{scratch + size * omp_get_thread_num()};
        const Count all_rows = padded * width, some_rows = ROWS * padded, words = all_rows / PER_WORD<Number>;
        Number *rows = own.take<Number>(all_rows), *keys = own.take<Number>(all_rows);
        Number *turned = own.take<Number>(all_rows);
        uint32_t *q_across = own.take<uint32_t>(words), *q_paired = own.take<uint32_t>(words);
        uint32_t *g_across = own.take<uint32_t>(words), *g_paired = own.take<uint32_t>(words);
        Number *map = own.take<Number>(some_rows), *changes = own.take<Number>(some_rows);
        uint32_t* pairs = PER_WORD<Number> == 2 ? own.take<uint32_t>(some_rows / 2) : (uint32_t*)changes;
        float *scores = own.take<float>(some_rows), *grads = own.take<float>(some_rows);
        float *sums = own.take<float>(ROWS * width), *q_changed = own.take<float>(all_rows);
        float *top = own.take<float>(padded), *log = own.take<float>(padded), *delta = own.take<float>(padded);
        memset(map, 0, some_rows * sizeof(Number)), memset(changes, 0, some_rows * sizeof(Number));
        begin_products();
#pragma omp for schedule(static)
        for (Count one = 0; one < images * heads; one++) {
            const Count image = one / heads, place = one % heads * head;
            const Number* queries = qkv + image * tokens * stride + place;
            const Count outside = image * tokens * whole + place;
            Number* result = changed + image * tokens * stride + place;
            float* own_totals = totals + image * 3 * whole + place;
            for (Count part = 0; part < 3; part++) memset(own_totals + part * whole, 0, head * sizeof(float));
            auto take = [&](Count part, Number* to) {
                gather(queries + part * whole, bias ? bias + part * whole + place : nullptr, stride, to, tokens, padded,
                       head, width);
            };
            take(0, rows), across(rows, q_across, padded, width), paired(rows, q_paired, padded, width);
            gather<Number>(grad + outside, nullptr, whole, rows, tokens, padded, head, width);
            across(rows, g_across, padded, width), paired(rows, g_paired, padded, width);
            for (Count token = 0; token < padded; token++) {
                Floats total = {};
                for (Count column = 0; token < tokens && column < head; column += LANES) {
                    const Count at = outside + token * whole + column;
                    total += read(grad + at) * (rest ? read(mixed + at) + read(rest + at) : read(mixed + at));
                }
                delta[token] = sum(total);
                const bool padding = token >= tokens;  // attends to nothing
                top[token] = padding ? 0.0f : logs[2 * one * tokens + token];
                log[token] = padding ? 1e30f : logs[(2 * one + 1) * tokens + token];
            }
            take(1, keys), turn(keys, turned, rows, padded, width);
            take(2, rows);
            for (Count first = 0; first < tokens; first += ROWS) {
                const Count true_rows = tokens - first < ROWS ? tokens - first : ROWS;
                const Count some = up_to(true_rows, ROW_STEP<Number>);
                product(keys + first * width, width, q_across, padded, scores, padded, some, columns, width);
                product(rows + first * width, width, g_across, padded, grads, padded, some, columns, width);
                const Count last = up_to(true_rows, PER_WORD<Number>);
                for (Count at = true_rows * padded; at < last * padded; at++) scores[at] = -INFINITY;  // a padded key
                for (Count row = 0; row < last; row += PER_WORD<Number>)
                    map_gradient(scores + row * padded, grads + row * padded, top, log, delta, map + row * padded,
                                 changes + row * padded, pairs + row / 2 * padded, padded, columns, scale, factor);
                memset(map + last * padded, 0, (some - last) * padded * sizeof(Number));
                memset(changes + last * padded, 0, (some - last) * padded * sizeof(Number));
                if (PER_WORD<Number> == 2)
                    memset(pairs + last / 2 * padded, 0, (ROWS - last) / 2 * padded * sizeof(uint32_t));
                product(map, padded, g_paired, width, sums, width, some, wide, deep);
                write_rows(result + 2 * whole + first * stride, stride, sums, width, true_rows, head,
                           own_totals + 2 * whole);
                product(changes, padded, q_paired, width, sums, width, some, wide, deep);
                write_rows(result + whole + first * stride, stride, sums, width, true_rows, head, own_totals + whole);
                product(turned + first, padded, pairs, padded, q_changed, padded, wide, columns,
                        up_to(some, INNER_STEP<Number>), first > 0);
            }
            for (Count first = 0; first < tokens; first += 16) {
                for (Count column = 0; column < wide; column += 16)
                    transpose((uint32_t*)q_changed + column * padded + first, padded, (uint32_t*)sums + column, width);
                write_rows(result + first * stride, stride, sums, width, tokens - first < 16 ? tokens - first : 16,
                           head, own_totals);
            }
        }
        end_products();
    }
}
