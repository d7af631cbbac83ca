/* The link room for specs, all on one real io: health and settings as functions; splices and tuncrypt over
 * fake pipes; links and acceptors over loopback.
 *
 *   w = spec_link.new()              the world: an io on libuv; spec_link.new(io): a process of spec_sim's
 *   w:run(ms, fn)                    runs the loop until fn() is true (true) or the time is up (false)
 *   w:fake(room) w:splice(a, b, opts) w:tuncrypt(inner, pass, client) w:shaper(inner) w:link(cfg)
 * w:accept(cfg) w:relay(port) w:free_port() w:now() w:free()
 *
 * Nothing calls Lua but `run`, whose fn looks at what the handles have noted. Handles live until w:free(),
 * which ends what specs forgot. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "base/bufq.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "io/uv/uv.h"
#include "link/counters.h"
#include "link/kcptun/health.h"
#include "link/kcptun/send_budget.h"
#include "link/kcptun/kcptun.h"
#include "link/shaper.h"
#include "link/splice.h"
#include "link/stream.h"
#include "link/kcptun/tuncrypt.h"

#define WORLD "spec_link.world"
#define HEALTH "spec_link.health"
#define FAKE "spec_link.fake"
#define PIPE "spec_link.pipe"
#define SHAPER "spec_link.shaper"
#define SPLICE "spec_link.splice"
#define OPENING "spec_link.opening"
#define LINK "spec_link.link"
#define ACCEPTOR "spec_link.acceptor"
#define RELAY "spec_link.relay"

int luaopen_spec_link(lua_State *L);

struct world {
    struct kt_io *io;
    struct kt_list handles;
    struct kt_slab *bufs;
    struct kt_timer look, deadline;
    lua_State *L; /* of the run under way; its fn is at index 3 */
    bool done, late, failed;
};

/* The head of every handle: ended by w:free(), and kept by the world's table until then. */
struct handle {
    struct kt_list node;
    struct world *w;
    void (*end)(struct handle *h); /* harmless if it has ended by itself */
};

static struct world *check_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    luaL_argcheck(L, w->io, 1, "freed");
    return w;
}

/* Pushes a handle of `size` bytes, zeroed. The world is at index 1. */
static void *push_handle(
    lua_State *L, struct world *w, const char *class, size_t size, void (*end)(struct handle *h))
{
    struct handle *h = lua_newuserdatauv(L, size, 0);
    memset(h, 0, size);
    h->w = w;
    h->end = end;
    kt_list_init(&h->node);
    kt_list_push(&w->handles, &h->node);
    luaL_setmetatable(L, class);
    lua_rawgetp(L, LUA_REGISTRYINDEX, w); /* what keeps them */
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    return h;
}

static int fail(lua_State *L, int code, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(code));
    lua_pushstring(L, text);
    return 3;
}

static lua_Integer field(lua_State *L, int index, const char *name, lua_Integer otherwise)
{
    lua_getfield(L, index, name);
    lua_Integer v = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    return v;
}

/* The code for a name ("reset"). */
static int code_of(lua_State *L, int arg)
{
    const char *name = luaL_checkstring(L, arg);
    for (int code = -1; code > -64; code--)
        if (strcmp(kt_errname(code), name) == 0) return code;
    return luaL_argerror(L, arg, "no such error");
}

/* ---- health ---- */

static int health_new(lua_State *L)
{
    const lua_Integer suspect_us = luaL_checkinteger(L, 1), dead_us = luaL_optinteger(L, 2, suspect_us);
    struct kt_kcptun_health *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (struct kt_kcptun_health){
        .patience = {.suspect_us = (uint64_t)suspect_us, .dead_us = (uint64_t)dead_us}};
    luaL_setmetatable(L, HEALTH);
    return 1;
}

