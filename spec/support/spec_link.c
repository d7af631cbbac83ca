/* Bindings of runtime/link for the specs, on one io: splices and tuncrypt over fake pipes, links and
 * acceptors over loopback, and health and settings as functions.
 *
 *   w = spec_link.new()              the world: an io on libuv; spec_link.new(io): of a process of spec_sim
 *   w:run(ms, fn)                    runs the loop until fn() is true (true) or the time is over (false)
 *   w:fake(room) w:splice(a, b, opts) w:tuncrypt(inner, pass, client) w:link(cfg)
 * w:accept(cfg) w:relay(port) w:free_port() w:now() w:free()
 *
 * Only `run` calls Lua: its fn reads what the handles have recorded. Handles live until w:free(), which also
 * ends those that specs forgot. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "link/limits.h"
#include "link/splice.h"
#include "link/stream.h"
#include "link/kcptun/tuncrypt.h"
#include "class.h"
#include "link/internal.h"

#define WORLD "spec_link.world"
#define PIPE "spec_link.pipe"
#define LIMITS "spec_link.limits"
#define SPLICE "spec_link.splice"

int luaopen_spec_link(lua_State *L);

struct world *check_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    luaL_argcheck(L, w->io, 1, "freed");
    return w;
}

void *push_handle(
    lua_State *L, struct world *w, const char *class, size_t size, void (*end)(struct handle *h))
{
    struct handle *h = lua_newuserdatauv(L, size, 0);
    memset(h, 0, size);
    h->w = w;
    h->end = end;
    kt_list_init(&h->node);
    kt_list_push(&w->handles, &h->node);
    luaL_setmetatable(L, class);
    lua_rawgetp(L, LUA_REGISTRYINDEX, w); /* keeps the handles alive */
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    return h;
}

int fail(lua_State *L, int code, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(code));
    lua_pushstring(L, text);
    return 3;
}

lua_Integer field(lua_State *L, int index, const char *name, lua_Integer otherwise)
{
    lua_getfield(L, index, name);
    lua_Integer v = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    return v;
}

/* ---- pipes: streams, and tuncrypt's clear side; the spec is the user ---- */

struct pipe {
    struct handle h;
    struct kt_pipe *p; /* NULL: closed, or taken over */
    unsigned readable, writable;
    int code; /* of `closed` */
    char peer[KT_ADDR_TEXT];
};

static void on_readable(void *ctx)
{
    ((struct pipe *)ctx)->readable++;
}

static void on_writable(void *ctx)
{
    ((struct pipe *)ctx)->writable++;
}

static void on_closed(void *ctx, int code)
{
    ((struct pipe *)ctx)->code = code;
}

static const struct kt_pipe_events pipe_events = {
    .readable = on_readable, .writable = on_writable, .closed = on_closed};

static void pipe_end(struct handle *h)
{
    struct pipe *p = (struct pipe *)h;
    if (p->p) kt_pipe_reset(p->p, KT_ECANCELED);
    p->p = NULL;
}

static struct pipe *push_pipe(lua_State *L, struct world *w, struct kt_pipe *inner)
{
    struct pipe *p = push_handle(L, w, PIPE, sizeof *p, pipe_end);
    p->p = inner;
    kt_pipe_listen(inner, &pipe_events, p);
    return p;
}

void push_stream(lua_State *L, struct world *w, struct kt_pipe *stream, const char *peer)
{
    struct pipe *p = push_pipe(L, w, stream);
    snprintf(p->peer, sizeof p->peer, "%s", peer);
}

static struct pipe *check_pipe(lua_State *L)
{
    struct pipe *p = luaL_checkudata(L, 1, PIPE);
    luaL_argcheck(L, p->p, 1, "closed, or taken over");
    return p;
}

/* Takes the kt_pipe of a fake or a pipe from the spec. */
static struct kt_pipe *take_over(lua_State *L, int arg)
{
    struct kt_pipe *fake = fake_pipe(L, arg);
    if (fake) return fake;
    struct pipe *p = luaL_checkudata(L, arg, PIPE);
    luaL_argcheck(L, p->p, arg, "closed, or taken over");
    struct kt_pipe *inner = p->p;
    p->p = NULL;
    return inner;
}

