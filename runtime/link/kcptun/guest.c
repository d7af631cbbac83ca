/* The sessions of an acceptor.
 *
 * A guest is found by its conv, wherever its peer is: the address is a property of the session and can
 * change. Of the guests at one address, one is listed under it. A guest lives until its session ends because
 * the peer went silent, started a new session, or broke the protocol. */
#include <stdlib.h>
#include "link/kcptun/acceptor_internal.h"

#define FORGET_US 60000000u /* longer than kcptun takes to give up a session (wire-kcptun.md 9.5) */
#define LINGER_US 10000000u /* for the peer of a retired session to acknowledge the last data */

static uint64_t peer_hash(const struct port *port, const struct kt_addr *from)
{
    const struct acceptor *a = port->acceptor;
    return kt_addr_hash(from, a->hash_seed + (uint64_t)(port - a->ports));
}

static uint64_t conv_hash(const struct acceptor *a, uint32_t conv)
{
    return kt_hash_u64(conv, a->hash_seed);
}

struct guest *kt_kcptun_guest_find(const struct acceptor *a, uint32_t conv)
{
    struct kt_hnode *n = kt_hmap_find(&a->guests, conv_hash(a, conv));
    for (; n; n = kt_hmap_again(n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_conv);
        if (g->conv == conv) return g;
    }
    return NULL;
}

bool kt_kcptun_guest_is_at(const struct guest *g, const struct port *port, const struct kt_addr *from)
{
    return g->port == port && kt_addr_equal(&g->peer, from);
}

struct guest *kt_kcptun_guest_at(const struct port *port, const struct kt_addr *from)
{
    struct kt_hnode *n = kt_hmap_find(&port->acceptor->peers, peer_hash(port, from));
    for (; n; n = kt_hmap_again(n)) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_peer);
        if (kt_kcptun_guest_is_at(g, port, from)) return g;
    }
    return NULL;
}

static void list(struct guest *g)
{
    struct acceptor *a = g->port->acceptor;
    if (!g->listed) g->listed = kt_hmap_add(&a->peers, &g->by_peer, peer_hash(g->port, &g->peer)) == 0;
}

static void unlist(struct guest *g)
{
    if (g->listed) kt_hmap_remove(&g->port->acceptor->peers, &g->by_peer);
    g->listed = false;
}

/* code, why: of a peer that is not present any more. */
static void set_present(struct guest *g, bool present, int code, const char *why)
{
    const struct acceptor *a = g->port->acceptor;
    if (g->present == present) return;
    g->present = present;
    if (a->closing || !a->events->presence) return;
    const struct kt_peer_info peer = {
        .wire = g->context->wire, .address = kt_kcptun_session_peer_text(g->session)};
    struct kt_err err;
    kt_err_set(&err, code, "%s", why ? why : kt_strerror(code));
    a->events->presence(a->ctx, &peer, present ? NULL : &err);
}

void kt_kcptun_guest_free(struct guest *g, int code, const char *why)
{
    struct acceptor *a = g->port->acceptor;
    set_present(g, false, code, why);
    kt_hmap_remove(&a->guests, &g->by_conv);
    unlist(g);
    kt_list_remove(&g->by_age);
    kt_io_timer_cancel(a->context->io, &g->forget);
    kt_accepted_end_all(&g->links, code, why);
    kt_kcptun_session_free(g->session, code);
    if (a->guests.count < a->context->cfg.max_sessions / 2 &&
        kt_kcptun_context_admits(a->context, 1 + a->guests.count / 8))
        a->full_logged = false;
    if (g->context != a->context) a->elders--;
    kt_kcptun_context_unref(g->context);
    free(g);
}

/* ---- what its session says ---- */

static void on_stream(void *ctx, struct kt_kcptun_session *s, struct kt_pipe *stream)
{
    struct guest *g = ctx;
    struct acceptor *a = g->port->acceptor;
    struct kt_kcptun_context *context = g->context;
    if (a->closing || context->retired) { /* its user must get no more events */
        kt_pipe_reset(stream, KT_ECLOSED);
        return;
    }
    struct kt_pipe *clear = kt_kcptun_admit(context, s, stream, &g->mismatch_logged);
    const struct kt_peer_info peer = {.wire = context->wire, .address = kt_kcptun_session_peer_text(s)};
    if (clear) a->events->stream(a->ctx, clear, &peer);
}

/* The user has closed a peer's link. */
static void on_reverse_close(void *ctx)
{
    kt_kcptun_guest_free(ctx, KT_ECLOSED, "the link was closed");
}

void kt_kcptun_guest_give_link(struct guest *g)
{
    struct acceptor *a = g->port->acceptor;
    if (!a->events->link || a->closing || g->context->retired) return;
    struct kt_link *link = kt_kcptun_accepted_new(&g->links, g->context, g->session, on_reverse_close, g);
    const struct kt_peer_info peer = {
        .wire = g->context->wire, .address = kt_kcptun_session_peer_text(g->session)};
    if (link) a->events->link(a->ctx, link, &peer);
}

static void on_up(void *ctx, struct kt_kcptun_session *s)
{
    (void)s;
    set_present(ctx, true, 0, NULL);
    kt_kcptun_guest_give_link(ctx);
}

/* While the peer is silent, no new streams should be opened: the session's links go down, and its streams
 * stay. When the peer is heard again, the session is handed out as a new link. */
