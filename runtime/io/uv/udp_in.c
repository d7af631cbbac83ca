/* UDP receiving: many datagrams per system call.
 *
 * With GRO the kernel merges runs of datagrams from one peer (all of one length; the last may be shorter), up to
 * 64 KiB per message; without it each message is one datagram. Both arrive in the io's scratch area, which is free
 * again when the handler returns. Invariant: the work per event is bounded, so a flooded socket does not starve
 * the rest of the loop; epoll is level-triggered and reports the rest again at once. */
#include "io/uv/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#define ROUNDS 4u /* per event */
#define PLAIN_MSGS 64u
#define GRO_MSG_BYTES ((size_t)64 * 1024)
#define GRO_MSGS 8u     /* per round, while runs arrive; more would only thrash the cache */
#define GRO_SINGLES 32u /* per round, while the kernel finds nothing to merge */
_Static_assert(PLAIN_MSGS *KT_UDP_MAX <= KT_UV_SCRATCH, "the scratch area holds a full round");
_Static_assert(GRO_SINGLES *GRO_MSG_BYTES <= KT_UV_SCRATCH, "the scratch area holds a full round");

#ifndef __linux__
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned msg_len;
};
#endif

struct control {
    _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) +
                                        CMSG_SPACE(sizeof(struct sockaddr_in6))];
};

/* The messages of one round and their buffers. */
struct round {
    struct mmsghdr msgs[PLAIN_MSGS];
    struct iovec iov[PLAIN_MSGS];
    struct kt_addr from[PLAIN_MSGS], to[PLAIN_MSGS], original[PLAIN_MSGS];
    struct control control[PLAIN_MSGS];
};

/* Datagrams on their way to the handler. */
struct batch {
    struct uv_udp *s;
    size_t n;
    struct kt_dgram dgrams[KT_UDP_BATCH];
};

static void deliver(struct batch *b)
{
    size_t n = b->n;
    b->n = 0;
    if (n > 0 && !b->s->closed) b->s->events->batch(b->s->ctx, b->dgrams, n);
}

static void count_oversize(struct uv_udp *s)
{
    s->udp.stats.in_oversize++;
    if (s->oversize) ++*s->oversize;
}

static void add(struct batch *b, const struct kt_dgram *d)
{
    if (d->len > KT_UDP_MAX) {
        count_oversize(b->s);
        return;
    }
    b->s->udp.stats.in_pkts++;
    b->s->udp.stats.in_bytes += d->len;
    b->dgrams[b->n++] = *d;
    if (b->n == KT_UDP_BATCH) deliver(b);
}

static void prepare(struct round *r, uint8_t *scratch, unsigned n, size_t size, bool control)
{
    for (unsigned i = 0; i < n; i++) {
        r->iov[i] = (struct iovec){.iov_base = scratch + i * size, .iov_len = size};
        struct msghdr *m = &r->msgs[i].msg_hdr;
        memset(m, 0, sizeof *m);
        m->msg_name = &r->from[i];
        m->msg_namelen = sizeof r->from[i];
        m->msg_iov = &r->iov[i];
        m->msg_iovlen = 1;
        m->msg_control = control ? r->control[i].bytes : NULL;
        m->msg_controllen = control ? sizeof r->control[i].bytes : 0;
    }
}

/* The number of messages received, 0 if there are no more, or -1 with errno. */
static int take(struct uv_udp *s, struct round *r, unsigned n)
{
#ifdef __linux__
    if (!(s->u->flags & KT_UV_NO_MMSG)) {
        s->udp.stats.in_calls++;
        return recvmmsg(s->fd, r->msgs, n, 0, NULL);
    }
#endif
    unsigned got = 0;
    while (got < n) {
        s->udp.stats.in_calls++;
        ssize_t len = recvmsg(s->fd, &r->msgs[got].msg_hdr, 0);
        if (len < 0) {
            if (got == 0) return -1;
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) kt_uv_udp_note(s, errno);
            break;
        }
        r->msgs[got++].msg_len = (unsigned)len;
    }
    return (int)got;
}

