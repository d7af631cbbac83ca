/* Bindings of smux for the specs: pools, smuxes and streams as handles, with Lua functions as callbacks of
 * the owner and of listeners.
 *
 * A callback runs in a pcall, because an error must not unwind smux's C frames; the method that caused the
 * callback raises the error again. __gc silently closes what specs forget. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include "results.h"
#include "base/slab.h"
#include "crypto/kcptun/qpp.h"
#include "link/kcptun/smux_internal.h"

#define POOL "spec_smux.pool"
#define QPP "spec_smux.qpp"
#define SMUX "spec_smux.smux"
#define STREAM "spec_smux.stream"

/* One per Lua state, in the registry: the coroutine that is in a method now, and the error to raise. */
struct state {
    lua_State *L;
    int error; /* reference, LUA_NOREF: none */
};

static struct state *state_of(lua_State *L)
{
    static const char key = 0;
    const int top = lua_gettop(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
        struct state *st = lua_newuserdatauv(L, sizeof *st, 0);
        *st = (struct state){L, LUA_NOREF};
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    }
    struct state *st = lua_touserdata(L, -1);
    lua_settop(L, top);
    return st;
}

static void enter(lua_State *L, struct state *st)
{
    st->L = L;
}

static int leave(lua_State *L, struct state *st, int results)
{
    if (st->error == LUA_NOREF) return results;
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->error);
    luaL_unref(L, LUA_REGISTRYINDEX, st->error);
    st->error = LUA_NOREF;
    return lua_error(L);
}

/* Calls the function that is below its n arguments on the stack; on an error the results are nil. */
static void call(struct state *st, int n, int results)
{
    lua_State *L = st->L;
    if (lua_pcall(L, n, results, 0) == LUA_OK) return;
    if (st->error == LUA_NOREF)
        st->error = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    for (int i = 0; i < results; i++) lua_pushnil(L);
}

/* ---- pool, QPP ---- */

static int pool_new(lua_State *L)
{
    size_t size = (size_t)luaL_checkinteger(L, 1), max = (size_t)luaL_optinteger(L, 2, 0);
    struct kt_slab **box = lua_newuserdatauv(L, sizeof(struct kt_slab *), 0);
    *box = NULL;
    luaL_setmetatable(L, POOL);
    int rc = kt_slab_new(box, size, max);
    return rc < 0 ? luaL_error(L, "%s", kt_strerror(rc)) : 1;
}

static struct kt_slab *check_pool(lua_State *L, int arg)
{
    return *(struct kt_slab **)luaL_checkudata(L, arg, POOL);
}

static int pool_in_use(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_slab_in_use(check_pool(L, 1)));
    return 1;
}

static int pool_fail_after(lua_State *L)
{
    kt_slab_fail_after(check_pool(L, 1), lua_isnoneornil(L, 2) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int pool_gc(lua_State *L)
{
    struct kt_slab **box = luaL_checkudata(L, 1, POOL);
    kt_slab_free(*box);
    *box = NULL;
    return 0;
}

static int qpp_new(lua_State *L)
{
    size_t n;
    const char *key = luaL_checklstring(L, 1, &n);
    unsigned pads = (unsigned)luaL_checkinteger(L, 2);
    struct kt_qpp **box = lua_newuserdatauv(L, sizeof(struct kt_qpp *), 0);
    *box = NULL;
    luaL_setmetatable(L, QPP);
    int rc = kt_qpp_new(box, key, n, pads);
    return rc < 0 ? luaL_error(L, "%s", kt_strerror(rc)) : 1;
}

static int qpp_gc(lua_State *L)
{
    struct kt_qpp **box = luaL_checkudata(L, 1, QPP);
    kt_qpp_free(*box);
    *box = NULL;
    return 0;
}

/* ---- streams ---- */

struct stream {
    struct state *st;
    struct kt_pipe *pipe; /* NULL: closed */
    int listener;         /* reference to its table of functions */
    int self;             /* reference: the handle lives until it is closed */
};

static struct stream *check_stream(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    luaL_argcheck(L, s->pipe, 1, "the stream was closed");
    enter(L, s->st);
    return s;
}

static void push_stream(lua_State *L, struct state *st, struct kt_pipe *pipe)
{
    struct stream *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct stream){st, pipe, LUA_NOREF, LUA_NOREF};
    luaL_setmetatable(L, STREAM);
    lua_pushvalue(L, -1);
    s->self = luaL_ref(L, LUA_REGISTRYINDEX);
}

static bool push_listener(struct stream *s, const char *name)
{
    lua_State *L = s->st->L;
    if (!L) return false;
    luaL_checkstack(L, 8, "callbacks");
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->listener);
    int type = lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (type != LUA_TNIL) return true;
    lua_pop(L, 1);
    return false;
}

