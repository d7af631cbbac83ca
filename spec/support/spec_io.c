/* Bindings of the I/O seam for the specs: userdata for kt_io and its handles, with Lua functions as
 * callbacks.
 *
 *   io = spec_io.new(flags)          flags: spec_io.NO_GSO + …
 *   io = spec_io.new(io, keeper)     of a process of spec_sim; keeper: its world, kept alive
 *   io:run(ms)                       true: stopped by io:stop(); false: timed out
 *   io:timer(at_us, fn) io:turn(fn) io:udp(opts, events) io:listen(text, fn) io:connect(text, fn)
 *   io:resolve(host, port, fn) io:query(name, type, servers, fn) io:signal(n, fn) io:read_file(path, max)
 * io:append_file(path, text) io:free()
 *
 * A failure returns nil, the error's name and its sentence. run raises what a callback has raised. Handles
 * have close(); io:free() closes the rest. Callbacks do not get the handle: specs have it in a local. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/list.h"
#include "base/log.h"
#include "io/uv/uv.h"
#include "refuse.h"
#include "class.h"
#include "results.h"

enum kind { TIMER, TURN, UDP, LISTENER, CONNECT, CONN, RESOLVE, QUERY, SIGNAL };

struct world {
    struct kt_io *io;
    lua_State *L; /* of the run under way */
    int failure;  /* registry reference to the error of a callback, or LUA_NOREF */
    bool timed_out;
    struct kt_timer deadline;
    struct kt_list handles;
    struct kt_log log;
    char lines[4096];
};

/* A userdata that the registry keeps while it is open. Its user value is the function or table of callbacks. */
struct handle {
    struct kt_list node;
    struct world *w;
    enum kind kind;
    bool open;
    int anchor;
    struct kt_timer timer;
    struct kt_turn turn;
    void *p;
};

#define WORLD "kt.spec.io"
#define HANDLE "kt.spec.handle"

int luaopen_spec_io(lua_State *L);

/* ---- handles ---- */

static struct world *check_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    luaL_argcheck(L, w->io, 1, "freed");
    return w;
}

static struct handle *check(lua_State *L, enum kind kind)
{
    struct handle *h = luaL_checkudata(L, 1, HANDLE);
    luaL_argcheck(L, h->open && h->kind == kind, 1, "closed, or of another kind");
    return h;
}

/* Pushes a new handle; the callbacks are at index `callbacks`. */
static struct handle *new_handle(lua_State *L, struct world *w, enum kind kind, int callbacks)
{
    struct handle *h = lua_newuserdatauv(L, sizeof *h, 1);
    memset(h, 0, sizeof *h);
    h->w = w;
    h->kind = kind;
    h->anchor = LUA_NOREF;
    kt_list_init(&h->node);
    luaL_setmetatable(L, HANDLE);
    if (callbacks) {
        lua_pushvalue(L, callbacks);
        lua_setiuservalue(L, -2, 1);
    }
    return h;
}

static void anchor(lua_State *L, struct handle *h)
{
    lua_pushvalue(L, -1);
    h->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    h->open = true;
    kt_list_push(&h->w->handles, &h->node);
}

static void release(lua_State *L, struct handle *h)
{
    h->open = false;
    kt_list_remove(&h->node);
    luaL_unref(L, LUA_REGISTRYINDEX, h->anchor);
    h->anchor = LUA_NOREF;
}

static void shut(lua_State *L, struct handle *h)
{
    if (!h->open) return;
    switch (h->kind) {
    case TIMER:
        kt_io_timer_cancel(h->w->io, &h->timer);
        break;
    case TURN:
        kt_io_turn_cancel(&h->turn);
        break;
    case UDP:
        kt_udp_close(h->p);
        break;
    case LISTENER:
        kt_listener_close(h->p);
        break;
    case CONNECT:
        kt_connect_cancel(h->p);
        break;
    case CONN:
        kt_pipe_close(kt_conn_pipe(h->p));
        break;
    case RESOLVE:
        kt_resolve_cancel(h->p);
        break;
    case QUERY:
        kt_query_cancel(h->p);
        break;
    case SIGNAL:
        kt_signal_close(h->p);
        break;
    }
    release(L, h);
}