static void on_suspect(void *ctx, struct kt_kcptun_session *s, const char *why)
{
    struct guest *g = ctx;
    if (why) {
        set_present(g, false, KT_EDEAD, why);
        kt_accepted_end_all(&g->links, KT_EDEAD, why);
    } else if (kt_kcptun_session_heard(s)) {
        set_present(g, true, 0, NULL);
        kt_kcptun_guest_give_link(g);
    }
}

static void on_hello(void *ctx, struct kt_kcptun_session *s, uint16_t features)
{
    (void)s;
    (void)features;
    kt_kcptun_accepted_hello(&((struct guest *)ctx)->links);
}

static void on_over(void *ctx, struct kt_kcptun_session *s, int code)
{
    struct guest *g = ctx;
    if (code != KT_EPROTO) {
        kt_kcptun_guest_free(g, code, kt_kcptun_session_why(s));
        return;
    }
    set_present(g, false, code, kt_kcptun_session_why(s));
    kt_accepted_end_all(&g->links, code, kt_kcptun_session_why(s));
    kt_kcptun_session_free(s, code);
    g->session = NULL;
    kt_io_timer_set(
        g->port->acceptor->context->io, &g->forget, kt_io_now(g->port->acceptor->context->io) + FORGET_US);
}

static void on_forget(void *ctx)
{
    kt_kcptun_guest_free(ctx, KT_ECLOSED, "the key was changed");
}

void kt_kcptun_guest_linger(struct guest *g)
{
    struct kt_io *io = g->context->io;
    kt_io_timer_set(io, &g->forget, kt_io_now(io) + LINGER_US);
}

/* An idle session waits for its client's next stream, except a retired one, which gets no more. */
static void on_idle(void *ctx, struct kt_kcptun_session *s)
{
    struct guest *g = ctx;
    (void)s;
    if (g->context->retired) kt_kcptun_guest_linger(g);
}

/* ---- life ---- */

static struct guest *make(struct port *port, const struct kt_addr *from, uint32_t conv)
{
    struct kt_kcptun_context *context = port->acceptor->context;
    struct guest *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    const struct kt_kcptun_session_owner owner = {.accept = on_stream,
        .over = on_over,
        .idle = on_idle,
        .up = on_up,
        .hello = on_hello,
        .suspect = on_suspect,
        .ctx = g,
        .ended = &port->acceptor->ended};
    kt_list_init(&g->links);
    g->port = port;
    g->context = kt_kcptun_context_ref(context);
    g->peer = *from;
    g->conv = conv;
    kt_timer_init(&g->forget, on_forget, g);
    if (kt_kcptun_session_new(&g->session, context, conv, port->udp, from, false, &owner) == 0) return g;
    kt_kcptun_context_unref(context);
    free(g);
    return NULL;
}

/* Whether the acceptor may have another session. */
static bool has_room(struct acceptor *a)
{
    const bool fits = kt_kcptun_context_admits(a->context, 1);
    if (fits && a->guests.count < a->context->cfg.max_sessions) return true;
    a->context->counters->SessionsRefused++;
    if (!a->full_logged)
        kt_log(a->context->log, KT_LOG_WARN, "%zu sessions open; refusing new ones (%s)", a->guests.count,
            fits ? "max_sessions, --maxsessions"
                 : "the open ones need the remaining memory; raise max_buffered, --maxbuffered");
    a->full_logged = true;
    return false;
}

struct guest *kt_kcptun_guest_new(struct port *port, const struct kt_addr *from, uint32_t conv)
{
    struct acceptor *a = port->acceptor;
    if (!has_room(a)) return NULL;
    struct guest *g = make(port, from, conv);
    if (!g) return NULL;
    if (kt_hmap_add(&a->guests, &g->by_conv, conv_hash(a, conv))) {
        kt_kcptun_session_free(g->session, KT_ENOMEM);
        kt_kcptun_context_unref(g->context);
        free(g);
        return NULL;
    }
    kt_list_push(&a->ages, &g->by_age);
    if (!kt_kcptun_guest_at(port, from)) list(g);
    kt_kcptun_session_greet(g->session); /* a first segment, whose acknowledgement validates the address */
    kt_log_with(a->context->log, KT_LOG_INFO, kt_log_peer(kt_kcptun_session_peer_text(g->session)),
        "session from %s, conv %08x", kt_kcptun_session_peer_text(g->session), conv);
    return g;
}

/* Ends an older session at an address that a newer one has proven, unless the older one's peer has sent
 * something new since: two peers may share the address. */
static void leave(struct guest *g, const struct guest *later)
{
    unlist(g);
    const uint64_t age = kt_io_now(g->context->io) - kt_kcptun_session_born(later->session);
    if (!g->session || kt_kcptun_session_stale_us(g->session) < age) return;
    kt_log_with(g->context->log, KT_LOG_INFO, kt_log_peer(kt_kcptun_session_peer_text(g->session)),
        "%s began a new session", kt_kcptun_session_peer_text(g->session));
    kt_kcptun_guest_free(g, KT_ERESTART, "the peer started a new session");
}

void kt_kcptun_guest_settle(struct guest *g, struct port *port, const struct kt_addr *from)
{
    struct guest *there = kt_kcptun_guest_at(port, from);
    if (!kt_kcptun_guest_is_at(g, port, from)) {
        unlist(g);
        g->port = port;
        g->peer = *from;
    }
    if (there && there != g) leave(there, g);
    list(g);
}
