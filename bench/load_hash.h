#ifndef LOAD_HASH_H
#define LOAD_HASH_H

/* What a body said, as one number, without the digits of the stamps in it.
 *
 * Two bodies with the same content have the same one, whenever they were written and however they
 * were cut into reads. In the manner of FNV-1a, but by eight bytes: byte by byte it was a fifth of
 * the load generator's time.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_BASIS UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

struct content_hash {
    uint64_t value;         /* of the words so far */
    unsigned char word[8];  /* that is not full yet */
    size_t word_bytes;
    int in_stamp;           /* the last byte was a stamp's mark, or a digit behind it */
};

static uint64_t hash_mix(uint64_t value, uint64_t word) {
    value = (value ^ word) * HASH_PRIME;
    return value ^ value >> 29;
}

static void hash_bytes(struct content_hash *hash, const char *p, size_t size) {
    while (size) {
        if (!hash->word_bytes && size >= sizeof hash->word) {
            uint64_t word;
            memcpy(&word, p, sizeof word);
            hash->value = hash_mix(hash->value, word);
            p += sizeof word;
            size -= sizeof word;
            continue;
        }
        hash->word[hash->word_bytes++] = (unsigned char)*p++;
        size--;
        if (hash->word_bytes == sizeof hash->word) {
            uint64_t word;
            memcpy(&word, hash->word, sizeof word);
            hash->value = hash_mix(hash->value, word);
            hash->word_bytes = 0;
        }
    }
}

static void hash_add(struct content_hash *hash, const char *p, const char *end) {
    while (p < end) {
        while (hash->in_stamp && p < end && *p >= '0' && *p <= '9')
            p++;
        if (p == end)
            return;
        const char *mark = memchr(p, '@', (size_t)(end - p));
        const char *next = mark ? mark + 1 : end;
        hash_bytes(hash, p, (size_t)(next - p));
        hash->in_stamp = mark != NULL;
        p = next;
    }
}

static uint64_t hash_end(const struct content_hash *hash) {
    uint64_t word = 0;
    memcpy(&word, hash->word, hash->word_bytes);
    return hash_mix(hash_mix(hash->value, word), hash->word_bytes);
}

#endif
