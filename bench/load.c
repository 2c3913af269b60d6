/* A closed-loop HTTP/1.1 load generator for LLM gateways: one thread on epoll, to 10,000
 * connections. Each connection sends a request, reads the reply, checks it, and sends the next.
 *
 * Build: cc -O2 -Wall -Wextra -o load load.c -lm
 * Usage: load OPTION VALUE ...
 *
 *   --port P            where the gateway listens on 127.0.0.1
 *   --kind K            chat, messages (Anthropic) or responses: the dialect spoken
 *   --path /v1/...      default: by the kind
 *   --model NAME        e.g. mock-e100-d10000: see mock.c
 *   --stream 0|1
 *   --expect E          content events in every stream; bytes at least in every other body
 *   --conns N           connections at once
 *   --requests R        stop after R requests; 0: after --duration
 *   --duration SECONDS  start no request after it; those under way are waited for
 *   --timeout SECONDS   hard bound of the whole run
 *   --ramp-ms MS        open the connections evenly over this time
 *   --keepalive 0|1
 *   --delay-us D        the gap between two events upstream; arrivals later than it are late
 *   --body-bytes B      approximate size of the request body
 *   --header 'K: V'     may be repeated
 *
 * Prints one JSON object; times in microseconds. A reply is an error when its status is not 200
 * (err_status), when the connection ends within it (err_eof), or (err_incomplete) when a stream
 * has another number of events than expected, has them out of order or lacks its terminal frame,
 * when a body is too short, badly chunked, or followed by bytes that belong to no reply.
 *
 *   ttfb     request sent to the first byte of the body
 *   ttft     request sent to the first content event
 *   total    request sent to the end of the reply; good replies only
 *   transit  a content event's arrival minus the time that the mock wrote into it
 *   gap_late how much longer than --delay-us after the previous event an event arrived
 *   hash     of the first good reply's body, stamps left out; hash_other: good replies that differ
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "load_frames.h"
#include "load_hash.h"
#include "load_histogram.h"
#include "load_request.h"
#include "load_settings.h"

enum {
    HEAD_BYTES = 8192,        /* longest response head that is read */
    STAMP_DIGITS = 16,        /* see mock.c */
    READ_BYTES = 262144,
    OPENS_PER_WAKE = 128,     /* so that opening connections does not stop reading */
    MAX_ERRORS = 5000,        /* after which a connection that failed is not opened again */
    EPOLL_BATCH = 1024,
};

enum error { ERROR_CONNECT, ERROR_STATUS, ERROR_INCOMPLETE, ERROR_EOF, ERRORS };

enum state { IDLE, CONNECTING, READING_HEAD, READING_BODY };

enum chunk_state { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER };

struct connection {
    int fd; /* -1: closed */
    enum state state;
    size_t request_sent;

    uint64_t sent_us;
    uint64_t last_event_us;
    uint64_t last_stamp;

    char head[HEAD_BYTES];
    size_t head_bytes;
    int close_after;
    int chunked;
    int has_length;
    uint64_t left;       /* bytes, of the chunk or of a body with a length */
    enum chunk_state chunk_state;

    uint64_t body_bytes;
    long events;
    int stamp_digits;    /* -1: outside of a stamp */
    uint64_t stamp;
    int out_of_order;
    struct frames frames;
    struct content_hash hash;
};

static const struct kind *kind;
static struct request request;
static int epoll_fd;
static struct connection *connections;
static uint64_t end_us; /* no request starts after it */
static int live;        /* connections that are not idle */

static uint64_t started;
static uint64_t good;
static uint64_t events;
static uint64_t frames;
static uint64_t bytes;
static uint64_t reads;
static uint64_t hash;       /* of the first good reply */
static uint64_t hash_other; /* good replies with another one */
static uint64_t errors[ERRORS];
static char first_error[400];
static struct histogram ttfb, ttft, total, transit, gap_late;

/* ---- A connection's life -------------------------------------------------------------------- */

static void start(struct connection *c);

static int may_start_more(void) {
    if (settings.requests)
        return started < (uint64_t)settings.requests;
    return now_us() < end_us;
}

