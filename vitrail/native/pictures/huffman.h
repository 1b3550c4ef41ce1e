// Huffman codes (T.81, annex C and F.2.2.3), looked up by their first bits. The tables are small, for the cache.
#pragma once
#include "bits.h"

// What comes next in a block: some zeros and a number.
struct Symbol {
    // From the lowest bits: 6 how many to skip in all, 6 the zeros, 4 the size of the number, which lies in the last of
    // the bits that are skipped.
    uint16_t word;

    METHOD int skipped() const { return word & 63; }
    METHOD uint32_t zeros() const { return word >> 6 & 63; }
    METHOD int size() const { return word >> 12; }
};
constexpr uint32_t END = 63;  // zeros: nothing else comes any more in this block
constexpr int FIRST = 10, LONGEST = 16, MOST = 10;  // MOST: bits of a number that is not the first of its block

// The number of a symbol, out of the 32 bits that begin with its code. Below half of their range numbers are negative
// (T.81, table F.1). No branches: what comes next cannot be foreseen.
INLINE int number_of(Symbol found, uint32_t bits) {
    const int size = found.size();
    const int number = (int)(bits << (found.skipped() - size) >> 1 >> (31 - size)), range = 1 << size;
    return number - (number < range >> 1 ? range - 1 : 0);
}

// Several symbols whose codes lie within the first bits together, for blocks that nobody sees.
struct Symbols {
    uint16_t word;  // from the lowest bits: 6 how many to skip, 6 how far to go in the block, 1 whether it ends there

    METHOD int skipped() const { return word & 63; }
    METHOD uint32_t far() const { return word >> 6 & 63; }
    METHOD bool last() const { return word >> 12; }
};

struct Codes {
    Symbol first[1 << FIRST];      // a word of 0 where a code is longer or does not exist
    Symbols several[1 << FIRST];   // likewise
    int32_t largest[LONGEST + 1];  // of the codes of each length, -1 where there are none
    int32_t offset[LONGEST + 1];   // from a code to the place of its symbol
    Byte symbols[256];
};

// `first`: of the codes for the first number of a block, which have no zeros before it.
INLINE Symbol meaning(Byte symbol, int length, bool first) {
    const uint32_t size = symbol & 15, zeros = symbol >> 4;
    return {(uint16_t)(size << 12 | (first || size || zeros == 15 ? zeros : END) << 6 | (length + size))};
}

// Fill `several`, as far as the first bits tell.
static void join(Codes& codes) {
    for (uint32_t bits = 0; bits < 1 << FIRST; bits++) {
        uint32_t skipped = 0, far = 0, last = 0;
        while (skipped < FIRST && !last && far < 48) {  // one symbol more goes to 63 at most
            const Symbol next = codes.first[bits << skipped & ((1 << FIRST) - 1)];
            if (next.word == 0 || skipped + next.skipped() - next.size() > FIRST) break;
            skipped += next.skipped(), last = next.zeros() == END, far += last ? 0 : next.zeros() + 1;
        }
        codes.several[bits].word = (uint16_t)(last << 12 | far << 6 | skipped);
    }
}

// counts: of the codes with 1 to 16 bits. False where they are no codes: too many, or symbols that no picture of eight
// bits has.
static bool build(Codes& codes, const Byte* counts, const Byte* symbols, bool first) {
    memset(codes.first, 0, sizeof codes.first);
    memset(codes.symbols, 0, sizeof codes.symbols);
    int code = 0, place = 0;
    for (int length = 1; length <= LONGEST; length++, code <<= 1) {
        codes.offset[length] = place - code;
        for (int number = 0; number < counts[length - 1]; number++, code++, place++) {
            const Byte symbol = codes.symbols[place] = symbols[place];
            if (code >= (1 << length) - 1) return false;  // a code of ones alone is not allowed
            if (first ? symbol > MOST + 1 : (symbol & 15) > MOST) return false;
            if (length > FIRST) continue;
            const uint32_t begin = (uint32_t)code << (FIRST - length), count = 1u << (FIRST - length);
            for (uint32_t rest = 0; rest < count; rest++) codes.first[begin + rest] = meaning(symbol, length, first);
        }
        codes.largest[length] = counts[length - 1] ? code - 1 : -1;
    }
    if (!first) join(codes);
    return true;
}

// A code that is longer than FIRST bits, out of the 32 bits that begin with it; a word of 0 where there is none.
static Symbol find_long(const Codes& codes, uint32_t bits, bool first) {
    for (int length = FIRST + 1; length <= LONGEST; length++) {
        const int code = (int)(bits >> (32 - length));
        if (code <= codes.largest[length])
            return meaning(codes.symbols[(codes.offset[length] + code) & 255], length, first);
    }
    return {0};
}
