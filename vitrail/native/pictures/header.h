// What stands before the picture in a JPEG file (T.81, annex B).
//
// Only the one kind of file that cameras and the web are full of is read here: sequential, Huffman codes, eight bits,
// grey or YCbCr in one scan, color in full, half or quarter resolution. All else, and all that is odd, is for libjpeg.
#pragma once
#include "huffman.h"

constexpr int LIMIT = 65500;  // libjpeg's, of a side
constexpr int COLORS = 3, TABLES = 4, SIDE = 8, NUMBERS = SIDE * SIDE;

// Numbers of a block are kept in columns, and in a column in pairs, as they are multiplied.
static constexpr int PAIRS[SIDE / 2][2] = {{0, 4}, {2, 6}, {7, 1}, {5, 3}};

// Where each is, in the order in which they come (zigzag, T.81, figure A.6), with LANES blocks side by side, which are
// turned to samples at once.
struct Places {
    uint16_t of[NUMBERS] = {};
    constexpr Places() {
        int row = 0, column = 0;
        for (int number = 0; number < NUMBERS; number++) {
            for (int pair = 0; pair < SIDE / 2; pair++)
                for (int half = 0; half < 2; half++)
                    if (PAIRS[pair][half] == row) of[number] = 2 * LANES * (column * SIDE / 2 + pair) + half;
            const bool up = (row + column) % 2 == 0;
            if (up && column < SIDE - 1) column++, row -= row > 0;
            else if (up) row++;
            else if (row < SIDE - 1) row++, column -= column > 0;
            else column++;
        }
    }
    constexpr int alone(int number) const { return of[number] / (2 * LANES) * 2 + of[number] % 2; }  // with one block
};
static constexpr Places PLACES;

struct Component {
    int id, across, down;  // samples for each of the smallest, along both sides: 1 or 2
    int steps, dc, ac;     // which of the tables
};

struct Header {
    int height = 0, width = 0, components = 0;
    Component component[COLORS] = {};
    int restart = 0;             // after how many units the stream begins anew; 0: never
    const Byte* scan = nullptr;  // where the entropy-coded part begins
    bool has_steps[TABLES] = {};
    int16_t steps[TABLES][NUMBERS];  // of quantization, at the places of one block
    const Codes *dc[TABLES] = {}, *ac[TABLES] = {};

    // Samples of luma for each of color, along both sides.
    int across() const { return component[0].across; }
    int down() const { return component[0].down; }
};

INLINE int pair_at(const Byte* place) { return place[0] << 8 | place[1]; }

static bool read_steps(Header& header, const Byte* at, const Byte* end) {
    while (at < end) {
        const int table = *at & 15, wide = *at >> 4;
        if (table >= TABLES || wide || end - ++at < NUMBERS) return false;
        for (int number = 0; number < NUMBERS; number++) header.steps[table][PLACES.alone(number)] = *at++;
        header.has_steps[table] = true;
    }
    return true;
}

// Most files of a collection have the same codes: each thread keeps its last ones.
struct Kept {
    int length = 0;
    Byte told[LONGEST + 256];
    Codes codes;
};

static const Codes* codes_of(const Byte* told, int length, int table, bool first) {
    static thread_local Kept kept[2][TABLES];
    Kept& one = kept[first][table];
    if (one.length != length || memcmp(one.told, told, length)) {
        one.length = 0;
        if (!build(one.codes, told, told + LONGEST, first)) return nullptr;
        memcpy(one.told, told, length), one.length = length;
    }
    return &one.codes;
}

static bool read_codes(Header& header, const Byte* at, const Byte* end) {
    while (at < end) {
        const int table = *at & 15, alternating = *at >> 4;
        if (table >= TABLES || alternating > 1 || end - ++at < LONGEST) return false;
        int length = LONGEST;
        for (int bits = 0; bits < LONGEST; bits++) length += at[bits];
        if (length > LONGEST + 256 || end - at < length) return false;
        const Codes*& codes = (alternating ? header.ac : header.dc)[table];
        if (codes || !(codes = codes_of(at, length, table, !alternating))) return false;
        at += length;
    }
    return true;
}

