/* The associations of an acceptor. Each is found by the connection ids of its paths, wherever its peer is.
 * It starts unproven: only the first data packet shows that the peer has the keys, and has not just
 * recorded an initiation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/keyfile.h"
#include "link/native/acceptor_internal.h"
#include "link/native/code.h"
#include "link/native/flow_handle.h"

/* Connection ids are made by a keyed hash of a secret that the peer knows, so they need a seed of their own. */
static uint64_t hash(const struct acceptor *a, const uint8_t cid[KT_NATIVE_CID])
{
    uint64_t id;
    memcpy(&id, cid, sizeof id);
    return kt_hash_u64(id, a->hash_seed);
}

struct guest *kt_native_guest_find(const struct acceptor *a, const uint8_t cid[KT_NATIVE_CID], unsigned *path)
{
    struct kt_hnode *n = kt_hmap_find(&a->cids, hash(a, cid));
    for (; n; n = kt_hmap_again(n)) {
        struct guest_cid *entry = KT_CONTAINER(n, struct guest_cid, node);
        struct guest *g = entry->guest;
        const unsigned p = (unsigned)(entry - g->cids);
        if (memcmp(kt_native_association_cid(g->a, p), cid, KT_NATIVE_CID) != 0) continue;
        *path = p;
        return g;
    }
    return NULL;
}

bool kt_native_guest_name(struct acceptor *a, const uint8_t key[KT_NATIVE_KEY], const struct kt_addr *from,
    char name[KT_NATIVE_IDENTITY])
{
    char text[KT_KEY_TEXT], address[KT_ADDR_TEXT];
    if (a->c->cfg.common.asks) {
        kt_key_encode(key, text);
        return a->events->authorize &&
               a->events->authorize(a->ctx, text, kt_addr_text(from, address), name, KT_NATIVE_IDENTITY);
    }
    const char *found = kt_native_names_find(a->c->names, key);
    if (found) snprintf(name, KT_NATIVE_IDENTITY, "%s", found);
    return found;
}

static uint64_t quiet_for(const struct guest *g, uint64_t now_us)
{
    return now_us - kt_native_association_heard(g->a);
}

/* Whether its peer would have been heard by now, although it owes no answer. */
static bool missed_keepalives(const struct guest *g, uint64_t now_us)
{
    const uint64_t quiet = quiet_for(g, now_us), every = kt_native_association_peer_keepalive(g->a);
    return every > 0 && quiet >= KT_NATIVE_MISSED_US && quiet / KT_NATIVE_MISSED_KEEPALIVES >= every;
}

/* A peer that has not been heard for a while need not owe an answer. */
static void find_silents(struct acceptor *a, uint64_t now_us)
{
    if (a->asked_us && now_us - a->asked_us < KT_NATIVE_QUIET_US) return;
    a->asked_us = now_us;
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next) {
        struct guest *g = KT_CONTAINER(n, struct guest, by_age);
        if (quiet_for(g, now_us) < KT_NATIVE_QUIET_US) continue;
        kt_native_association_ask(g->a);
        if (g->suspect || !missed_keepalives(g, now_us)) continue;
        kt_list_remove(&g->silent);
        kt_list_push(&a->silents, &g->silent);
    }
}

/* Ends the one that has been silent for about the longest, if it is dead by all appearances. */
static bool displace(struct acceptor *a, uint64_t now_us)
{
    struct kt_list *next;
    for (struct kt_list *n = a->silents.next; n != &a->silents; n = next) {
        struct guest *g = KT_CONTAINER(n, struct guest, silent);
        const uint64_t quiet = quiet_for(g, now_us);
        const bool missed = missed_keepalives(g, now_us);
        next = n->next;
        if (!g->suspect && !missed) kt_list_remove(&g->silent); /* it was heard again */
        /* A suspect one that is heard acknowledges nothing. */
        if (!g->proven || !(missed || (g->suspect && quiet >= KT_NATIVE_DISPLACE_US))) continue;
        a->c->counters->SessionsDisplaced++;
        if (!a->displaced_logged)
            kt_log_with(a->c->log, KT_LOG_WARN, kt_log_peer(kt_native_association_peer_text(g->a)),
                "%u links open: a new one replaces the link with %s, silent for %.0f s (max_sessions)",
                a->c->cfg.max_links, kt_native_association_peer_text(g->a), (double)quiet / 1e6);
        a->displaced_logged = true;
        kt_native_guest_free(g, KT_EDEAD, "silent, and a new link needs its place");
        return true;
    }
    return false;
}

