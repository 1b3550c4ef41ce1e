// From the bytes of JPEG files to the input of a model.
#include "colors.h"
#include "resample.h"

struct Size {
    int64_t height, width;
};
struct Box {
    int64_t top, left, height, width;

    bool lies_in(Size size) const {
        return top >= 0 && left >= 0 && height > 0 && width > 0 && top <= size.height - height
               && left <= size.width - width;
    }
};

// Colors row by row, each resized along: to[component][rows of the part][stride]. False where there is no memory.
static bool resize_rows(const Header& header, const Plane planes[COLORS], const Part& part, const Along& along,
                        int64_t stride, Byte* to) {
    const int64_t width = part.right - part.left, rows = part.bottom - part.top, room = width + along.beyond();
    Memory<Byte> colors;
    Memory<int16_t> scratch;
    if (!colors.take(COLORS * room) || !scratch.take(width / 2 + ROOM)) return false;
    memset(colors.data, 0, COLORS * room), memset(scratch.data, 0, (width / 2 + ROOM) * sizeof(int16_t));
    Byte* line[COLORS] = {colors.data, colors.data + room, colors.data + 2 * room};
    for (int64_t row = 0; row < rows; row++) {
        memcpy(line[0], planes[0].row(part.top + row) + part.left, width);
        for (int which = 1; which < header.components; which++)
            widen_row(planes[which], header, part.top + row, part.left, part.right, scratch.data, line[which]);
        if (header.components == COLORS) to_rgb(line[0], line[1], line[2], width);
        for (int which = 0; which < header.components; which++)
            along.make(line[which], to + (which * rows + row) * stride);
    }
    return true;
}

// The `box` of a picture, resized to `whole`, of it the `window`: bytes [red, green, blue][height][width]. `picture` is
// the size that the file must have. False where the file is of another kind, is damaged, memory is short, or what is
// asked for makes no sense; `to` is anything then.
static bool look(const Byte* file, int64_t length, Size picture, Box box, Size whole, Box window, bool bicubic,
                 Byte* to) {
    Header header;
    if (!read_header(header, file, length) || header.height != picture.height || header.width != picture.width)
        return false;
    if (!box.lies_in(picture) || !window.lies_in(whole)) return false;
    Weights across, down;
    if (!across.open(box.width, whole.width, window.left, window.left + window.width, bicubic)
        || !down.open(box.height, whole.height, window.top, window.top + window.height, bicubic))
        return false;
    const Part part = {box.top + down.least, box.left + across.least, box.top + down.most, box.left + across.most};
    const int64_t rows = part.bottom - part.top, stride = window.width + WORDS, area = window.height * window.width;
    Plane planes[COLORS];
    Along along(across);
    Memory<Byte> resized;
    if (!read_planes(header, file + length, part, planes) || !along.open()
        || !resized.take(COLORS * rows * stride) || !resize_rows(header, planes, part, along, stride, resized.data))
        return false;
    for (int which = 0; which < COLORS; which++)
        if (which < header.components)
            resize_columns(down, resized.data + which * rows * stride, stride, window.width, to + which * area);
        else memcpy(to + which * area, to, area);
    return true;
}

// asked: height and width of the picture; top, left, height and width of the box; height and width of the whole; the
// window. 0 where it went well.
extern "C" int look(const Byte* file, int64_t length, const int64_t* asked, int bicubic, Byte* to) {
    return !look(file, length, {asked[0], asked[1]}, {asked[2], asked[3], asked[4], asked[5]}, {asked[6], asked[7]},
                 {asked[8], asked[9], asked[10], asked[11]}, bicubic != 0, to);
}

// raw[area] * scale - shift. What is written is not read again soon: past the caches.
static void normalize(const Byte* raw, float scale, float shift, float* to, int64_t area) {
    int64_t at = 0;
    const auto by = SIMD(set1_ps)(scale), less = SIMD(set1_ps)(shift);
    for (; at + LANES <= area && (uintptr_t)(to + at) % BYTES == 0; at += LANES)
        SIMD(stream_ps)(to + at, SIMD(sub_ps)(SIMD(mul_ps)(floats(raw + at), by), less));
    _mm_sfence();
    for (; at < area; at++) to[at] = raw[at] * scale - shift;
}

// raw[pictures][colors][area], a scale and a shift for each color
extern "C" void normalize(const Byte* raw, const float* scale, const float* shift, float* to, int64_t pictures,
                          int64_t colors, int64_t area) {
    for (int64_t plane = 0; plane < pictures * colors; plane++)
        normalize(raw + plane * area, scale[plane % colors], shift[plane % colors], to + plane * area, area);
}
