/* One attempt to connect on libuv, for io/connect.h.
 *
 * Invariant: the attempt holds its conn until it succeeds and hands it over, or is hung up. */
#include "io/connect.h"
#include "io/uv/internal.h"

static int begin(struct kt_io *io, struct kt_err *err)
{
    (void)err;
    kt_uv_opened(kt_uv(io));
    return 0;
}

static void end(struct kt_io *io)
{
    kt_uv_ended(kt_uv(io));
}

static int explain(struct kt_err *why, int status, bool is_unix)
{
    char no_fd[KT_SYSTEM_NO_FD];
    const int code = kt_uv_code(status);
    const char *text = code == KT_EIO || code == KT_EINVAL ? uv_strerror(status) : kt_strerror(code);
    if (status == UV_EMFILE || status == UV_ENFILE) text = kt_system_no_fd(-status, no_fd);
    if (is_unix && status == UV_EAGAIN) text = "its backlog is full";
    return kt_err_set(why, code, "%s", text);
}

static void on_dialled(void *ctx, int status)
{
    struct uv_conn *conn = kt_connect_attempt(ctx);
    const struct kt_addr *to = kt_connect_dialled(ctx);
    struct kt_err why = {0};
    if (status == UV_ECONNRESET && to) { /* reset, not refused: the peer had accepted it */
        kt_uv_conn_was_reset(conn, to);
        status = 0;
    }
    if (status == 0) {
        const int code = kt_uv_conn_ready(conn, NULL, 0);
        if (code == 0) {
            kt_connect_done(ctx, kt_uv_conn(conn), NULL);
            return;
        }
        kt_err_set(&why, code, "%s", kt_strerror(code));
    } else {
        explain(&why, status, !to);
    }
    kt_connect_done(ctx, NULL, &why);
}

static int dial(struct kt_io *io, struct kt_connect *c, const struct kt_addr *to, const char *path,
    void **attempt, struct kt_err *why)
{
    struct uv_conn *conn = kt_uv_conn_new(kt_uv(io), path != NULL);
    *attempt = conn;
    if (!conn) return explain(why, UV_ENOMEM, path != NULL);
    const int status = kt_uv_conn_dial(conn, to, path, on_dialled, c);
    return status ? explain(why, status, path != NULL) : 0;
}

static void hang_up(void *attempt)
{
    kt_uv_conn_abort(attempt);
}

const struct kt_dialer kt_uv_dialer = {begin, end, dial, hang_up};
