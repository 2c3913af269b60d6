#ifndef LOAD_RUN_H
#define LOAD_RUN_H

/* What a run of the load generator may still start, and what it has counted so far. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "common.h"
#include "load_histogram.h"
#include "load_request.h"
#include "load_settings.h"

enum { MAX_ERRORS = 5000 }; /* after which nothing that failed is tried again */

enum error { ERROR_CONNECT, ERROR_STATUS, ERROR_INCOMPLETE, ERROR_EOF, ERRORS };

static const struct kind *kind;
static struct request request;
static uint64_t end_us; /* no request starts after it */
static int live;        /* requests that were started and have not ended */

static struct {
    uint64_t started;
    uint64_t good;
    uint64_t events;
    uint64_t frames;
    uint64_t bytes;
    uint64_t reads;
    uint64_t hash;       /* of the first good reply */
    uint64_t hash_other; /* good replies with another one */
    uint64_t errors[ERRORS];
} counts;

static char first_error[400];
static struct histogram ttfb, ttft, total, transit, gap_late;

static int may_start_more(void) {
    if (settings.requests)
        return counts.started < (uint64_t)settings.requests;
    return now_us() < end_us;
}

static int everything_fails(void) {
    uint64_t sum = 0;
    for (int i = 0; i < ERRORS; i++)
        sum += counts.errors[i];
    return sum >= MAX_ERRORS;
}

/* Whether another request follows one that failed. */
static int may_try_again(void) {
    return !everything_fails() && may_start_more();
}

__attribute__((format(printf, 2, 3)))
static void note_error(enum error error, const char *format, ...) {
    counts.errors[error]++;
    if (first_error[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
    for (char *p = first_error; *p; p++) { /* It goes into a JSON string. */
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ' || (unsigned char)*p > '~')
            *p = ' ';
    }
}

#endif