/* Pushes the callback `name` of h (NULL: the function itself); false if there is none. */
static bool push_callback(struct handle *h, const char *name)
{
    lua_State *L = h->w->L;
    luaL_checkstack(L, 20, "callback");
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->anchor);
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
    if (name && lua_istable(L, -1)) {
        lua_getfield(L, -1, name);
        lua_remove(L, -2);
    }
    if (lua_isfunction(L, -1)) return true;
    lua_pop(L, 1);
    return false;
}

static void call(struct world *w, int nargs)
{
    lua_State *L = w->L;
    if (lua_pcall(L, nargs, 0, 0) == LUA_OK) return;
    if (w->failure == LUA_NOREF)
        w->failure = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    kt_io_stop(w->io);
}

/* ---- timers and turns ---- */

static void on_timer(void *ctx)
{
    struct handle *h = ctx;
    bool has = push_callback(h, NULL);
    release(h->w->L, h);
    if (has) call(h->w, 0);
}

static int io_timer(lua_State *L)
{
    struct world *w = check_world(L);
    struct handle *h = new_handle(L, w, TIMER, 3);
    kt_timer_init(&h->timer, on_timer, h);
    anchor(L, h);
    kt_io_timer_set(w->io, &h->timer, (uint64_t)luaL_checkinteger(L, 2));
    return 1;
}

static int io_turn(lua_State *L)
{
    struct world *w = check_world(L);
    struct handle *h = new_handle(L, w, TURN, 2);
    kt_turn_init(&h->turn, on_timer, h);
    anchor(L, h);
    kt_io_turn(w->io, &h->turn);
    kt_io_turn(w->io, &h->turn); /* twice is once */
    return 1;
}

/* ---- UDP ---- */

static void push_addr(lua_State *L, const struct kt_addr *a)
{
    char text[KT_ADDR_TEXT];
    lua_pushstring(L, kt_addr_text(a, text));
}

static struct kt_addr to_addr(lua_State *L, const char *text)
{
    struct kt_endpoint at;
    struct kt_err err;
    struct kt_addr addr;
    if (kt_endpoint_parse(&at, text, KT_ENDPOINT_ZERO, &err) != 0) luaL_error(L, "%s", err.text);
    if (!kt_addr_from_ip(&addr, at.host, at.port_min)) luaL_error(L, "%s: not numeric", text);
    return addr;
}

/* events.batch gets a list of {data, from}. It also gets what was left in a socket that it closes. */
static void on_batch(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct handle *h = ctx;
    lua_State *L = h->w->L;
    if (!push_callback(h, "batch")) return;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 3, 0);
        if (dgrams[i].to) {
            push_addr(L, dgrams[i].to);
            lua_rawseti(L, -2, 3);
        }
        lua_pushlstring(L, (const char *)dgrams[i].data, dgrams[i].len);
        lua_rawseti(L, -2, 1);
        push_addr(L, dgrams[i].from);
        lua_rawseti(L, -2, 2);
        memset(dgrams[i].data, 0xdb, dgrams[i].len); /* the handler may write into them */
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    call(h->w, 1);
}

static void on_udp_writable(void *ctx)
{
    struct handle *h = ctx;
    if (push_callback(h, "writable")) call(h->w, 0);
}

static void on_udp_error(void *ctx, int code)
{
    struct handle *h = ctx;
    if (!push_callback(h, "error")) return;
    lua_pushstring(h->w->L, kt_errname(code));
    call(h->w, 1);
}

static const struct kt_udp_events udp_events = {
    .batch = on_batch, .writable = on_udp_writable, .error = on_udp_error};

static lua_Integer int_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    lua_Integer value = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

