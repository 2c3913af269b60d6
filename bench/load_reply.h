#ifndef LOAD_REPLY_H
#define LOAD_REPLY_H

/* One reply: what its body says, and what is wrong with it. Knows nothing of how it came. */
#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "load_frames.h"
#include "load_hash.h"
#include "load_run.h"

enum { STAMP_DIGITS = 16 }; /* see mock.c */

struct reply {
    uint64_t sent_us; /* its request */
    uint64_t body_bytes;
    long events;
    uint64_t last_event_us;
    uint64_t last_stamp;
    int stamp_digits; /* -1: outside of a stamp */
    uint64_t stamp;
    int out_of_order;
    struct frames frames;
    struct content_hash hash;
};

/* The request is sent now. */
static void reply_begin(struct reply *r) {
    *r = (struct reply){
        .sent_us = now_us(), .stamp_digits = -1, .hash = {.value = HASH_BASIS},
    };
}

static void on_event(struct reply *r, uint64_t now) {
    counts.events++;
    if (r->events == 0)
        histogram_add(&ttft, (int64_t)(now - r->sent_us));
    else if (settings.gap_us)
        histogram_add(&gap_late, (int64_t)(now - r->last_event_us) - settings.gap_us);
    histogram_add(&transit, (int64_t)(now - r->stamp));
    if (r->stamp < r->last_stamp)
        r->out_of_order = 1;
    r->events++;
    r->last_event_us = now;
    r->last_stamp = r->stamp;
}

/* Find the stamps of content events, wherever a dialect puts them. One may be cut by a read. */
static void scan_stamps(struct reply *r, const char *p, const char *end, uint64_t now) {
    while (p < end) {
        if (r->stamp_digits < 0) {
            p = memchr(p, '@', (size_t)(end - p));
            if (!p)
                return;
            r->stamp_digits = 0;
            r->stamp = 0;
        } else if (r->stamp_digits < STAMP_DIGITS && *p >= '0' && *p <= '9') {
            r->stamp = r->stamp * 10 + (uint64_t)(*p - '0');
            r->stamp_digits++;
        } else {
            if (r->stamp_digits == STAMP_DIGITS && *p == '@')
                on_event(r, now);
            r->stamp_digits = -1;
        }
        p++;
    }
}

/* Some bytes of its body have come. */
static void reply_scan(struct reply *r, const char *data, size_t size, uint64_t now) {
    if (size && !r->body_bytes)
        histogram_add(&ttfb, (int64_t)(now - r->sent_us));
    r->body_bytes += size;
    hash_add(&r->hash, data, data + size);
    if (settings.stream) {
        scan_frames(&r->frames, data, data + size, kind->terminal_field, kind->terminal_value);
        scan_stamps(r, data, data + size, now);
    }
}

/* What is wrong with a reply that has ended, or NULL. */
static const char *reply_fault(const struct reply *r) {
    if (!settings.stream)
        return (int64_t)r->body_bytes < settings.expect ? "the body is too short" : NULL;
    if (r->out_of_order)
        return "events out of order";
    if (!r->frames.has_terminal)
        return "the stream ended without its terminal frame";
    if (settings.expect >= 0 && r->events != settings.expect)
        return "another number of events than expected";
    return NULL;
}

/* It is whole: count it, as good or as an error. */
static void reply_end(struct reply *r) {
    const char *fault = reply_fault(r);
    counts.frames += r->frames.count;
    if (fault) {
        note_error(ERROR_INCOMPLETE, "%s (%ld events, %" PRIu64 " bytes)", fault, r->events,
                   r->body_bytes);
        return;
    }
    uint64_t hash = hash_end(&r->hash);
    if (!counts.good)
        counts.hash = hash;
    counts.hash_other += hash != counts.hash;
    counts.good++;
    histogram_add(&total, (int64_t)(now_us() - r->sent_us));
}

#endif
