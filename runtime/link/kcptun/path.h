/* A path: how a session's KCP packets become datagrams to one peer. FEC header and parity, sealing, the rate
 * limit, and the socket.
 *
 * Each packet is written once, by KCP, straight into the socket's transmit buffer, and sealed there. */
#ifndef KT_LINK_KCPTUN_PATH_H
#define KT_LINK_KCPTUN_PATH_H

#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/kcptun/context.h"

struct kt_kcptun_path {
    struct kt_kcptun_context *sh;
    struct kt_udp *udp;       /* not owned */
    const struct kt_addr *to; /* NULL on a connected socket; not owned */
    struct kt_addr from;      /* this host's address, as kt_dgram.to; family AF_UNSPEC: not known */
    struct kt_fec_enc *enc;   /* NULL: no FEC */
    uint32_t mtu;             /* largest datagram */
    uint32_t whole;           /* longer datagrams may be fragmented on their way; 0: none may */
    unsigned data, parity;    /* its groups, for as long as the session lives */
    uint32_t offset;          /* from a datagram's start to its KCP packet: sealing and FEC headers */
    /* rate limit: a token bucket in bytes (spec 13: burst of 64 full datagrams) */
    int64_t tokens;
    uint64_t refilled;
    uint32_t reserved; /* datagrams that KCP is filling: not charged for yet */
    /* amplification limit (RFC 9000, 8.1) */
    bool limited;      /* the peer's address is not validated: no more than credit may leave */
    uint64_t credit;   /* bytes */
    uint64_t promised; /* of credit, to datagrams that KCP is filling */
    bool full;         /* the socket takes no more: its `writable` follows */
    bool paced;        /* out of tokens: kt_kcptun_path_ready says until when */
};

/* 0 or KT_ENOMEM. to may be NULL; else it must outlive the path. */
int kt_kcptun_path_init(
    struct kt_kcptun_path *p, struct kt_kcptun_context *sh, struct kt_udp *udp, const struct kt_addr *to);
void kt_kcptun_path_free(struct kt_kcptun_path *p);

/* Largest KCP packet (spec 6.3). */
uint32_t kt_kcptun_path_mtu(const struct kt_kcptun_path *p);

/* Sends as much parity as the settings now ask for: less than the session began with, down to none, and that
 * again, but no more and not in other groups, as the peer's decoder goes by those (see kt_fec_enc_limit).
 * Without parity the header stays. False if the settings ask for what only a new session can give. */
bool kt_kcptun_path_tune(struct kt_kcptun_path *p);

/* The peer's address is not validated: from now on at most three times the bytes that are credited may leave.
 * size: of a datagram that came from it. */
void kt_kcptun_path_limit(struct kt_kcptun_path *p);
void kt_kcptun_path_credit(struct kt_kcptun_path *p, size_t size);
void kt_kcptun_path_unlimit(struct kt_kcptun_path *p);
/* Bytes of frames that may leave now and still leave enough credit to repeat the first segment; SIZE_MAX
 * without a limit. */
size_t kt_kcptun_path_spare(const struct kt_kcptun_path *p);

/* From now on datagrams leave from this socket (not owned), and from this address of the host (NULL: not
 * known). */
void kt_kcptun_path_move(struct kt_kcptun_path *p, struct kt_udp *udp, const struct kt_addr *from);
/* The host's address that they leave from; NULL: not known. */
const struct kt_addr *kt_kcptun_path_from(const struct kt_kcptun_path *p);

/* The KCP engine's way out, with the path as ctx. */
uint8_t *kt_kcptun_path_reserve(void *path, size_t *len);
void kt_kcptun_path_send(void *path, const struct kt_kcp_packet *pkts, size_t n);

/* Bytes of payload that the rate limit and the socket let leave now; SIZE_MAX: any number. */
size_t kt_kcptun_path_room(struct kt_kcptun_path *p);

/* When the path may send again, given that a flush was stopped: now, later (rate), or never (the socket will
 * say, or the peer must send first). */
uint64_t kt_kcptun_path_ready(const struct kt_kcptun_path *p, uint64_t now_us);

#endif
