/* UDP sending: a small queue that leaves in as few system calls as possible.
 *
 * Committed datagrams leave in order. A run of equal lengths to one address (the last may be shorter) becomes one
 * message that the kernel or the network card splits (GSO, UDP_SEGMENT); one sendmmsg sends many messages.
 * Datagrams leave the queue only once the system has accepted or finally refused them. Invariant: a buffer is
 * free, reserved or committed, and in exactly one of these states. The queue allocates once, on first use. */
#include "io/uv/udp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#define GSO_SEGMENTS 64u /* the smallest UDP_MAX_SEGMENTS of any kernel */
#define GSO_REGROW 1024u /* datagrams sent before longer messages are tried again */
#define GSO_BYTES 65000u /* per message: the limit of an IP packet less headers */
#define MSGS 64u         /* per system call */
#ifndef __linux__
struct mmsghdr {
    struct msghdr msg_hdr;
    unsigned msg_len;
};
#endif

struct udp_slot {
    const uint8_t *data;
    size_t len;
    bool addressed, sourced; /* has `to`; has `from` */
    bool fragment;           /* see kt_udp_fragment */
    struct kt_addr to, from;
};

struct udp_arena {
    struct udp_slot slots[KT_UV_UDP_SLOTS];
    _Alignas(64) uint8_t bufs[KT_UV_UDP_SLOTS][KT_UDP_MAX];
};

struct control {
    _Alignas(
        struct cmsghdr) char bytes[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The front of the queue, as messages. */
struct burst {
    unsigned n;
    unsigned segments[MSGS]; /* datagrams in each message */
    struct mmsghdr msgs[MSGS];
    struct iovec iov[KT_UV_UDP_SLOTS];
    struct control control[MSGS];
};

/* ---- buffers ---- */

bool kt_uv_udp_has_room(const struct uv_udp *s)
{
    return !s->out.arena || s->out.frees > 0;
}

static bool make_arena(struct udp_out *o)
{
    o->arena = aligned_alloc(_Alignof(struct udp_arena), sizeof *o->arena);
    if (!o->arena) return false;
    /* Lowest index on top, so that a socket that sends little touches little memory. */
    for (unsigned i = 0; i < KT_UV_UDP_SLOTS; i++) o->free[i] = (uint8_t)(KT_UV_UDP_SLOTS - 1 - i);
    o->frees = KT_UV_UDP_SLOTS;
    return true;
}

void kt_uv_udp_out_free(struct uv_udp *s)
{
    free(s->out.arena);
}

static unsigned slot_of(const struct udp_out *o, const uint8_t *buf)
{
    size_t at = (size_t)(buf - &o->arena->bufs[0][0]);
    assert(at < sizeof o->arena->bufs && at % KT_UDP_MAX == 0);
    return (unsigned)(at / KT_UDP_MAX);
}

uint8_t *kt_uv_udp_reserve(struct kt_udp *udp)
{
    struct uv_udp *s = (struct uv_udp *)(void *)udp;
    struct udp_out *o = &s->out;
    assert(!s->closed);
    if (!o->arena && !make_arena(o)) return NULL;
    if (o->frees == 0) kt_uv_udp_send(s);
    if (o->frees == 0) {
        o->starved = true;
        kt_uv_udp_poll(s);
        return NULL;
    }
    const uint8_t index = o->free[--o->frees];
    o->arena->slots[index].fragment = false;
    return o->arena->bufs[index];
}

void kt_uv_udp_fragment(struct kt_udp *udp, uint8_t *buf)
{
    struct udp_out *o = &((struct uv_udp *)(void *)udp)->out;
    o->arena->slots[slot_of(o, buf)].fragment = true;
}

void kt_uv_udp_cancel(struct kt_udp *udp, uint8_t *buf)
{
    struct udp_out *o = &((struct uv_udp *)(void *)udp)->out;
    assert(o->frees + o->count < KT_UV_UDP_SLOTS);
    o->free[o->frees++] = (uint8_t)slot_of(o, buf);
}

void kt_uv_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from)
{
    struct uv_udp *s = (struct uv_udp *)(void *)udp;
    struct udp_out *o = &s->out;
    assert(to || s->connected);
    assert(o->frees + o->count < KT_UV_UDP_SLOTS);
    unsigned index = slot_of(o, buf);
    struct udp_slot *slot = &o->arena->slots[index];
    slot->data = data;
    slot->len = len;
    slot->addressed = to != NULL;
    if (to) {
        slot->to = *to;
        if (s->is_v6) kt_uv_addr_map(&slot->to);
    }
    slot->sourced = from && s->pktinfo && from->sa.sa_family == to->sa.sa_family;
    if (slot->sourced) slot->from = *from;
    o->fifo[(o->head + o->count++) % KT_UV_UDP_SLOTS] = (uint8_t)index;
    if (kt_list_empty(&s->dirty)) kt_list_push(&s->u->udp_dirty, &s->dirty);
}

/* ---- from the queue to messages ---- */

static struct udp_slot *committed(struct udp_out *o, unsigned i)
{
    return &o->arena->slots[o->fifo[(o->head + i) % KT_UV_UDP_SLOTS]];
}

static bool same_path(const struct udp_slot *a, const struct udp_slot *b)
{
    return a->addressed == b->addressed && a->sourced == b->sourced &&
           (!a->addressed || kt_addr_equal(&a->to, &b->to)) &&
           (!a->sourced || kt_addr_equal(&a->from, &b->from));
}

/* How many datagrams, from the i-th on, can leave as one message. */
static unsigned run_length(struct udp_out *o, unsigned i)
{
    const struct udp_slot *first = committed(o, i);
    size_t total = first->len;
    unsigned n = 1;
    if (first->len > o->gso_max || first->len == 0 || first->fragment) return 1;
    while (n < o->gso_segments && i + n < o->count) {
        const struct udp_slot *next = committed(o, i + n);
        if (next->len > first->len || next->len == 0 || total + next->len > GSO_BYTES) break;
        if (!same_path(first, next) || next->fragment) break;
        total += next->len;
        n++;
        if (next->len < first->len) break; /* a shorter one ends the message */
    }
    return n;
}

/* Adds an ancillary item to a message. */
static void add_control(
    struct msghdr *m, struct control *control, int level, int type, const void *value, size_t len)
{
    m->msg_control = control->bytes;
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + m->msg_controllen);
    m->msg_controllen += CMSG_SPACE(len);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), value, len);
}