static int io_udp(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_udp_opts opts;
    struct kt_addr remote;
    struct kt_err err;
    memset(&opts, 0, sizeof opts);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "bind");
    if (!lua_isnil(L, -1)) opts.local = to_addr(L, luaL_checkstring(L, -1));
    lua_getfield(L, 2, "remote");
    if (!lua_isnil(L, -1)) {
        remote = to_addr(L, luaL_checkstring(L, -1));
        opts.remote = &remote;
    }
    opts.sndbuf = (size_t)int_field(L, 2, "sndbuf");
    opts.rcvbuf = (size_t)int_field(L, 2, "rcvbuf");
    opts.dscp = (int)int_field(L, 2, "dscp");
    opts.reuse_port = int_field(L, 2, "reuse_port") != 0;
    struct handle *h = new_handle(L, w, UDP, 3);
    struct kt_udp *udp;
    if (kt_udp_open(w->io, &opts, &udp_events, h, &udp, &err) != 0) return fail_with(L, err.code, err.text);
    h->p = udp;
    anchor(L, h);
    return 1;
}

/* send(data, to, from): false if there was no buffer. */
static int udp_send(lua_State *L)
{
    struct handle *h = check(L, UDP);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    struct kt_addr to;
    bool addressed = !lua_isnoneornil(L, 3);
    if (addressed) to = to_addr(L, luaL_checkstring(L, 3));
    struct kt_addr from;
    const bool sourced = !lua_isnoneornil(L, 4);
    if (sourced) from = to_addr(L, luaL_checkstring(L, 4));
    luaL_argcheck(L, len <= KT_UDP_MAX, 2, "too long");
    uint8_t *buf = kt_udp_reserve(h->p);
    lua_pushboolean(L, buf != NULL);
    if (!buf) return 1;
    uint8_t *at = buf + (KT_UDP_MAX - len) / 2; /* data may start anywhere in the buffer */
    memcpy(at, data, len);
    kt_udp_commit(h->p, buf, at, len, addressed ? &to : NULL, sourced ? &from : NULL);
    return 1;
}

/* hold(n, to): reserves n buffers, then returns them unused (or sends them empty); returns how many it got. */
static int udp_hold(lua_State *L)
{
    struct handle *h = check(L, UDP);
    uint8_t *held[256];
    lua_Integer n = luaL_checkinteger(L, 2), got = 0;
    luaL_argcheck(L, n <= 256, 2, "at most 256");
    while (got < n && (held[got] = kt_udp_reserve(h->p)) != NULL) got++;
    struct kt_addr to;
    const bool send = !lua_isnoneornil(L, 3);
    if (send) to = to_addr(L, luaL_checkstring(L, 3));
    for (lua_Integer i = 0; i < got; i++) {
        if (send)
            kt_udp_commit(h->p, held[i], held[i], 0, &to, NULL);
        else
            kt_udp_cancel(h->p, held[i]);
    }
    lua_pushinteger(L, got);
    return 1;
}

static int udp_stats(lua_State *L)
{
    const struct kt_udp_stats *s = kt_udp_stats(check(L, UDP)->p);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"in_pkts", s->in_pkts}, {"in_bytes", s->in_bytes}, {"out_pkts", s->out_pkts},
        {"out_bytes", s->out_bytes}, {"in_calls", s->in_calls}, {"out_calls", s->out_calls},
        {"out_dropped", s->out_dropped}, {"in_oversize", s->in_oversize}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* ---- conns ---- */

static void on_readable(void *ctx)
{
    struct handle *h = ctx;
    if (push_callback(h, "readable")) call(h->w, 0);
}

static void on_writable(void *ctx)
{
    struct handle *h = ctx;
    if (push_callback(h, "writable")) call(h->w, 0);
}

static void on_broken(void *ctx, int code)
{
    struct handle *h = ctx;
    if (!push_callback(h, "closed")) return;
    lua_pushstring(h->w->L, kt_errname(code));
    call(h->w, 1);
}

static const struct kt_pipe_events pipe_events = {
    .readable = on_readable, .writable = on_writable, .closed = on_broken};