/* Whether there may be `more` links beside those that are open. */
static bool fits(const struct acceptor *a, size_t more)
{
    return a->guests + more <= a->c->cfg.max_links && kt_native_context_admits_links(a->c, more);
}

bool kt_native_guest_room(struct acceptor *a)
{
    const uint64_t now = kt_io_now(a->c->io);
    if (fits(a, 1) || (displace(a, now) && fits(a, 1))) return true;
    find_silents(a, now);
    if (displace(a, now) && fits(a, 1)) return true;
    a->c->counters->SessionsRefused++;
    if (!a->full_logged)
        kt_log(a->c->log, KT_LOG_WARN, "%zu links open; refusing new ones (%s)", a->guests,
            a->guests < a->c->cfg.max_links
                ? "the open ones need the remaining memory; raise max_buffered, --maxbuffered"
                : "max_sessions, --maxsessions");
    a->full_logged = true;
    return false;
}

static struct kt_peer_info info(const struct guest *g)
{
    return (struct kt_peer_info){.wire = g->c->wire,
        .address = kt_native_association_peer_text(g->a),
        .identity = kt_native_association_identity(g->a)};
}

/* code, why: of a peer that is not present any more. */
static void set_present(struct guest *g, bool present, int code, const char *why)
{
    const struct acceptor *a = g->acceptor;
    if (g->present == present) return;
    g->present = present;
    if (a->closing || !a->events->presence) return;
    const struct kt_peer_info peer = info(g);
    struct kt_err err;
    kt_err_set(&err, code, "%s", why ? why : kt_strerror(code));
    a->events->presence(a->ctx, &peer, present ? NULL : &err);
}

void kt_native_guest_free(struct guest *g, int code, const char *text)
{
    struct acceptor *a = g->acceptor;
    set_present(g, false, code, text ? text : kt_native_association_why(g->a));
    for (unsigned i = 0; i < KT_NATIVE_PATHS; i++)
        if (g->cids[i].guest) kt_hmap_remove(&a->cids, &g->cids[i].node);
    if (g->listed) kt_hmap_remove(&a->instances, &g->instance);
    if (g->found) kt_hmap_remove(&a->devices, &g->device);
    kt_list_remove(&g->by_age);
    kt_list_remove(&g->silent);
    a->guests--;
    if (!g->proven) a->unproven_count--;
    kt_io_timer_cancel(g->c->io, &g->expire);
    kt_accepted_end_all(&g->links, code, text ? text : kt_native_association_why(g->a));
    kt_native_association_free(g->a, code, text);
    if (a->guests < a->c->cfg.max_links / 2 && fits(a, 1 + a->guests / 8))
        a->full_logged = a->displaced_logged = false;
    kt_native_context_unref(g->c);
    free(g);
}

static void on_expire(void *ctx)
{
    struct guest *g = ctx;
    const uint64_t asked = g->asked_us;
    g->asked_us = 0;
    if (!g->proven) {
        kt_native_guest_free(g, KT_ETIMEOUT, NULL);
    } else if (kt_native_association_heard(g->a) <= asked) {
        const char *why = "its client has restarted";
        g->c->counters->SessionsRestarted++;
        kt_log_with(g->c->log, KT_LOG_WARN, kt_log_peer(kt_native_association_peer_text(g->a)),
            "link with %s ended: %s", kt_native_association_peer_text(g->a), why);
        kt_native_guest_free(g, KT_ERESTART, why);
    }
}