static void set_segment_size(struct msghdr *m, struct control *control, size_t size)
{
#ifdef UDP_SEGMENT
    const uint16_t value = (uint16_t)size;
    add_control(m, control, IPPROTO_UDP, UDP_SEGMENT, &value, sizeof value);
#else
    (void)m, (void)control, (void)size;
#endif
}

static void set_source(
    const struct uv_udp *s, struct msghdr *m, struct control *control, const struct kt_addr *from)
{
#if defined IPV6_RECVPKTINFO && defined IP_PKTINFO
    if (!s->is_v6) {
        const struct in_pktinfo info = {.ipi_spec_dst = from->in4.sin_addr};
        add_control(m, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
        return;
    }
    struct kt_addr mapped = *from;
    kt_uv_addr_map(&mapped);
    const struct in6_pktinfo info = {
        .ipi6_addr = mapped.in6.sin6_addr, .ipi6_ifindex = mapped.in6.sin6_scope_id};
    add_control(m, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
#else
    (void)s, (void)m, (void)control, (void)from;
#endif
}

static void gather(struct uv_udp *s, struct burst *b, unsigned max)
{
    struct udp_out *o = &s->out;
    unsigned i = 0;
    const bool fragment = committed(o, 0)->fragment; /* the same for the whole run */
    for (b->n = 0; b->n < max && i < o->count; b->n++) {
        struct udp_slot *first = committed(o, i);
        if (first->fragment != fragment) break;
        unsigned n = run_length(o, i);
        struct msghdr *m = &b->msgs[b->n].msg_hdr;
        memset(m, 0, sizeof *m);
        if (first->addressed) {
            m->msg_name = &first->to;
            m->msg_namelen = kt_addr_len(&first->to);
        }
        m->msg_iov = &b->iov[i];
        m->msg_iovlen = n;
        if (n > 1) set_segment_size(m, &b->control[b->n], first->len);
        if (first->sourced) set_source(s, m, &b->control[b->n], &first->from);
        b->segments[b->n] = n;
        for (unsigned end = i + n; i < end; i++) {
            struct udp_slot *slot = committed(o, i);
            b->iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)slot->data, .iov_len = slot->len};
        }
    }
}

/* ---- from messages to the system ---- */

/* Fragmentation is an option of the socket; changes it only when needed. */
static void set_fragments(struct uv_udp *s, bool fragments)
{
    struct udp_out *o = &s->out;
    if (o->fragments == fragments) return;
    o->fragments = fragments;
#ifdef IP_MTU_DISCOVER
    int discover = fragments ? IP_PMTUDISC_DONT : o->discover;
    setsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
#endif
}

