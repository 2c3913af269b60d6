/* A closed-loop load generator for LLM gateways, over HTTP/1.1 or HTTP/2, plain or under TLS: one
 * thread on epoll, to 10,000 connections. Each connection (of HTTP/2: each of its streams) sends a
 * request, reads the reply, checks it, and sends the next.
 *
 * Build: cc -O2 -Wall -Wextra -o load load.c -lm      (TLS: -DWITH_TLS ... -lssl -lcrypto)
 * Usage: load OPTION VALUE ...
 *
 *   --port P            where the gateway listens on 127.0.0.1
 *   --kind K            chat, messages (Anthropic) or responses: the dialect spoken
 *   --path /v1/...      default: by the kind
 *   --model NAME        e.g. mock-e100-d10000: see mock_options.h
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
 *   --body-file PATH    another body; --model and --stream then say nothing to the upstream
 *   --header 'K: V'     may be repeated
 *   --http2 N           speak HTTP/2 (with prior knowledge, or by ALPN under TLS), N requests at
 *                       once on each connection; 0: HTTP/1.1
 *   --window BYTES      HTTP/2: how much of each reply may be under way
 *   --tls PATH          speak TLS; PATH holds the authorities to trust, as PEM
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
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"
#include "load_http1.h"
#include "load_http2.h"
#include "load_reply.h"
#include "load_run.h"
#include "tls.h"

enum {
    READ_BYTES = 262144,
    OPENS_PER_WAKE = 128,     /* so that opening connections does not stop reading */
    EPOLL_BATCH = 1024,
};

enum state { CLOSED, CONNECTING, GREETING, OPEN };

struct connection {
    struct wire wire;
    enum state state;
    struct http2 *http2; /* NULL: HTTP/1.1, with the next three */
    struct reply reply;
    struct http1 http1;
    size_t request_sent;
};

static int epoll_fd;
static struct connection *connections;

/* ---- A connection's life -------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, uint32_t wanted) {
    struct epoll_event event = {.events = wanted, .data.ptr = c};
    epoll_ctl(epoll_fd, operation, c->wire.fd, &event);
}

static void close_connection(struct connection *c) {
    wire_close(&c->wire);
    c->state = CLOSED;
}

/* The replies that were under way are counted as errors already. */
static void give_up(struct connection *c) {
    close_connection(c);
    if (c->http2)
        http2_give_up(c->http2);
    else
        live--;
}

static void open_connection(struct connection *c) {
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)settings.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->wire = wire_over(fd, 0);
    c->state = CONNECTING;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        /* Out of files or of ports: another try would fail alike. */
        note_error(ERROR_CONNECT, "connect: %s", strerror(errno));
        give_up(c);
        return;
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void send_request(struct connection *c);

/* Start a request of HTTP/1.1. */
static void start(struct connection *c) {
    counts.started++;
    live++;
    if (c->state == CLOSED)
        open_connection(c);
    else
        send_request(c);
}

/* After an error that was noted: go on with a new connection, unless everything fails. */
static void restart(struct connection *c) {
    if (c->http2) {
        http2_close(c->http2);
        close_connection(c);
        if (everything_fails())
            http2_give_up(c->http2);
        else if (http2_has_wanted(c->http2))
            open_connection(c);
        return;
    }
    close_connection(c);
    live--;
    if (may_try_again())
        start(c);
}

static void fail_to_connect(struct connection *c, const char *what) {
    note_error(ERROR_CONNECT, "%s: %s", what, strerror(errno));
    restart(c);
}

/* ---- Sending -------------------------------------------------------------------------------- */

/* Send what [data + *sent, data + size) is. Returns 0 when the connection had to be restarted. */
static int send_rest(struct connection *c, const char *data, size_t *sent, size_t size) {
    if (*sent == size)
        return 1;
    ssize_t taken = wire_send(&c->wire, data + *sent, size - *sent);
    if (taken < 0 && errno != EAGAIN) {
        note_error(ERROR_CONNECT, "send: %s", strerror(errno));
        restart(c);
        return 0;
    }
    if (taken > 0)
        *sent += (size_t)taken;
    if (*sent < size)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    return 1;
}

static int flush(struct connection *c) {
    struct http2 *h = c->http2;
    if (h)
        return send_rest(c, h->output, &h->output_sent, h->output_filled);
    return send_rest(c, request.bytes, &c->request_sent, request.size);
}

static void send_request(struct connection *c) {
    c->request_sent = 0;
    http1_begin(&c->http1);
    reply_begin(&c->reply);
    flush(c);
}

static void on_greeted(struct connection *c) {
    c->state = OPEN;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (!c->http2) {
        send_request(c);
        return;
    }
    http2_open(c->http2);
    http2_send_wanted(c->http2);
    flush(c);
}

static void go_on_greeting(struct connection *c) {
    int done = wire_greet(&c->wire);
    if (done > 0)
        on_greeted(c);
    else if (done < 0)
        fail_to_connect(c, "handshake");
}

static void on_connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->wire.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        fail_to_connect(c, "connect");
        return;
    }
    c->state = GREETING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    go_on_greeting(c);
}

/* ---- Reading -------------------------------------------------------------------------------- */

static void end_reply(struct connection *c) {
    reply_end(&c->reply);
    live--;
    if (!settings.keep_alive || c->http1.close_after)
        close_connection(c);
    if (may_start_more())
        start(c);
    else
        close_connection(c);
}