/* read(n): at most n bytes, consumed */
static int pipe_read(lua_State *L)
{
    struct pipe *p = check_pipe(L);
    size_t left = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);
    struct kt_iov iov;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (left && kt_pipe_peek(p->p, &iov, 1)) {
        size_t n = iov.len < left ? iov.len : left;
        luaL_addlstring(&b, (const char *)iov.data, n);
        kt_pipe_consume(p->p, n);
        left -= n;
    }
    luaL_pushresult(&b);
    return 1;
}

static int pipe_write(lua_State *L)
{
    struct pipe *p = check_pipe(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    lua_pushinteger(L, (lua_Integer)kt_pipe_write(p->p, data, n));
    return 1;
}

static int pipe_eof(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_eof(check_pipe(L)->p));
    return 1;
}

static int pipe_gone(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_gone(check_pipe(L)->p));
    return 1;
}

static int pipe_half_close(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_half_close(check_pipe(L)->p));
    return 1;
}

static int pipe_shutdown(lua_State *L)
{
    kt_pipe_shutdown(check_pipe(L)->p);
    return 0;
}

static int pipe_close(lua_State *L)
{
    check_pipe(L);
    kt_pipe_close(take_over(L, 1));
    return 0;
}

static int pipe_reset(lua_State *L)
{
    check_pipe(L);
    kt_pipe_reset(take_over(L, 1), KT_ECANCELED);
    return 0;
}

static int pipe_cut(lua_State *L)
{
    check_pipe(L);
    kt_pipe_cut(take_over(L, 1), KT_ERESET, luaL_optstring(L, 2, NULL));
    return 0;
}

/* The code of `closed`; nil: not called yet. */
static int pipe_closed(lua_State *L)
{
    const struct pipe *p = luaL_checkudata(L, 1, PIPE);
    if (!p->code) return 0;
    lua_pushstring(L, kt_errname(p->code));
    return 1;
}

/* How many times readable and writable were called. */
static int pipe_heard(lua_State *L)
{
    const struct pipe *p = luaL_checkudata(L, 1, PIPE);
    lua_pushinteger(L, p->readable);
    lua_pushinteger(L, p->writable);
    return 2;
}

static int pipe_peer(lua_State *L)
{
    lua_pushstring(L, ((struct pipe *)luaL_checkudata(L, 1, PIPE))->peer);
    return 1;
}

/* set(priority, weight): "ok", or a code */
static int pipe_set(lua_State *L)
{
    const struct kt_stream_policy policy = {
        (uint32_t)luaL_checkinteger(L, 2), (uint32_t)luaL_checkinteger(L, 3)};
    int rc = kt_stream_set(check_pipe(L)->p, &policy);
    lua_pushstring(L, rc ? kt_errname(rc) : "ok");
    return 1;
}

/* priority, weight; nil: not a stream of a link */
static int pipe_policy(lua_State *L)
{
    struct kt_stream_facts f;
    if (kt_stream_facts(check_pipe(L)->p, &f)) return 0;
    lua_pushinteger(L, f.policy.priority);
    lua_pushinteger(L, f.policy.weight);
    return 2;
}

/* ---- limits ---- */

/* limits(born, now) */
static int limits_new(lua_State *L)
{
    const uint64_t born = (uint64_t)luaL_checkinteger(L, 1), now = (uint64_t)luaL_checkinteger(L, 2);
    kt_limits_init(lua_newuserdatauv(L, sizeof(struct kt_limits), 0), born, now);
    luaL_setmetatable(L, LIMITS);
    return 1;
}