static bool read_frame(Header& header, const Byte* at, const Byte* end) {
    if (header.components || end - at < 6 || at[0] != 8) return false;
    header.height = pair_at(at + 1), header.width = pair_at(at + 3);
    const int components = at[5];
    if (header.height > LIMIT || header.width > LIMIT) return false;
    if (!header.height || !header.width || (components != 1 && components != COLORS)) return false;
    if (end - at != 6 + 3 * components) return false;
    for (int which = 0; which < components; which++) {
        const Byte* told = at + 6 + 3 * which;
        header.component[which] = {told[0], told[1] >> 4, told[1] & 15, told[2], 0, 0};
        if (told[2] >= TABLES) return false;
    }
    header.components = components;
    Component& luma = header.component[0];
    if (components == 1 && (luma.across != 1 || luma.down != 1)) return false;
    if (luma.across == 2 && header.width <= 4) return false;  // libjpeg repeats color that is so narrow
    const bool known = (luma.across == 1 && luma.down == 1) || (luma.across == 2 && luma.down <= 2 && luma.down >= 1);
    for (int which = 1; which < components; which++)
        if (header.component[which].across != 1 || header.component[which].down != 1) return false;
    return known;
}

static bool read_scan(Header& header, const Byte* at, const Byte* end) {
    const int components = header.components;
    if (!components || end - at != 4 + 2 * components || at[0] != components) return false;
    for (int which = 0; which < components; which++) {
        Component& component = header.component[which];
        component.dc = at[2 + 2 * which] >> 4, component.ac = at[2 + 2 * which] & 15;
        if (at[1 + 2 * which] != component.id || component.dc >= TABLES || component.ac >= TABLES) return false;
        if (!header.dc[component.dc] || !header.ac[component.ac] || !header.has_steps[component.steps]) return false;
    }
    return end[-3] == 0 && end[-2] == NUMBERS - 1 && end[-1] == 0;
}

// Whether three components are YCbCr, by libjpeg's rules, the clear cases: JFIF says so, or Adobe does, or their ids.
static bool is_ycc(const Header& header, bool jfif, int adobe) {
    if (header.components == 1) return true;
    if (adobe >= 0) return adobe == 1;
    return jfif || (header.component[0].id == 1 && header.component[1].id == 2 && header.component[2].id == 3);
}

// False where the file is of another kind, or is damaged.
static bool read_header(Header& header, const Byte* file, int64_t length) {
    const Byte *at = file + 2, *end = file + length;
    if (length < 4 || file[0] != 0xff || file[1] != 0xd8) return false;
    bool jfif = false;
    int adobe = -1;
    while (end - at >= 4 && at[0] == 0xff) {
        const int marker = at[1], size = pair_at(at + 2);
        const Byte *segment = at + 4, *behind = at + 2 + size;
        if (size < 2 || end - at < 2 + size) return false;
        at = behind;
        bool good = true;
        if (marker == 0xdb) good = read_steps(header, segment, behind);
        else if (marker == 0xc4) good = read_codes(header, segment, behind);
        else if (marker == 0xc0 || marker == 0xc1) good = read_frame(header, segment, behind);
        else if (marker == 0xdd) good = size == 4, header.restart = good ? pair_at(segment) : 0;
        else if (marker == 0xe0 && size >= 16 && !memcmp(segment, "JFIF", 5)) jfif = true, good = segment[5] == 1;
        else if (marker == 0xee) adobe = size >= 14 && !memcmp(segment, "Adobe", 5) ? segment[11] : adobe;
        else if (marker == 0xda) {
            header.scan = behind;
            return read_scan(header, segment, behind) && is_ycc(header, jfif, adobe);
        } else good = marker == 0xfe || (marker >= 0xe0 && marker <= 0xef);  // comments and what applications keep
        if (!good) return false;
    }
    return false;
}
