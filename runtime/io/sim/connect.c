/* One attempt to connect in a simulated world, for io/connect.h.
 *
 * Invariant: as in io/uv, the outcome is reported from the process's turn, never from inside dial. */
#include "io/connect.h"
#include "io/sim/tcp.h"

static int begin(struct kt_io *io, struct kt_err *err)
{
    struct sim_io *p = kt_sim_io(io);
    if (kt_sim_alive(p, err) != 0) return KT_ECLOSED;
    kt_sim_opened(p);
    return 0;
}

static void end(struct kt_io *io)
{
    kt_sim_ended(kt_sim_io(io));
}

static int explain(struct kt_err *why, int code)
{
    return kt_err_set(why, code, "%s", kt_strerror(code));
}

static void on_dialled(void *ctx, int code)
{
    struct sim_conn *conn = kt_connect_attempt(ctx);
    struct kt_err why = {0};
    if (code) explain(&why, code);
    kt_connect_done(ctx, code ? NULL : &conn->conn, &why);
}

static int dial(struct kt_io *io, struct kt_connect *c, const struct kt_addr *to, const char *path,
    void **attempt, struct kt_err *why)
{
    struct sim_io *p = kt_sim_io(io);
    const void *data;
    size_t len;
    if (path && !kt_sim_listener_find(p->host, NULL, path))
        return explain(why, kt_sim_file_get(p->host, path, &data, &len) ? KT_EREFUSED : KT_ENOENT);
    struct sim_conn *conn = kt_sim_conn_new(p->host, p, p->sim->next_conn++, 0);
    *attempt = conn;
    if (!conn) return explain(why, KT_ENOMEM);
    const int code = kt_sim_tcp_dial(conn, to, path, on_dialled, c);
    return code ? explain(why, code) : 0;
}

static void hang_up(void *attempt)
{
    kt_sim_conn_drop(attempt);
}

const struct kt_dialer kt_sim_dialer = {begin, end, dial, hang_up};