/* Returns 0 when the connection was closed or restarted. */
static int handle_bytes(struct connection *c, const char *data, size_t size, uint64_t now) {
    if (!c->http2) {
        enum progress progress = http1_read(&c->http1, &c->reply, data, size, now);
        if (progress == FINISHED)
            end_reply(c);
        else if (progress == BROKEN)
            restart(c);
        return progress == UNFINISHED;
    }
    if (http2_read(c->http2, data, size, now) < 0) {
        restart(c);
        return 0;
    }
    return flush(c);
}

static void on_end_of_file(struct connection *c) {
    if (c->http2 || http1_close(&c->http1, &c->reply) == BROKEN)
        restart(c);
    else
        end_reply(c);
}

static void on_readable(struct connection *c) {
    static char buffer[READ_BYTES];
    do {
        ssize_t received = wire_recv(&c->wire, buffer, sizeof buffer);
        if (received == 0) {
            on_end_of_file(c);
            return;
        }
        if (received < 0) {
            if (errno == EAGAIN)
                return;
            if (!c->http2)
                note_error(ERROR_EOF, "recv: %s", strerror(errno));
            restart(c);
            return;
        }
        counts.bytes += (uint64_t)received;
        counts.reads++;
        if (!handle_bytes(c, buffer, (size_t)received, now_us()))
            return;
    } while (wire_has_more(&c->wire));
}

static void on_ready(struct connection *c, uint32_t ready) {
    if (c->state == CONNECTING) {
        on_connected(c);
    } else if (c->state == GREETING) {
        go_on_greeting(c);
    } else if (ready & EPOLLOUT) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN); /* send_rest() asks for more when it has more. */
        flush(c);
    } else {
        on_readable(c);
    }
}

/* ---- The run -------------------------------------------------------------------------------- */

static void print_report(double window, double elapsed, uint64_t good_in, uint64_t events_in) {
    printf("{\"conns\":%ld,\"window_s\":%.3f,\"elapsed_s\":%.3f,", settings.connections, window,
           elapsed);
    printf("\"started\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"unfinished\":%d,", counts.started,
           counts.good, live);
    printf("\"err_conn\":%" PRIu64 ",\"err_status\":%" PRIu64 ",", counts.errors[ERROR_CONNECT],
           counts.errors[ERROR_STATUS]);
    printf("\"err_incomplete\":%" PRIu64 ",\"err_eof\":%" PRIu64 ",",
           counts.errors[ERROR_INCOMPLETE], counts.errors[ERROR_EOF]);
    printf("\"rps\":%.1f,\"events\":%" PRIu64 ",\"events_per_s\":%.1f,", (double)good_in / window,
           counts.events, (double)events_in / window);
    printf("\"sse\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"reads\":%" PRIu64 ",", counts.frames,
           counts.bytes, counts.reads);
    printf("\"hash\":\"%016" PRIx64 "\",\"hash_other\":%" PRIu64 ",", counts.hash,
           counts.hash_other);
    histogram_print("ttfb_us", &ttfb);
    histogram_print("ttft_us", &ttft);
    histogram_print("total_us", &total);
    histogram_print("transit_us", &transit);
    histogram_print("gap_late_us", &gap_late);
    printf("\"err\":\"%s\"}\n", first_error);
}

/* Start request number `at`: on a connection of its own, or on a stream of one of HTTP/2. */
static void start_first(long at) {
    if (!settings.streams) {
        start(&connections[at]);
        return;
    }
    struct connection *c = &connections[at / settings.streams];
    want(&c->http2->streams[at % settings.streams]);
    if (c->state == CLOSED) {
        open_connection(c);
    } else if (c->state == OPEN) {
        http2_send_wanted(c->http2);
        flush(c);
    }
}

static long width(void) {
    return settings.connections * (settings.streams ? settings.streams : 1);
}

/* Start the requests that are due by now. Returns how many were started so far. */
static long start_due(long opened, double elapsed_ms) {
    for (int i = 0; i < OPENS_PER_WAKE && opened < width(); i++) {
        if (elapsed_ms < settings.ramp_ms * (double)opened / (double)width())
            break;
        if (may_start_more())
            start_first(opened);
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
    long opened = 0;
    end_us = begin + (uint64_t)(settings.seconds * 1e6);
    for (uint64_t now = begin; now <= hard_end; now = now_us()) {
        opened = start_due(opened, (double)(now - begin) / 1e3);
        if (!settings.requests && now >= end_us && !window_end) {
            window_end = now;
            good_in = counts.good;
            events_in = counts.events;
        }
        if (opened == width() && !live)
            break;
        int wait_ms = opened < width() ? 1 : 20;
        int count = epoll_wait(epoll_fd, ready, EPOLL_BATCH, wait_ms);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (c->state != CLOSED)
                on_ready(c, ready[i].events);
        }
    }
    double elapsed = (double)(now_us() - begin) / 1e6;
    if (window_end)
        print_report((double)(window_end - begin) / 1e6, elapsed, good_in, events_in);
    else
        print_report(elapsed, elapsed, counts.good, counts.events);
}

static void make_connections(void) {
    connections = calloc((size_t)settings.connections, sizeof *connections);
    for (long i = 0; i < settings.connections; i++) {
        connections[i].wire.fd = -1;
        if (!settings.streams)
            continue;
        connections[i].http2 = calloc(1, sizeof *connections[i].http2);
        connections[i].http2->streams = calloc((size_t)settings.streams, sizeof(struct stream));
    }
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
    if (settings.tls)
        tls_trust(settings.tls, settings.streams > 0);
    request = build_request(kind, &wanted, settings.port, settings.stream, settings.keep_alive,
                            settings.tls != NULL);
    make_connections();

    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    epoll_fd = epoll_create1(0);
    run();
    return 0;
}
