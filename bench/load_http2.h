/* HTTP/2, the client's side: many requests at once on one connection, frames by hand (RFC 9113).
 *
 * Fields are sent without Huffman coding and without the dynamic table, and of an answer's fields
 * only the first is read, which has to be `:status 200` of the static table: whatever else comes
 * first is another status.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "load_reply.h"

enum {
    FRAME_HEAD_BYTES = 9,
    FRAME_BYTES = 16384,       /* longest payload, either way: nobody asked for more */
    FIRST_WINDOW = 65535,      /* of a connection, and of a stream before SETTINGS */
    MAX_WINDOW = 0x7fffffff,
    STATUS_200 = 0x88,
};

enum frame_type {
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
};

enum { FLAG_END_STREAM = 1, FLAG_ACK = 1, FLAG_END_HEADERS = 4, FLAG_PADDED = 8, FLAG_PRIORITY = 32 };

enum setting { HEADER_TABLE_SIZE = 1, ENABLE_PUSH = 2, INITIAL_WINDOW_SIZE = 4 };

struct stream {
    struct reply reply;
    uint32_t id; /* 0: no request is under way */
    int wanted;  /* one waits for the connection */
    int has_head;
    size_t body_sent;
    int64_t room;       /* bytes that the server takes of its body */
    uint32_t unreturned; /* bytes that came and were not made room for again */
};

struct http2 {
    struct stream *streams; /* settings.streams of them */
    uint32_t next_id;
    int going_away; /* the server takes no more requests here */
    int64_t room;
    int64_t room_of_new;
    uint32_t unreturned;
    int waiting; /* bodies that wait for room */

    unsigned char head[FRAME_HEAD_BYTES]; /* of the frame that comes */
    size_t head_bytes;
    uint32_t left; /* bytes of its payload */
    unsigned char payload[FRAME_BYTES]; /* so far; not of DATA */
    size_t payload_bytes;

    char *output; /* [sent, filled) */
    size_t output_sent;
    size_t output_filled;
    size_t output_room;
};

