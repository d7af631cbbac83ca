/* Packet numbers that arrived on a path, and when to acknowledge them (docs/wire.md, 5.1). One struct kt_native_acks
 * per path, on the receiver's side.
 *
 * Invariant: ranges ascend, and at least one number is missing between two of them. There are at most
 * KT_NATIVE_ACK_RANGES; a further one displaces the lowest, which the peer already knows. A number
 * that arrives in order costs O(1), any other at most a search and a move among these ranges.
 *
 * Times are in µs. Nothing is kept per packet, and nothing happens while nothing arrives. */
#ifndef KT_LINK_NATIVE_ACK_RANGES_H
#define KT_LINK_NATIVE_ACK_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "link/native/content.h"
#include "link/native/frame.h"

#define KT_NATIVE_ACK_EVERY_FIRST 2u /* until the peer asks for something else */

struct kt_native_acks {
    uint32_t max_delay_us; /* what this end announced as ack_delay */
    uint32_t every;        /* packets that must be acknowledged, per ACK: 1..KT_NATIVE_ACK_EVERY_MAX */
    uint32_t waiting;      /* such packets since the last ACK */
    uint32_t written;      /* ACKs since the peer was last asked to acknowledge one */
    uint64_t due_us;       /* 0: now; UINT64_MAX: no packet waits */
    uint64_t next;         /* highest number that arrived, plus one */
    uint64_t largest_us;   /* when the highest number arrived */
    uint32_t count;
    struct kt_native_range ranges[KT_NATIVE_ACK_RANGES];
};

void kt_native_acks_init(struct kt_native_acks *a, uint32_t max_delay_us);

/* A packet has opened. eliciting: it must be acknowledged. Returns false if its number is known already: a
 * duplicate, which changes nothing. */
bool kt_native_acks_received(struct kt_native_acks *a, uint64_t number, bool eliciting, uint64_t now_us);

/* An ACK for what waits is due now. */
static inline void kt_native_acks_at_once(struct kt_native_acks *a)
{
    if (a->waiting > 0) a->due_us = 0;
}

/* When an ACK must leave at the latest; UINT64_MAX: none must. */
static inline uint64_t kt_native_acks_due(const struct kt_native_acks *a)
{
    return a->due_us;
}

/* Whether a packet that leaves anyway should carry an ACK. */
static inline bool kt_native_acks_waiting(const struct kt_native_acks *a)
{
    return a->waiting > 0;
}

/* Writes an ACK frame of everything known. Returns the bytes written, at most KT_NATIVE_ACK_BYTES; 0 if they do
 * not fit or nothing is known. *content is for recovery, if the packet holds anything that must be
 * acknowledged; its fate goes to kt_native_acks_known. */
size_t kt_native_acks_write(struct kt_native_acks *a, uint8_t path, uint8_t *out, size_t room,
    uint64_t now_us, struct kt_native_content *content);

/* After a write: whether to put a PING into the packet if nothing else in it must be acknowledged. Otherwise
 * an end that only receives would never learn what the peer knows, and every ACK would be long. */
bool kt_native_acks_ask(struct kt_native_acks *a);

/* The peer has acknowledged a packet with this content: forgets what it knows. */
void kt_native_acks_known(struct kt_native_acks *a, const struct kt_native_content *content);

/* The peer asks for an ACK per this many packets (ACK_EVERY). */
void kt_native_acks_every(struct kt_native_acks *a, uint32_t packets);

/* The ACK_EVERY that a sender asks for, with this many packets in a round trip: four ACKs in each. */
static inline uint32_t kt_native_ack_every(uint32_t packets)
{
    const uint32_t every = packets / 4;
    return every < KT_NATIVE_ACK_EVERY_FIRST ? KT_NATIVE_ACK_EVERY_FIRST
           : every > KT_NATIVE_ACK_EVERY_MAX ? KT_NATIVE_ACK_EVERY_MAX
                                             : every;
}

#endif
