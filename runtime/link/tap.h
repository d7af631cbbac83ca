/* Shows the packets of a link, or of all sessions of an acceptor, to one observer: as they are before they are sealed
 * and after they were opened (kt trace). Without an observer a packet costs one comparison.
 *
 * A tap is counted: its link or acceptor has a reference, each of their contexts, and the observer. So each may end
 * first. */
#ifndef KT_LINK_TAP_H
#define KT_LINK_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/addr.h"
#include "io/io.h"

struct kt_tapped {
    const char *
        wire; /* "kt": the frames of a packet (docs/wire.md); "kcptun": a packet with its FEC header, if there is FEC */
    bool out;
    unsigned path;              /* on kt's wire; else 0 */
    uint64_t number;            /* of the packet, on kt's wire; else 0 */
    const struct kt_addr *peer; /* NULL: unknown, for kt_tap_show that of the connected socket */
    const struct kt_addr *here; /* this host's address; NULL: unknown, for kt_tap_show the socket's */
    const uint8_t *data;
    size_t len;
};

struct kt_tap {
    size_t refs;
    /* NULL: no observer. Must not call the link or the acceptor. */
    void (*fn)(void *ctx, const struct kt_tapped *packet);
    void *ctx;
};

/* Has one reference. NULL: out of memory. */
static inline struct kt_tap *kt_tap_new(void)
{
    struct kt_tap *t = calloc(1, sizeof *t);
    if (t) t->refs = 1;
    return t;
}

/* NULL is allowed in all of these: there is no tap. */
static inline struct kt_tap *kt_tap_ref(struct kt_tap *t)
{
    if (t) t->refs++;
    return t;
}

static inline void kt_tap_unref(struct kt_tap *t)
{
    if (t && --t->refs == 0) free(t);
}

static inline bool kt_tap_on(const struct kt_tap *t)
{
    return t && t->fn;
}

/* Shows a packet of this socket; call it only while the tap is on. */
static inline void kt_tap_show(const struct kt_tap *t, struct kt_tapped packet, const struct kt_udp *udp)
{
    struct kt_addr local, remote;
    if (!packet.peer && kt_udp_remote(udp, &remote)) packet.peer = &remote;
    if (!packet.here) {
        kt_udp_local(udp, &local);
        packet.here = &local;
    }
    t->fn(t->ctx, &packet);
}

#endif