/* ---- what its association says ---- */

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_open_options *opened)
{
    struct guest *g = ctx;
    struct acceptor *a = g->acceptor;
    if (a->closing || g->c->retired) { /* its user must get no more events */
        kt_pipe_reset(stream, KT_ECLOSED);
        return;
    }
    struct kt_peer_info peer = info(g);
    peer.target = opened->target;
    peer.client = opened->client;
    peer.name = opened->name;
    a->events->stream(a->ctx, stream, &peer);
}

static void on_flow(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *addresses)
{
    struct guest *g = ctx;
    struct acceptor *a = g->acceptor;
    if (a->closing || g->c->retired || !a->events->flow) {
        kt_native_flow_close(flow, a->events->flow ? KT_ECLOSED : KT_ENOTSUP);
        return;
    }
    struct kt_flow *f = kt_native_flow_accept(flow);
    struct kt_peer_info peer = info(g);
    peer.target = addresses->target;
    peer.client = addresses->client;
    if (f) a->events->flow(a->ctx, f, &peer);
}

/* The user of a peer's link closed it. */
static void on_reverse_close(void *ctx)
{
    kt_native_guest_free(ctx, KT_ECLOSED, "the link was closed");
}

void kt_native_guest_give_link(struct guest *g)
{
    struct acceptor *a = g->acceptor;
    if (!a->events->link || a->closing || g->c->retired || kt_native_association_over(g->a)) return;
    struct kt_link *link = kt_native_accepted_new(&g->links, g->c->io, g->a, on_reverse_close, g);
    const struct kt_peer_info peer = info(g);
    if (link) a->events->link(a->ctx, link, &peer);
}

_Static_assert(KT_NATIVE_DEVICE == KT_NATIVE_INSTANCE, "hash_id takes both");

static uint64_t hash_id(const struct acceptor *a, const uint8_t id[KT_NATIVE_INSTANCE])
{
    uint64_t h = a->hash_seed, word;
    for (size_t i = 0; i < KT_NATIVE_INSTANCE; i += sizeof word) {
        memcpy(&word, id + i, sizeof word);
        h = kt_hash_u64(word, h);
    }
    return h;
}

