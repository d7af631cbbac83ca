/* Connecting: looks up the name, then tries its addresses in turn until one answers.
 *
 * Invariant: exactly one thing is under way: the lookup, an attempt, or the turn that reports the failure. */
#include "io/connect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"

#define ADDRS 16u

struct kt_connect {
    struct kt_io *io;
    kt_connect_cb cb;
    void *ctx;
    struct kt_resolve *resolve; /* while looking up */
    void *attempt;              /* while dialling; the backend's */
    struct kt_turn turn;        /* reports failure */
    struct kt_err err;
    bool is_unix;
    size_t n, next; /* number of addrs; index of the one to dial next */
    struct kt_addr addrs[ADDRS];
    char what[320]; /* the endpoint, for error messages */
    char path[108];
};

static const struct kt_dialer *dialer(const struct kt_connect *c)
{
    return c->io->ops->dialer;
}

static void end(struct kt_connect *c)
{
    dialer(c)->end(c->io);
    free(c);
}

static void report_failure(void *ctx)
{
    struct kt_connect *c = ctx;
    const struct kt_err err = c->err;
    kt_connect_cb cb = c->cb;
    void *user = c->ctx;
    end(c);
    cb(user, NULL, &err);
}

/* Prefixes an attempt's sentence with the endpoint, and with the address if that says more. */
static void describe(struct kt_connect *c, const struct kt_err *why)
{
    char addr[KT_ADDR_TEXT];
    if (c->is_unix) {
        kt_err_set(&c->err, why->code, "%s: %s", c->what, why->text);
        return;
    }
    const struct kt_addr *dialled = &c->addrs[c->next - 1];
    const bool no_way = why->code == KT_EINVAL || why->code == KT_EUNREACH;
    if (no_way && kt_addr_check_scope(dialled, &c->err)) return;
    kt_addr_text(dialled, addr);
    if (strcmp(addr, c->what) == 0)
        kt_err_set(&c->err, why->code, "%s: %s", c->what, why->text);
    else if (c->n == 1)
        kt_err_set(&c->err, why->code, "%s (%s): %s", c->what, addr, why->text);
    else
        kt_err_set(&c->err, why->code, "%s: cannot reach any of its %zu addresses; the last was %s: %s",
            c->what, c->n, addr, why->text);
}

static void hang_up(struct kt_connect *c)
{
    if (c->attempt) dialer(c)->hang_up(c->attempt);
    c->attempt = NULL;
}

/* Dials the next address. If none is left, reports the last error. */
static void try_next(struct kt_connect *c)
{
    while (c->next < c->n) {
        const struct kt_addr *to = &c->addrs[c->next++];
        struct kt_err why = {0};
        if (dialer(c)->dial(c->io, c, to, c->is_unix ? c->path : NULL, &c->attempt, &why) == 0) return;
        describe(c, &why);
        hang_up(c);
    }
    kt_io_turn(c->io, &c->turn);
}

void kt_connect_done(struct kt_connect *c, struct kt_conn *conn, const struct kt_err *why)
{
    if (!conn) {
        describe(c, why);
        hang_up(c);
        try_next(c);
        return;
    }
    kt_connect_cb cb = c->cb;
    void *user = c->ctx;
    end(c);
    cb(user, conn, NULL);
}

void *kt_connect_attempt(const struct kt_connect *c)
{
    return c->attempt;
}

const struct kt_addr *kt_connect_dialled(const struct kt_connect *c)
{
    return c->is_unix ? NULL : &c->addrs[c->next - 1];
}

static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct kt_connect *c = ctx;
    c->resolve = NULL;
    c->n = kt_min_size(n, ADDRS);
    if (n == 0)
        c->err = *err;
    else
        memcpy(c->addrs, addrs, c->n * sizeof *addrs);
    try_next(c);
}

void kt_connect_cancel(struct kt_connect *c)
{
    if (!c) return;
    kt_resolve_cancel(c->resolve);
    hang_up(c);
    kt_io_turn_cancel(&c->turn);
    end(c);
}

int kt_connect(struct kt_io *io, const struct kt_endpoint *to, kt_connect_cb cb, void *ctx,
    struct kt_connect **out, struct kt_err *err)
{
    *out = NULL;
    if (!to->is_unix && !to->host[0])
        return kt_err_set(err, KT_EINVAL, ":%u: missing host; write host:port", (unsigned)to->port_min);
    struct kt_connect *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    c->io = io;
    c->cb = cb;
    c->ctx = ctx;
    c->is_unix = to->is_unix;
    kt_turn_init(&c->turn, report_failure, c);
    int code = dialer(c)->begin(io, err);
    if (code) {
        free(c);
        return code;
    }
    if (to->is_unix) {
        snprintf(c->what, sizeof c->what, "unix:%s", to->host);
        snprintf(c->path, sizeof c->path, "%.107s", to->host);
        c->n = 1; /* the path counts as one address */
        try_next(c);
    } else if (kt_addr_from_ip(&c->addrs[0], to->host, to->port_min)) {
        kt_addr_text(&c->addrs[0], c->what);
        c->n = 1;
        try_next(c);
    } else {
        snprintf(c->what, sizeof c->what, "%s:%u", to->host, (unsigned)to->port_min);
        code = kt_resolve(io, to->host, to->port_min, on_resolved, c, &c->resolve, err);
        if (code) {
            end(c);
            return code;
        }
    }
    *out = c;
    return 0;
}
