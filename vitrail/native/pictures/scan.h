// From the entropy-coded part of a JPEG to blocks of numbers.
#pragma once
#include "header.h"

// The stretches of bits between restart markers, without the zeros that follow each 0xff.
struct Stretches {
    Memory<Byte> bytes;
    Memory<Bits> each;
    int64_t count = 0;

    // False where there are more or fewer than `wanted`, their markers are not in turn, or the file does not end there.
    bool find(const Byte* at, const Byte* end, int64_t wanted) {
        if (wanted > (end - at) / 2 || !bytes.take(end - at + PADDING) || !each.take(wanted)) return false;
        Byte *to = bytes.data, *begin = to;
        for (;;) {
            const Byte* mark = (const Byte*)memchr(at, 0xff, end - at);
            if (mark == nullptr || end - mark < 2) return false;
            memcpy(to, at, mark - at);
            to += mark - at, at = mark + 2;
            if (mark[1] == 0) {
                *to++ = 0xff;
                continue;
            }
            each.data[count++] = Bits(begin, to);
            begin = to;
            if (mark[1] == 0xd9) {
                memset(to, 0, PADDING);
                return count == wanted;
            }
            if (mark[1] != 0xd0 + (count - 1) % 8 || count == wanted) return false;
        }
    }
};

// What comes next; a word of 0 where there is no such code.
INLINE Symbol read_symbol(Bits& bits, const Codes& codes, bool first, uint32_t& before) {
    Symbol found = codes.first[bits.peek(FIRST)];
    before = bits.word >> 32;
    if (!LIKELY(found.word)) found = find_long(codes, before, first);
    bits.skip(found.skipped());
    return found;
}

// The first number of a block is told by how far it is from that of the block before.
INLINE bool read_level(Bits& bits, const Codes& dc, uint32_t& level) {
    if (bits.left() < 0) return false;
    uint32_t before;
    bits.fill();
    const Symbol found = read_symbol(bits, dc, true, before);
    level += (uint32_t)number_of(found, before);
    return found.word != 0;
}

// One block: numbers as PLACES has them, all 0 before. False where the stream makes no sense.
INLINE bool read_block(Bits& bits, const Codes& dc, const Codes& ac, uint32_t& level, int16_t* numbers) {
    if (!read_level(bits, dc, level)) return false;
    numbers[0] = (int16_t)level;
    uint32_t before, place = 1;
    Symbol found;
    for (;;) {
        bits.fill();
        for (int twice = 0; twice < 2; twice++) {  // 56 bits hold two of 26
            found = read_symbol(bits, ac, false, before);
            place += found.zeros();
            if (!LIKELY(found.word && place < NUMBERS - 1)) goto end;
            numbers[PLACES.of[place++]] = (int16_t)number_of(found, before);
        }
    }
end:
    if (place == NUMBERS - 1) numbers[PLACES.of[place]] = (int16_t)number_of(found, before);
    return found.word && (place == NUMBERS - 1 || found.zeros() == END);
}

// The same for a block that nobody sees.
INLINE bool pass_block(Bits& bits, const Codes& dc, const Codes& ac, uint32_t& level) {
    if (!read_level(bits, dc, level)) return false;
    uint32_t before, place = 1;
    for (;;) {
        bits.fill();
        for (int twice = 0; twice < 2; twice++) {  // each has at most FIRST + MOST bits
            const Symbols joined = ac.several[bits.peek(FIRST)];
            if (!LIKELY(joined.word && place + joined.far() < NUMBERS)) goto end;
            place += joined.far();
            bits.skip(joined.skipped());
            if (joined.last()) return true;
        }
    }
end:
    while (place < NUMBERS) {
        bits.fill();
        const Symbol found = read_symbol(bits, ac, false, before);
        if (!found.word) return false;
        if (found.zeros() == END) return true;
        place += found.zeros() + 1;
    }
    return place == NUMBERS;
}
