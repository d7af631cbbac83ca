/* Connecting: look the name up, then try its addresses one after the other until one answers.
 *
 * Invariant: exactly one thing is under way: the lookup, a dial (`conn`), or the news that all failed
 * (`turn`). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/internal.h"

#define ADDRS 16u

struct uv_connect {
    struct kt_connect connect;
    struct uv_io *u;
    kt_connect_cb cb;
    void *ctx;
    struct kt_resolve *resolve; /* while looking up */
    struct uv_conn *conn;       /* while dialling; owned */
    struct kt_turn turn;        /* tells of failure */
    struct kt_err err;
    bool is_unix;
    size_t n, next; /* of addrs: how many, which comes after the one being dialled */
    struct kt_addr addrs[ADDRS];
    char what[320]; /* the endpoint, for error sentences */
    char path[108];
};

/* Ends c, then tells: the callback may do whatever it likes. */
static void tell(struct uv_connect *c, struct kt_conn *conn, const struct kt_err *err)
{
    struct uv_io *u = c->u;
    kt_connect_cb cb = c->cb;
    void *ctx = c->ctx;
    kt_uv_ended(u);
    free(c);
    cb(ctx, conn, err);
}

static void tell_failure(void *ctx)
{
    struct uv_connect *c = ctx;
    struct kt_err err = c->err;
    tell(c, NULL, &err);
}

static void describe(struct uv_connect *c, int status)
{
    int code = kt_uv_code(status);
    const char *why = code == KT_EIO || code == KT_EINVAL ? uv_strerror(status) : kt_strerror(code);
    char no_fd[KT_PLAIN_NO_FD];
    if (status == UV_EMFILE || status == UV_ENFILE) why = kt_plain_no_fd(-status, no_fd);
    if (c->is_unix) {
        if (status == UV_EAGAIN) why = "too many wait to be accepted there";
        kt_err_set(&c->err, code, "%s: %s", c->what, why);
        return;
    }
    char addr[KT_ADDR_TEXT];
    if (status == UV_EINVAL && kt_addr_check_scope(&c->addrs[c->next - 1], &c->err)) return;
    kt_addr_text(&c->addrs[c->next - 1], addr);
    if (strcmp(addr, c->what) == 0)
        kt_err_set(&c->err, code, "%s: %s", c->what, why);
    else if (c->n == 1)
        kt_err_set(&c->err, code, "%s (%s): %s", c->what, addr, why);
    else
        kt_err_set(&c->err, code, "%s: none of its %zu addresses can be reached, the last (%s) because: %s",
            c->what, c->n, addr, why);
}

static void drop_conn(struct uv_connect *c)
{
    if (c->conn) kt_uv_conn_abort(c->conn);
    c->conn = NULL;
}

static void try_next(struct uv_connect *c);

static void on_dialled(void *ctx, int status)
{
    struct uv_connect *c = ctx;
    /* Reset, not refused: the peer has taken it before it thought better of it. */
    if (status == 0 || (status == UV_ECONNRESET && !c->is_unix)) {
        struct uv_conn *conn = c->conn;
        if (status) kt_uv_conn_was_reset(conn, &c->addrs[c->next - 1]);
        int code = kt_uv_conn_ready(conn, NULL, 0);
        if (code == 0) {
            tell(c, kt_uv_conn(conn), NULL);
            return;
        }
        kt_err_set(&c->err, code, "%s: %s", c->what, kt_strerror(code));
    } else {
        describe(c, status);
    }
    drop_conn(c);
    try_next(c);
}

/* Dials the next address; with none left, the last error stands. */
static void try_next(struct uv_connect *c)
{
    while (c->next < c->n) {
        const struct kt_addr *to = &c->addrs[c->next++];
        c->conn = kt_uv_conn_new(c->u, c->is_unix);
        int r = c->conn ? kt_uv_conn_dial(c->conn, to, c->path, on_dialled, c) : UV_ENOMEM;
        if (r == 0) return;
        describe(c, r);
        drop_conn(c);
    }
    kt_io_turn(&c->u->io, &c->turn);
}

static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct uv_connect *c = ctx;
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
    struct uv_connect *c = (struct uv_connect *)(void *)connect;
    kt_resolve_cancel(c->resolve);
    drop_conn(c);
    kt_io_turn_cancel(&c->turn);
    kt_uv_ended(c->u);
    free(c);
}

int kt_uv_connect(struct kt_io *io, const struct kt_endpoint *to, kt_connect_cb cb, void *ctx,
    struct kt_connect **out, struct kt_err *err)
{
    *out = NULL;
    if (!to->is_unix && !to->host[0])
        return kt_err_set(err, KT_EINVAL, ":%u: no host to connect to", (unsigned)to->port_min);
    struct uv_connect *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    c->connect.cancel = connect_cancel;
    c->u = kt_uv(io);
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
    kt_uv_opened(c->u);
    *out = &c->connect;
    return 0;
}