static void on_readable(void *ctx)
{
    struct stream *s = ctx;
    if (push_listener(s, "readable")) call(s->st, 0, 0);
}

static void on_writable(void *ctx)
{
    struct stream *s = ctx;
    if (push_listener(s, "writable")) call(s->st, 0, 0);
}

static void on_closed(void *ctx, int code)
{
    struct stream *s = ctx;
    if (!push_listener(s, "closed")) return;
    lua_pushstring(s->st->L, kt_errname(code));
    call(s->st, 1, 0);
}

static const struct kt_pipe_events events = {
    .readable = on_readable, .writable = on_writable, .closed = on_closed};

static int stream_listen(lua_State *L)
{
    struct stream *s = check_stream(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_unref(L, LUA_REGISTRYINDEX, s->listener);
    lua_settop(L, 2);
    s->listener = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_pipe_listen(s->pipe, &events, s);
    return 0;
}

static int stream_id(lua_State *L)
{
    lua_pushinteger(L, kt_smux_of_const(check_stream(L)->pipe)->id);
    return 1;
}

/* All that has arrived, without consuming it. */
static int stream_peek(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_iov iov[64];
    size_t n = kt_pipe_peek(s->pipe, iov, 64);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < n; i++) luaL_addlstring(&b, (const char *)iov[i].data, iov[i].len);
    luaL_pushresult(&b);
    return 1;
}

/* Up to n bytes (default: all), consumed. */
static int stream_read(lua_State *L)
{
    struct stream *s = check_stream(L);
    size_t left = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    struct kt_iov iov;
    while (left && kt_pipe_peek(s->pipe, &iov, 1)) {
        size_t n = iov.len < left ? iov.len : left;
        luaL_addlstring(&b, (const char *)iov.data, n);
        kt_pipe_consume(s->pipe, n);
        left -= n;
    }
    luaL_pushresult(&b);
    return leave(L, s->st, 1);
}

static int stream_eof(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_eof(check_stream(L)->pipe));
    return 1;
}

static int stream_write(lua_State *L)
{
    struct stream *s = check_stream(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    lua_pushinteger(L, (lua_Integer)kt_pipe_write(s->pipe, data, n));
    return leave(L, s->st, 1);
}

static int stream_shutdown(lua_State *L)
{
    struct stream *s = check_stream(L);
    kt_pipe_shutdown(s->pipe);
    return leave(L, s->st, 0);
}

static int stream_half_close(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_half_close(check_stream(L)->pipe));
    return 1;
}

static int stream_gone(lua_State *L)
{
    lua_pushboolean(L, kt_pipe_gone(check_stream(L)->pipe));
    return 1;
}

/* set(priority, weight): "ok", or a code */
static int stream_set(lua_State *L)
{
    struct stream *s = check_stream(L);
    const struct kt_stream_policy policy = {
        (uint32_t)luaL_checkinteger(L, 2), (uint32_t)luaL_optinteger(L, 3, KT_WEIGHT_DEFAULT)};
    int rc = kt_stream_set(s->pipe, &policy);
    lua_pushstring(L, rc ? kt_errname(rc) : "ok");
    return leave(L, s->st, 1);
}

/* priority, weight, queued, srtt */
static int stream_facts(lua_State *L)
{
    struct kt_stream_facts f;
    kt_stream_facts(check_stream(L)->pipe, &f);
    lua_pushinteger(L, f.policy.priority);
    lua_pushinteger(L, f.policy.weight);
    lua_pushinteger(L, (lua_Integer)f.queued);
    lua_pushinteger(L, f.srtt_us);
    return 4;
}

static void let_go(lua_State *L, struct stream *s)
{
    s->pipe = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, s->listener);
    luaL_unref(L, LUA_REGISTRYINDEX, s->self);
}

static int stream_close(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    let_go(L, s);
    kt_pipe_close(p);
    return leave(L, s->st, 0);
}

/* reset([code, a number [, text]]) */
static int stream_reset(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    const int code = (int)luaL_optinteger(L, 2, KT_ECANCELED);
    const char *text = luaL_optstring(L, 3, NULL);
    let_go(L, s);
    kt_pipe_abort(p, code, text);
    return leave(L, s->st, 0);
}

