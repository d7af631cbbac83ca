/* An attempt to get an association: sends initiations to the peer's addresses until a response comes
 * (docs/wire.md, 4.3).
 *
 * As in RFC 8305, the families alternate, and each address gets its first initiation 250 ms after the one
 * before, or at once if that one cannot be reached. Each address has its own socket, which stays open: an
 * answer may come from far away while other addresses are tried. After SOCKET_LASTS initiations without an
 * answer it gets a fresh one. */
#include <string.h>
#include "link/native/link_internal.h"

#define NEXT_US 250000u     /* from one address to the next (RFC 8305, section 5) */
#define SOCKET_LASTS 4u     /* initiations */
#define SILENCE_US 5000000u /* without a response; then the log says so */

/* The causes of silence are guesses: logs them, the likeliest first. */
static void tell_silence(struct link *l)
{
    struct attempt *t = &l->attempt;
    char text[KT_ADDR_TEXT];
    const char *say =
        l->silence ? *l->silence
        : l->c->secrets->pairs
            ? ": is kt running there, does UDP get through, is server_key (--serverkey) that server's public key, and does it use key pairs?"
            : ": is kt running there, does UDP get through, and is the key the same on both ends?";
    t->silence_logged = true;
    if (!say) return;
    struct kt_err *why = kt_native_remotes_why(l);
    kt_err_set(why, KT_ETIMEOUT, "%s: no answer for %.0f s%s", kt_addr_text(&t->candidates[0].addr, text),
        (double)SILENCE_US / 1e6, say);
    kt_log(l->c->log, KT_LOG_WARN, "%s", why->text);
}

static void initiate(struct link *l, struct candidate *c, uint64_t now_us)
{
    struct attempt *t = &l->attempt;
    const unsigned nth = c->sent++;
    c->due_us = now_us + kt_native_client_pause(nth);
    if (!c->socket && kt_native_socket_open(l, &c->addr, c->local, &c->socket, &t->why)) {
        t->next_us = now_us;
        return;
    }
    uint8_t *buf = kt_udp_reserve(c->socket->udp);
    if (!buf) return;
    const size_t n = kt_native_client_initiate(&t->client, nth, buf);
    kt_udp_commit(c->socket->udp, buf, buf, n, NULL, NULL);
    l->c->counters->OutPkts++;
    l->c->counters->OutBytes += n;
}

/* Sends what is due. False: no address can be reached. */
static bool send_due(struct link *l, uint64_t now_us)
{
    struct attempt *t = &l->attempt;
    bool any = false;
    for (size_t i = 0; i < t->started; i++)
        if (t->candidates[i].due_us <= now_us) initiate(l, &t->candidates[i], now_us);
    while (t->started < t->count && t->next_us <= now_us) {
        t->next_us = now_us + NEXT_US;
        initiate(l, &t->candidates[t->started++], now_us);
    }
    for (size_t i = 0; i < t->started; i++) any = any || t->candidates[i].socket;
    return any;
}

static void arm(struct link *l)
{
    struct attempt *t = &l->attempt;
    uint64_t due = t->silence_logged ? UINT64_MAX : t->began_us + SILENCE_US;
    if (t->started < t->count && t->next_us < due) due = t->next_us;
    for (size_t i = 0; i < t->started; i++)
        if (t->candidates[i].due_us < due) due = t->candidates[i].due_us;
    kt_io_timer_set(l->c->io, &t->timer, due);
}

static void advance(struct link *l)
{
    struct attempt *t = &l->attempt;
    const uint64_t now = kt_io_now(l->c->io);
    if (!t->silence_logged && now - t->began_us >= SILENCE_US) tell_silence(l);
    if (send_due(l, now)) {
        arm(l);
        return;
    }
    const struct kt_err why = t->why;
    const bool check = t->check;
    kt_native_attempt_end(l);
    if (!check) kt_native_remotes_fail(l, &why);
}

/* A socket keeps the address that this host had when it was opened. */
static void renew_sockets(struct attempt *t, uint64_t now_us)
{
    for (size_t i = 0; i < t->started; i++) {
        struct candidate *c = &t->candidates[i];
        if (c->due_us > now_us || c->sent % SOCKET_LASTS != 0) continue;
        kt_native_socket_close(c->socket);
        c->socket = NULL;
    }
}

