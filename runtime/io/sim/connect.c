/* Connecting: look the name up, then try its addresses one after the other until one answers, as connect.c
 * does.
 *
 * Invariant: exactly one thing is under way: the lookup, a dial (`conn`), or the news that all failed
 * (`turn`). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim/tcp.h"

#define ADDRS 16u

struct sim_connect {
    struct kt_connect connect;
    struct sim_io *p;
    kt_connect_cb cb;
    void *ctx;
    struct kt_resolve *resolve; /* while looking up */
    struct sim_conn *conn;      /* while dialling; owned */
    struct kt_turn turn;        /* tells of failure */
    struct kt_err err;
    bool is_unix;
    size_t n, next; /* of addrs: how many, which comes after the one being dialled */
    struct kt_addr addrs[ADDRS];
    char what[320]; /* the endpoint, for error sentences */
    char path[108];
};

/* Ends c, then tells: the callback may do whatever it likes. */
static void tell(struct sim_connect *c, struct kt_conn *conn, const struct kt_err *err)
{
    kt_connect_cb cb = c->cb;
    void *ctx = c->ctx;
    kt_sim_ended(c->p);
    free(c);
    cb(ctx, conn, err);
}

static void tell_failure(void *ctx)
{
    struct sim_connect *c = ctx;
    struct kt_err err = c->err;
    tell(c, NULL, &err);
}

static void describe(struct sim_connect *c, int code)
{
    const char *why = kt_strerror(code);
    char addr[KT_ADDR_TEXT];
    if (c->is_unix) {
        kt_err_set(&c->err, code, "%s: %s", c->what, why);
        return;
    }
    if (code == KT_EUNREACH && kt_addr_check_scope(&c->addrs[c->next - 1], &c->err)) return;
    kt_addr_text(&c->addrs[c->next - 1], addr);
    if (strcmp(addr, c->what) == 0)
        kt_err_set(&c->err, code, "%s: %s", c->what, why);
    else if (c->n == 1)
        kt_err_set(&c->err, code, "%s (%s): %s", c->what, addr, why);
    else
        kt_err_set(&c->err, code, "%s: none of its %zu addresses can be reached, the last (%s) because: %s",
            c->what, c->n, addr, why);
}

static void drop_conn(struct sim_connect *c)
{
    if (c->conn) kt_sim_conn_drop(c->conn);
    c->conn = NULL;
}

static void try_next(struct sim_connect *c);

static void on_dialled(void *ctx, int code)
{
    struct sim_connect *c = ctx;
    if (code == 0) {
        tell(c, &c->conn->conn, NULL);
        return;
    }
    describe(c, code);
    drop_conn(c);
    try_next(c);
}

static int dial(struct sim_connect *c)
{
    const struct kt_addr *to = &c->addrs[c->next++];
    const void *data;
    size_t len;
    if (c->is_unix && !kt_sim_listener_find(c->p->host, NULL, c->path))
        return kt_sim_file_get(c->p->host, c->path, &data, &len) ? KT_EREFUSED : KT_ENOENT;
    c->conn = kt_sim_conn_new(c->p->host, c->p, c->p->sim->next_conn++, 0);
    if (!c->conn) return KT_ENOMEM;
    return kt_sim_tcp_dial(c->conn, to, c->is_unix ? c->path : NULL, on_dialled, c);
}

/* Dials the next address; with none left, the last error stands. */
static void try_next(struct sim_connect *c)
{
    while (c->next < c->n) {
        int code = dial(c);
        if (code == 0) return;
        describe(c, code);
        drop_conn(c);
    }
    kt_io_turn(&c->p->io, &c->turn);
}

static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct sim_connect *c = ctx;
    c->resolve = NULL;
    if (n == 0)
        c->err = *err;
    else
        memcpy(c->addrs, addrs, (n < ADDRS ? n : ADDRS) * sizeof *addrs);
    c->n = n < ADDRS ? n : ADDRS;
    try_next(c);
}

static void connect_cancel(struct kt_connect *connect)
{
    struct sim_connect *c = (struct sim_connect *)(void *)connect;
    if (c->resolve) kt_resolve_cancel(c->resolve);
    drop_conn(c);
    kt_io_turn_cancel(&c->turn);
    kt_sim_ended(c->p);
    free(c);
}

int kt_sim_connect(struct kt_io *io, const struct kt_endpoint *to, kt_connect_cb cb, void *ctx,
    struct kt_connect **out, struct kt_err *err)
{
    *out = NULL;
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    if (!to->is_unix && !to->host[0])
        return kt_err_set(err, KT_EINVAL, ":%u: no host to connect to", (unsigned)to->port_min);
    struct sim_connect *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    c->connect.cancel = connect_cancel;
    c->p = p;
    c->cb = cb;
    c->ctx = ctx;
    c->is_unix = to->is_unix;
    kt_turn_init(&c->turn, tell_failure, c);
    if (to->is_unix) {
        snprintf(c->what, sizeof c->what, "unix:%s", to->host);
        snprintf(c->path, sizeof c->path, "%.107s", to->host);
        c->n = 1; /* the path takes the place of an address */
        try_next(c);
    } else if (kt_addr_from_ip(&c->addrs[0], to->host, to->port_min)) {
        kt_addr_text(&c->addrs[0], c->what);
        c->n = 1;
        try_next(c);
    } else {
        snprintf(c->what, sizeof c->what, "%s:%u", to->host, (unsigned)to->port_min);
        int code = kt_resolve(io, to->host, to->port_min, on_resolved, c, &c->resolve, err);
        if (code) {
            free(c);
            return code;
        }
    }
    kt_sim_opened(p);
    *out = &c->connect;
    return 0;
}
