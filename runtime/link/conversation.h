/* A KCP conversation that drives itself: the engine (kcp/kcp.h) with a controller, a timer, and a bounded queue of
 * packets that wait for their owner to send them. For protocols of a script's own; kcptun's sessions do this for
 * themselves.
 *
 * Work is done at the end of the turn in which something changed, or when the engine's deadline comes. An idle
 * conversation has no timer. Bytes and packets are kept in blocks of the owner's slab; when it is exhausted, send fails
 * and arrivals are dropped. */
#ifndef KT_LINK_CONVERSATION_H
#define KT_LINK_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/slab.h"
#include "kcp/kcp.h"

struct kt_io;
struct kt_conversation;

#define KT_CONVERSATION_BLOCK 1504u /* bytes of a block of the slab */
#define KT_CONVERSATION_PACKETS 64u /* that wait to be sent; then the engine waits */

struct kt_conversation_config {
    uint32_t conv;
    uint32_t mtu;              /* KT_KCP_MTU_MIN..KT_KCP_MTU_MAX */
    uint32_t snd_wnd, rcv_wnd; /* 1..KT_KCP_WND_MAX */
    bool nodelay;
    uint32_t interval_ms, resend; /* as in kt_kcp_config */
    bool nc;                      /* no congestion window */
    bool stream;                  /* bytes; else messages */
};

/* All are called at the end of a turn. They may not free the conversation. */
struct kt_conversation_events {
    void (*packets)(void *ctx);  /* there are packets to send */
    void (*readable)(void *ctx); /* there may be more to read */
    void (*writable)(void *ctx); /* there may be more room, or all has been acknowledged */
};

/* slab: of blocks of KT_CONVERSATION_BLOCK bytes; outlives the conversation. 0, KT_EINVAL (a value out of range) or
 * KT_ENOMEM. */
int kt_conversation_new(struct kt_conversation **out, const struct kt_conversation_config *cfg,
    struct kt_io *io, struct kt_slab *slab, const struct kt_conversation_events *events, void *ctx);
/* NULL is harmless. Bytes that were not acknowledged are lost. */
void kt_conversation_free(struct kt_conversation *c);

/* Takes a packet from the peer. 0, or KT_EPROTO: it belongs to another conversation, or is malformed from some point
 * on. */
int kt_conversation_input(struct kt_conversation *c, const uint8_t *data, size_t len);

/* Queues bytes and sets *taken to their number; a message is taken as a whole or not at all. 0; KT_EAGAIN: there is no
 * room for the rest; KT_ELIMIT: a message that never fits; KT_ENOMEM: the slab is exhausted. len is at least 1. */
int kt_conversation_send(struct kt_conversation *c, const uint8_t *data, size_t len, size_t *taken);
/* The most bytes of a message. */
size_t kt_conversation_message_max(const struct kt_conversation *c);
/* Whether the peer has acknowledged all that was sent. */
bool kt_conversation_acknowledged(const struct kt_conversation *c);

/* Bytes that can be read: the length of the first message or, in a stream, at most `most`. 0: none yet; KT_EPROTO: a
 * message that does not fit the receive window, after which nothing can be read. */
int kt_conversation_unread(const struct kt_conversation *c, size_t most);
/* Copies n bytes, at most kt_conversation_unread, and drops them. */
void kt_conversation_read(struct kt_conversation *c, uint8_t *out, size_t n);

/* The first packet to be sent, and its length; NULL: none. Call kt_conversation_sent once it was sent or dropped. */
const uint8_t *kt_conversation_packet(const struct kt_conversation *c, size_t *len);
void kt_conversation_sent(struct kt_conversation *c);

struct kt_conversation_facts {
    struct kt_kcp_stats kcp;
    uint64_t refused;  /* packets for which input returned KT_EPROTO */
    uint64_t heard_us; /* when a packet came last; 0: never */
};
void kt_conversation_facts(const struct kt_conversation *c, struct kt_conversation_facts *out);

#endif
