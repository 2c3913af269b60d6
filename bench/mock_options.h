/* What a reply of the mock looks like is told by options such as "e100-d10000-f0-b1-z1024":
 *
 *   e  content events in a stream
 *   d  microseconds between them; 0: back to back, all such streams served in turn
 *   f  microseconds before the first
 *   b  content events per write
 *   z  bytes of text in a reply that is not a stream
 *   p  most bytes in one write of a stream: it comes in pieces of 1 to p, framing and all, and d is
 *      the time between two pieces; 0: writes are whole events
 *   h  1: what the request's body was like is told by /stats
 *
 * They are taken from the first of: the query `?mock=...`, the header `X-Mock: ...`, the model's
 * name in the body, as in "mock-e100-d0". The last one survives every gateway on the way.
 */
#include <string.h>
#include <strings.h>

struct options {
    int events;
    long gap_us;
    long first_us;
    int events_per_write;
    int text_bytes;
    int piece_bytes;
    int hash;
};

static const struct options default_options = {
    .events = 100, .events_per_write = 1, .text_bytes = 700,
};

static struct options read_options(const char *p, const char *end) {
    struct options options = default_options;
    while (p < end && *p && strchr("edfbzph", *p)) {
        char name = *p++;
        long value = 0;
        while (p < end && *p >= '0' && *p <= '9')
            value = value * 10 + (*p++ - '0');
        switch (name) {
        case 'e': options.events = (int)value; break;
        case 'd': options.gap_us = value; break;
        case 'f': options.first_us = value; break;
        case 'b': options.events_per_write = value ? (int)value : 1; break;
        case 'z': options.text_bytes = (int)value; break;
        case 'p': options.piece_bytes = (int)value; break;
        case 'h': options.hash = (int)value; break;
        }
        if (p >= end || *p != '-')
            break;
        p++;
    }
    return options;
}

/* The head ends in NUL, path and body do not. */
static struct options find_options(const char *head, const char *path, const char *path_end,
                                   const char *body, size_t body_bytes) {
    const char *found;
    if ((found = memmem(path, (size_t)(path_end - path), "mock=", 5)))
        return read_options(found + 5, path_end);
    if ((found = strcasestr(head, "\r\nx-mock: ")))
        return read_options(found + 10, head + strlen(head));
    if ((found = memmem(body, body_bytes, "mock-e", 6)))
        return read_options(found + 5, body + body_bytes);
    return default_options;
}

static int asks_for_stream(const char *body, size_t size) {
    const char *end = body + size;
    const char *p = memmem(body, size, "\"stream\"", 8);
    if (!p)
        return 0;
    p += 8;
    while (p < end && (*p == ' ' || *p == ':'))
        p++;
    return p < end && *p == 't';
}
