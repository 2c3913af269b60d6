#ifndef LOAD_SETTINGS_H
#define LOAD_SETTINGS_H

/* How a run of the load generator goes: load.c explains the options. */
#include <stdlib.h>
#include <string.h>

static struct settings {
    long port;
    long stream;
    long connections;
    long keep_alive;
    long requests;
    long expect; /* -1: anything */
    long gap_us;
    long streams; /* of HTTP/2 on each connection; 0: HTTP/1.1 */
    long window;  /* bytes, of each of them */
    const char *tls; /* whom to trust; NULL: no TLS */
    double seconds;
    double timeout;
    double ramp_ms;
} settings = {
    .port = 8000,
    .connections = 1,
    .keep_alive = 1,
    .expect = -1,
    .window = 1 << 20,
    .seconds = 5,
    .timeout = 60,
};

static const struct {
    const char *name;
    long *whole;
    double *real;
    const char **text;
} options[] = {
    {"--port", .whole = &settings.port},
    {"--stream", .whole = &settings.stream},
    {"--conns", .whole = &settings.connections},
    {"--keepalive", .whole = &settings.keep_alive},
    {"--requests", .whole = &settings.requests},
    {"--expect", .whole = &settings.expect},
    {"--delay-us", .whole = &settings.gap_us},
    {"--http2", .whole = &settings.streams},
    {"--window", .whole = &settings.window},
    {"--tls", .text = &settings.tls},
    {"--duration", .real = &settings.seconds},
    {"--timeout", .real = &settings.timeout},
    {"--ramp-ms", .real = &settings.ramp_ms},
};

/* Returns 0 when there is no such option. */
static int read_option(const char *name, const char *value) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name))
            continue;
        if (options[i].whole)
            *options[i].whole = atol(value);
        else if (options[i].real)
            *options[i].real = atof(value);
        else
            *options[i].text = value;
        return 1;
    }
    return 0;
}

#endif