static void on_timer(void *ctx)
{
    struct link *l = ctx;
    renew_sockets(&l->attempt, kt_io_now(l->c->io));
    if (!kt_native_dial_wanted(l) && !l->a)
        kt_native_attempt_end(l); /* nothing waits for it any more */
    else
        advance(l);
}

/* An address, from each address of this machine that fits. */
static void add_candidate(struct link *l, const struct kt_addr *addr)
{
    struct attempt *t = &l->attempt;
    size_t i = 0;
    do {
        if (t->count == KT_NATIVE_CANDIDATES) return;
        if (kt_native_local_fits(l, i, addr))
            t->candidates[t->count++] = (struct candidate){.addr = *addr, .local = i};
    } while (++i < l->local_count);
}

/* The families alternate, the first address's first; within a family the order stays. */
static void add_candidates(struct link *l, const struct kt_addr *addrs, size_t n)
{
    struct attempt *t = &l->attempt;
    const int first = addrs[0].sa.sa_family;
    size_t next[2] = {0, 0}; /* of the first address's family, of the other */
    for (unsigned which = 0; t->count < KT_NATIVE_CANDIDATES && (next[0] < n || next[1] < n); which ^= 1) {
        size_t *i = &next[which];
        while (*i < n && (addrs[*i].sa.sa_family == first) != (which == 0)) ++*i;
        if (*i < n) add_candidate(l, &addrs[(*i)++]);
    }
}

void kt_native_attempt_init(struct link *l)
{
    kt_timer_init(&l->attempt.timer, on_timer, l);
}

void kt_native_attempt_start(struct link *l, const struct kt_addr *addrs, size_t n)
{
    struct attempt *t = &l->attempt;
    if (!t->active) {
        t->active = true;
        t->silence_logged = t->refused = t->check =
            l->a != NULL; /* the association's own silence was logged */
        t->count = t->started = 0;
        t->began_us = t->next_us = kt_io_now(l->c->io);
        kt_native_client_init(&t->client, l->c->io, l->c->secrets, &l->c->params, &l->c->drops);
    }
    add_candidates(l, addrs, n);
    advance(l);
}

void kt_native_attempt_end(struct link *l)
{
    struct attempt *t = &l->attempt;
    if (!t->active) return;
    t->active = t->check = false;
    kt_io_timer_cancel(l->c->io, &t->timer);
    kt_native_client_end(&t->client);
    for (size_t i = 0; i < t->started; i++) kt_native_socket_close(t->candidates[i].socket);
}

static struct candidate *find(struct link *l, const struct kt_native_socket *s)
{
    struct attempt *t = &l->attempt;
    for (size_t i = 0; t->active && i < t->started; i++)
        if (t->candidates[i].socket == s) return &t->candidates[i];
    return NULL;
}

bool kt_native_attempt_has(const struct link *l, const struct kt_native_socket *s)
{
    const struct attempt *t = &l->attempt;
    for (size_t i = 0; t->active && i < t->started; i++)
        if (t->candidates[i].socket == s) return true;
    return false;
}

void kt_native_attempt_again(struct link *l, const struct kt_native_socket *s)
{
    struct candidate *c = find(l, s);
    if (!c) return;
    c->due_us = kt_io_now(l->c->io);
    advance(l);
}

void kt_native_attempt_refused(struct link *l, const struct kt_native_socket *s)
{
    struct attempt *t = &l->attempt;
    char text[KT_ADDR_TEXT];
    if (!kt_native_attempt_has(l, s)) return;
    if (!t->refused)
        kt_log_with(l->c->log, KT_LOG_WARN, kt_log_peer(kt_addr_text(&s->peer, text)),
            "%s: nothing listens there (port unreachable)", kt_addr_text(&s->peer, text));
    t->refused = true;
    if (t->started == t->count) return;
    t->next_us = kt_io_now(l->c->io);
    advance(l);
}

void kt_native_attempt_keep(struct link *l, const struct kt_native_socket *s)
{
    struct candidate *c = find(l, s);
    if (c) c->socket = NULL;
    kt_native_attempt_end(l);
}