/* cut(code, a number [, text]) */
static int stream_cut(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    const int code = (int)luaL_checkinteger(L, 2);
    const char *text = luaL_optstring(L, 3, NULL);
    let_go(L, s);
    kt_pipe_cut(p, code, text);
    return leave(L, s->st, 0);
}

/* code, text; nothing: the peer did not abort it */
static int stream_why(lua_State *L)
{
    struct kt_err why;
    if (!kt_pipe_why(check_stream(L)->pipe, &why)) return 0;
    lua_pushstring(L, kt_errname(why.code));
    lua_pushstring(L, why.text);
    return 2;
}

static int stream_gc(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    if (!s->pipe) return 0;
    s->st->L = NULL;
    kt_pipe_reset(s->pipe, KT_ECANCELED);
    s->pipe = NULL;
    return 0;
}

/* counters(out, in): makes a fresh stream look as if it had carried these numbers of bytes */
static int stream_counters(lua_State *L)
{
    struct kt_smux_stream *s = kt_smux_of(check_stream(L)->pipe);
    s->written = s->peer_consumed = (uint32_t)luaL_checkinteger(L, 2);
    s->consumed = (uint32_t)luaL_checkinteger(L, 3);
    s->edge = s->last = s->far = s->consumed + KT_SMUX_INITIAL_WINDOW;
    return 0;
}

/* ---- smux ---- */

struct smux {
    struct state *st;
    struct kt_smux *m; /* NULL: freed */
    int owner;         /* reference to its table of functions */
};

static bool push_owner(struct smux *b, const char *name)
{
    lua_State *L = b->st->L;
    if (!L) return false;
    luaL_checkstack(L, 8, "callbacks");
    lua_rawgeti(L, LUA_REGISTRYINDEX, b->owner);
    int type = lua_getfield(L, -1, name);
    lua_remove(L, -2);
    if (type != LUA_TNIL) return true;
    lua_pop(L, 1);
    return false;
}

/* Default: unlimited room. */
static size_t on_room(void *ctx, size_t want)
{
    struct smux *b = ctx;
    if (!push_owner(b, "room")) return want ? want : 1;
    lua_State *L = b->st->L;
    lua_pushinteger(L, (lua_Integer)want);
    call(b->st, 1, 1);
    size_t room = (size_t)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return room;
}

static void on_frame(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces)
{
    struct smux *b = ctx;
    if (!push_owner(b, "frame")) return;
    luaL_Buffer buf;
    luaL_buffinit(b->st->L, &buf);
    luaL_addlstring(&buf, (const char *)header, KT_SMUX_HEADER);
    for (size_t i = 0; i < pieces; i++) luaL_addlstring(&buf, (const char *)payload[i].data, payload[i].len);
    luaL_pushresult(&buf);
    call(b->st, 1, 0);
}

static void on_wake(void *ctx)
{
    struct smux *b = ctx;
    if (push_owner(b, "wake")) call(b->st, 0, 0);
}

static void on_resume(void *ctx)
{
    struct smux *b = ctx;
    if (push_owner(b, "resume")) call(b->st, 0, 0);
}

static void on_accept(void *ctx, struct kt_pipe *stream)
{
    struct smux *b = ctx;
    if (!push_owner(b, "accept")) {
        kt_pipe_close(stream);
        return;
    }
    push_stream(b->st->L, b->st, stream);
    call(b->st, 1, 0);
}

static void on_hello(void *ctx, uint16_t features)
{
    struct smux *b = ctx;
    if (!push_owner(b, "hello")) return;
    lua_pushinteger(b->st->L, features);
    call(b->st, 1, 0);
}

static void on_streams(void *ctx, size_t n)
{
    struct smux *b = ctx;
    if (!push_owner(b, "streams")) return;
    lua_pushinteger(b->st->L, (lua_Integer)n);
    call(b->st, 1, 0);
}

/* Bytes that a spec recognises. */
static void on_facts(void *ctx, struct kt_stream_facts *out)
{
    (void)ctx;
    out->srtt_us = 12345;
}

static lua_Integer setting(lua_State *L, const char *name, lua_Integer otherwise)
{
    lua_getfield(L, 2, name);
    lua_Integer v = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    return v;
}

static bool on_admit(void *ctx)
{
    struct smux *b = ctx;
    if (!push_owner(b, "admit")) return true;
    call(b->st, 0, 1);
    const bool yes = lua_toboolean(b->st->L, -1);
    lua_pop(b->st->L, 1);
    return yes;
}