static uint32_t read_u32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_u32(unsigned char *p, uint32_t value) {
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* ---- Frames out ----------------------------------------------------------------------------- */

static void put_bytes(struct http2 *h, const void *data, size_t size) {
    if (h->output_sent == h->output_filled)
        h->output_sent = h->output_filled = 0;
    if (h->output_filled + size > h->output_room) {
        h->output_room = (h->output_filled + size) * 2;
        h->output = realloc(h->output, h->output_room);
    }
    memcpy(h->output + h->output_filled, data, size);
    h->output_filled += size;
}

static void put_frame(struct http2 *h, enum frame_type type, int flags, uint32_t id,
                      const void *payload, size_t size) {
    unsigned char head[FRAME_HEAD_BYTES];
    write_u32(head, (uint32_t)size << 8);
    head[3] = (unsigned char)type;
    head[4] = (unsigned char)flags;
    write_u32(head + 5, id);
    put_bytes(h, head, sizeof head);
    put_bytes(h, payload, size);
}

static void put_window(struct http2 *h, uint32_t id, uint32_t size) {
    unsigned char payload[4];
    write_u32(payload, size);
    put_frame(h, WINDOW_UPDATE, 0, id, payload, sizeof payload);
}

static uint32_t connection_window(void) {
    int64_t size = (int64_t)settings.window * settings.streams;
    if (size < FIRST_WINDOW)
        return FIRST_WINDOW; /* It cannot be made smaller. */
    return size < MAX_WINDOW ? (uint32_t)size : MAX_WINDOW;
}

/* A new connection: what a client sends first. */
static void http2_open(struct http2 *h) {
    unsigned char payload[18] = {0}; /* three settings, of two and four bytes */
    payload[1] = HEADER_TABLE_SIZE;
    payload[7] = ENABLE_PUSH;
    payload[13] = INITIAL_WINDOW_SIZE;
    write_u32(payload + 14, (uint32_t)settings.window);
    h->next_id = 1;
    h->going_away = 0;
    h->room = h->room_of_new = FIRST_WINDOW;
    h->unreturned = 0;
    h->waiting = 0;
    h->head_bytes = 0;
    h->output_sent = h->output_filled = 0;
    put_bytes(h, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    put_frame(h, SETTINGS, 0, 0, payload, sizeof payload);
    if (connection_window() > FIRST_WINDOW)
        put_window(h, 0, connection_window() - FIRST_WINDOW);
}

/* As much of the body as there is room for. */
static void send_body(struct http2 *h, struct stream *s) {
    while (s->body_sent < request.body_bytes && h->room > 0 && s->room > 0) {
        int64_t size = (int64_t)(request.body_bytes - s->body_sent);
        size = size < FRAME_BYTES ? size : FRAME_BYTES;
        size = size < h->room ? size : h->room;
        size = size < s->room ? size : s->room;
        int last = s->body_sent + (size_t)size == request.body_bytes;
        put_frame(h, DATA, last ? FLAG_END_STREAM : 0, s->id, request.body + s->body_sent,
                  (size_t)size);
        s->body_sent += (size_t)size;
        s->room -= size;
        h->room -= size;
    }
}

static void send_waiting_bodies(struct http2 *h) {
    if (!h->waiting)
        return;
    h->waiting = 0;
    for (long i = 0; i < settings.streams; i++) {
        struct stream *s = &h->streams[i];
        if (!s->id)
            continue;
        send_body(h, s);
        h->waiting += s->body_sent < request.body_bytes;
    }
}

static void send_request_on(struct http2 *h, struct stream *s) {
    s->wanted = 0;
    s->id = h->next_id;
    h->next_id += 2;
    s->has_head = 0;
    s->body_sent = 0;
    s->room = h->room_of_new;
    s->unreturned = 0;
    reply_begin(&s->reply);
    put_frame(h, HEADERS, FLAG_END_HEADERS, s->id, request.block, request.block_bytes);
    send_body(h, s);
    h->waiting += s->body_sent < request.body_bytes;
}

/* Send what waited for the connection. */
static void http2_send_wanted(struct http2 *h) {
    for (long i = 0; i < settings.streams; i++) {
        if (h->streams[i].wanted && !h->going_away)
            send_request_on(h, &h->streams[i]);
    }
}

/* ---- Streams -------------------------------------------------------------------------------- */

static void want(struct stream *s) {
    counts.started++;
    live++;
    s->wanted = 1;
}

/* A request is over, well or not; the next one follows on a stream of its own. */
static void end_stream(struct http2 *h, struct stream *s, int again) {
    h->waiting -= s->body_sent < request.body_bytes;
    s->id = 0;
    live--;
    if (!again)
        return;
    want(s);
    if (!h->going_away)
        send_request_on(h, s);
}

static struct stream *find_stream(struct http2 *h, uint32_t id) {
    for (long i = 0; i < settings.streams; i++) {
        if (h->streams[i].id == id)
            return &h->streams[i];
    }
    return NULL; /* It is over. */
}

static void finish_stream(struct http2 *h, struct stream *s) {
    reply_end(&s->reply);
    end_stream(h, s, may_start_more());
}

/* The connection has ended: whatever was under way on it is lost. */
static void http2_close(struct http2 *h) {
    h->going_away = 1;
    for (long i = 0; i < settings.streams; i++) {
        struct stream *s = &h->streams[i];
        if (!s->id)
            continue;
        note_error(ERROR_EOF, "connection closed in a stream, after %ld events", s->reply.events);
        end_stream(h, s, may_try_again());
    }
}

/* No connection could be opened: give up what waited for it. */
static void http2_give_up(struct http2 *h) {
    for (long i = 0; i < settings.streams; i++) {
        live -= h->streams[i].wanted;
        h->streams[i].wanted = 0;
    }
}

static int http2_has_wanted(const struct http2 *h) {
    for (long i = 0; i < settings.streams; i++) {
        if (h->streams[i].wanted)
            return 1;
    }
    return 0;
}

/* ---- Frames in ------------------------------------------------------------------------------ */

static int broken(const char *what) {
    note_error(ERROR_INCOMPLETE, "HTTP/2: %s", what);
    return -1;
}

/* Make room again for DATA that came, when half of what was given is used. */
static void return_window(struct http2 *h, struct stream *s, uint32_t size) {
    h->unreturned += size;
    if (h->unreturned > connection_window() / 2) {
        put_window(h, 0, h->unreturned);
        h->unreturned = 0;
    }
    if (!s)
        return;
    s->unreturned += size;
    if (s->unreturned > (uint32_t)settings.window / 2) {
        put_window(h, s->id, s->unreturned);
        s->unreturned = 0;
    }
}

static int on_data(struct http2 *h, uint32_t id, const char *data, size_t size, int last,
                   uint64_t now) {
    struct stream *s = find_stream(h, id);
    if (s && !s->has_head)
        return broken("a body before its head");
    if (s)
        reply_scan(&s->reply, data, size, now);
    return_window(h, s && !last ? s : NULL, (uint32_t)size);
    if (s && last)
        finish_stream(h, s);
    return 0;
}

static int on_headers(struct http2 *h, uint32_t id, int flags) {
    struct stream *s = find_stream(h, id);
    const unsigned char *p = h->payload;
    const unsigned char *end = p + h->payload_bytes;
    if (!s)
        return 0;
    if (!s->has_head) {
        p += (flags & FLAG_PADDED ? 1 : 0) + (flags & FLAG_PRIORITY ? 5 : 0);
        while (p < end && (*p & 0xe0) == 0x20) /* the size of a table: at most 30 is one byte */
            p++;
        if (p >= end || *p != STATUS_200) {
            note_error(ERROR_STATUS, "HTTP/2: a status that is not 200, in a block that begins with "
                       "%02x%02x%02x%02x%02x%02x", p < end ? p[0] : 0, p + 1 < end ? p[1] : 0,
                       p + 2 < end ? p[2] : 0, p + 3 < end ? p[3] : 0, p + 4 < end ? p[4] : 0,
                       p + 5 < end ? p[5] : 0);
            end_stream(h, s, may_try_again());
            return 0;
        }
        s->has_head = 1;
    }
    if (flags & FLAG_END_STREAM)
        finish_stream(h, s);
    return 0;
}

static int on_settings(struct http2 *h, int flags) {
    if (flags & FLAG_ACK)
        return 0;
    for (size_t at = 0; at + 6 <= h->payload_bytes; at += 6) {
        int name = h->payload[at] << 8 | h->payload[at + 1];
        int64_t value = read_u32(h->payload + at + 2);
        if (name != INITIAL_WINDOW_SIZE)
            continue;
        for (long i = 0; i < settings.streams; i++)
            h->streams[i].room += value - h->room_of_new;
        h->room_of_new = value;
    }
    put_frame(h, SETTINGS, FLAG_ACK, 0, "", 0);
    send_waiting_bodies(h);
    return 0;
}

static int on_window_update(struct http2 *h, uint32_t id) {
    if (h->payload_bytes != 4)
        return broken("a WINDOW_UPDATE of another size");
    struct stream *s = id ? find_stream(h, id) : NULL;
    if (!id)
        h->room += read_u32(h->payload);
    else if (s)
        s->room += read_u32(h->payload);
    send_waiting_bodies(h);
    return 0;
}

static int on_reset(struct http2 *h, uint32_t id) {
    struct stream *s = find_stream(h, id);
    if (!s)
        return 0;
    uint32_t code = h->payload_bytes == 4 ? read_u32(h->payload) : 0;
    note_error(ERROR_EOF, "HTTP/2: stream reset with %u after %ld events", code, s->reply.events);
    end_stream(h, s, may_try_again());
    return 0;
}

static int on_goaway(struct http2 *h) {
    h->going_away = 1;
    uint32_t code = h->payload_bytes >= 8 ? read_u32(h->payload + 4) : 0;
    if (!code)
        return 0;
    note_error(ERROR_INCOMPLETE, "HTTP/2: GOAWAY with %u: %.*s", code,
               (int)(h->payload_bytes - 8), (const char *)h->payload + 8);
    return -1;
}

/* A whole frame that is not DATA. Returns -1 when the connection cannot be used any longer. */
static int on_frame(struct http2 *h, int type, int flags, uint32_t id) {
    switch (type) {
    case HEADERS:
        return on_headers(h, id, flags);
    case RST_STREAM:
        return on_reset(h, id);
    case SETTINGS:
        return on_settings(h, flags);
    case PUSH_PROMISE:
        return broken("a push that was refused");
    case PING:
        if (!(flags & FLAG_ACK))
            put_frame(h, PING, FLAG_ACK, 0, h->payload, h->payload_bytes);
        return 0;
    case GOAWAY:
        return on_goaway(h);
    case WINDOW_UPDATE:
        return on_window_update(h, id);
    default:
        return 0; /* PRIORITY, CONTINUATION, and what nobody knows */
    }
}

/* Some bytes have come. Returns -1 when the connection cannot be used any longer. */
static int http2_read(struct http2 *h, const char *data, size_t size, uint64_t now) {
    const char *end = data + size;
    while (data < end || (h->head_bytes == FRAME_HEAD_BYTES && !h->left)) {
        size_t there = (size_t)(end - data);
        if (h->head_bytes < FRAME_HEAD_BYTES) {
            size_t missing = FRAME_HEAD_BYTES - h->head_bytes;
            size_t taken = there < missing ? there : missing;
            memcpy(h->head + h->head_bytes, data, taken);
            h->head_bytes += taken;
            data += taken;
            if (h->head_bytes < FRAME_HEAD_BYTES)
                return 0;
            h->left = read_u32(h->head) >> 8;
            h->payload_bytes = 0;
            if (h->left > FRAME_BYTES)
                return broken("a frame that is too long");
            continue;
        }
        int type = h->head[3];
        int flags = h->head[4];
        uint32_t id = read_u32(h->head + 5) & 0x7fffffff;
        size_t taken = there < h->left ? there : h->left;
        h->left -= (uint32_t)taken;
        if (!h->left)
            h->head_bytes = 0;
        if (type == DATA) {
            if (flags & FLAG_PADDED)
                return broken("padding");
            if (on_data(h, id, data, taken, !h->left && flags & FLAG_END_STREAM, now) < 0)
                return -1;
        } else {
            memcpy(h->payload + h->payload_bytes, data, taken);
            h->payload_bytes += taken;
            if (!h->left && on_frame(h, type, flags, id) < 0)
                return -1;
        }
        data += taken;
    }
    return 0;
}
