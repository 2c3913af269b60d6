/* A response of HTTP/1.1: its head, and the framing of its body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "load_reply.h"

enum { HEAD_BYTES = 8192 }; /* longest response head that is read */

enum chunk_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER };

enum progress { UNFINISHED, FINISHED, BROKEN }; /* BROKEN: the error was noted */

struct http1 {
    char head[HEAD_BYTES];
    size_t head_bytes;
    int in_body;
    int close_after;
    int chunked;
    int has_length;
    uint64_t left; /* bytes, of the chunk or of a body with a length */
    enum chunk_state chunk_state;
};

static void http1_begin(struct http1 *h) {
    h->head_bytes = 0;
    h->in_body = 0;
    h->close_after = 0;
    h->chunk_state = CHUNK_SIZE;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of chunked framing. Returns 1 at the end of the body, -1 when it cannot be read. */
static int read_framing(struct http1 *h, char byte) {
    switch (h->chunk_state) {
    case CHUNK_SIZE:
        if (hex_digit(byte) >= 0) {
            h->left = h->left * 16 + (uint64_t)hex_digit(byte);
            return 0;
        }
        if (!memchr("\r\n; ", byte, 4))
            return -1;
        h->chunk_state = CHUNK_EXTENSION;
        /* fallthrough */
    case CHUNK_EXTENSION:
        if (byte == '\n')
            h->chunk_state = h->left ? CHUNK_DATA : TRAILER_START;
        return 0;
    case CHUNK_END:
        if (byte == '\n')
            h->chunk_state = CHUNK_SIZE;
        else if (byte != '\r')
            return -1;
        return 0;
    case TRAILER_START:
        if (byte == '\n')
            return 1;
        if (byte != '\r')
            h->chunk_state = TRAILER;
        return 0;
    default: /* TRAILER */
        if (byte == '\n')
            h->chunk_state = TRAILER_START;
        return 0;
    }
}

static size_t read_data(struct http1 *h, struct reply *reply, const char *data, size_t size,
                        uint64_t now) {
    if (size > h->left)
        size = (size_t)h->left;
    reply_scan(reply, data, size, now);
    h->left -= size;
    return size;
}

static enum progress read_body(struct http1 *h, struct reply *reply, const char *data, size_t size,
                               uint64_t now) {
    const char *end = data + size;
    int ended = 0;
    if (h->chunked) {
        while (data < end && !ended) {
            if (h->chunk_state != CHUNK_DATA) {
                ended = read_framing(h, *data++);
                continue;
            }
            data += read_data(h, reply, data, (size_t)(end - data), now);
            if (!h->left)
                h->chunk_state = CHUNK_END;
        }
    } else if (h->has_length) {
        data += read_data(h, reply, data, size, now);
        ended = h->left == 0;
    } else {
        reply_scan(reply, data, size, now);
        data = end;
    }
    if (ended < 0 || (ended && data < end)) {
        note_error(ERROR_INCOMPLETE, ended < 0 ? "bad chunk" : "bytes after the end of a reply");
        return BROKEN;
    }
    return ended ? FINISHED : UNFINISHED;
}

static void parse_head(struct http1 *h) {
    const char *length = strcasestr(h->head, "\r\ncontent-length:");
    const char *coding = strcasestr(h->head, "\r\ntransfer-encoding:");
    h->has_length = length != NULL;
    h->left = length ? strtoull(strchr(length, ':') + 1, NULL, 10) : 0;
    h->chunked = coding && strcasestr(coding, "chunked");
    if (h->chunked)
        h->left = 0;
    h->close_after = strcasestr(h->head, "\r\nconnection: close") != NULL;
}

static enum progress read_head(struct http1 *h, struct reply *reply, const char *data, size_t size,
                               uint64_t now) {
    size_t old = h->head_bytes;
    size_t room = HEAD_BYTES - 1 - old;
    size_t copied = size < room ? size : room;
    memcpy(h->head + old, data, copied);
    h->head_bytes += copied;
    h->head[h->head_bytes] = 0;
    char *blank_line = strstr(h->head, "\r\n\r\n");
    if (!blank_line && h->head_bytes < HEAD_BYTES - 1)
        return UNFINISHED;
    if (!blank_line || strncmp(h->head + 8, " 200", 4)) {
        note_error(ERROR_STATUS, "%.380s", h->head);
        return BROKEN;
    }
    size_t used = (size_t)(blank_line + 4 - h->head) - old;
    *blank_line = 0;
    parse_head(h);
    h->in_body = 1;
    if (used < size || (h->has_length && !h->left && !h->chunked))
        return read_body(h, reply, data + used, size - used, now);
    return UNFINISHED;
}

static enum progress http1_read(struct http1 *h, struct reply *reply, const char *data, size_t size,
                                uint64_t now) {
    return h->in_body ? read_body(h, reply, data, size, now)
                      : read_head(h, reply, data, size, now);
}

/* The connection has ended. */
static enum progress http1_close(struct http1 *h, const struct reply *reply) {
    h->close_after = 1;
    if (h->in_body && !h->chunked && !h->has_length)
        return FINISHED;
    note_error(ERROR_EOF, "connection closed %s after %ld events",
               h->in_body ? "in a body" : "before a head", reply->events);
    return BROKEN;
}
