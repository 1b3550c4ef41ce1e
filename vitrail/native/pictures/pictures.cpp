// A part of a JPEG, at another size: only what is asked for is turned to pixels.
#include "colors.h"
#include "resample.h"

struct Box {
    int64_t top, left, height, width;
};
struct Size {
    int64_t height, width;
};

// The `box` of the picture, resized to `whole`, of it the `window`: bytes [red, green, blue][window.height][window.width].
// `picture` is the size that the file must have. 0 where it went well; else the file is of another kind or damaged,
// memory is short, or what is asked for makes no sense, and `to` is anything.
static int look_at(const Byte* file, int64_t length, Size picture, Box box, Size whole, Box window, bool bicubic, Byte* to) {
    Header header;
    Weights across, down;
    Plane planes[COLORS];
    if (!read_header(header, file, length)) return 2;
    if (header.height != picture.height || header.width != picture.width) return 3;
    if (!across.open(box.width, whole.width, window.left, window.left + window.width, bicubic)
        || !down.open(box.height, whole.height, window.top, window.top + window.height, bicubic))
        return 1;
    const Part part = {box.top + down.least, box.left + across.least, box.top + down.most, box.left + across.most};
    if (!open_planes(header, file + length, part, planes)) return 4;

    const int64_t width = part.right - part.left, rows = part.bottom - part.top;
    Along along(across);
    const int64_t room = width + along.beyond(), stride = window.width + Across::AT_ONCE;
    Memory<Byte> colors, resized;
    Memory<int16_t> scratch;
    if (!along.open() || !colors.take(COLORS * room) || !resized.take(COLORS * rows * stride) || !scratch.take(width / 2 + 4 + 32))
        return 1;
    memset(colors.data, 0, COLORS * room);
    for (int64_t row = 0; row < rows; row++) {
        Byte* line[COLORS] = {colors.data, colors.data + room, colors.data + 2 * room};
        memcpy(line[0], planes[0].row(part.top + row) + part.left, width);
        for (int which = 1; which < header.components; which++)
            widen_row(planes[which], header, part.top + row, part.left, part.right, scratch.data, line[which]);
        if (header.components == COLORS) to_rgb(line[0], line[1], line[2], width);
        for (int which = 0; which < header.components; which++)
            along.make(line[which], resized.data + (which * rows + row) * stride);
    }
    const int64_t area = window.height * window.width;
    for (int which = 0; which < header.components; which++)
        Across::make(down, resized.data + which * rows * stride, stride, window.width, to + which * area);
    for (int which = header.components; which < COLORS; which++) memcpy(to + which * area, to, area);
    return 0;
}

extern "C" int look(const Byte* file, int64_t length, const int64_t* asked, int bicubic, Byte* to) {
    return look_at(file, length, {asked[0], asked[1]}, {asked[2], asked[3], asked[4], asked[5]}, {asked[6], asked[7]},
                {asked[8], asked[9], asked[10], asked[11]}, bicubic, to);
}

// raw[area] * scale - shift. What is written is not read again soon: past the caches, which takes half of the time.
static void normalize(const Byte* raw, float scale, float shift, float* to, int64_t area) {
    int64_t at = 0;
    const __m512 by = _mm512_set1_ps(scale), less = _mm512_set1_ps(shift);
    for (; at + LANES <= area && (uintptr_t)(to + at) % 64 == 0; at += LANES) {
        const __m512 value = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)(raw + at))));
        _mm512_stream_ps(to + at, _mm512_sub_ps(_mm512_mul_ps(value, by), less));
    }
    _mm_sfence();
    for (; at < area; at++) to[at] = raw[at] * scale - shift;
}

// raw[pictures][colors][area], a scale and a shift for each color
extern "C" void normalize(const Byte* raw, const float* scale, const float* shift, float* to, int64_t pictures,
                          int64_t colors, int64_t area) {
    for (int64_t plane = 0; plane < pictures * colors; plane++)
        normalize(raw + plane * area, scale[plane % colors], shift[plane % colors], to + plane * area, area);
}