static int health_heard(lua_State *L)
{
    struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    kt_patience_heard(&h->patience, (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

/* check(now, facts): "ok", "probe", or nil, code, sentence. */
static int health_check(lua_State *L)
{
    struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    uint64_t now = (uint64_t)luaL_checkinteger(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    const struct kt_kcp_stats st = {
        .una = (uint32_t)field(L, 3, "una", 0),
        .rmt_wnd = (uint32_t)field(L, 3, "wnd", 128),
        .srtt_us = (uint32_t)field(L, 3, "srtt", 0),
        .rto_us = (uint32_t)field(L, 3, "rto", 0),
    };
    const struct kt_kcptun_restart restart = {
        .behind = (uint32_t)field(L, 3, "behind", 0),
        .behind_since = (uint64_t)field(L, 3, "since", 0),
    };
    struct kt_err why;
    bool probe;
    lua_getfield(L, 3, "owes");
    int code = kt_kcptun_health_check(h, &st, &restart, lua_toboolean(L, -1), now, &probe, &why);
    if (code) return fail(L, code, why.text);
    lua_pushstring(L, probe ? "probe" : "ok");
    return 1;
}

/* nil: never */
static int health_suspect(lua_State *L)
{
    const struct kt_kcptun_health *h = luaL_checkudata(L, 1, HEALTH);
    lua_pushboolean(L, h->patience.suspect);
    return 1;
}

static int health_due(lua_State *L)
{
    uint64_t due = kt_kcptun_health_due(luaL_checkudata(L, 1, HEALTH));
    if (due == UINT64_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)due);
    return 1;
}

/* ---- horizon ---- */

/* room(state, want), see link/kcptun/send_budget.h */
static int horizon_room(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct kt_kcptun_send_budget h = {
        .kcp = {.open = (uint32_t)field(L, 1, "open", 0),
            .queued = (uint32_t)field(L, 1, "queued", 0),
            .window = (uint32_t)field(L, 1, "window", 128),
            .srtt_us = (uint32_t)field(L, 1, "srtt", 0)},
        .mss = (size_t)field(L, 1, "mss", 1000),
        .space = (size_t)field(L, 1, "space", 1 << 20),
        .path = (size_t)field(L, 1, "path", -1),
        .rate = (uint64_t)field(L, 1, "rate", 0),
        .window = (size_t)field(L, 1, "sndwnd", 1024),
        .overhead = (size_t)field(L, 1, "overhead", 8),
    };
    lua_getfield(L, 1, "unacked");
    h.unacked = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pushinteger(L, (lua_Integer)kt_kcptun_send_budget_room(&h, (size_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* ---- settings ---- */

/* Defaults, with what the table at index has put over them, by the members' names. Strings stay in the table. */
static struct kt_kcptun_config config_at(lua_State *L, int index, bool client)
{
    struct kt_kcptun_config c;
    struct kt_settings *s = &c.common;
    kt_kcptun_defaults(s, client);
    if (lua_getfield(L, index, "mode") == LUA_TSTRING) kt_kcptun_mode(s, lua_tostring(L, -1));
    if (lua_getfield(L, index, "key") == LUA_TSTRING) s->key = lua_tolstring(L, -1, &s->key_len);
    if (lua_getfield(L, index, "at") == LUA_TSTRING) {
        struct kt_err err;
        if (kt_endpoint_parse(&s->at, lua_tostring(L, -1), KT_ENDPOINT_RANGE, &err))
            luaL_error(L, "%s", err.text);
    }
    lua_pop(L, 3);
    for (size_t i = 0; i < kt_kcptun_settings.count; i++) {
        const struct kt_setting *row = &kt_kcptun_settings.rows[i];
        switch (lua_getfield(L, index, row->member)) {
        case LUA_TSTRING:
            kt_setting_set_name(row, s, lua_tostring(L, -1));
            break;
        case LUA_TBOOLEAN:
            kt_setting_set(row, s, (uint64_t)lua_toboolean(L, -1));
            break;
        case LUA_TNUMBER:
            kt_setting_set(row, s, (uint64_t)lua_tointeger(L, -1));
            break;
        }
        lua_pop(L, 1);
    }
    return c;
}

/* check(settings): true, or nil, code, sentence */
static int config_check(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 1, true);
    struct kt_err err;
    int code = kt_kcptun_check(&c.common, &err);
    if (code) return fail(L, code, err.text);
    lua_pushboolean(L, 1);
    return 1;
}

static int push_mode(lua_State *L, const struct kt_kcptun_config *c)
{
    lua_createtable(L, 4, 0);
    const lua_Integer values[] = {c->nodelay, c->interval_ms, c->resend, c->nc};
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(L, values[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* mode(name, before): nodelay, interval, resend, nc as a list, starting from those of the mode `before`; nil
 * for an unknown name. */
static int config_mode(lua_State *L)
{
    struct kt_kcptun_config c;
    kt_kcptun_defaults(&c.common, true);
    if (!lua_isnoneornil(L, 2)) kt_kcptun_mode(&c.common, luaL_checkstring(L, 2));
    if (!kt_kcptun_mode(&c.common, luaL_checkstring(L, 1))) return 0;
    return push_mode(L, &c);
}

/* defaults(client): by the members' names, and what the mode sets as a list */
static int config_defaults(lua_State *L)
{
    struct kt_kcptun_config c;
    kt_kcptun_defaults(&c.common, lua_toboolean(L, 1));
    push_mode(L, &c);
    for (size_t i = 0; i < kt_kcptun_settings.count; i++) {
        const struct kt_setting *row = &kt_kcptun_settings.rows[i];
        if (row->type == KT_SETTING_NAME) continue;
        lua_pushinteger(L, (lua_Integer)kt_setting_get(row, &c.common));
        lua_setfield(L, -2, row->member);
    }
    lua_pushstring(L, c.crypt);
    lua_setfield(L, -2, "crypt");
    lua_pushlstring(L, c.common.key, c.common.key_len);
    lua_setfield(L, -2, "key");
    return 1;
}

/* ---- fake pipes: the spec plays the other end ---- */

struct fake {
    struct handle h;
    struct kt_pipe pipe;
    struct kt_bufq in, out;
    size_t room; /* most bytes in `out` */
    bool eof, half_close, gone, shut, starved;
    int code;      /* broken */
    char end[32];  /* "closed", "reset dead", … */
    char text[64]; /* … and the text that came with a cut */
    struct kt_err why;
};

static struct fake *fake_of(const struct kt_pipe *p)
{
    return KT_CONTAINER(p, struct fake, pipe);
}

static size_t fake_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    return kt_bufq_peek(&fake_of(p)->in, 0, iov, max);
}

static void fake_consume(struct kt_pipe *p, size_t n)
{
    kt_bufq_consume(&fake_of(p)->in, n);
}

static bool fake_eof(const struct kt_pipe *p)
{
    return fake_of(p)->eof && fake_of(p)->in.len == 0;
}

static size_t fake_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct fake *f = fake_of(p);
    if (f->shut || f->code || f->gone) return 0;
    size_t room = f->room - f->out.len, take = n < room ? n : room;
    kt_bufq_append(&f->out, data, take);
    f->starved = take < n;
    return take;
}

static void fake_shutdown(struct kt_pipe *p)
{
    fake_of(p)->shut = true;
}

static bool fake_half_close(const struct kt_pipe *p)
{
    return fake_of(p)->half_close;
}

static bool fake_gone(const struct kt_pipe *p)
{
    return fake_of(p)->gone;
}

static void fake_ended(struct kt_pipe *p, const char *how, int reason)
{
    struct fake *f = fake_of(p);
    if (f->end[0]) abort(); /* ended twice */
    snprintf(f->end, sizeof f->end, "%s%s%s", how, reason ? " " : "", reason ? kt_errname(reason) : "");
    p->events = NULL;
}

static void fake_close(struct kt_pipe *p)
{
    fake_ended(p, "closed", 0);
}

static void fake_reset(struct kt_pipe *p, int reason, const char *text)
{
    (void)text;
    fake_ended(p, "reset", reason);
}

static void fake_cut(struct kt_pipe *p, int reason, const char *text)
{
    fake_ended(p, "cut", reason);
    snprintf(fake_of(p)->text, sizeof fake_of(p)->text, "%s", text ? text : "");
}

static bool fake_why(const struct kt_pipe *p, struct kt_err *out)
{
    *out = fake_of(p)->why;
    return out->code != 0;
}

static const struct kt_pipe_ops fake_ops = {fake_peek, fake_consume, fake_eof, fake_write, fake_shutdown,
    fake_half_close, fake_reset, fake_close, fake_gone, fake_cut, NULL, fake_why, NULL};

static void fake_end(struct handle *h)
{
    struct fake *f = (struct fake *)h;
    kt_bufq_clear(&f->in);
    kt_bufq_clear(&f->out);
}

/* fake(room): takes so many bytes until the spec takes them */
static int world_fake(lua_State *L)
{
    struct world *w = check_world(L);
    size_t room = (size_t)luaL_optinteger(L, 2, 1 << 20);
    struct fake *f = push_handle(L, w, FAKE, sizeof *f, fake_end);
    f->pipe.ops = &fake_ops;
    f->room = room;
    f->half_close = true;
    kt_bufq_init(&f->in, w->bufs);
    kt_bufq_init(&f->out, w->bufs);
    return 1;
}

static struct fake *check_fake(lua_State *L)
{
    struct fake *f = luaL_checkudata(L, 1, FAKE);
    luaL_argcheck(L, f->h.w->io, 1, "freed");
    return f;
}

static void raise_readable(struct fake *f)
{
    if (f->pipe.events) f->pipe.events->readable(f->pipe.ctx);
}

/* feed(data): data arrive */
static int fake_feed(lua_State *L)
{
    struct fake *f = check_fake(L);
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    kt_bufq_append(&f->in, data, n);
    raise_readable(f);
    return 0;
}

/* finish(gone): the other end has finished sending; gone: it has closed both directions */
static int fake_finish(lua_State *L)
{
    struct fake *f = check_fake(L);
    f->eof = true;
    f->gone = lua_toboolean(L, 2);
    raise_readable(f);
    if (f->gone && f->starved && f->pipe.events) {
        f->starved = false;
        f->pipe.events->writable(f->pipe.ctx);
    }
    return 0;
}

/* break_off(code [, why, text]): the pipe breaks, for a reason that the far side gave */
static int fake_break(lua_State *L)
{
    struct fake *f = check_fake(L);
    f->code = code_of(L, 2);
    if (!lua_isnoneornil(L, 3)) kt_err_set(&f->why, code_of(L, 3), "%s", luaL_checkstring(L, 4));
    if (f->pipe.events)
        f->pipe.events->closed(f->pipe.ctx, f->code);
    else
        f->gone = true;
    return 0;
}

/* take(n): what was written to it, at most n bytes, which makes room */
static int fake_take(lua_State *L)
{
    struct fake *f = check_fake(L);
    size_t left = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);
    struct kt_iov iov;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (left && kt_bufq_peek(&f->out, 0, &iov, 1)) {
        size_t n = iov.len < left ? iov.len : left;
        luaL_addlstring(&b, (const char *)iov.data, n);
        kt_bufq_consume(&f->out, n);
        left -= n;
    }
    luaL_pushresult(&b);
    if (f->starved && f->out.len < f->room && f->pipe.events) {
        f->starved = false;
        f->pipe.events->writable(f->pipe.ctx);
    }
    return 1;
}

/* Bytes that arrived and were not consumed; bytes written and not taken. */
static int fake_waiting(lua_State *L)
{
    struct fake *f = check_fake(L);
    lua_pushinteger(L, (lua_Integer)f->in.len);
    lua_pushinteger(L, (lua_Integer)f->out.len);
    return 2;
}

static int fake_set_half_close(lua_State *L)
{
    check_fake(L)->half_close = lua_toboolean(L, 2);
    return 0;
}

static int fake_is_shut(lua_State *L)
{
    lua_pushboolean(L, check_fake(L)->shut);
    return 1;
}

/* How, and the text of a cut; nil: it lives */
static int fake_how_ended(lua_State *L)
{
    const struct fake *f = check_fake(L);
    if (!f->end[0]) return 0;
    lua_pushstring(L, f->end);
    if (!f->text[0]) return 1;
    lua_pushstring(L, f->text);
    return 2;
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

static const struct kt_pipe_events pipe_events = {on_readable, on_writable, on_closed};

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

static struct pipe *check_pipe(lua_State *L)
{
    struct pipe *p = luaL_checkudata(L, 1, PIPE);
    luaL_argcheck(L, p->p, 1, "closed, or taken over");
    return p;
}

/* The kt_pipe of a fake or a pipe, which is no longer the spec's. */
static struct kt_pipe *take_over(lua_State *L, int arg)
{
    struct fake *f = luaL_testudata(L, arg, FAKE);
    if (f) return &f->pipe;
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

/* Nobody listens any more. */
static int pipe_ignore(lua_State *L)
{
    kt_pipe_listen(check_pipe(L)->p, NULL, NULL);
    return 0;
}

/* The code of `closed`; nil while it has not come. */
static int pipe_closed(lua_State *L)
{
    const struct pipe *p = luaL_checkudata(L, 1, PIPE);
    if (!p->code) return 0;
    lua_pushstring(L, kt_errname(p->code));
    return 1;
}

/* How often readable and writable came. */
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

/* priority, weight; nil: it is no link's stream */
static int pipe_policy(lua_State *L)
{
    struct kt_stream_facts f;
    if (kt_stream_facts(check_pipe(L)->p, &f)) return 0;
    lua_pushinteger(L, f.policy.priority);
    lua_pushinteger(L, f.policy.weight);
    return 2;
}

/* bytes in, bytes out */
static int pipe_figures(lua_State *L)
{
    const struct kt_pipe *p = check_pipe(L)->p;
    lua_pushinteger(L, (lua_Integer)p->bytes_in);
    lua_pushinteger(L, (lua_Integer)p->bytes_out);
    return 2;
}

/* ---- shapers ---- */

struct shaper {
    struct handle h;
    struct kt_shaper *s; /* good while the pipe is open */
};

static void shaper_end(struct handle *h)
{
    (void)h;
}

/* shaper(inner [, broke]): the pipe, and the side that sets it */
static int world_shaper(lua_State *L)
{
    struct world *w = check_world(L);
    const int code = lua_toboolean(L, 3) ? KT_ERESET : 0;
    struct shaper *s = push_handle(L, w, SHAPER, sizeof *s, shaper_end);
    int rc = kt_shaper_new(w->io, take_over(L, 2), kt_io_now(w->io), code, &s->s);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    push_pipe(L, w, kt_shaper_pipe(s->s));
    lua_insert(L, -2);
    return 2;
}

static int shaper_set(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    const struct kt_shaper_limits limits = {(uint64_t)field(L, 2, "rate_in", 0),
        (uint64_t)field(L, 2, "rate_out", 0), (uint64_t)field(L, 2, "idle_us", 0),
        (uint64_t)field(L, 2, "total_us", 0)};
    kt_shaper_set(((struct shaper *)luaL_checkudata(L, 1, SHAPER))->s, &limits);
    return 0;
}

/* tuncrypt(inner, pass, client) */
static int world_tuncrypt(lua_State *L)
{
    struct world *w = check_world(L);
    size_t n;
    const char *pass = luaL_checklstring(L, 3, &n);
    luaL_argcheck(L, n == 32, 3, "32 bytes");
    struct kt_pipe *clear;
    int rc = kt_tuncrypt(w->io, take_over(L, 2), (const uint8_t *)pass, lua_toboolean(L, 4), &clear);
    if (rc) return luaL_error(L, "%s", kt_strerror(rc));
    push_pipe(L, w, clear);
    return 1;
}

/* ---- splices ---- */

struct splice {
    struct handle h;
    struct kt_splice *s; /* NULL: over */
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

/* nil, or { a_to_b, b_to_a, code } ("end" for 0), and the far side's code and text if there are any */
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

/* set(opts): other terms for one that runs */
static int splice_set(lua_State *L)
{
    struct splice *s = luaL_checkudata(L, 1, SPLICE);
    luaL_argcheck(L, s->s, 1, "over");
    luaL_checktype(L, 2, LUA_TTABLE);
    const struct kt_splice_opts opts = splice_opts(L, 2);
    kt_splice_set(s->s, &opts);
    return 0;
}

static int splice_cancel(lua_State *L)
{
    struct splice *s = luaL_checkudata(L, 1, SPLICE);
    luaL_argcheck(L, s->s, 1, "over");
    splice_end(&s->h);
    return 0;
}

/* ---- links and acceptors ---- */

/* What both have: their own counters and log. */
struct end {
    struct handle h;
    struct kt_link *link;
    struct kt_acceptor *acceptor;
    struct kt_counters counters;
    struct kt_log log;
    char lines[16384];
    struct kt_pipe *accepted[512]; /* streams the spec has not asked for */
    char peers[512][KT_ADDR_TEXT];
    unsigned first, count;
    bool deaf; /* closed: no event may come */
};

static void on_line(void *ctx, enum kt_log_level level, const char *line)
{
    struct end *e = ctx;
    size_t have = strlen(e->lines);
    snprintf(e->lines + have, sizeof e->lines - have, "%s: %s\n", kt_log_level_name(level), line);
}

static void end_end(struct handle *h)
{
    struct end *e = (struct end *)h;
    for (; e->first < e->count; e->first++) kt_pipe_reset(e->accepted[e->first], KT_ECANCELED);
    if (e->link) kt_link_close(e->link);
    if (e->acceptor) kt_acceptor_close(e->acceptor);
    e->link = NULL;
    e->acceptor = NULL;
    e->deaf = true;
}

static void prepare_end(struct end *e)
{
    e->log = (struct kt_log){KT_LOG_DEBUG, on_line, e};
}

static int world_link(lua_State *L)
{
    struct world *w = check_world(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 2, true);
    struct end *e = push_handle(L, w, LINK, sizeof *e, end_end);
    struct kt_err err;
    prepare_end(e);
    const struct kt_wire_env env = {.io = w->io, .log = &e->log, .counters = &e->counters};
    int rc = kt_kcptun_link(&env, &c.common, &e->link, &err);
    return rc ? fail(L, rc, err.text) : 1;
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    struct end *e = ctx;
    if (e->deaf || e->count == sizeof e->accepted / sizeof e->accepted[0]) abort();
    snprintf(e->peers[e->count], KT_ADDR_TEXT, "%s", peer->address);
    e->accepted[e->count++] = stream;
}

static int world_accept(lua_State *L)
{
    static const struct kt_acceptor_events events = {.stream = on_stream};
    struct world *w = check_world(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 2, false);
    struct end *e = push_handle(L, w, ACCEPTOR, sizeof *e, end_end);
    struct kt_err err;
    prepare_end(e);
    const struct kt_wire_env env = {.io = w->io, .log = &e->log, .counters = &e->counters};
    int rc = kt_kcptun_accept(&env, &c.common, &events, e, &e->acceptor, &err);
    return rc ? fail(L, rc, err.text) : 1;
}

static struct end *check_end(lua_State *L)
{
    struct end *e = luaL_testudata(L, 1, LINK);
    return e ? e : luaL_checkudata(L, 1, ACCEPTOR);
}

static int end_counter(lua_State *L)
{
    const struct end *e = check_end(L);
    const char *want = luaL_checkstring(L, 2), *name;
    for (size_t i = 0; (name = kt_counter_name(i)); i++) {
        if (strcmp(name, want) != 0) continue;
        lua_pushinteger(L, (lua_Integer)kt_counter_value(&e->counters, i));
        return 1;
    }
    return luaL_argerror(L, 2, "no such counter");
}

static int end_log(lua_State *L)
{
    lua_pushstring(L, check_end(L)->lines);
    return 1;
}

static int end_stats(lua_State *L)
{
    struct end *e = check_end(L);
    luaL_argcheck(L, e->link || e->acceptor, 1, "closed");
    struct kt_link_stats s;
    if (e->link)
        kt_link_stats(e->link, &s);
    else
        kt_acceptor_stats(e->acceptor, &s);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"sessions", s.sessions}, {"streams", s.streams}, {"srtt_us", s.srtt_us},
        {"inflight", s.inflight}, {"queued", s.queued}, {"bytes_in", s.total.bytes_in},
        {"bytes_out", s.total.bytes_out}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        lua_pushinteger(L, (lua_Integer)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* Streams that were accepted and not asked for stay open: close is the acceptor's alone. */
static int end_close(lua_State *L)
{
    struct end *e = check_end(L);
    luaL_argcheck(L, e->link || e->acceptor, 1, "closed");
    if (e->link) kt_link_close(e->link);
    if (e->acceptor) kt_acceptor_close(e->acceptor);
    e->link = NULL;
    e->acceptor = NULL;
    e->deaf = true;
    return 0;
}

/* The next accepted stream, or nil. With `unheard` nobody listens on it. */
static int acceptor_next(lua_State *L)
{
    struct end *e = luaL_checkudata(L, 1, ACCEPTOR);
    if (e->first == e->count) return 0;
    const bool unheard = lua_toboolean(L, 2);
    struct pipe *p = push_pipe(L, e->h.w, e->accepted[e->first]);
    memcpy(p->peer, e->peers[e->first++], sizeof p->peer);
    if (unheard) kt_pipe_listen(p->p, NULL, NULL);
    return 1;
}

struct opening {
    struct handle h;
    struct kt_open *open; /* NULL: called back, or cancelled */
    struct kt_pipe *stream;
    struct kt_err err;
    unsigned calls;
    bool cancelled;
};

static void on_open(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    struct opening *o = ctx;
    if (o->cancelled || !o->open) abort();
    o->open = NULL;
    o->calls++;
    o->stream = stream;
    if (err) o->err = *err;
}

static void opening_end(struct handle *h)
{
    struct opening *o = (struct opening *)h;
    if (o->stream) kt_pipe_reset(o->stream, KT_ECANCELED);
    o->stream = NULL;
}

static int link_open(lua_State *L)
{
    struct end *e = luaL_checkudata(L, 1, LINK);
    luaL_argcheck(L, e->link, 1, "closed");
    struct opening *o = push_handle(L, e->h.w, OPENING, sizeof *o, opening_end);
    struct kt_err err;
    int rc = kt_link_open(e->link, NULL, on_open, o, &o->open, &err);
    if (rc) return fail(L, rc, err.text);
    if (o->calls) return luaL_error(L, "called back from inside open");
    return 1;
}

/* The stream, once; or nil, code, sentence; or nil while there is no result. */
static int opening_stream(lua_State *L)
{
    struct opening *o = luaL_checkudata(L, 1, OPENING);
    if (o->stream) {
        struct kt_pipe *stream = o->stream;
        o->stream = NULL;
        push_pipe(L, o->h.w, stream);
        return 1;
    }
    return o->err.code ? fail(L, o->err.code, o->err.text) : 0;
}

static int opening_called(lua_State *L)
{
    lua_pushinteger(L, ((struct opening *)luaL_checkudata(L, 1, OPENING))->calls);
    return 1;
}

static int opening_cancel(lua_State *L)
{
    struct opening *o = luaL_checkudata(L, 1, OPENING);
    luaL_argcheck(L, o->open, 1, "over");
    o->cancelled = true;
    kt_open_cancel(o->open);
    o->open = NULL;
    return 0;
}

/* ---- a relay between a client and a server: the road ---- */

struct relay {
    struct handle h;
    struct kt_udp *down, *up; /* towards the client; towards the server */
    struct kt_addr server, client;
    bool known, cut;
    lua_Integer to_server, to_client;
    uint8_t first[KT_UDP_MAX]; /* the first datagram of the client */
    size_t first_len;
};

static void relay_on(struct kt_udp *udp, const struct kt_dgram *d, const struct kt_addr *to)
{
    uint8_t *buf = kt_udp_reserve(udp);
    if (!buf) return;
    memcpy(buf, d->data, d->len);
    kt_udp_commit(udp, buf, buf, d->len, to, NULL);
}

static void from_client(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct relay *r = ctx;
    for (size_t i = 0; i < n; i++) {
        r->client = *dgrams[i].from;
        r->known = true;
        if (!r->first_len) memcpy(r->first, dgrams[i].data, r->first_len = dgrams[i].len);
        r->to_server++;
        if (!r->cut) relay_on(r->up, &dgrams[i], &r->server);
    }
}

static void from_server(void *ctx, struct kt_dgram *dgrams, size_t n)
{
    struct relay *r = ctx;
    for (size_t i = 0; i < n; i++) {
        r->to_client++;
        if (!r->cut && r->known) relay_on(r->down, &dgrams[i], &r->client);
    }
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_error(void *ctx, int code)
{
    (void)ctx;
    (void)code;
}

static const struct kt_udp_events down_events = {from_client, on_nothing, on_error};
static const struct kt_udp_events up_events = {from_server, on_nothing, on_error};

static struct kt_udp *open_udp(lua_State *L, struct world *w, const struct kt_udp_events *events, void *ctx)
{
    struct kt_udp_opts opts = {0};
    struct kt_udp *udp;
    struct kt_err err;
    kt_addr_from_ip(&opts.local, "127.0.0.1", 0);
    if (kt_udp_open(w->io, &opts, events, ctx, &udp, &err)) luaL_error(L, "%s", err.text);
    return udp;
}

static uint16_t port_of(const struct kt_udp *udp)
{
    struct kt_addr a;
    kt_udp_local(udp, &a);
    return kt_addr_port(&a);
}

static void relay_end(struct handle *h)
{
    struct relay *r = (struct relay *)h;
    kt_udp_close(r->down);
    kt_udp_close(r->up);
    r->down = r->up = NULL;
}

static int world_relay(lua_State *L)
{
    struct world *w = check_world(L);
    uint16_t port = (uint16_t)luaL_checkinteger(L, 2);
    struct relay *r = push_handle(L, w, RELAY, sizeof *r, relay_end);
    kt_addr_from_ip(&r->server, "127.0.0.1", port);
    r->down = open_udp(L, w, &down_events, r);
    r->up = open_udp(L, w, &up_events, r);
    return 1;
}

static int relay_port(lua_State *L)
{
    lua_pushinteger(L, port_of(((struct relay *)luaL_checkudata(L, 1, RELAY))->down));
    return 1;
}

/* The server sees another address from now on. */
static int relay_move(lua_State *L)
{
    struct relay *r = luaL_checkudata(L, 1, RELAY);
    struct kt_udp *old = r->up;
    r->up = open_udp(L, r->h.w, &up_events, r);
    kt_udp_close(old);
    return 0;
}

static int relay_cut(lua_State *L)
{
    ((struct relay *)luaL_checkudata(L, 1, RELAY))->cut = lua_toboolean(L, 2);
    return 0;
}

/* replay(other): sends the client's first datagram once more, from the address of another relay. */
static int relay_replay(lua_State *L)
{
    struct relay *r = luaL_checkudata(L, 1, RELAY), *other = luaL_checkudata(L, 2, RELAY);
    struct kt_dgram d = {.data = r->first, .len = r->first_len};
    relay_on(other->up, &d, &r->server);
    return 0;
}

static int relay_counts(lua_State *L)
{
    const struct relay *r = luaL_checkudata(L, 1, RELAY);
    lua_pushinteger(L, r->to_server);
    lua_pushinteger(L, r->to_client);
    return 2;
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

static int world_free_port(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_udp *udp = open_udp(L, w, &down_events, NULL);
    lua_pushinteger(L, port_of(udp));
    kt_udp_close(udp);
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
    kt_slab_free(w->bufs); /* asserts that all is back */
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

static void class(lua_State *L, const char *name, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

int luaopen_spec_link(lua_State *L)
{
    struct kt_err err;
    if (kt_crypto_init(&err)) return luaL_error(L, "%s", err.text);
    static const luaL_Reg world[] = {{"run", world_run}, {"now", world_now}, {"fake", world_fake},
        {"splice", world_splice}, {"shaper", world_shaper}, {"tuncrypt", world_tuncrypt},
        {"link", world_link}, {"accept", world_accept}, {"relay", world_relay},
        {"free_port", world_free_port}, {"free", world_free}, {"__gc", world_free}, {NULL, NULL}};
    static const luaL_Reg health[] = {{"heard", health_heard}, {"check", health_check}, {"due", health_due},
        {"suspect", health_suspect}, {NULL, NULL}};
    static const luaL_Reg fake[] = {{"feed", fake_feed}, {"finish", fake_finish}, {"break_off", fake_break},
        {"take", fake_take}, {"waiting", fake_waiting}, {"half_close", fake_set_half_close},
        {"shut", fake_is_shut}, {"ended", fake_how_ended}, {NULL, NULL}};
    static const luaL_Reg pipe[] = {{"read", pipe_read}, {"write", pipe_write}, {"eof", pipe_eof},
        {"gone", pipe_gone}, {"half_close", pipe_half_close}, {"shutdown", pipe_shutdown},
        {"close", pipe_close}, {"reset", pipe_reset}, {"cut", pipe_cut}, {"ignore", pipe_ignore},
        {"figures", pipe_figures}, {"closed", pipe_closed}, {"heard", pipe_heard}, {"peer", pipe_peer},
        {"set", pipe_set}, {"policy", pipe_policy}, {NULL, NULL}};
    static const luaL_Reg shaper[] = {{"set", shaper_set}, {NULL, NULL}};
    static const luaL_Reg splice[] = {
        {"result", splice_result}, {"set", splice_set}, {"cancel", splice_cancel}, {NULL, NULL}};
    static const luaL_Reg opening[] = {
        {"stream", opening_stream}, {"called", opening_called}, {"cancel", opening_cancel}, {NULL, NULL}};
    static const luaL_Reg link[] = {{"open", link_open}, {"counter", end_counter}, {"log", end_log},
        {"stats", end_stats}, {"close", end_close}, {NULL, NULL}};
    static const luaL_Reg acceptor[] = {{"next", acceptor_next}, {"counter", end_counter}, {"log", end_log},
        {"stats", end_stats}, {"close", end_close}, {NULL, NULL}};
    static const luaL_Reg relay[] = {{"port", relay_port}, {"move", relay_move}, {"cut", relay_cut},
        {"replay", relay_replay}, {"counts", relay_counts}, {NULL, NULL}};
    static const luaL_Reg module[] = {{"new", world_new}, {"health", health_new}, {"room", horizon_room},
        {"check", config_check}, {"mode", config_mode}, {"defaults", config_defaults}, {NULL, NULL}};
    class(L, WORLD, world);
    class(L, HEALTH, health);
    class(L, FAKE, fake);
    class(L, PIPE, pipe);
    class(L, SHAPER, shaper);
    class(L, SPLICE, splice);
    class(L, OPENING, opening);
    class(L, LINK, link);
    class(L, ACCEPTOR, acceptor);
    class(L, RELAY, relay);
    luaL_newlib(L, module);
    return 1;
}
