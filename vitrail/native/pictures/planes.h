// From the entropy-coded part to the samples of each component, as far as a part of the picture needs them.
#pragma once
#include "blocks.h"
#include "scan.h"

// A part of the picture: from the first row and column to the last, which is not in it any more.
struct Part {
    int64_t top, left, bottom, right;
};

// The samples of one component, in whole blocks.
struct Plane {
    Memory<Byte> samples;
    int64_t height = 0, width = 0;  // samples that the component has in all
    Part blocks = {};               // those that are kept
    int64_t stride = 0;
    int across = 1, down = 1;       // blocks in each unit of the stream

    // `part` in pixels, `by_row` and `by_column` of them for each sample. Of color with fewer samples, which is
    // interpolated, one more on each side.
    bool open(const Header& header, const Part& part, int by_row, int by_column) {
        height = (header.height + by_row - 1) / by_row, width = (header.width + by_column - 1) / by_column;
        const int64_t more = by_column > 1 ? 1 : 0;
        const int64_t top = part.top / by_row - more, bottom = (part.bottom - 1) / by_row + 1 + more;
        const int64_t left = part.left / by_column - more, right = (part.right - 1) / by_column + 1 + more;
        blocks.top = (top < 0 ? 0 : top) / SIDE, blocks.left = (left < 0 ? 0 : left) / SIDE;
        blocks.bottom = ((bottom > height ? height : bottom) - 1) / SIDE + 1;
        blocks.right = ((right > width ? width : right) - 1) / SIDE + 1;
        stride = (blocks.right - blocks.left) * SIDE;
        return samples.take(stride * (blocks.bottom - blocks.top) * SIDE);
    }

    bool holds(int64_t row, int64_t column) const {
        return row >= blocks.top && row < blocks.bottom && column >= blocks.left && column < blocks.right;
    }
    Byte* block(int64_t row, int64_t column) {
        return samples.data + (row - blocks.top) * SIDE * stride + (column - blocks.left) * SIDE;
    }

    // A row of samples, so that row(y)[x] is that of column x; rows that do not exist are like their neighbors.
    const Byte* row(int64_t number) const {
        number = number < 0 ? 0 : number >= height ? height - 1 : number;
        return samples.data + (number - blocks.top * SIDE) * stride - blocks.left * SIDE;
    }
};

// Reads the stream unit by unit: of each component in turn some neighboring blocks.
struct Reader {
    const Header& header;
    Plane* planes;
    Group groups[COLORS];
    uint32_t levels[COLORS] = {};

    Reader(const Header& header, Plane* planes) : header(header), planes(planes) {
        for (int which = 0; which < header.components; which++)
            groups[which].steps = header.steps[header.component[which].steps];
    }

    METHOD bool unit(Bits& bits, int64_t row, int64_t column) {
        for (int which = 0; which < header.components; which++) {
            const Component& component = header.component[which];
            const Codes &dc = *header.dc[component.dc], &ac = *header.ac[component.ac];
            Plane& plane = planes[which];
            for (int64_t down = row * plane.down; down < (row + 1) * plane.down; down++)
                for (int64_t right = column * plane.across; right < (column + 1) * plane.across; right++) {
                    if (!plane.holds(down, right)) {
                        if (!pass_block(bits, dc, ac, levels[which])) return false;
                        continue;
                    }
                    if (!read_block(bits, dc, ac, levels[which], groups[which].next())) return false;
                    groups[which].add(plane.block(down, right), plane.stride);
                }
        }
        return true;
    }

    // All of the stream is read, so that damage is found wherever it is.
    bool all(const Bits* stretch, int64_t rows, int64_t columns) {
        Bits bits = *stretch;
        int64_t until = header.restart;
        for (int64_t row = 0; row < rows; row++)
            for (int64_t column = 0; column < columns; column++) {
                if (header.restart && until-- == 0) {
                    if (!bits.ended()) return false;
                    bits = *++stretch, until = header.restart - 1;
                    memset(levels, 0, sizeof levels);
                }
                if (!unit(bits, row, column)) return false;
            }
        bool good = bits.ended();
        for (int which = 0; which < header.components; which++) {
            groups[which].finish();
            good &= !groups[which].damaged();
        }
        return good;
    }
};

// False where the file is damaged or there is no memory.
static bool read_planes(const Header& header, const Byte* end, const Part& part, Plane planes[COLORS]) {
    const int across = header.across(), down = header.down();
    for (int which = 0; which < header.components; which++) {
        planes[which].down = which ? 1 : down, planes[which].across = which ? 1 : across;
        if (!planes[which].open(header, part, which ? down : 1, which ? across : 1)) return false;
    }
    const int64_t rows = (header.height + SIDE * down - 1) / (SIDE * down);
    const int64_t columns = (header.width + SIDE * across - 1) / (SIDE * across);
    const int64_t stretches = header.restart ? (rows * columns + header.restart - 1) / header.restart : 1;
    Stretches found;
    return found.find(header.scan, end, stretches) && Reader(header, planes).all(found.each.data, rows, columns);
}