static void on_refused(void *ctx, bool full)
{
    struct smux *b = ctx;
    if (!push_owner(b, "refused")) return;
    lua_pushboolean(b->st->L, full);
    call(b->st, 1, 0);
}

static void on_cut(void *ctx, uint32_t id, size_t unread, int code)
{
    struct smux *b = ctx;
    if (!push_owner(b, "cut")) return;
    lua_pushinteger(b->st->L, id);
    lua_pushinteger(b->st->L, (lua_Integer)unread);
    lua_pushstring(b->st->L, kt_errname(code));
    call(b->st, 3, 0);
}

/* new(pool, settings, owner): nothing in `owner` is required; without `accept` streams are refused. */
static int smux_new(lua_State *L)
{
    struct kt_slab *pool = check_pool(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_getfield(L, 2, "client");
    lua_getfield(L, 2, "qpp");
    const struct kt_smux_config cfg = {
        .client = lua_toboolean(L, -2),
        .version = (unsigned)setting(L, "version", 2),
        .frame_size = (uint32_t)setting(L, "frame_size", 8192),
        .session_buffer = (size_t)setting(L, "session_buffer", 4194304),
        .stream_buffer = (uint32_t)setting(L, "stream_buffer", 2097152),
        .max_streams = (uint32_t)setting(L, "max_streams", 16384),
        .qpp = lua_isnil(L, -1) ? NULL : *(struct kt_qpp **)luaL_checkudata(L, -1, QPP),
        .features = (uint16_t)setting(L, "features", 0),
        .hash_seed = (uint64_t)setting(L, "hash_seed", 1),
    };
    struct kt_smux_owner owner = {.room = on_room,
        .frame = on_frame,
        .wake = on_wake,
        .admit = on_admit,
        .refused = on_refused,
        .resume = on_resume,
        .hello = on_hello,
        .streams = on_streams,
        .facts = on_facts,
        .cut = on_cut};
    if (lua_getfield(L, 3, "accept") != LUA_TNIL) owner.accept = on_accept;
    struct smux *b = lua_newuserdatauv(L, sizeof *b, 2);
    *b = (struct smux){state_of(L), NULL, LUA_NOREF};
    luaL_setmetatable(L, SMUX);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 2);
    lua_pushvalue(L, 3);
    b->owner = luaL_ref(L, LUA_REGISTRYINDEX);
    int rc = kt_smux_new(&b->m, &cfg, &owner, b, pool);
    return rc < 0 ? fail_with(L, rc, kt_strerror(rc)) : 1;
}

static struct smux *check_smux_at(lua_State *L, int arg)
{
    struct smux *b = luaL_checkudata(L, arg, SMUX);
    luaL_argcheck(L, b->m, arg, "the smux was freed");
    enter(L, b->st);
    return b;
}

static struct smux *check_smux(lua_State *L)
{
    return check_smux_at(L, 1);
}

static int smux_open(lua_State *L)
{
    struct smux *b = check_smux(L);
    struct kt_pipe *p;
    int rc = kt_smux_open(b->m, &p);
    if (rc < 0) return fail_with(L, rc, kt_strerror(rc));
    push_stream(L, b->st, p);
    return leave(L, b->st, 1);
}

static int smux_input(lua_State *L)
{
    struct smux *b = check_smux(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    struct kt_err err = {0};
    long rc = kt_smux_input(b->m, (const uint8_t *)data, n, &err);
    if (rc < 0) return fail_with(L, (int)rc, err.text);
    lua_pushinteger(L, rc);
    return leave(L, b->st, 1);
}

static int smux_dispatch(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_dispatch(b->m);
    return leave(L, b->st, 0);
}

static int smux_pump(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_pump(b->m);
    return leave(L, b->st, 0);
}

static int smux_keepalive(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_keepalive(b->m);
    return leave(L, b->st, 0);
}

static int smux_heartbeat(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_heartbeat(b->m);
    return leave(L, b->st, 0);
}

static int smux_presume_foreign(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_presume_foreign(b->m);
    return leave(L, b->st, 0);
}

static int smux_mark(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_smux_mark(check_smux(L)->m));
    return 1;
}

static int smux_settled(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_settled(b->m, (uint64_t)luaL_checkinteger(L, 2));
    return leave(L, b->st, 0);
}

static int smux_has_young(lua_State *L)
{
    lua_pushboolean(L, kt_smux_has_young(check_smux(L)->m));
    return 1;
}

static int smux_move_young(lua_State *L)
{
    struct smux *b = check_smux(L), *to = check_smux_at(L, 2);
    lua_pushinteger(L, (lua_Integer)kt_smux_move_young(b->m, to->m));
    return leave(L, b->st, 1);
}

