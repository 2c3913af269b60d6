/* A mock LLM upstream: HTTP/1.1 keep-alive, chunked server-sent events, one thread on epoll.
 *
 * Build: cc -O2 -Wall -Wextra -o mock mock.c      (TLS: -DWITH_TLS ... -lssl -lcrypto)
 * Usage: mock PORT      (0: any free port; the one it got is printed on stderr when ready)
 *        mock PORT CERTIFICATE,KEY      under TLS: two PEM files
 *
 *   POST .../chat/completions   OpenAI chat      (any path that is not one of the next two)
 *   POST .../messages           Anthropic
 *   POST .../responses          OpenAI Responses
 *   GET  /stats                 {"requests":..,"events":..,"open":..,"streams":..,
 *                                "writes":..,"hashed":{"requests":..,"bytes":..,"hash":..,"changes":..}}
 *
 * What a reply looks like is told by options in the request: see mock_options.h.
 *
 * The text of each content event is "@NNNNNNNNNNNNNNNN@", CLOCK_MONOTONIC in microseconds at the
 * time it was written: a client on this machine knows how long every event was under way,
 * whatever translation happened in between.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "load_hash.h"
#include "mock_dialects.h"
#include "mock_options.h"
#include "mock_schedule.h"
#include "tls.h"

enum {
    WRITE_BYTES = 65536,      /* most that one turn of a stream writes */
    READ_BYTES = 16384,       /* room made in the request buffer at a time */
    ACCEPTS_PER_WAKE = 256,   /* so that a burst of connections does not stop the streams */
    TURNS_PER_WAKE = 20000,   /* likewise for paced streams that are due */
    EPOLL_BATCH = 1024,
    LISTEN_BACKLOG = 4096,
};

/* ---- State ---------------------------------------------------------------------------------- */

struct connection {
    struct place place;    /* first: see mock_schedule.h */
    struct wire wire;
    int dead;              /* closed; freed at the end of the turn, when no event can name it */
    int close_after;       /* the client asked for `Connection: close` */
    int wants_output;      /* EPOLLOUT is registered */

    char *request;         /* bytes read and not yet handled, and room for a final NUL */
    size_t request_bytes;
    size_t request_room;

    char *output;          /* what the socket did not take: [sent, filled) */
    size_t output_sent;
    size_t output_filled;
    size_t output_room;

    int streaming;
    int closing;   /* of a stream in pieces: its last bytes are in `output` */
    size_t piece;  /* size of the next one; 0: not decided yet */
    struct dialect *dialect;
    struct options options;
    int events_sent;
    struct connection *next_dead;
};

static int epoll_fd;
static struct connection *dead_connections;

static struct {
    uint64_t requests; /* that were not GET */
    uint64_t events;
    uint64_t open;
    uint64_t streams;
    uint64_t writes; /* to sockets */
} stats;

/* Of the bodies of requests with the option h. */
static struct {
    uint64_t requests;
    uint64_t bytes;   /* of the last one */
    uint64_t hash;    /* of the last one */
    uint64_t changes; /* how often it was not the one before */
} hashed;

/* ---- Output --------------------------------------------------------------------------------- */

static int has_output(const struct connection *c) {
    return c->output_filled != c->output_sent;
}

static void kill_connection(struct connection *c) {
    if (c->dead)
        return;
    c->dead = 1;
    heap_remove(&c->place);
    ring_remove(&c->place);
    stats.streams -= (uint64_t)c->streaming;
    stats.open--;
    wire_close(&c->wire);
    c->next_dead = dead_connections;
    dead_connections = c;
}

static void free_dead_connections(void) {
    while (dead_connections) {
        struct connection *c = dead_connections;
        dead_connections = c->next_dead;
        free(c->request);
        free(c->output);
        free(c);
    }
}

static void want_output(struct connection *c, int wanted) {
    if (c->wants_output == wanted)
        return;
    c->wants_output = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->wire.fd, &event);
}

static int is_in_pieces(const struct connection *c) {
    return c->streaming && c->options.piece_bytes;
}

/* Send, and keep what the socket does not take; of a stream in pieces keep all. Returns 0, or -1 when
 * the connection died. */
static int send_bytes(struct connection *c, const char *data, size_t size) {
    if (!has_output(c)) {
        c->output_filled = 0;
        c->output_sent = 0;
    }
    if (!has_output(c) && !is_in_pieces(c)) {
        stats.writes++;
        ssize_t sent = wire_send(&c->wire, data, size);
        if (sent == (ssize_t)size)
            return 0;
        if (sent < 0) {
            if (errno != EAGAIN) {
                kill_connection(c);
                return -1;
            }
            sent = 0;
        }
        data += sent;
        size -= (size_t)sent;
    }
    if (c->output_filled + size > c->output_room) {
        c->output_room = (c->output_filled + size) * 2;
        c->output = realloc(c->output, c->output_room);
    }
    memcpy(c->output + c->output_filled, data, size);
    c->output_filled += size;
    if (!is_in_pieces(c))
        want_output(c, 1);
    return 0;
}

