/* A histogram of microseconds whose buckets are at most 1/64 wide, relative to their value. */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum {
    BUCKETS_PER_OCTAVE = 64, /* between a power of two and the next; must be 1 << OCTAVE_BITS */
    OCTAVE_BITS = 6,
    OCTAVES = 40,            /* up to 2^45 us, about a year */
    BUCKETS = OCTAVES * BUCKETS_PER_OCTAVE,
};

struct histogram {
    uint64_t buckets[BUCKETS];
    uint64_t count;
    uint64_t max;
    double sum;
};

static void histogram_add(struct histogram *h, int64_t signed_value) {
    uint64_t value = signed_value < 0 ? 0 : (uint64_t)signed_value;
    uint64_t bucket = value;
    if (value >= BUCKETS_PER_OCTAVE) {
        int octave = 63 - __builtin_clzll(value);
        uint64_t within = (value >> (octave - OCTAVE_BITS)) & (BUCKETS_PER_OCTAVE - 1);
        bucket = (uint64_t)(octave - OCTAVE_BITS + 1) * BUCKETS_PER_OCTAVE + within;
    }
    if (bucket >= BUCKETS)
        bucket = BUCKETS - 1;
    h->buckets[bucket]++;
    h->count++;
    h->sum += (double)value;
    if (value > h->max)
        h->max = value;
}

/* The middle of a bucket; below 64 every bucket is one value. */
static double bucket_value(int bucket) {
    if (bucket < BUCKETS_PER_OCTAVE)
        return bucket;
    int shift = bucket / BUCKETS_PER_OCTAVE - 1;
    uint64_t low = (uint64_t)(BUCKETS_PER_OCTAVE + bucket % BUCKETS_PER_OCTAVE) << shift;
    return (double)low + (double)(1ull << shift) / 2.0;
}

/* -1 when nothing was added. */
static double histogram_quantile(const struct histogram *h, double quantile) {
    if (!h->count)
        return -1;
    uint64_t target = (uint64_t)ceil(quantile * (double)h->count);
    uint64_t seen = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        seen += h->buckets[bucket];
        if (seen >= target && seen)
            return bucket_value(bucket);
    }
    return (double)h->max;
}

static void histogram_print(const char *name, const struct histogram *h) {
    printf("\"%s\":{\"n\":%" PRIu64 ",\"mean\":%.1f", name, h->count,
           h->count ? h->sum / (double)h->count : -1);
    printf(",\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%" PRIu64 "},",
           histogram_quantile(h, .5), histogram_quantile(h, .9), histogram_quantile(h, .99),
           histogram_quantile(h, .999), h->max);
}