static void close_connection(struct connection *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void set_idle(struct connection *c) {
    if (c->state != IDLE)
        live--;
    c->state = IDLE;
}

__attribute__((format(printf, 2, 3)))
static void note_error(enum error error, const char *format, ...) {
    errors[error]++;
    if (first_error[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
    for (char *p = first_error; *p; p++) { /* It goes into a JSON string. */
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = ' ';
    }
}

/* After an error that was noted: go on with a new connection, unless everything fails. */
static void restart(struct connection *c) {
    uint64_t sum = 0;
    for (int i = 0; i < ERRORS; i++)
        sum += errors[i];
    close_connection(c);
    set_idle(c);
    if (sum < MAX_ERRORS && may_start_more())
        start(c);
}

static void watch(struct connection *c, int operation, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data.ptr = c};
    epoll_ctl(epoll_fd, operation, c->fd, &event);
}

static void send_rest(struct connection *c) {
    ssize_t sent = send(c->fd, request.bytes + c->request_sent, request.size - c->request_sent,
                        MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        note_error(ERROR_CONNECT, "send: %s", strerror(errno));
        restart(c);
        return;
    }
    if (sent > 0)
        c->request_sent += (size_t)sent;
    if (c->request_sent < request.size)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void send_request(struct connection *c) {
    c->state = READING_HEAD;
    c->request_sent = 0;
    c->head_bytes = 0;
    c->close_after = 0;
    c->body_bytes = 0;
    c->chunk_state = CHUNK_SIZE;
    c->events = 0;
    c->stamp_digits = -1;
    c->last_stamp = 0;
    c->out_of_order = 0;
    c->frames = (struct frames){0};
    c->hash = (struct content_hash){.value = FNV_OFFSET};
    c->sent_us = now_us();
    send_rest(c);
}

static void start(struct connection *c) {
    started++;
    live++;
    if (c->fd >= 0) {
        send_request(c);
        return;
    }
    c->state = CONNECTING;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)settings.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        /* Out of files or of ports: another try would fail alike. */
        note_error(ERROR_CONNECT, "connect: %s", strerror(errno));
        close_connection(c);
        set_idle(c);
        return;
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* What is wrong with a reply that has ended, or NULL. */
static const char *find_fault(const struct connection *c) {
    if (!settings.stream)
        return (int64_t)c->body_bytes < settings.expect ? "the body is too short" : NULL;
    if (c->out_of_order)
        return "events out of order";
    if (!c->frames.has_terminal)
        return "the stream ended without its terminal frame";
    if (settings.expect >= 0 && c->events != settings.expect)
        return "another number of events than expected";
    return NULL;
}

static void end_reply(struct connection *c) {
    const char *fault = find_fault(c);
    frames += c->frames.count;
    if (fault) {
        note_error(ERROR_INCOMPLETE, "%s (%ld events, %" PRIu64 " bytes)", fault, c->events,
                   c->body_bytes);
    } else {
        if (!good)
            hash = c->hash.value;
        hash_other += c->hash.value != hash;
        good++;
        histogram_add(&total, (int64_t)(now_us() - c->sent_us));
    }
    if (!settings.keep_alive || c->close_after)
        close_connection(c);
    set_idle(c);
    if (may_start_more())
        start(c);
    else
        close_connection(c);
}

/* ---- What a reply says ---------------------------------------------------------------------- */

static void on_event(struct connection *c, uint64_t now) {
    events++;
    if (c->events == 0)
        histogram_add(&ttft, (int64_t)(now - c->sent_us));
    else if (settings.gap_us)
        histogram_add(&gap_late, (int64_t)(now - c->last_event_us) - settings.gap_us);
    histogram_add(&transit, (int64_t)(now - c->stamp));
    if (c->stamp < c->last_stamp)
        c->out_of_order = 1;
    c->events++;
    c->last_event_us = now;
    c->last_stamp = c->stamp;
}

/* Find the stamps of content events, wherever a dialect puts them. One may be cut by a read. */
static void scan_stamps(struct connection *c, const char *p, const char *end, uint64_t now) {
    while (p < end) {
        if (c->stamp_digits < 0) {
            p = memchr(p, '@', (size_t)(end - p));
            if (!p)
                return;
            c->stamp_digits = 0;
            c->stamp = 0;
        } else if (c->stamp_digits < STAMP_DIGITS && *p >= '0' && *p <= '9') {
            c->stamp = c->stamp * 10 + (uint64_t)(*p - '0');
            c->stamp_digits++;
        } else {
            if (c->stamp_digits == STAMP_DIGITS && *p == '@')
                on_event(c, now);
            c->stamp_digits = -1;
        }
        p++;
    }
}

static void scan_body(struct connection *c, const char *data, size_t size, uint64_t now) {
    if (size && !c->body_bytes)
        histogram_add(&ttfb, (int64_t)(now - c->sent_us));
    c->body_bytes += size;
    hash_add(&c->hash, data, data + size);
    if (settings.stream) {
        scan_frames(&c->frames, data, data + size, kind->terminal_field, kind->terminal_value);
        scan_stamps(c, data, data + size, now);
    }
}

/* ---- HTTP ----------------------------------------------------------------------------------- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of chunked framing. Returns 1 at the end of the body, -1 when it cannot be read. */
static int read_framing(struct connection *c, char byte) {
    switch (c->chunk_state) {
    case CHUNK_SIZE:
        if (hex_digit(byte) >= 0) {
            c->left = c->left * 16 + (uint64_t)hex_digit(byte);
            return 0;
        }
        if (!memchr("\r\n; ", byte, 4))
            return -1;
        c->chunk_state = CHUNK_EXTENSION;
        /* fallthrough */
    case CHUNK_EXTENSION:
        if (byte == '\n')
            c->chunk_state = c->left ? CHUNK_DATA : TRAILER_START;
        return 0;
    case CHUNK_END:
        if (byte == '\n')
            c->chunk_state = CHUNK_SIZE;
        else if (byte != '\r')
            return -1;
        return 0;
    case TRAILER_START:
        if (byte == '\n')
            return 1;
        if (byte != '\r')
            c->chunk_state = TRAILER;
        return 0;
    default: /* TRAILER */
        if (byte == '\n')
            c->chunk_state = TRAILER_START;
        return 0;
    }
}

static size_t read_data(struct connection *c, const char *data, size_t size, uint64_t now) {
    if (size > c->left)
        size = (size_t)c->left;
    scan_body(c, data, size, now);
    c->left -= size;
    return size;
}

static void read_body(struct connection *c, const char *data, size_t size, uint64_t now) {
    const char *end = data + size;
    int ended = 0;
    if (c->chunked) {
        while (data < end && !ended) {
            if (c->chunk_state != CHUNK_DATA) {
                ended = read_framing(c, *data++);
                continue;
            }
            data += read_data(c, data, (size_t)(end - data), now);
            if (!c->left)
                c->chunk_state = CHUNK_END;
        }
    } else if (c->has_length) {
        data += read_data(c, data, size, now);
        ended = c->left == 0;
    } else {
        scan_body(c, data, size, now);
        data = end;
    }
    if (ended < 0 || (ended && data < end)) {
        note_error(ERROR_INCOMPLETE, ended < 0 ? "bad chunk" : "bytes after the end of a reply");
        restart(c);
    } else if (ended) {
        end_reply(c);
    }
}

static void parse_head(struct connection *c) {
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    const char *coding = strcasestr(c->head, "\r\ntransfer-encoding:");
    c->has_length = length != NULL;
    c->left = length ? strtoull(strchr(length, ':') + 1, NULL, 10) : 0;
    c->chunked = coding && strcasestr(coding, "chunked");
    if (c->chunked)
        c->left = 0;
    c->close_after = strcasestr(c->head, "\r\nconnection: close") != NULL;
}

static void read_head(struct connection *c, const char *data, size_t size, uint64_t now) {
    size_t old = c->head_bytes;
    size_t room = HEAD_BYTES - 1 - old;
    size_t copied = size < room ? size : room;
    memcpy(c->head + old, data, copied);
    c->head_bytes += copied;
    c->head[c->head_bytes] = 0;
    char *blank_line = strstr(c->head, "\r\n\r\n");
    if (!blank_line && c->head_bytes < HEAD_BYTES - 1)
        return;
    if (!blank_line || strncmp(c->head + 8, " 200", 4)) {
        note_error(ERROR_STATUS, "%.380s", c->head);
        restart(c);
        return;
    }
    size_t used = (size_t)(blank_line + 4 - c->head) - old;
    *blank_line = 0;
    parse_head(c);
    c->state = READING_BODY;
    if (used < size || (c->has_length && !c->left && !c->chunked))
        read_body(c, data + used, size - used, now);
}

static void on_end_of_file(struct connection *c) {
    if (c->state == READING_BODY && !c->chunked && !c->has_length) {
        c->close_after = 1;
        end_reply(c);
        return;
    }
    note_error(ERROR_EOF, "connection closed %s after %ld events",
               c->state == READING_BODY ? "in a body" : "before a head", c->events);
    restart(c);
}

static void on_readable(struct connection *c) {
    static char buffer[READ_BYTES];
    ssize_t received = recv(c->fd, buffer, sizeof buffer, 0);
    uint64_t now = now_us();
    if (received == 0) {
        on_end_of_file(c);
    } else if (received < 0) {
        if (errno == EAGAIN)
            return;
        note_error(ERROR_EOF, "recv: %s", strerror(errno));
        restart(c);
    } else {
        bytes += (uint64_t)received;
        reads++;
        if (c->state == READING_HEAD)
            read_head(c, buffer, (size_t)received, now);
        else
            read_body(c, buffer, (size_t)received, now);
    }
}

static void on_connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        note_error(ERROR_CONNECT, "connect: %s", strerror(error));
        restart(c);
        return;
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    send_request(c);
}

static void on_ready(struct connection *c, uint32_t ready) {
    if (c->state == CONNECTING) {
        on_connected(c);
        return;
    }
    if (ready & EPOLLOUT) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN); /* send_rest() asks for more when it has more. */
        send_rest(c);
    } else {
        on_readable(c);
    }
}

