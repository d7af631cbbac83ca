/* Replay memory: remembers the session starts seen since the process began, so that a recorded one is
 * refused.
 *
 * A start is identified by its conversation id and the sender's millisecond clock. A sender that retransmits
 * its first datagram seals it under a new nonce but keeps the id, and its clock has advanced by a few seconds
 * at most; so a recorded retransmission is refused even if it never arrived here. The nonce cannot identify a
 * start: with some ciphers an attacker can change it, and others have none.
 *
 * Memory is bounded: two generations of at most KT_SESSION_STARTS_GENERATION starts each. When the younger one is
 * full or cannot grow, the older one is dropped. Only starts that created a session are added, so only
 * someone with the key can fill it. */
#ifndef KT_LINK_COMMON_SESSION_STARTS_H
#define KT_LINK_COMMON_SESSION_STARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Starts kept: at least this many of the latest, at most twice as many, in at most 8 MiB. */
#define KT_SESSION_STARTS_GENERATION 262144u
/* Two starts with the same id and clocks closer than this are the same start. A sender gives up on its first
 * datagram long before. */
#define KT_SESSION_STARTS_SPAN_MS 600000u

struct kt_session_starts_set {
    uint64_t *slots; /* open addressing; 0: empty */
    size_t mask, count;
};

struct kt_session_starts {
    uint64_t seed;
    struct kt_session_starts_set young, old;
};

/* Allocates nothing until the first kt_session_starts_add. */
void kt_session_starts_init(struct kt_session_starts *s, uint64_t seed);
void kt_session_starts_free(struct kt_session_starts *s);
bool kt_session_starts_seen(const struct kt_session_starts *s, uint32_t conv, uint32_t ts);
/* True if a start with this id is remembered, whatever its clock. */
bool kt_session_starts_has(const struct kt_session_starts *s, uint32_t conv);
void kt_session_starts_add(struct kt_session_starts *s, uint32_t conv, uint32_t ts);

#endif
