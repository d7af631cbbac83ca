/* Links and acceptors of spec_link, and streams being opened. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../class.h"
#include "base/log.h"
#include "internal.h"
#include "link/counters.h"

#define OPENING "spec_link.opening"
#define LINK "spec_link.link"
#define ACCEPTOR "spec_link.acceptor"

/* A link or an acceptor, with counters and a log of its own. */
struct end {
    struct handle h;
    struct kt_link *link;
    struct kt_acceptor *acceptor;
    struct kt_counters counters;
    struct kt_log log;
    char lines[16384];
    struct kt_pipe *accepted[512]; /* streams that the spec has not taken */
    char peers[512][KT_ADDR_TEXT];
    unsigned first, count;
    bool deaf; /* closed: no event may come */
};

static void on_line(void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *line)
{
    (void)fields;
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
    e->log = (struct kt_log){.level = KT_LOG_DEBUG, .sink = on_line, .ctx = e};
}

int world_link(lua_State *L)
{
    struct world *w = check_world(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 2, true);
    struct end *e = push_handle(L, w, LINK, sizeof *e, end_end);
    struct kt_err err;
    prepare_end(e);
    const struct kt_wire_env env = {.io = w->io, .log = &e->log, .counters = &e->counters};
    int rc = kt_kcptun_link(&kt_kcptun_wire, &env, &c.common, &e->link, &err);
    return rc ? fail(L, rc, err.text) : 1;
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    struct end *e = ctx;
    if (e->deaf || e->count == sizeof e->accepted / sizeof e->accepted[0]) abort();
    snprintf(e->peers[e->count], KT_ADDR_TEXT, "%s", peer->address);
    e->accepted[e->count++] = stream;
}

int world_accept(lua_State *L)
{
    static const struct kt_acceptor_events events = {.stream = on_stream};
    struct world *w = check_world(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct kt_kcptun_config c = config_at(L, 2, false);
    struct end *e = push_handle(L, w, ACCEPTOR, sizeof *e, end_end);
    struct kt_err err;
    prepare_end(e);
    const struct kt_wire_env env = {.io = w->io, .log = &e->log, .counters = &e->counters};
    int rc = kt_kcptun_accept(&kt_kcptun_wire, &env, &c.common, &events, e, &e->acceptor, &err);
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
    const char *want = luaL_checkstring(L, 2);
    const struct kt_stat *row;
    for (size_t i = 0; (row = kt_counter_row(i)); i++) {
        if (strcmp(row->name, want) != 0) continue;
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

/* Accepted streams that the spec has not taken stay open: this closes only the acceptor. */
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

/* The next accepted stream, or nil. unheard: without a listener. */
static int acceptor_next(lua_State *L)
{
    struct end *e = luaL_checkudata(L, 1, ACCEPTOR);
    if (e->first == e->count) return 0;
    const bool unheard = lua_toboolean(L, 2);
    struct kt_pipe *stream = e->accepted[e->first];
    push_stream(L, e->h.w, stream, e->peers[e->first++]);
    if (unheard) kt_pipe_listen(stream, NULL, NULL);
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

/* The stream, once; or nil, code, sentence; or nil while the result is pending. */
static int opening_stream(lua_State *L)
{
    struct opening *o = luaL_checkudata(L, 1, OPENING);
    if (o->stream) {
        struct kt_pipe *stream = o->stream;
        o->stream = NULL;
        push_stream(L, o->h.w, stream, "");
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

void link_spec_ends(lua_State *L)
{
    static const luaL_Reg opening[] = {
        {"stream", opening_stream}, {"called", opening_called}, {"cancel", opening_cancel}, {NULL, NULL}};
    static const luaL_Reg link[] = {{"open", link_open}, {"counter", end_counter}, {"log", end_log},
        {"stats", end_stats}, {"close", end_close}, {NULL, NULL}};
    static const luaL_Reg acceptor[] = {{"next", acceptor_next}, {"counter", end_counter}, {"log", end_log},
        {"stats", end_stats}, {"close", end_close}, {NULL, NULL}};
    class(L, OPENING, opening);
    class(L, LINK, link);
    class(L, ACCEPTOR, acceptor);
}
