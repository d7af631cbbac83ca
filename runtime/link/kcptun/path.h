/* A path: turns a session's KCP packets into datagrams to one peer. FEC, sealing, the rate limit, and the
 * socket.
 *
 * KCP writes each packet straight into the socket's transmit buffer, where it is sealed in place. */
#ifndef KT_LINK_KCPTUN_PATH_H
#define KT_LINK_KCPTUN_PATH_H

#include "base/bucket.h"
#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/kcptun/context.h"

struct kt_kcptun_path {
    struct kt_kcptun_context *context;
    struct kt_udp *udp;       /* not owned */
    const struct kt_addr *to; /* NULL on a connected socket; not owned */
    struct kt_addr from;      /* this host's address, as kt_dgram.to; family AF_UNSPEC: not known */
    struct kt_fec_enc *enc;   /* NULL: no FEC */
    uint32_t mtu;             /* largest datagram */
    uint32_t whole;           /* longer datagrams may be fragmented; 0: none may */
    unsigned data, parity;    /* its groups, as long as the session lives */
    unsigned sent_parity;     /* parity packets that a group is sent with, from the next one on */
    uint32_t offset;          /* from a datagram's start to its KCP packet: sealing and FEC headers */
    uint32_t overhead;        /* bytes of a datagram besides its KCP packet */
    struct kt_bucket rate;    /* the rate limit (wire-kcptun.md 13: burst of 64 full datagrams) */
    uint32_t reserved;        /* datagrams that KCP is filling, not charged yet */
    /* amplification limit (RFC 9000, 8.1) */
    bool limited;      /* the peer's address is not validated: only `credit` bytes may leave */
    uint64_t credit;   /* bytes */
    uint64_t promised; /* part of credit, for datagrams that KCP is filling */
    bool full;         /* the socket is full; its `writable` follows */
    bool paced;        /* held back by the rate until kt_kcptun_path_ready */
};

/* 0 or KT_ENOMEM. to may be NULL; else it must outlive the path. */
int kt_kcptun_path_init(struct kt_kcptun_path *p, struct kt_kcptun_context *context, struct kt_udp *udp,
    const struct kt_addr *to);
void kt_kcptun_path_free(struct kt_kcptun_path *p);

/* Largest KCP packet (wire-kcptun.md 6.3). */
static inline uint32_t kt_kcptun_path_mtu(const struct kt_kcptun_path *p)
{
    return p->mtu - p->overhead;
}

/* How many parity packets to send per group, at most those that the session began with. */
void kt_kcptun_path_parity(struct kt_kcptun_path *p, unsigned n);

/* Follows the rate, and the FEC settings as far as a live session can: parity can fall to none and return to what the
 * session began with, but not exceed it, and groups stay, because the peer's decoder relies on them
 * (kt_fec_enc_limit). The header stays even without parity. False if the settings need a new session. */
bool kt_kcptun_path_tune(struct kt_kcptun_path *p);

/* The peer's address is not validated: from now on at most three times the credited bytes may leave. size: of
 * a datagram from that address. */
void kt_kcptun_path_limit(struct kt_kcptun_path *p);
void kt_kcptun_path_credit(struct kt_kcptun_path *p, size_t size);
void kt_kcptun_path_unlimit(struct kt_kcptun_path *p);
/* Bytes of frames that may leave now, keeping enough credit to repeat the first segment; SIZE_MAX: not
 * limited. */
size_t kt_kcptun_path_spare(const struct kt_kcptun_path *p);

/* Sends from this socket (not owned) and this address of the host (NULL: unknown) from now on. */
void kt_kcptun_path_move(struct kt_kcptun_path *p, struct kt_udp *udp, const struct kt_addr *from);
/* The address of the host that datagrams are sent from; NULL: unknown. */
const struct kt_addr *kt_kcptun_path_from(const struct kt_kcptun_path *p);

/* The KCP engine's output, with the path as ctx. */
uint8_t *kt_kcptun_path_reserve(void *path, size_t *len);
void kt_kcptun_path_send(void *path, const struct kt_packet *pkts, size_t n);

/* Payload bytes that the rate limit and the socket allow now; SIZE_MAX: no limit. */
size_t kt_kcptun_path_room(struct kt_kcptun_path *p);

/* When a stopped flush may continue: now, later (rate limit), or never (the socket's `writable` follows, or
 * the peer must send first). */
uint64_t kt_kcptun_path_ready(const struct kt_kcptun_path *p, uint64_t now_us);

#endif