static struct kt_limits_terms terms_at(lua_State *L, int index)
{
    luaL_checktype(L, index, LUA_TTABLE);
    return (struct kt_limits_terms){
        .rate = {(uint64_t)field(L, index, "rate_in", 0), (uint64_t)field(L, index, "rate_out", 0)},
        .idle_us = (uint64_t)field(L, index, "idle_us", 0),
        .total_us = (uint64_t)field(L, index, "total_us", 0),
    };
}

/* l:set(terms, now) */
static int limits_set(lua_State *L)
{
    const struct kt_limits_terms terms = terms_at(L, 2);
    const int rc = kt_limits_set(luaL_checkudata(L, 1, LIMITS), &terms, (uint64_t)luaL_checkinteger(L, 3));
    return rc ? luaL_error(L, "%s", kt_strerror(rc)) : 0;
}

static int limits_end(lua_State *L)
{
    kt_limits_end(luaL_checkudata(L, 1, LIMITS));
    return 0;
}

/* l:terms(): rate_in, rate_out, idle_us, total_us */
static int limits_terms(lua_State *L)
{
    struct kt_limits_terms t;
    kt_limits_terms(luaL_checkudata(L, 1, LIMITS), &t);
    lua_pushinteger(L, (lua_Integer)t.rate[KT_LIMITS_IN]);
    lua_pushinteger(L, (lua_Integer)t.rate[KT_LIMITS_OUT]);
    lua_pushinteger(L, (lua_Integer)t.idle_us);
    lua_pushinteger(L, (lua_Integer)t.total_us);
    return 4;
}

static enum kt_limits_way way_at(lua_State *L, int arg)
{
    static const char *const names[] = {"in", "out", NULL};
    return luaL_checkoption(L, arg, NULL, names) ? KT_LIMITS_OUT : KT_LIMITS_IN;
}

/* l:room(way, now); nil: no limit */
static int limits_room(lua_State *L)
{
    const size_t n =
        kt_limits_room(luaL_checkudata(L, 1, LIMITS), way_at(L, 2), (uint64_t)luaL_checkinteger(L, 3));
    if (n == SIZE_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)n);
    return 1;
}

/* l:moved(way, n, now) */
static int limits_moved(lua_State *L)
{
    kt_limits_moved(luaL_checkudata(L, 1, LIMITS), way_at(L, 2), (size_t)luaL_checkinteger(L, 3),
        (uint64_t)luaL_checkinteger(L, 4));
    return 0;
}

/* l:expired(now): "idle", "total" or nil */
static int limits_expired(lua_State *L)
{
    const int code = kt_limits_expired(luaL_checkudata(L, 1, LIMITS), (uint64_t)luaL_checkinteger(L, 2));
    if (!code) return 0;
    lua_pushstring(L, kt_errname(code));
    return 1;
}