/* The kernel's control data about a message. */
struct about {
    size_t segment; /* length of the merged datagrams; 0: a single datagram */
    bool has_to;    /* *to is this host's address */
    bool diverted;  /* *original is where it was sent to */
};

#if defined IPV6_RECVPKTINFO && defined IP_PKTINFO
static bool local_v4(const struct cmsghdr *c, struct kt_addr *to)
{
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    memset(to, 0, sizeof *to);
    to->in4.sin_family = AF_INET;
    to->in4.sin_addr = info.ipi_spec_dst; /* for multicast, the address to answer from */
    return info.ipi_spec_dst.s_addr != 0;
}

static bool local_v6(const struct cmsghdr *c, struct kt_addr *to)
{
    struct in6_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    memset(to, 0, sizeof *to);
    to->in6.sin6_family = AF_INET6;
    to->in6.sin6_addr = info.ipi6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) to->in6.sin6_scope_id = (uint32_t)info.ipi6_ifindex;
    kt_addr_unmap(to);
    if (to->sa.sa_family == AF_INET) return !IN_MULTICAST(ntohl(to->in4.sin_addr.s_addr));
    return !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}
#endif

static struct about read_control(struct msghdr *m, struct kt_addr *to, struct kt_addr *original)
{
    struct about a = {0};
    if (m->msg_controllen == 0) return a;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
#ifdef UDP_GRO
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            a.segment = size > 0 ? (size_t)size : 0;
        }
#endif
#if defined IPV6_RECVPKTINFO && defined IP_PKTINFO
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) a.has_to = local_v4(c, to);
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) a.has_to = local_v6(c, to);
#endif
        if (kt_uv_read_original(c, original)) a.diverted = true;
    }
    return a;
}

/* Splits a message into datagrams. True if it was a run. */
static bool split(struct batch *b, struct mmsghdr *msg, struct kt_addr *local, struct kt_addr *original)
{
    struct msghdr *m = &msg->msg_hdr;
    if (m->msg_flags & MSG_TRUNC) {
        count_oversize(b->s);
        return false;
    }
    struct kt_addr *from = m->msg_name;
    kt_addr_unmap(from);
    uint8_t *data = m->msg_iov->iov_base;
    const struct about about = read_control(m, local, original);
    struct kt_dgram d = {
        .from = from, .to = about.has_to ? local : NULL, .original = about.diverted ? original : NULL};
    size_t left = msg->msg_len, size = about.segment;
    bool run = size > 0 && size < left;
    if (size == 0) size = left;
    do { /* at least once: a datagram may be empty */
        size_t len = left < size ? left : size;
        d.data = data;
        d.len = len;
        add(b, &d);
        data += len;
        left -= len;
    } while (left > 0 && !b->s->closed);
    return run;
}

void kt_uv_udp_receive(struct uv_udp *s)
{
    uint8_t *scratch = kt_uv_scratch(s->u);
    if (!scratch) return; /* out of memory: the kernel keeps the datagrams until its buffer is full */
    size_t size = s->gro ? GRO_MSG_BYTES : KT_UDP_MAX;
    struct round r;
    struct batch b;
    b.s = s;
    b.n = 0;
    for (unsigned round = 0; round < ROUNDS && !s->closed; round++) {
        unsigned n = !s->gro ? PLAIN_MSGS : s->singles ? GRO_SINGLES : GRO_MSGS;
        prepare(&r, scratch, n, size, s->gro || s->pktinfo || s->diverted);
        int got = take(s, &r, n);
        if (got < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) return;
            if (errno != EINTR) kt_uv_udp_note(s, errno); /* reported once, then cleared: keep receiving */
            continue;
        }
        bool runs = false;
        for (int i = 0; i < got && !s->closed; i++) runs |= split(&b, &r.msgs[i], &r.to[i], &r.original[i]);
        deliver(&b); /* before the next round overwrites the area */
        if (runs) s->singles = false;
        if ((unsigned)got < n) return;
        s->singles = !runs;
    }
}