static void push_conn(lua_State *L, struct world *w, struct kt_conn *conn)
{
    struct handle *h = new_handle(L, w, CONN, 0);
    h->p = conn;
    anchor(L, h);
}

static struct kt_pipe *check_pipe(lua_State *L)
{
    return kt_conn_pipe(check(L, CONN)->p);
}

static int conn_listen(lua_State *L)
{
    struct kt_pipe *p = check_pipe(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, 1);
    kt_pipe_listen(p, &pipe_events, lua_touserdata(L, 1));
    return 0;
}

static int conn_peek(lua_State *L)
{
    struct kt_iov iov[4];
    luaL_Buffer b;
    size_t n = kt_pipe_peek(check_pipe(L), iov, 4);
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < n; i++) luaL_addlstring(&b, (const char *)iov[i].data, iov[i].len);
    luaL_pushresult(&b);
    return 1;
}

static int conn_consume(lua_State *L)
{
    kt_pipe_consume(check_pipe(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int conn_eof(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_eof(check_pipe(L)));
    return 1;
}

/* write(data, ...): several strings are pieces of one write */
static int conn_write(lua_State *L)
{
    struct kt_pipe *p = check_pipe(L);
    struct kt_iov iov[KT_PIPE_PIECES];
    size_t pieces = 0;
    luaL_argcheck(L, lua_gettop(L) <= 1 + (int)KT_PIPE_PIECES, 2, "too many pieces");
    for (int i = 2; i <= lua_gettop(L); i++) {
        iov[pieces].data = (const uint8_t *)luaL_checklstring(L, i, &iov[pieces].len);
        if (iov[pieces].len > 0 || i == 2) pieces++;
    }
    lua_pushinteger(L, (lua_Integer)(pieces == 1 ? kt_pipe_write(p, iov[0].data, iov[0].len)
                                                 : kt_pipe_writev(p, iov, pieces)));
    return 1;
}

static int conn_shutdown(lua_State *L)
{
    kt_pipe_shutdown(check_pipe(L));
    return 0;
}

/* user_timeout(us) */
static int conn_user_timeout(lua_State *L)
{
    kt_conn_set_user_timeout((struct kt_conn *)(void *)check_pipe(L), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

static int conn_reset(lua_State *L)
{
    struct handle *h = check(L, CONN);
    kt_pipe_reset(kt_conn_pipe(h->p), KT_ECANCELED);
    release(L, h);
    return 0;
}

static int conn_peer(lua_State *L)
{
    char name[KT_CONN_NAME];
    lua_pushstring(L, kt_conn_peer(check(L, CONN)->p, name));
    return 1;
}

/* ---- listening, connecting, resolving ---- */

static struct kt_endpoint check_endpoint(lua_State *L, int index)
{
    struct kt_endpoint at;
    struct kt_err err;
    if (kt_endpoint_parse(&at, luaL_checkstring(L, index), KT_ENDPOINT_UNIX | KT_ENDPOINT_ZERO, &err) != 0)
        luaL_error(L, "%s", err.text);
    return at;
}

static void on_conn(void *ctx, struct kt_conn *conn)
{
    struct handle *h = ctx;
    push_callback(h, NULL);
    push_conn(h->w->L, h->w, conn);
    call(h->w, 1);
}

static const struct kt_listener_events listener_events = {.conn = on_conn};

static int io_listen(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_endpoint at = check_endpoint(L, 2);
    struct kt_err err;
    struct kt_listener *l;
    struct handle *h = new_handle(L, w, LISTENER, 3);
    if (kt_listen(w->io, &at, &listener_events, h, &l, &err) != 0) return fail_with(L, err.code, err.text);
    h->p = l;
    anchor(L, h);
    return 1;
}

static int handle_local(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, HANDLE);
    luaL_argcheck(L, h->open, 1, "closed");
    struct kt_addr addr;
    switch (h->kind) {
    case LISTENER:
        lua_pushstring(L, kt_listener_local(h->p));
        return 1;
    case CONN:
        lua_pushstring(L, kt_conn_local(h->p));
        return 1;
    case UDP:
        kt_udp_local(h->p, &addr);
        push_addr(L, &addr);
        return 1;
    case TIMER:
    case TURN:
    case CONNECT:
    case RESOLVE:
    case QUERY:
    case SIGNAL:
        break;
    }
    return luaL_error(L, "it has no address");
}

/* fn(conn) or fn(nil, name, sentence) */
static void on_connected(void *ctx, struct kt_conn *conn, const struct kt_err *err)
{
    struct handle *h = ctx;
    struct world *w = h->w; /* h may be collected from here on */
    lua_State *L = w->L;
    push_callback(h, NULL);
    release(L, h);
    if (conn) {
        push_conn(L, w, conn);
        call(w, 1);
    } else {
        call(w, fail_with(L, err->code, err->text));
    }
}

static int io_connect(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_endpoint to = check_endpoint(L, 2);
    struct kt_err err;
    struct kt_connect *c;
    struct handle *h = new_handle(L, w, CONNECT, 3);
    if (kt_connect(w->io, &to, on_connected, h, &c, &err) != 0) return fail_with(L, err.code, err.text);
    h->p = c;
    anchor(L, h);
    return 1;
}

/* fn(list of addresses) or fn(nil, name, sentence) */
static void on_resolved(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    struct handle *h = ctx;
    struct world *w = h->w; /* h may be collected from here on */
    lua_State *L = w->L;
    push_callback(h, NULL);
    release(L, h);
    if (n == 0) {
        call(w, fail_with(L, err->code, err->text));
        return;
    }
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_addr(L, &addrs[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    call(w, 1);
}

static int io_resolve(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_err err;
    struct kt_resolve *r;
    struct handle *h = new_handle(L, w, RESOLVE, 4);
    if (kt_resolve(
            w->io, luaL_checkstring(L, 2), (uint16_t)luaL_checkinteger(L, 3), on_resolved, h, &r, &err) != 0)
        return fail_with(L, err.code, err.text);
    h->p = r;
    anchor(L, h);
    return 1;
}

/* fn(list of texts: "address ttl", "target:port priority weight ttl") or fn(nil, name, sentence) */
static void on_records(void *ctx, const struct kt_record *records, size_t n, const struct kt_err *err)
{
    struct handle *h = ctx;
    lua_State *L = h->w->L;
    push_callback(h, NULL);
    release(L, h);
    if (n == 0) {
        call(h->w, fail_with(L, err->code, err->text));
        return;
    }
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        const struct kt_record *r = &records[i];
        char text[KT_ADDR_TEXT];
        if (r->target[0])
            lua_pushfstring(L, "%s:%d %d %d %d", r->target, r->port, r->priority, r->weight, (int)r->ttl);
        else
            lua_pushfstring(L, "%s %d", kt_addr_ip_text(&r->addr, text), (int)r->ttl);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    call(h->w, 1);
}

/* query(name, type, {server, ...}, fn) */
static int io_query(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_addr servers[KT_QUERY_SERVERS + 1];
    struct kt_err err;
    struct kt_query *q;
    struct kt_question question = {.name = luaL_checkstring(L, 2),
        .type = (enum kt_record_type)luaL_checkinteger(L, 3),
        .servers = servers,
        .server_count = lua_rawlen(L, 4)};
    luaL_argcheck(L, question.server_count <= KT_QUERY_SERVERS + 1, 4, "too many");
    for (size_t i = 0; i < question.server_count; i++) {
        lua_rawgeti(L, 4, (lua_Integer)i + 1);
        if (kt_name_server(&servers[i], luaL_checkstring(L, -1), &err) != 0)
            return fail_with(L, err.code, err.text);
        lua_pop(L, 1);
    }
    struct handle *h = new_handle(L, w, QUERY, 5);
    if (kt_query(w->io, &question, on_records, h, &q, &err) != 0) return fail_with(L, err.code, err.text);
    h->p = q;
    anchor(L, h);
    return 1;
}

/* ---- signals and files ---- */

static void on_signal(void *ctx, int signum)
{
    struct handle *h = ctx;
    push_callback(h, NULL);
    lua_pushinteger(h->w->L, signum);
    call(h->w, 1);
}

static int io_signal(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_err err;
    struct kt_signal *s;
    struct handle *h = new_handle(L, w, SIGNAL, 3);
    if (kt_signal_watch(w->io, (int)luaL_checkinteger(L, 2), on_signal, h, &s, &err) != 0)
        return fail_with(L, err.code, err.text);
    h->p = s;
    anchor(L, h);
    return 1;
}

/* io:read_file(path, max [, real]) → data | nil, code, text */
static int io_read_file(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_err err;
    char *data;
    size_t len;
    const char *path = luaL_checkstring(L, 2);
    const size_t max = (size_t)luaL_checkinteger(L, 3);
    if ((lua_toboolean(L, 4) ? kt_file_read_real : kt_file_read)(w->io, path, max, &data, &len, &err) != 0)
        return fail_with(L, err.code, err.text);
    if (data[len] != '\0') luaL_error(L, "no NUL beyond the end");
    lua_pushlstring(L, data, len);
    free(data);
    return 1;
}

static int io_append_file(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_err err;
    size_t len;
    const char *data = luaL_checklstring(L, 3, &len);
    const struct kt_append_options options = {.path = luaL_checkstring(L, 2)};
    struct kt_appender *file;
    if (kt_append_open(w->io, &options, &file, &err) != 0) return fail_with(L, err.code, err.text);
    kt_append(file, data, len);
    kt_append_close(file, true);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- the io ---- */

static void on_deadline(void *ctx)
{
    struct world *w = ctx;
    w->timed_out = true;
    kt_io_stop(w->io);
}

static int io_run(lua_State *L)
{
    struct world *w = check_world(L);
    lua_Integer ms = luaL_checkinteger(L, 2);
    w->L = L;
    w->timed_out = false;
    kt_io_timer_set(w->io, &w->deadline, kt_io_clock(w->io) + (uint64_t)ms * 1000);
    kt_io_run(w->io);
    kt_io_timer_cancel(w->io, &w->deadline);
    if (w->failure != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, w->failure);
        luaL_unref(L, LUA_REGISTRYINDEX, w->failure);
        w->failure = LUA_NOREF;
        return lua_error(L);
    }
    lua_pushboolean(L, !w->timed_out);
    return 1;
}

/* check(): raises what a callback raised in a run other than io:run. */
static int io_check(lua_State *L)
{
    struct world *w = check_world(L);
    if (w->failure == LUA_NOREF) return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->failure);
    luaL_unref(L, LUA_REGISTRYINDEX, w->failure);
    w->failure = LUA_NOREF;
    return lua_error(L);
}

static int io_stop(lua_State *L)
{
    kt_io_stop(check_world(L)->io);
    return 0;
}

static int io_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_io_now(check_world(L)->io));
    return 1;
}

static int io_clock(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_io_clock(check_world(L)->io));
    return 1;
}

static int io_wall(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_io_wall(check_world(L)->io));
    return 1;
}

