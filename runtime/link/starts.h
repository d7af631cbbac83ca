/* Session starts that were seen: refuses a recorded start for as long as the process lives.
 *
 * A start is a conversation id with the sender's ms clock. A sender that repeats its first datagram seals it
 * under another nonce, but keeps the id, and its clock has moved on by seconds only; so the memory also
 * refuses a repetition that was recorded and never arrived here. The nonce is no key to this: some ciphers
 * let others change it, and some have none.
 *
 * The memory is bounded: two generations of at most KT_STARTS_GENERATION starts each. When the younger is
 * full, or cannot grow, the older is forgotten. Only starts that made a session are added, so only a holder
 * of the key can fill it. */
#ifndef KT_LINK_STARTS_H
#define KT_LINK_STARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* At least this many of the latest starts are remembered, at most twice as many, in at most 8 MiB. */
#define KT_STARTS_GENERATION 262144u
/* Starts with one id whose clocks differ by less than this are the same start. A sender gives its first
 * datagram up long before. */
#define KT_STARTS_SPAN_MS 600000u

struct kt_starts_set {
    uint64_t *slots; /* open addressing; 0: empty */
    size_t mask, count;
};

struct kt_starts {
    uint64_t seed;
    struct kt_starts_set young, old;
};

/* Takes no memory until the first is added. */
void kt_starts_init(struct kt_starts *s, uint64_t seed);
void kt_starts_free(struct kt_starts *s);
bool kt_starts_seen(const struct kt_starts *s, uint32_t conv, uint32_t ts);
/* Whether there was a start with this id at any time. */
bool kt_starts_has(const struct kt_starts *s, uint32_t conv);
void kt_starts_add(struct kt_starts *s, uint32_t conv, uint32_t ts);

#endif
