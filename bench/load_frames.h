/* Count the frames of an event stream and see whether the terminal one came.
 *
 * Only the first bytes of each line are kept; no read boundary changes what is found.
 */
#include <stdint.h>
#include <string.h>

enum {
    LINE_BYTES = 40, /* room for any line that makes a frame the terminal one */
};

struct frames {
    uint64_t count;
    int has_terminal;

    char line[LINE_BYTES];
    size_t line_bytes;   /* of the line so far; more than LINE_BYTES when it is longer */
    int lines;           /* of the frame so far */
    int is_terminal;     /* one of them makes it the terminal frame */
};

/* Is this line `field` with `value`? One space may stand between them. */
static int line_says(const char *line, size_t size, const char *field, const char *value) {
    size_t field_bytes = strlen(field);
    size_t value_bytes = strlen(value);
    if (size < field_bytes || memcmp(line, field, field_bytes))
        return 0;
    if (size > field_bytes && line[field_bytes] == ' ')
        field_bytes++;
    return size == field_bytes + value_bytes && !memcmp(line + field_bytes, value, value_bytes);
}

static void end_line(struct frames *f, const char *terminal_field, const char *terminal_value) {
    size_t size = f->line_bytes;
    if (size && size <= LINE_BYTES && f->line[size - 1] == '\r')
        size--;
    f->line_bytes = 0;
    if (size) {
        f->lines++;
        if (size <= LINE_BYTES && line_says(f->line, size, terminal_field, terminal_value))
            f->is_terminal = 1;
        return;
    }
    f->count += f->lines > 0;
    f->has_terminal |= f->is_terminal;
    f->lines = 0;
    f->is_terminal = 0;
}

static void scan_frames(struct frames *f, const char *p, const char *end,
                        const char *terminal_field, const char *terminal_value) {
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t size = (size_t)((newline ? newline : end) - p);
        if (f->line_bytes < LINE_BYTES) {
            size_t room = LINE_BYTES - f->line_bytes;
            memcpy(f->line + f->line_bytes, p, size < room ? size : room);
        }
        f->line_bytes += size;
        if (!newline)
            return;
        end_line(f, terminal_field, terminal_value);
        p = newline + 1;
    }
}