static size_t random_size(size_t most) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return 1 + (size_t)(state % most);
}

/* Returns -1 when the connection died. */
static int send_piece(struct connection *c) {
    if (!c->piece)
        c->piece = random_size((size_t)c->options.piece_bytes);
    size_t left = c->output_filled - c->output_sent;
    stats.writes++;
    ssize_t sent = wire_send(&c->wire, c->output + c->output_sent,
                             c->piece < left ? c->piece : left);
    if (sent < 0 && errno != EAGAIN) {
        kill_connection(c);
        return -1;
    }
    if (sent > 0) {
        c->output_sent += (size_t)sent;
        c->piece = 0;
    }
    return 0;
}

/* ---- Streams -------------------------------------------------------------------------------- */

static int send_closing(struct connection *c) {
    char output[8192];
    char frame[2048];
    size_t size = 0;
    int tokens = c->options.events;
    for (const char *const *format = c->dialect->closing; *format; format++) {
        int length = snprintf(frame, sizeof frame, *format, tokens, 300 + tokens);
        size += write_chunk(output + size, frame, (size_t)length);
    }
    memcpy(output + size, "0\r\n\r\n", 5);
    return send_bytes(c, output, size + 5);
}

static void handle_requests(struct connection *c);

static void end_stream(struct connection *c) {
    ring_remove(&c->place);
    heap_remove(&c->place);
    c->streaming = 0;
    stats.streams--;
    if (!c->closing && send_closing(c) < 0)
        return;
    c->closing = 0;
    if (c->close_after && !has_output(c)) {
        kill_connection(c);
        return;
    }
    if (c->request_bytes)
        handle_requests(c);
}

/* Returns 0 when the stream is over, or the connection died. */
static int write_events(struct connection *c) {
    static char output[WRITE_BYTES];
    const struct dialect *dialect = c->dialect;
    size_t size = 0;
    for (int i = 0; i < c->options.events_per_write; i++) {
        if (c->events_sent >= c->options.events || size + dialect->event_bytes > sizeof output)
            break;
        memcpy(output + size, dialect->event, dialect->event_bytes);
        write_stamp(output + size + dialect->stamp_offset, now_us());
        size += dialect->event_bytes;
        c->events_sent++;
        stats.events++;
    }
    if (size && send_bytes(c, output, size) < 0)
        return 0;
    if (c->events_sent < c->options.events)
        return 1;
    if (is_in_pieces(c)) {
        c->closing = 1;
        return send_closing(c) == 0;
    }
    end_stream(c);
    return 0;
}

/* One turn of a stream: one write of content events, or one piece of what was written before. */
static void take_turn(struct connection *c) {
    if (is_in_pieces(c) && has_output(c)) {
        if (send_piece(c) < 0)
            return;
    } else if (c->closing) {
        end_stream(c);
        return;
    } else if (!write_events(c)) {
        return;
    }
    if (c->options.gap_us) {
        /* From the time it was due, not from now: a late turn does not delay the next ones. */
        c->place.due_us += (uint64_t)c->options.gap_us;
        heap_sift_down(c->place.heap_index);
    }
}

static void start_stream(struct connection *c) {
    c->streaming = 1;
    c->events_sent = 0;
    stats.streams++;
    if (send_bytes(c, c->dialect->opening, c->dialect->opening_bytes) < 0)
        return;
    if (c->options.gap_us || c->options.first_us) {
        c->place.due_us = now_us() + (uint64_t)c->options.first_us;
        heap_add(&c->place);
    } else {
        ring_add(&c->place);
    }
}

static void run_due_streams(void) {
    if (!heap_size)
        return;
    uint64_t now = now_us();
    for (int turns = 0; turns < TURNS_PER_WAKE; turns++) {
        if (!heap_size || heap[0]->due_us > now)
            return;
        struct connection *c = (struct connection *)heap[0];
        if (c->options.gap_us) {
            take_turn(c);
        } else { /* Only its first event had to wait. */
            heap_remove(&c->place);
            ring_add(&c->place);
        }
    }
}

static void run_ring(void) {
    struct place *next;
    for (struct place *place = ring.next; place != &ring; place = next) {
        struct connection *c = (struct connection *)place;
        next = place->next;
        if (has_output(c) && !is_in_pieces(c))
            ring_remove(&c->place); /* Back when the socket has taken it. */
        else
            take_turn(c);
    }
}