static bool same_identity(const struct guest *x, const struct guest *y)
{
    const char *a = kt_native_association_identity(x->a), *b = kt_native_association_identity(y->a);
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_peer(const struct guest *x, const struct guest *y)
{
    return memcmp(kt_native_association_instance(x->a), kt_native_association_instance(y->a),
               KT_NATIVE_INSTANCE) == 0 &&
           same_identity(x, y);
}

/* Replaces the association that this link had here before, which it has given up (docs/wire.md, 4.5). */
static void replace(struct guest *g)
{
    struct acceptor *a = g->acceptor;
    const uint64_t h = hash_id(a, kt_native_association_instance(g->a));
    struct kt_hnode *next;
    for (struct kt_hnode *n = kt_hmap_find(&a->instances, h); n; n = next) {
        struct guest *old = KT_CONTAINER(n, struct guest, instance);
        next = kt_hmap_again(n);
        if (same_peer(g, old)) kt_native_guest_free(old, KT_ECLOSED, "replaced by a new link");
    }
    g->listed =
        kt_hmap_add(&a->instances, &g->instance, h) == 0; /* else it is not replaced, but ends in time */
}

static bool same_device(const struct guest *x, const struct guest *y)
{
    return memcmp(kt_native_association_device(x->a), kt_native_association_device(y->a), KT_NATIVE_DEVICE) ==
               0 &&
           same_identity(x, y) && kt_native_association_same_hosts(x->a, y->a);
}

/* Asks whether its process is still there: on_expire looks whether it has answered. */
static void ask(struct guest *g, uint64_t now_us)
{
    const uint64_t trips = KT_NATIVE_ASKED_TRIPS * (uint64_t)kt_native_association_rtt(g->a);
    if (g->asked_us) return;
    g->asked_us = now_us;
    kt_native_association_ask(g->a);
    kt_io_timer_set(g->c->io, &g->expire, now_us + (trips > KT_NATIVE_ASKED_US ? trips : KT_NATIVE_ASKED_US));
}

/* If the client has restarted, it has left associations here that only `survive` would end (docs/wire.md, 4.5). */
static void ask_device(struct guest *g)
{
    struct acceptor *a = g->acceptor;
    const uint8_t *device = kt_native_association_device(g->a);
    if (!device) return;
    const uint64_t h = hash_id(a, device), now = kt_io_now(g->c->io);
    unsigned asked = 0;
    for (struct kt_hnode *n = kt_hmap_find(&a->devices, h); n && asked < KT_NATIVE_ASKED_MOST;
         n = kt_hmap_again(n), asked++) {
        struct guest *old = KT_CONTAINER(n, struct guest, device);
        if (same_device(g, old)) ask(old, now);
    }
    g->found = kt_hmap_add(&a->devices, &g->device, h) == 0;
}

static void on_proven(void *ctx)
{
    struct guest *g = ctx;
    struct acceptor *a = g->acceptor;
    g->proven = true;
    a->unproven_count--;
    kt_io_timer_cancel(g->c->io, &g->expire);
    kt_list_remove(&g->by_age);
    kt_list_push(&a->ages, &g->by_age);
    replace(g);
    ask_device(g);
    kt_native_server_proven(&a->server);
    kt_log_with(g->c->log, KT_LOG_INFO, kt_log_peer(kt_native_association_peer_text(g->a)), "link from %s",
        kt_native_association_peer_text(g->a));
    set_present(g, true, 0, NULL);
    kt_native_guest_give_link(g);
}

static void on_suspect(void *ctx, const char *why)
{
    struct guest *g = ctx;
    g->suspect = why;
    kt_list_remove(&g->silent);
    if (why) kt_list_push(&g->acceptor->silents, &g->silent);
}

static void on_room(void *ctx)
{
    kt_native_accepted_room(&((struct guest *)ctx)->links);
}

static void on_carries(void *ctx, bool anything)
{
    struct guest *g = ctx;
    if (!anything && g->c->retired) kt_native_guest_free(g, KT_ECLOSED, "the key was changed");
}

static void on_over(void *ctx, int code)
{
    kt_native_guest_free(ctx, code, NULL);
}

/* ---- life ---- */

static int list(struct guest *g)
{
    struct acceptor *a = g->acceptor;
    unsigned ignored;
    for (unsigned i = 0; i < KT_NATIVE_PATHS; i++) {
        const uint8_t *cid = kt_native_association_cid(g->a, i);
        if (kt_native_guest_find(a, cid, &ignored)) return KT_EAGAIN;
        if (kt_hmap_add(&a->cids, &g->cids[i].node, hash(a, cid))) return KT_ENOMEM;
        g->cids[i].guest = g;
    }
    return 0;
}

/* on_ask has set a->name. */
int kt_native_guest_new(
    struct acceptor *a, const struct kt_native_agreed *agreed, const struct kt_native_place *place)
{
    struct guest *g = calloc(1, sizeof *g);
    if (!g) return KT_ENOMEM;
    const struct kt_native_association_owner owner = {.stream = on_stream,
        .flow = on_flow,
        .proven = on_proven,
        .room = on_room,
        .suspect = on_suspect,
        .carries = on_carries,
        .over = on_over,
        .ctx = g,
        .ended = &a->ended};
    const struct kt_native_beginning begin = {
        .agreed = agreed, .place = *place, .identity = a->name[0] ? a->name : NULL};
    g->acceptor = a;
    kt_list_init(&g->links);
    kt_list_init(&g->by_age);
    kt_list_init(&g->silent);
    kt_timer_init(&g->expire, on_expire, g);
    int rc = kt_native_association_new(&g->a, a->c, &begin, &owner);
    if (rc) {
        free(g);
        return rc;
    }
    g->c = kt_native_context_ref(a->c);
    a->guests++;
    a->unproven_count++;
    kt_list_push(&a->unproven, &g->by_age);
    if ((rc = list(g))) {
        kt_native_guest_free(g, rc, NULL);
        return rc;
    }
    kt_io_timer_set(g->c->io, &g->expire, kt_io_now(g->c->io) + KT_NATIVE_UNPROVEN_US);
    return 0;
}
