// The entropy-coded part of a JPEG as a stream of bits (ITU-T T.81, F.2.2.5): the zeros that follow each 0xff, for the
// sake of markers, are taken out before, so that any eight bytes can be read at once.
#pragma once
#include "basics.h"

// So many bytes of zeros lie behind the last bits. A block takes at most 64 times 27 bits: that a stream has ended is
// noticed before the next block, and before anything is read that was not written.
constexpr int PADDING = 256;

// The bits between two restart markers.
struct Bits {
    uint64_t word = 0;  // the next bits, from the highest down
    int count = 0;      // how many of them are there; 56 to 63 after `fill`
    const Byte *next = nullptr, *end = nullptr;

    Bits() = default;
    Bits(const Byte* begin, const Byte* end) : next(begin), end(end) {}

    METHOD void fill() {
        uint64_t more;
        memcpy(&more, next, sizeof more);
        word |= __builtin_bswap64(more) >> count;
        next += (63 - count) >> 3;
        count |= 56;
    }
    METHOD uint32_t peek(int bits) const { return (uint32_t)(word >> (64 - bits)); }
    METHOD void skip(int bits) { word <<= bits, count -= bits; }

    // Bits that are left: negative where more were taken than there are.
    METHOD int64_t left() const { return 8 * (int64_t)(end - next) + count; }
    bool ended() const { return left() >= 0 && left() < 8; }
};
