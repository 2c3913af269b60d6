/* What a reply said, as one number: FNV-1a of its body, without the digits of the stamps in it.
 *
 * Two replies with the same content have the same one, whenever they were written.
 */
#include <stdint.h>

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

struct content_hash {
    uint64_t value;
    int in_stamp; /* the last byte was a stamp's mark, or a digit behind it */
};

static void hash_add(struct content_hash *hash, const char *p, const char *end) {
    for (; p < end; p++) {
        if (hash->in_stamp && *p >= '0' && *p <= '9')
            continue;
        hash->in_stamp = *p == '@';
        hash->value = (hash->value ^ (unsigned char)*p) * FNV_PRIME;
    }
}
