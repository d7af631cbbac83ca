/* Fills packets and hands them out in batches.
 *
 * A sender appends to the packet being filled, which may hold pieces of several senders. Only the owner of
 * the writer ends the last packet, with kt_packet_writer_finish.
 *
 * Invariant: a buffer is reserved only when something goes into it, and each one reserved is sent. Between packets
 * len and room are 0, so nothing fits. */
#ifndef KT_KCP_PACKET_WRITER_H
#define KT_KCP_PACKET_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KT_PACKET_BATCH 32u

struct kt_packet {
    uint8_t *data; /* from reserve */
    size_t len;
};

/* How packets leave. `reserve` returns a buffer for a packet of at least *len bytes and sets *len to the
 * longest packet it may become, or returns NULL if nothing more may leave now (no room, no tokens). `send`
 * gets every buffer back, filled, in order, in batches of up to KT_PACKET_BATCH. Neither may call into what
 * is sending. */
struct kt_packet_out {
    uint8_t *(*reserve)(void *ctx, size_t *len);
    void (*send)(void *ctx, const struct kt_packet *packets, size_t n);
    void *ctx;
};

struct kt_packet_writer {
    const struct kt_packet_out *out;
    /* Called before a packet with `attend` set is complete; may append up to `room` bytes. */
    void (*complete)(void *ctx, struct kt_packet_writer *w);
    void *ctx;
    uint8_t *buf;     /* the packet being filled; NULL: none */
    size_t len, room; /* of that packet; 0: none */
    bool attend;      /* a sender wants `complete` called for it */
    bool again;       /* it holds something that was sent before */
    size_t n;
    struct kt_packet batch[KT_PACKET_BATCH];
};

/* Does not clear the batch, which is large. */
static inline void kt_packet_writer_init(struct kt_packet_writer *w, const struct kt_packet_out *out,
    void (*complete)(void *ctx, struct kt_packet_writer *w), void *ctx)
{
    w->out = out;
    w->complete = complete;
    w->ctx = ctx;
    w->buf = NULL;
    w->len = w->room = 0;
    w->n = 0;
    w->attend = w->again = false;
}

/* n: at least 1. */
static inline bool kt_packet_writer_fits(const struct kt_packet_writer *w, size_t n)
{
    return w->len + n <= w->room;
}

/* Appends n bytes, which fit; returns where they go. */
static inline uint8_t *kt_packet_writer_append(struct kt_packet_writer *w, size_t n)
{
    uint8_t *p = w->buf + w->len;
    w->len += n;
    return p;
}

/* Completes the packet being filled, if there is one. */
static inline void kt_packet_writer_close(struct kt_packet_writer *w)
{
    if (!w->buf) return;
    if (w->attend) w->complete(w->ctx, w);
    w->batch[w->n++] = (struct kt_packet){.data = w->buf, .len = w->len};
    w->buf = NULL;
    w->len = w->room = 0;
    w->attend = w->again = false;
    if (w->n < KT_PACKET_BATCH) return;
    w->out->send(w->out->ctx, w->batch, w->n);
    w->n = 0;
}

/* Begins a packet with n bytes, after the one being filled was closed; returns where they go, or NULL if
 * nothing more may leave now. It takes further pieces up to `most` bytes. */
static inline uint8_t *kt_packet_writer_begin(struct kt_packet_writer *w, size_t n, size_t most)
{
    size_t room = n;
    w->buf = w->out->reserve(w->out->ctx, &room);
    if (!w->buf) return NULL;
    w->len = n;
    w->room = room < most ? room : most;
    return w->buf;
}

/* Completes the packet being filled, and sends all. */
static inline void kt_packet_writer_finish(struct kt_packet_writer *w)
{
    kt_packet_writer_close(w);
    if (w->n > 0) w->out->send(w->out->ctx, w->batch, w->n);
    w->n = 0;
}

#endif