static int io_random(lua_State *L)
{
    luaL_Buffer b;
    struct world *w = check_world(L);
    size_t n = (size_t)luaL_checkinteger(L, 2);
    char *p = luaL_buffinitsize(L, &b, n);
    kt_io_random(w->io, p, n);
    luaL_pushresultsize(&b, n);
    return 1;
}

static int io_log(lua_State *L)
{
    lua_pushstring(L, check_world(L)->lines);
    return 1;
}

static int io_free(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    if (!w->io) return 0;
    w->L = L;
    while (!kt_list_empty(&w->handles)) shut(L, KT_CONTAINER(w->handles.next, struct handle, node));
    kt_io_timer_cancel(w->io, &w->deadline);
    kt_io_free(w->io);
    w->io = NULL;
    return 0;
}

static int handle_close(lua_State *L)
{
    shut(L, luaL_checkudata(L, 1, HANDLE));
    return 0;
}

static void on_line(void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *line)
{
    struct world *w = ctx;
    (void)level, (void)fields;
    size_t have = strlen(w->lines);
    snprintf(w->lines + have, sizeof w->lines - have, "%s\n", line);
}

static int new_io(lua_State *L)
{
    lua_settop(L, 2);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 1);
    memset(w, 0, sizeof *w);
    w->failure = LUA_NOREF;
    w->log = (struct kt_log){.level = KT_LOG_DEBUG, .sink = on_line, .ctx = w};
    kt_list_init(&w->handles);
    kt_timer_init(&w->deadline, on_deadline, w);
    if (lua_islightuserdata(L, 1)) {
        w->io = lua_touserdata(L, 1);
        w->io->log = &w->log;
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD); /* the world may call at any time */
        w->L = lua_tothread(L, -1);
        lua_pop(L, 1);
        lua_pushvalue(L, 2);
        lua_setiuservalue(L, -2, 1);
    } else {
        struct kt_err err;
        if (kt_uv_new(&w->io, &w->log, (unsigned)luaL_optinteger(L, 1, 0), &err))
            return luaL_error(L, "%s", err.text);
    }
    luaL_setmetatable(L, WORLD);
    return 1;
}

