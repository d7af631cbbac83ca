/* The addresses of a link's peer: those that the user gave, and those of the names among them. Each name is
 * looked up on its own, so that one that cannot be found does not hold up the others. */
#include <stdlib.h>
#include <string.h>
#include "link/native/link_internal.h"

#define RANGE 3u /* ports of a range that are tried */

/* While the peer is silent: finds out whether it has another address now. */
static void look_elsewhere(struct remote *r, const struct kt_addr *addrs, size_t n)
{
    struct kt_addr fresh[KT_NATIVE_NAME_ADDRS];
    size_t count = 0;
    for (size_t i = 0; i < n && count < KT_NATIVE_NAME_ADDRS; i++) {
        size_t k = 0;
        while (k < r->addr_count && !kt_addr_same_host(&r->addrs[k], &addrs[i])) k++;
        if (k == r->addr_count) fresh[count++] = addrs[i];
    }
    kt_locator_settled(&r->locator);
    if (count > 0) kt_native_check_moved(r->l, fresh, count);
}

static void on_found(void *ctx, const struct kt_addr *addrs, size_t n)
{
    struct remote *r = ctx;
    if (r->l->a) look_elsewhere(r, addrs, n);
    r->addr_count = n < KT_NATIVE_NAME_ADDRS ? n : KT_NATIVE_NAME_ADDRS;
    r->next = 0;
    memcpy(r->addrs, addrs, r->addr_count * sizeof addrs[0]);
    kt_native_dial_found(r->l, addrs, n);
}

static void on_failed(void *ctx)
{
    (void)ctx; /* calls that wait have the reason in the locator */
}

static void on_retry(void *ctx)
{
    struct remote *r = ctx;
    kt_native_dial_retry(r->l, r);
}

int kt_native_remotes_init(struct link *l, const struct kt_settings *s)
{
    static const struct kt_locator_events events = {on_found, on_failed, on_retry};
    l->remote_count = 1 + s->others_count;
    l->remotes = calloc(l->remote_count, sizeof l->remotes[0]);
    if (!l->remotes) return KT_ENOMEM;
    for (size_t i = 0; i < l->remote_count; i++) {
        struct remote *r = &l->remotes[i];
        r->l = l;
        r->at = i == 0 ? s->at : s->others[i - 1];
        kt_locator_init(&r->locator, l->c->io, l->c->log, &r->at, &events, r);
    }
    return 0;
}

void kt_native_remotes_free(struct link *l)
{
    free(l->remotes);
}

void kt_native_remotes_start(struct link *l)
{
    for (size_t i = 0; i < l->remote_count; i++) kt_locator_start(&l->remotes[i].locator);
}

void kt_native_remotes_later(struct link *l)
{
    kt_locator_later(&l->remotes[0].locator);
}

void kt_native_remotes_fail(struct link *l, const struct kt_err *err)
{
    kt_locator_fail(&l->remotes[0].locator, err);
}

void kt_native_remotes_settled(struct link *l)
{
    for (size_t i = 0; i < l->remote_count; i++) kt_locator_settled(&l->remotes[i].locator);
}

void kt_native_remotes_stop(struct link *l)
{
    for (size_t i = 0; i < l->remote_count; i++) kt_locator_stop(&l->remotes[i].locator);
}

struct kt_err *kt_native_remotes_why(struct link *l)
{
    return &l->remotes[0].locator.why;
}

/* ---- other addresses ---- */

size_t kt_native_remotes_count(const struct link *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->remote_count; i++) {
        const struct remote *r = &l->remotes[i];
        const unsigned ports = (unsigned)r->at.port_max - r->at.port_min + 1;
        n += r->addr_count * (ports < RANGE ? ports : RANGE);
    }
    return n;
}

/* Another port of the range than `now`, if it has several. */
static uint16_t other_port(struct link *l, const struct kt_endpoint *at, uint16_t now)
{
    const uint32_t count = (uint32_t)at->port_max - at->port_min + 1;
    uint32_t r;
    kt_io_random(l->c->io, &r, sizeof r);
    const uint16_t port = (uint16_t)(at->port_min + r % count);
    if (port != now || count == 1) return port;
    return port == at->port_max ? at->port_min : (uint16_t)(port + 1);
}

/* The next known address of r, of the same family unless any will do. */
static const struct kt_addr *next_known(struct remote *r, int family, bool any)
{
    for (size_t i = 0; i < r->addr_count; i++) {
        const struct kt_addr *addr = &r->addrs[r->next++ % r->addr_count];
        if (any || addr->sa.sa_family == family) return addr;
    }
    return NULL;
}

bool kt_native_remotes_family(struct link *l, int family, struct kt_addr *out)
{
    for (size_t i = 0; i < l->remote_count; i++) {
        const struct kt_addr *addr = next_known(&l->remotes[i], family, false);
        if (!addr) continue;
        *out = *addr;
        return true;
    }
    return false;
}

size_t kt_native_remotes_others(
    const struct link *l, const struct kt_addr *but, struct kt_addr *out, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < l->remote_count; i++) {
        const struct remote *r = &l->remotes[i];
        for (size_t k = 0; k < r->addr_count && n < most; k++)
            if (!kt_addr_equal(&r->addrs[k], but)) out[n++] = r->addrs[k];
    }
    return n;
}

bool kt_native_remotes_other(struct link *l, const struct kt_addr *now, bool silent, struct kt_addr *out)
{
    for (size_t i = 0; i < l->remote_count; i++) {
        struct remote *r = &l->remotes[++l->remote_next % l->remote_count];
        const struct kt_addr *addr = next_known(r, now->sa.sa_family, silent);
        if (!addr) continue;
        *out = *addr;
        kt_addr_set_port(out, other_port(l, &r->at, kt_addr_port(now)));
        return true;
    }
    return false;
}