/* ---- Requests ------------------------------------------------------------------------------- */

/* A whole response with this body; the caller frees it. */
static char *make_response(const char *body, size_t *size) {
    char *response;
    int length = asprintf(&response,
                          "HTTP/1.1 200 OK\r\n"
                          "Content-Type: application/json\r\n"
                          "Content-Length: %zu\r\n"
                          "x-request-id: req_0123456789abcdef\r\n\r\n%s",
                          strlen(body), body);
    if (length < 0)
        abort();
    *size = (size_t)length;
    return response;
}

static void answer_get(struct connection *c, const char *path) {
    char body[512];
    size_t size;
    if (!strncmp(path, "/stats", 6))
        sprintf(body,
                "{\"requests\":%" PRIu64 ",\"events\":%" PRIu64 ",\"open\":%" PRIu64
                ",\"streams\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"hashed\":{\"requests\":%" PRIu64
                ",\"bytes\":%" PRIu64 ",\"hash\":\"%016" PRIx64 "\",\"changes\":%" PRIu64 "}}",
                stats.requests, stats.events, stats.open, stats.streams, stats.writes,
                hashed.requests, hashed.bytes, hashed.hash, hashed.changes);
    else
        strcpy(body, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\","
                     "\"created\":1,\"owned_by\":\"mock\"}]}");
    char *response = make_response(body, &size);
    send_bytes(c, response, size);
    free(response);
}

static void prepare_answer(struct dialect *dialect, int text_bytes) {
    char *text = malloc((size_t)text_bytes + 1);
    for (int i = 0; i < text_bytes; i++)
        text[i] = filler[(size_t)i % (sizeof filler - 1)];
    text[text_bytes] = 0;
    char *body;
    if (asprintf(&body, dialect->answer, text) < 0)
        abort();
    free(dialect->whole);
    dialect->whole = make_response(body, &dialect->whole_bytes);
    dialect->whole_text_bytes = text_bytes;
    free(body);
    free(text);
}

static void answer_whole(struct connection *c) {
    struct dialect *dialect = c->dialect;
    if (!dialect->whole || dialect->whole_text_bytes != c->options.text_bytes)
        prepare_answer(dialect, c->options.text_bytes);
    send_bytes(c, dialect->whole, dialect->whole_bytes);
    if (c->close_after && !c->dead && !has_output(c))
        kill_connection(c);
}

static struct dialect *find_dialect(const char *path, size_t size) {
    struct dialect *dialect = dialects;
    while (!memmem(path, size, dialect->path, strlen(dialect->path)))
        dialect++;
    return dialect;
}

static void hash_request(const char *body, size_t size) {
    struct content_hash hash = {.value = HASH_BASIS};
    hash_add(&hash, body, body + size);
    uint64_t value = hash_end(&hash);
    hashed.changes += hashed.requests > 0 && value != hashed.hash;
    hashed.requests++;
    hashed.bytes = size;
    hashed.hash = value;
}

/* Answer one whole request. The head ends in NUL, the body does not. */
static void answer(struct connection *c, const char *head, const char *body, size_t body_bytes) {
    const char *path = strchr(head, ' ');
    const char *path_end = path ? strchr(path + 1, ' ') : NULL;
    if (!path_end) {
        kill_connection(c);
        return;
    }
    path++;
    if (head[0] == 'G') {
        answer_get(c, path);
        return;
    }
    stats.requests++;
    size_t path_bytes = (size_t)(path_end - path);
    c->dialect = find_dialect(path, path_bytes);
    c->options = find_options(head, path, path_end, body, body_bytes);
    if (c->options.hash)
        hash_request(body, body_bytes);
    if (asks_for_stream(body, body_bytes))
        start_stream(c);
    else
        answer_whole(c);
}

/* Length of a chunked body with its framing, or -1 when it is not all there yet. It is not
 * decoded: what is looked for in it is in its first chunk. */
static long chunked_length(const char *body, size_t size) {
    size_t at = 0;
    for (;;) {
        const char *line_end = memchr(body + at, '\n', size - at);
        if (!line_end)
            return -1;
        size_t chunk = strtoul(body + at, NULL, 16);
        at = (size_t)(line_end - body) + 1 + chunk + 2;
        if (at > size)
            return -1;
        if (chunk == 0)
            return (long)at;
    }
}