/* ---- things that a spec needs of the process ---- */

/* The number of times that the process has slept. */
static int sleeps(lua_State *L)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    lua_pushinteger(L, use.ru_nvcsw);
    return 1;
}

/* limit(n): sets the soft limit on open descriptors; returns the previous one. */
static int limit(lua_State *L)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    lua_pushinteger(L, (lua_Integer)r.rlim_cur);
    r.rlim_cur = (rlim_t)luaL_checkinteger(L, 1);
    setrlimit(RLIMIT_NOFILE, &r);
    return 1;
}

static int pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

/* The lowest free descriptor: rises when one leaks. */
static int next_fd(lua_State *L)
{
    int fd = dup(0);
    close(fd);
    lua_pushinteger(L, fd);
    return 1;
}

static const luaL_Reg functions[] = {{"refuse", refuse}, {"refused", refused}, {"new", new_io},
    {"sleeps", sleeps}, {"limit", limit}, {"pid", pid}, {"next_fd", next_fd}, {NULL, NULL}};

static const luaL_Reg world_methods[] = {{"run", io_run}, {"stop", io_stop}, {"check", io_check},
    {"now", io_now}, {"clock", io_clock}, {"wall", io_wall}, {"random", io_random}, {"timer", io_timer},
    {"turn", io_turn}, {"udp", io_udp}, {"listen", io_listen}, {"connect", io_connect},
    {"resolve", io_resolve}, {"query", io_query}, {"signal", io_signal}, {"read_file", io_read_file},
    {"append_file", io_append_file}, {"log", io_log}, {"free", io_free}, {"__gc", io_free}, {NULL, NULL}};

static const luaL_Reg handle_methods[] = {{"close", handle_close}, {"addr", handle_local}, {"send", udp_send},
    {"hold", udp_hold}, {"stats", udp_stats}, {"listen", conn_listen}, {"peek", conn_peek},
    {"consume", conn_consume}, {"eof", conn_eof}, {"write", conn_write}, {"shutdown", conn_shutdown},
    {"reset", conn_reset}, {"user_timeout", conn_user_timeout}, {"peer", conn_peer}, {NULL, NULL}};

int luaopen_spec_io(lua_State *L)
{
    class(L, WORLD, world_methods);
    class(L, HANDLE, handle_methods);
    luaL_newlib(L, functions);
    lua_pushinteger(L, KT_UV_NO_GSO);
    lua_setfield(L, -2, "NO_GSO");
    lua_pushinteger(L, KT_UV_NO_GRO);
    lua_setfield(L, -2, "NO_GRO");
    lua_pushinteger(L, KT_UV_NO_MMSG);
    lua_setfield(L, -2, "NO_MMSG");
    return 1;
}