/* ---- The run -------------------------------------------------------------------------------- */

static void print_report(double window, double elapsed, uint64_t good_in, uint64_t events_in) {
    printf("{\"conns\":%ld,\"window_s\":%.3f,\"elapsed_s\":%.3f,", settings.connections, window,
           elapsed);
    printf("\"started\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"unfinished\":%d,", started, good, live);
    printf("\"err_conn\":%" PRIu64 ",\"err_status\":%" PRIu64 ",", errors[ERROR_CONNECT],
           errors[ERROR_STATUS]);
    printf("\"err_incomplete\":%" PRIu64 ",\"err_eof\":%" PRIu64 ",", errors[ERROR_INCOMPLETE],
           errors[ERROR_EOF]);
    printf("\"rps\":%.1f,\"events\":%" PRIu64 ",\"events_per_s\":%.1f,", (double)good_in / window,
           events, (double)events_in / window);
    printf("\"sse\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"reads\":%" PRIu64 ",", frames, bytes,
           reads);
    printf("\"hash\":\"%016" PRIx64 "\",\"hash_other\":%" PRIu64 ",", hash, hash_other);
    histogram_print("ttfb_us", &ttfb);
    histogram_print("ttft_us", &ttft);
    histogram_print("total_us", &total);
    histogram_print("transit_us", &transit);
    histogram_print("gap_late_us", &gap_late);
    printf("\"err\":\"%s\"}\n", first_error);
}

