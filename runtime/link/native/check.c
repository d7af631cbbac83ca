/* Finds out whether a silent peer still has the association (docs/wire.md, 4.5). Only a handshake can tell:
 * a server that has forgotten the association answers nothing else that could be believed. If another
 * instance answers, the peer has restarted, and dial.c replaces the association at once. If the same
 * instance answers, it may have given the association up, or the path has just come back. Then the
 * association continues between the addresses of that handshake, as the old ones may be gone, and is on trial: the peer
 * is asked a few times in it, and if it is not heard, it is replaced.
 *
 * An outage costs initiations only after a few seconds, and ever fewer. The peer's names are looked up
 * again at once, and a new address is checked at once, as the server may have moved. */
#include "base/bytes.h"
#include "crypto/hash.h"
#include "link/native/link_internal.h"

#define AFTER 3u /* a peer is checked once it has been suspect for this many seconds */
/* A check lasts this long. The next begins after half of the silence, but after this time, and within PAUSE_US. */
#define LASTS_US 5000000u
#define PAUSE_US 60000000u
#define HINT_US 2000000u /* between two checks for a hint, which may be forged */
/* A trial sends this many PINGs, this and a quarter of a round trip apart. */
#define ASKS 10u
#define ASK_US 200000u

static void start(struct link *l)
{
    struct check *c = &l->check;
    if (l->attempt.active || c->socket) return;
    c->began_us = kt_io_now(l->c->io);
    struct kt_addr addrs[KT_NATIVE_CANDIDATES];
    addrs[0] = *kt_native_association_peer(l->a);
    const size_t n = 1 + kt_native_remotes_others(l, &addrs[0], addrs + 1, KT_NATIVE_CANDIDATES - 1);
    kt_native_attempt_start(l, addrs, n);
    kt_native_remotes_start(l);
}

void kt_native_check_moved(struct link *l, const struct kt_addr *addrs, size_t n)
{
    struct check *c = &l->check;
    if (c->silences == 0 || c->socket) return;
    if (!l->attempt.active) c->began_us = kt_io_now(l->c->io);
    kt_native_attempt_start(l, addrs, n);
}

void kt_native_check_hint(struct link *l)
{
    const struct check *c = &l->check;
    if (!l->a || (c->began_us && kt_io_now(l->c->io) - c->began_us < HINT_US)) return;
    start(l);
}

void kt_native_check_silent(struct link *l)
{
    struct check *c = &l->check;
    const uint64_t since = kt_io_now(l->c->io) - c->began_us;
    if (++c->silences == 1) kt_native_remotes_start(l);
    if (c->silences < AFTER) return;
    if (l->attempt.check && since >= LASTS_US)
        kt_native_attempt_end(l); /* its socket may have an address that this host no longer has */
    const uint64_t half = (uint64_t)c->silences * 500000, pause = kt_min64(half, PAUSE_US);
    if (!c->began_us || (since >= LASTS_US && since >= pause)) start(l);
}

static void end_trial(struct link *l)
{
    struct check *c = &l->check;
    if (!c->socket) return;
    kt_io_timer_cancel(l->c->io, &c->timer);
    kt_wipe(&c->agreed, sizeof c->agreed);
    kt_native_socket_close(c->socket);
    c->socket = NULL;
}

static void on_trial(void *ctx)
{
    struct link *l = ctx;
    struct check *c = &l->check;
    if (kt_native_association_heard(l->a) > c->trial_us) {
        end_trial(l);
        return;
    }
    if (c->asked++ < ASKS) {
        const uint64_t pause = ASK_US + kt_native_association_rtt(l->a) / 4;
        kt_native_association_ask(l->a);
        kt_io_timer_set(l->c->io, &c->timer, kt_io_now(l->c->io) + pause);
        return;
    }
    struct kt_native_agreed agreed = c->agreed;
    struct kt_native_socket *s = c->socket;
    c->socket = NULL;
    kt_wipe(&c->agreed, sizeof c->agreed);
    kt_native_dial_begin(l, s, &agreed, c->rtt_us);
    kt_wipe(&agreed, sizeof agreed);
}

void kt_native_check_try(
    struct link *l, struct kt_native_socket *s, const struct kt_native_agreed *agreed, uint64_t rtt_us)
{
    struct check *c = &l->check;
    end_trial(l);
    if (c->silences > 0) kt_native_dial_follow(l, s);
    c->socket = s;
    c->agreed = *agreed;
    c->rtt_us = rtt_us;
    c->trial_us = kt_io_now(l->c->io);
    c->asked = 0;
    kt_io_timer_set(l->c->io, &c->timer, c->trial_us);
}

void kt_native_check_end(struct link *l)
{
    if (l->attempt.check) kt_native_attempt_end(l);
    end_trial(l);
    l->check.silences = 0;
    l->check.began_us = 0;
}

void kt_native_check_init(struct link *l)
{
    kt_timer_init(&l->check.timer, on_trial, l);
}