/* Length of the request's body, or -1 when it is not all there yet. */
static long body_length(struct connection *c, const char *head, size_t head_bytes) {
    const char *body = head + head_bytes;
    size_t there = c->request_bytes - head_bytes;
    const char *field = strcasestr(head, "\r\ncontent-length:");
    if (!field && strcasestr(head, "\r\ntransfer-encoding: chunked"))
        return chunked_length(body, there);
    size_t length = field ? strtoul(strchr(field, ':') + 1, NULL, 10) : 0;
    if (there >= length)
        return (long)length;
    if (there == 0 && strcasestr(head, "\r\nexpect: 100"))
        send_bytes(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return -1;
}

static void handle_requests(struct connection *c) {
    while (!c->dead && !c->streaming && c->request_bytes) {
        c->request[c->request_bytes] = 0;
        char *blank_line = memmem(c->request, c->request_bytes, "\r\n\r\n", 4);
        if (!blank_line)
            return;
        size_t head_bytes = (size_t)(blank_line - c->request) + 4;
        /* The head as a string that still has the line end of its last field. */
        char cut = blank_line[2];
        blank_line[2] = 0;
        c->close_after = strcasestr(c->request, "\r\nconnection: close") != NULL;
        long body_bytes = body_length(c, c->request, head_bytes);
        if (body_bytes < 0) {
            blank_line[2] = cut;
            return;
        }
        answer(c, c->request, c->request + head_bytes, (size_t)body_bytes);
        if (c->dead)
            return;
        size_t used = head_bytes + (size_t)body_bytes;
        c->request_bytes -= used;
        memmove(c->request, c->request + used, c->request_bytes);
    }
    if (!c->dead && !c->request_bytes && c->request_room > READ_BYTES) {
        free(c->request);
        c->request = NULL;
        c->request_room = 0;
    }
}

/* ---- The loop ------------------------------------------------------------------------------- */

static void accept_connections(int listener) {
    int on = 1;
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        c->wire = wire_over(fd, 1);
        c->place.heap_index = -1;
        stats.open++;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void on_writable(struct connection *c) {
    while (has_output(c)) {
        ssize_t sent = wire_send(&c->wire, c->output + c->output_sent,
                                 c->output_filled - c->output_sent);
        if (sent < 0) {
            if (errno != EAGAIN)
                kill_connection(c);
            return;
        }
        c->output_sent += (size_t)sent;
    }
    free(c->output);
    c->output = NULL;
    c->output_room = c->output_sent = c->output_filled = 0;
    want_output(c, 0);
    if (c->streaming && !c->options.gap_us && c->place.heap_index < 0)
        ring_add(&c->place);
    else if (!c->streaming && c->close_after)
        kill_connection(c);
}

static void on_readable(struct connection *c) {
    do {
        if (c->request_room - c->request_bytes <= READ_BYTES / 2) {
            c->request_room = c->request_bytes + READ_BYTES;
            c->request = realloc(c->request, c->request_room + 1);
        }
        ssize_t received = wire_recv(&c->wire, c->request + c->request_bytes,
                                     c->request_room - c->request_bytes);
        if (received > 0) {
            c->request_bytes += (size_t)received;
            handle_requests(c);
        } else {
            if (received == 0 || errno != EAGAIN)
                kill_connection(c);
            return;
        }
    } while (!c->dead && wire_has_more(&c->wire));
}

/* How long epoll may wait; NULL: until something happens. */
static struct timespec *next_timeout(struct timespec *timeout) {
    if (ring.next != &ring) {
        *timeout = (struct timespec){0};
        return timeout;
    }
    if (!heap_size)
        return NULL;
    uint64_t now = now_us();
    uint64_t wait = heap[0]->due_us > now ? heap[0]->due_us - now : 0;
    timeout->tv_sec = (time_t)(wait / 1000000);
    timeout->tv_nsec = (long)(wait % 1000000 * 1000);
    return timeout;
}

static int open_listener(int port, const char *scheme) {
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, LISTEN_BACKLOG)) {
        perror("mock: cannot listen");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    fprintf(stderr, "mock: listening on %s://127.0.0.1:%d\n", scheme, ntohs(address.sin_port));
    return listener;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    prepare_dialects();

    if (argc > 2)
        tls_serve(argv[2]);
    int listener = open_listener(argc > 1 ? atoi(argv[1]) : 9000, argc > 2 ? "https" : "http");
    epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);

    static struct epoll_event ready[EPOLL_BATCH];
    struct timespec timeout;
    for (;;) {
        /* epoll_wait() counts milliseconds; the gaps are microseconds. */
        int count = epoll_pwait2(epoll_fd, ready, EPOLL_BATCH, next_timeout(&timeout), NULL);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c) {
                accept_connections(listener);
                continue;
            }
            if (!c->dead && ready[i].events & EPOLLOUT)
                on_writable(c);
            if (!c->dead && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(c);
        }
        run_due_streams();
        run_ring();
        free_dead_connections();
    }
}