/* The number of messages the system took, or -1 with errno for the first. */
static int transmit(struct uv_udp *s, struct burst *b)
{
    int r;
    do {
        s->udp.stats.out_calls++;
#ifdef __linux__
        if (b->n > 1) {
            r = sendmmsg(s->fd, b->msgs, b->n, 0);
            continue;
        }
#endif
        r = sendmsg(s->fd, &b->msgs[0].msg_hdr, 0) < 0 ? -1 : 1;
    } while (r < 0 && errno == EINTR);
    return r;
}

/* Removes the n oldest datagrams from the queue. */
static void release(struct uv_udp *s, unsigned n, bool sent)
{
    struct udp_out *o = &s->out;
    for (unsigned i = 0; i < n; i++) {
        if (sent) {
            if (o->gso_segments < GSO_SEGMENTS && ++o->gso_sent >= GSO_REGROW) {
                o->gso_segments = o->gso_segments < GSO_SEGMENTS / 2 ? o->gso_segments * 2 : GSO_SEGMENTS;
                o->gso_sent = 0;
            }
            s->udp.stats.out_pkts++;
            s->udp.stats.out_bytes += committed(o, 0)->len;
        } else {
            s->udp.stats.out_dropped++;
        }
        o->free[o->frees++] = o->fifo[o->head];
        o->head = (o->head + 1) % KT_UV_UDP_SLOTS;
        o->count--;
    }
}

/* The system refused the first message of the queue. Decides whether it waits, is dropped, or is tried again with
 * the queue's new settings. Returns the next `again`: true if the front message has had its retry. */
static bool refused(struct uv_udp *s, unsigned segments, int errnum, bool again)
{
    struct udp_out *o = &s->out;
    if (errnum == EAGAIN || errnum == EWOULDBLOCK) {
        o->blocked = true;
        return false;
    }
    if (segments > 1 && (errnum == ENOMEM || errnum == ENOBUFS)) {
        /* A message of many datagrams needs one large piece of memory; small ones may still fit. */
        o->gso_segments = segments / 2;
        o->gso_sent = 0;
        return false;
    }
    if (segments > 1 && errnum == EIO) {
        o->gso_max = 0; /* the network card cannot checksum the datagrams it would split */
        return false;
    }
    if (segments > 1 && (errnum == EINVAL || errnum == EMSGSIZE)) {
        /* Longer than the path's MTU: GSO does not fragment, a plain send does. Shorter ones may still go. */
        o->gso_max = committed(o, 0)->len - 1;
        return false;
    }
    if (committed(o, 0)->sourced && errnum != EMSGSIZE) {
        /* The host may no longer have that address; a datagram from another is better than none. */
        for (unsigned i = 0; i < segments; i++) committed(o, i)->sourced = false;
        return false;
    }
    if (errnum == EMSGSIZE && segments == 1 && !committed(o, 0)->fragment) {
        committed(o, 0)->fragment = true; /* known to be too long for the path */
        return false;
    }
    if (s->connected && errnum != EMSGSIZE) kt_uv_udp_note(s, errnum);
    /* On a connected socket the error may belong to an earlier datagram (ICMP): try this one again. */
    if (s->connected && !again) return true;
    release(s, segments, false);
    return false;
}

void kt_uv_udp_send(struct uv_udp *s)
{
    struct udp_out *o = &s->out;
    struct burst b;
    bool again = false;
    unsigned max = s->u->flags & KT_UV_NO_MMSG ? 1 : MSGS;
    while (o->count > 0 && !o->blocked) {
        set_fragments(s, committed(o, 0)->fragment);
        gather(s, &b, max);
        int sent = transmit(s, &b);
        if (sent < 0) {
            again = refused(s, b.segments[0], errno, again);
            continue;
        }
        again = false;
        for (int i = 0; i < sent; i++) release(s, b.segments[i], true);
    }
}

void kt_uv_udp_out_init(struct uv_udp *s)
{
    s->out.gso_segments = GSO_SEGMENTS;
#ifdef IP_MTU_DISCOVER
    socklen_t size = sizeof s->out.discover;
    getsockopt(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, &s->out.discover, &size);
#endif
#ifdef UDP_SEGMENT
    int off = 0;
    if (!(s->u->flags & KT_UV_NO_GSO) && setsockopt(s->fd, IPPROTO_UDP, UDP_SEGMENT, &off, sizeof off) == 0)
        s->out.gso_max = KT_UDP_MAX;
#endif
}