/* Open the connections that are due by now. Returns how many were opened so far. */
static int open_connections(int opened, double elapsed_ms) {
    for (int i = 0; i < OPENS_PER_WAKE && opened < settings.connections; i++) {
        if (elapsed_ms < settings.ramp_ms * opened / settings.connections)
            break;
        if (may_start_more())
            start(&connections[opened]);
        opened++;
    }
    return opened;
}

static void run(void) {
    static struct epoll_event ready[EPOLL_BATCH];
    uint64_t begin = now_us();
    uint64_t hard_end = begin + (uint64_t)(settings.timeout * 1e6);
    uint64_t window_end = 0; /* set when it is over: rates are counted up to there */
    uint64_t good_in = 0;
    uint64_t events_in = 0;
    int opened = 0;
    end_us = begin + (uint64_t)(settings.seconds * 1e6);
    for (uint64_t now = begin; now <= hard_end; now = now_us()) {
        opened = open_connections(opened, (double)(now - begin) / 1e3);
        if (!settings.requests && now >= end_us && !window_end) {
            window_end = now;
            good_in = good;
            events_in = events;
        }
        if (opened == settings.connections && !live)
            break;
        int wait_ms = opened < settings.connections ? 1 : 20;
        int count = epoll_wait(epoll_fd, ready, EPOLL_BATCH, wait_ms);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (c->fd >= 0)
                on_ready(c, ready[i].events);
        }
    }
    double elapsed = (double)(now_us() - begin) / 1e6;
    if (window_end)
        print_report((double)(window_end - begin) / 1e6, elapsed, good_in, events_in);
    else
        print_report(elapsed, elapsed, good, events);
}

int main(int argc, char **argv) {
    struct request_options wanted = {.kind = "chat", .model = "mock", .body_bytes = 1500};
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!read_option(argv[i], value) && !read_request_option(&wanted, argv[i], value)) {
            fprintf(stderr, "load: bad option %s\n", argv[i]);
            return 2;
        }
    }
    kind = find_kind(wanted.kind);
    if (!kind) {
        fprintf(stderr, "load: no such kind: %s\n", wanted.kind);
        return 2;
    }
    request = build_request(kind, &wanted, settings.port, settings.stream, settings.keep_alive);
    connections = calloc((size_t)settings.connections, sizeof *connections);
    for (long i = 0; i < settings.connections; i++)
        connections[i].fd = -1;

    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    epoll_fd = epoll_create1(0);
    run();
    return 0;
}