static int smux_streams(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_smux_streams(check_smux(L)->m));
    return 1;
}

static int smux_buffered(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_smux(L)->m->buffered);
    return 1;
}

static int smux_budget(lua_State *L)
{
    kt_smux_budget(check_smux(L)->m, (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int smux_spent(lua_State *L)
{
    lua_pushboolean(L, kt_smux_spent(check_smux(L)->m));
    return 1;
}

static int smux_accept_most(lua_State *L)
{
    kt_smux_accept_most(check_smux(L)->m, (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int smux_waiting(lua_State *L)
{
    lua_pushboolean(L, kt_smux_waiting(check_smux(L)->m));
    return 1;
}

static int smux_watch(lua_State *L)
{
    kt_smux_watch(check_smux(L)->m);
    return 0;
}

static int smux_cut_unread(lua_State *L)
{
    struct smux *b = check_smux(L);
    kt_smux_cut_unread(b->m);
    return leave(L, b->st, 0);
}

static int smux_has_shrunk(lua_State *L)
{
    lua_pushboolean(L, kt_smux_has_shrunk(check_smux(L)->m));
    return 1;
}

static int smux_believe(lua_State *L)
{
    kt_smux_believe(check_smux(L)->m);
    return 0;
}

static int smux_peer(lua_State *L)
{
    uint16_t features;
    if (!kt_smux_peer(check_smux(L)->m, &features)) return 0;
    lua_pushinteger(L, features);
    return 1;
}

static int smux_idle(lua_State *L)
{
    const struct kt_smux *m = check_smux(L)->m;
    lua_pushboolean(L, m->count == 0 && !m->nop_due && !(m->hello_due && m->hello_in));
    return 1;
}

/* free(code): a number, default KT_EDEAD. */
static int smux_free(lua_State *L)
{
    struct smux *b = check_smux(L);
    struct kt_smux *m = b->m;
    b->m = NULL;
    kt_smux_free(m, (int)luaL_optinteger(L, 2, KT_EDEAD));
    return leave(L, b->st, 0);
}

static int smux_gc(lua_State *L)
{
    struct smux *b = luaL_checkudata(L, 1, SMUX);
    b->st->L = NULL;
    kt_smux_free(b->m, KT_ECLOSED);
    b->m = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, b->owner);
    return 0;
}

static void class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_spec_smux(lua_State *L);
int luaopen_spec_smux(lua_State *L)
{
    static const luaL_Reg pool[] = {{"in_use", pool_in_use}, {"fail_after", pool_fail_after}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg stream[] = {{"listen", stream_listen}, {"id", stream_id}, {"peek", stream_peek},
        {"read", stream_read}, {"eof", stream_eof}, {"write", stream_write}, {"shutdown", stream_shutdown},
        {"half_close", stream_half_close}, {"gone", stream_gone}, {"close", stream_close},
        {"reset", stream_reset}, {"cut", stream_cut}, {"why", stream_why}, {"counters", stream_counters},
        {"set", stream_set}, {"facts", stream_facts}, {NULL, NULL}};
    static const luaL_Reg smux[] = {{"open", smux_open}, {"input", smux_input}, {"dispatch", smux_dispatch},
        {"pump", smux_pump}, {"keepalive", smux_keepalive}, {"heartbeat", smux_heartbeat},
        {"presume_foreign", smux_presume_foreign}, {"mark", smux_mark}, {"settled", smux_settled},
        {"has_young", smux_has_young}, {"move_young", smux_move_young}, {"streams", smux_streams},
        {"buffered", smux_buffered}, {"budget", smux_budget}, {"spent", smux_spent},
        {"accept_most", smux_accept_most}, {"waiting", smux_waiting}, {"watch", smux_watch},
        {"cut_unread", smux_cut_unread}, {"has_shrunk", smux_has_shrunk}, {"believe", smux_believe},
        {"peer", smux_peer}, {"idle", smux_idle}, {"free", smux_free}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"pool", pool_new}, {"qpp", qpp_new}, {"new", smux_new}, {NULL, NULL}};
    class(L, POOL, pool, pool_gc);
    class(L, QPP, none, qpp_gc);
    class(L, STREAM, stream, stream_gc);
    class(L, SMUX, smux, smux_gc);
    luaL_newlib(L, module);
    lua_pushinteger(L, sizeof(struct kt_smux_stream));
    lua_setfield(L, -2, "stream_size");
    return 1;
}
