#ifndef COMMON_H
#define COMMON_H

/* What the mock and the load generator share. */
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Of the clock that stamps are taken from: it is the same in every process of a machine. */
static uint64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000u + (uint64_t)time.tv_nsec / 1000;
}

static void raise_file_limit(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* Templates of JSON are written with ' for ", to be readable in C. */
static void turn_quotes(char *text) {
    for (; (text = strchr(text, '\'')); text++)
        *text = '"';
}

#endif