/* l:deadline(); nil: never */
static int limits_deadline(lua_State *L)
{
    const uint64_t at = kt_limits_deadline(luaL_checkudata(L, 1, LIMITS));
    if (at == KT_TIME_NEVER) return 0;
    lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

/* tuncrypt(inner, pass, client) */
static int world_tuncrypt(lua_State *L)
{
    struct world *w = check_world(L);
    size_t n;
    const char *pass = luaL_checklstring(L, 3, &n);
    luaL_argcheck(L, n == 32, 3, "32 bytes");
    struct kt_pipe *clear;
    int rc = kt_kcptun_tuncrypt(w->io, take_over(L, 2), (const uint8_t *)pass, lua_toboolean(L, 4), &clear);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    push_pipe(L, w, clear);
    return 1;
}

/* ---- splices ---- */

struct splice {
    struct handle h;
    struct kt_splice *s;        /* NULL: over */
    struct kt_limits limits[2]; /* of its pipes, once set */
    unsigned calls;
    struct kt_splice_result result;
    struct kt_err cause; /* of the result */
};

static void on_spliced(void *ctx, const struct kt_splice_result *result)
{
    struct splice *s = ctx;
    s->s = NULL;
    s->calls++;
    s->result = *result;
    if (result->cause) s->cause = *result->cause;
}

static void splice_end(struct handle *h)
{
    struct splice *s = (struct splice *)h;
    if (s->s) kt_splice_cancel(s->s, KT_ECANCELED, NULL);
    s->s = NULL;
    kt_limits_end(&s->limits[0]);
    kt_limits_end(&s->limits[1]);
}

static struct kt_splice_opts splice_opts(lua_State *L, int index)
{
    return (struct kt_splice_opts){
        .idle_us = (uint64_t)field(L, index, "idle_us", 0),
        .total_us = (uint64_t)field(L, index, "total_us", 0),
        .rate_ab = (uint64_t)field(L, index, "rate_ab", 0),
        .rate_ba = (uint64_t)field(L, index, "rate_ba", 0),
        .linger_us = (uint64_t)field(L, index, "linger_us", 0),
        .settle_us = (uint64_t)field(L, index, "settle_us", 1e15),
    };
}

/* splice(a, b, {idle_us, total_us, rate_ab, rate_ba, linger_us, settle_us}) */
static int world_splice(lua_State *L)
{
    struct world *w = check_world(L);
    lua_settop(L, 4);
    if (lua_isnil(L, 4)) {
        lua_newtable(L);
        lua_replace(L, 4);
    }
    const struct kt_splice_opts opts = splice_opts(L, 4);
    struct splice *s = push_handle(L, w, SPLICE, sizeof *s, splice_end);
    int rc = kt_splice(w->io, take_over(L, 2), take_over(L, 3), &opts, on_spliced, s, &s->s);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    return 1;
}

/* nil, or { a_to_b, b_to_a, code } ("end" for 0), and the far side's code and text if it sent them */
static int splice_result(lua_State *L)
{
    const struct splice *s = luaL_checkudata(L, 1, SPLICE);
    if (s->calls > 1) return luaL_error(L, "done came %d times", s->calls);
    if (s->calls == 0) return 0;
    lua_createtable(L, 3, 0);
    lua_pushinteger(L, (lua_Integer)s->result.a_to_b);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, (lua_Integer)s->result.b_to_a);
    lua_rawseti(L, -2, 2);
    lua_pushstring(L, s->result.code ? kt_errname(s->result.code) : "end");
    lua_rawseti(L, -2, 3);
    if (!s->cause.code) return 1;
    lua_pushstring(L, kt_errname(s->cause.code));
    lua_pushstring(L, s->cause.text);
    return 3;
}

/* limit("a" | "b", terms): sets or changes the limits of a pipe, which count from now when set first */
static int splice_limit(lua_State *L)
{
    static const char *const names[] = {"a", "b", NULL};
    struct splice *s = luaL_checkudata(L, 1, SPLICE);
    luaL_argcheck(L, s->s, 1, "over");
    const int b = luaL_checkoption(L, 2, NULL, names);
    const struct kt_limits_terms terms = terms_at(L, 3);
    const uint64_t now = kt_io_now(s->h.w->io);
    struct kt_limits *l = &s->limits[b];
    if (l->born == 0) kt_limits_init(l, now, now);
    const int rc = kt_limits_set(l, &terms, now);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    kt_splice_limit(s->s, b, l);
    return 0;
}

static int splice_cancel(lua_State *L)
{
    struct splice *s = luaL_checkudata(L, 1, SPLICE);
    luaL_argcheck(L, s->s, 1, "over");
    splice_end(&s->h);
    return 0;
}

/* ---- the world ---- */

static void on_look(void *ctx)
{
    struct world *w = ctx;
    lua_State *L = w->L;
    lua_pushvalue(L, 3);
    w->failed = lua_pcall(L, 0, 1, 0) != LUA_OK;
    if (w->failed || lua_toboolean(L, -1)) {
        w->done = true;
        kt_io_stop(w->io);
        return; /* an error stays on the stack */
    }
    lua_pop(L, 1);
    kt_io_timer_set(w->io, &w->look, kt_io_now(w->io) + 1000);
}

static void on_deadline(void *ctx)
{
    struct world *w = ctx;
    w->late = true;
    kt_io_stop(w->io);
}

static int world_run(lua_State *L)
{
    struct world *w = check_world(L);
    uint64_t us = (uint64_t)luaL_checkinteger(L, 2) * 1000;
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    w->L = L;
    w->done = w->late = w->failed = false;
    uint64_t now = kt_io_clock(w->io);
    kt_io_timer_set(w->io, &w->look, now);
    kt_io_timer_set(w->io, &w->deadline, now + us);
    while (!w->done && !w->late) kt_io_run(w->io);
    kt_io_timer_cancel(w->io, &w->look);
    kt_io_timer_cancel(w->io, &w->deadline);
    if (w->failed) return lua_error(L);
    lua_pushboolean(L, w->done);
    return 1;
}

static int world_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_io_now(check_world(L)->io));
    return 1;
}

static int world_free(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    struct kt_list *n, fakes;
    if (!w->io) return 0;
    kt_list_init(&fakes);
    while ((n = kt_list_pop(&w->handles))) {
        struct handle *h = KT_CONTAINER(n, struct handle, node);
        if (h->end == fake_end)
            kt_list_push(&fakes, n); /* after those that use them */
        else
            h->end(h);
    }
    kt_io_free(w->io);
    while ((n = kt_list_pop(&fakes))) fake_end(KT_CONTAINER(n, struct handle, node));
    kt_slab_free(w->bufs); /* asserts that all was returned */
    w->io = NULL;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, w);
    return 0;
}

static int world_new(lua_State *L)
{
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    kt_list_init(&w->handles);
    kt_timer_init(&w->look, on_look, w);
    kt_timer_init(&w->deadline, on_deadline, w);
    int rc = kt_slab_new(&w->bufs, 1024, 0);
    if (!rc && lua_islightuserdata(L, 1))
        w->io = lua_touserdata(L, 1);
    else if (!rc)
        rc = kt_uv_new(&w->io, NULL, 0, NULL);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    luaL_setmetatable(L, WORLD);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, w);
    return 1;
}

int luaopen_spec_link(lua_State *L)
{
    struct kt_err err;
    if (kt_crypto_init(&err)) return luaL_error(L, "%s", err.text);
    static const luaL_Reg world[] = {{"run", world_run}, {"now", world_now}, {"fake", world_fake},
        {"splice", world_splice}, {"tuncrypt", world_tuncrypt}, {"link", world_link},
        {"accept", world_accept}, {"relay", world_relay}, {"free_port", world_free_port},
        {"free", world_free}, {"__gc", world_free}, {NULL, NULL}};
    static const luaL_Reg pipe[] = {{"read", pipe_read}, {"write", pipe_write}, {"eof", pipe_eof},
        {"gone", pipe_gone}, {"half_close", pipe_half_close}, {"shutdown", pipe_shutdown},
        {"close", pipe_close}, {"reset", pipe_reset}, {"cut", pipe_cut}, {"closed", pipe_closed},
        {"heard", pipe_heard}, {"peer", pipe_peer}, {"set", pipe_set}, {"policy", pipe_policy}, {NULL, NULL}};
    static const luaL_Reg limits[] = {{"set", limits_set}, {"terms", limits_terms}, {"room", limits_room},
        {"moved", limits_moved}, {"expired", limits_expired}, {"deadline", limits_deadline},
        {"__gc", limits_end}, {NULL, NULL}};
    static const luaL_Reg splice[] = {
        {"result", splice_result}, {"limit", splice_limit}, {"cancel", splice_cancel}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"new", world_new}, {"limits", limits_new}, {"health", health_new},
        {"room", send_budget_room}, {"check", config_check}, {"mode", config_mode},
        {"defaults", config_defaults}, {NULL, NULL}};
    class(L, WORLD, world);
    class(L, PIPE, pipe);
    class(L, LIMITS, limits);
    class(L, SPLICE, splice);
    link_spec_fake(L);
    link_spec_facts(L);
    link_spec_ends(L);
    link_spec_relay(L);
    luaL_newlib(L, module);
    return 1;
}
