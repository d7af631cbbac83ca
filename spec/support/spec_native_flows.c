/* Flows of kt's own wire, for spec/link/native_flows_spec.lua, which carries the packets itself.
 *
 *   e = flows{client = bool, ours, peers (max_flows), idle (µs), deaf = bool}
 *   e:clock(now, gap)   e:path(room[, reach])   e:due()   e:timer()   e:pending()   e:facts() -> table   e:free(code)
 *   packet, contents = e:write(room)   e:acked(contents)   e:lost(contents)   contents: a string
 *   e:feed(packet) -> true, or nil, error
 *   id = e:open(target, client), or nil, error   e:send(id, text) -> true, or nil, error   e:close(id, code)
 *   e:copies(id, n)   e:flow(id) -> table of facts
 *   e:events() -> array of "flow ID TARGET CLIENT", "datagram ID TEXT", "ended ID CODE" */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include "results.h"
#include "link/native/flow.h"

#define END "spec_native_flows.end"

int luaopen_spec_native_flows(lua_State *L);

struct user {
    struct end *e;
    struct kt_native_flow *flow;
    uint64_t id;
    struct user *next;
};

struct end {
    lua_State *L;
    struct kt_native_flows *flows;
    struct user *users; /* of flows that live */
    int events;
};

static void note(struct end *e, const char *text, size_t len)
{
    lua_State *L = e->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->events);
    lua_pushlstring(L, text, len);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static void on_datagram(void *ctx, const uint8_t *data, size_t len)
{
    const struct user *u = ctx;
    char text[64 + KT_NATIVE_DATAGRAM];
    const int n = snprintf(text, 64, "datagram %d ", (int)u->id);
    memcpy(text + n, data, len);
    note(u->e, text, (size_t)n + len);
}

static void forget(struct user *u)
{
    struct user **at = &u->e->users;
    while (*at != u) at = &(*at)->next;
    *at = u->next;
    free(u);
}

static void on_ended(void *ctx, int code, const struct kt_native_flow_facts *facts)
{
    (void)facts;
    struct user *u = ctx;
    char text[64];
    const int n = snprintf(text, sizeof text, "ended %d %s", (int)u->id, kt_errname(code));
    note(u->e, text, (size_t)n);
    forget(u);
}

static const struct kt_native_flow_events events = {on_datagram, on_ended};

static void adopt(struct end *e, struct kt_native_flow *flow)
{
    struct user *u = calloc(1, sizeof *u);
    if (!u) abort();
    *u = (struct user){e, flow, flow->id, e->users};
    e->users = u;
    kt_native_flow_listen(flow, &events, u);
}

static void on_flow(void *ctx, struct kt_native_flow *flow, const struct kt_native_flow_addresses *a)
{
    struct end *e = ctx;
    char text[600];
    const int n = snprintf(text, sizeof text, "flow %d %s %s", (int)flow->id, a->target ? a->target : "-",
        a->client ? a->client : "-");
    adopt(e, flow);
    note(e, text, (size_t)n);
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

static uint64_t number(lua_State *L, const char *key, uint64_t otherwise)
{
    lua_getfield(L, 1, key);
    const uint64_t v = (uint64_t)luaL_optinteger(L, -1, (lua_Integer)otherwise);
    lua_pop(L, 1);
    return v;
}

static int end_new(lua_State *L)
{
    static const struct kt_native_flows_owner owner = {on_wake, on_flow}, deaf = {on_wake, NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "client");
    lua_getfield(L, 1, "deaf");
    const struct kt_native_flows_config cfg = {.client = lua_toboolean(L, -2),
        .ours = number(L, "ours", 100),
        .peers = number(L, "peers", 100),
        .idle_us = number(L, "idle", 0)};
    const bool is_deaf = lua_toboolean(L, -1);
    struct end *e = lua_newuserdatauv(L, sizeof *e, 0);
    *e = (struct end){.L = L};
    luaL_setmetatable(L, END);
    lua_newtable(L);
    e->events = luaL_ref(L, LUA_REGISTRYINDEX);
    if (kt_native_flows_new(&e->flows, &cfg, is_deaf ? &deaf : &owner, e) < 0)
        return luaL_error(L, "no memory");
    kt_native_flows_path(e->flows, 1200, 1200);
    return 1;
}

static struct end *check_end(lua_State *L)
{
    struct end *e = luaL_checkudata(L, 1, END);
    e->L = L;
    luaL_argcheck(L, e->flows, 1, "was freed");
    return e;
}

static struct user *check_user(lua_State *L, const struct end *e)
{
    const uint64_t id = (uint64_t)luaL_checkinteger(L, 2);
    for (struct user *u = e->users; u; u = u->next)
        if (u->id == id) return u;
    luaL_error(L, "no such flow");
    return NULL;
}

static int code_of(lua_State *L, int idx)
{
    const char *name = luaL_optstring(L, idx, "closed");
    for (int code = -1; code > -64; code--)
        if (strcmp(kt_errname(code), name) == 0) return code;
    return luaL_error(L, "no such code");
}

static int result(lua_State *L, int rc)
{
    if (rc == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, kt_errname(rc));
    return 2;
}

static int end_clock(lua_State *L)
{
    kt_native_flows_clock(
        check_end(L)->flows, (uint64_t)luaL_checkinteger(L, 2), (uint64_t)luaL_optinteger(L, 3, 0));
    return 0;
}

static int end_path(lua_State *L)
{
    const size_t room = (size_t)luaL_checkinteger(L, 2);
    kt_native_flows_path(check_end(L)->flows, room, (size_t)luaL_optinteger(L, 3, (lua_Integer)room));
    return 0;
}

static int end_due(lua_State *L)
{
    const uint64_t due = kt_native_flows_due(check_end(L)->flows);
    if (due == UINT64_MAX) return 0;
    lua_pushinteger(L, (lua_Integer)due);
    return 1;
}

static int end_timer(lua_State *L)
{
    kt_native_flows_timer(check_end(L)->flows);
    return 0;
}

static int end_pending(lua_State *L)
{
    lua_pushboolean(L, kt_native_flows_pending(check_end(L)->flows));
    return 1;
}

static int end_write(lua_State *L)
{
    struct end *e = check_end(L);
    const size_t room = (size_t)luaL_optinteger(L, 2, 1200);
    uint8_t *out = lua_newuserdatauv(L, room + 1, 0); /* of this length, for the sanitizer */
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    size_t count = 0;
    const size_t n = kt_native_flows_write(e->flows, out, room, contents, &count);
    if (n > room || count > KT_NATIVE_CONTENTS) return luaL_error(L, "too much");
    lua_pushlstring(L, (const char *)out, n);
    lua_pushlstring(L, (const char *)contents, count * sizeof contents[0]);
    return 2;
}

static int fates(lua_State *L, void (*fate)(struct kt_native_flows *, const struct kt_native_content *))
{
    struct end *e = check_end(L);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    for (size_t i = 0; i < n; i += sizeof(struct kt_native_content)) {
        struct kt_native_content c;
        memcpy(&c, text + i, sizeof c);
        fate(e->flows, &c);
    }
    return 0;
}

static int end_acked(lua_State *L)
{
    return fates(L, kt_native_flows_acked);
}

static int end_lost(lua_State *L)
{
    return fates(L, kt_native_flows_lost);
}

static int end_feed(lua_State *L)
{
    struct end *e = check_end(L);
    size_t len;
    const char *packet = luaL_checklstring(L, 2, &len);
    uint8_t *copy = lua_newuserdatauv(L, len, 0);
    memcpy(copy, packet, len);
    struct kt_err err = {0};
    while (len > 0) {
        struct kt_native_frame f;
        long n = kt_native_frame_read(&f, copy, len, &err);
        if (n > 0 && kt_native_flows_takes(f.type)) {
            const int rc = kt_native_flows_input(e->flows, &f, &err);
            if (rc < 0) n = rc;
        }
        if (n < 0) {
            lua_pushnil(L);
            lua_pushstring(L, err.text);
            return 2;
        }
        copy += n;
        len -= (size_t)n;
    }
    lua_pushboolean(L, true);
    return 1;
}

static int end_open(lua_State *L)
{
    struct end *e = check_end(L);
    const struct kt_native_flow_addresses a = {luaL_optstring(L, 2, NULL), luaL_optstring(L, 3, NULL)};
    struct kt_native_flow *flow;
    const int rc = kt_native_flows_open(e->flows, &a, &flow);
    if (rc < 0) return result(L, rc);
    adopt(e, flow);
    lua_pushinteger(L, (lua_Integer)flow->id);
    return 1;
}

static int end_send(lua_State *L)
{
    struct end *e = check_end(L);
    struct user *u = check_user(L, e);
    size_t n;
    const char *text = luaL_checklstring(L, 3, &n);
    return result(L, kt_native_flow_send(u->flow, text, n));
}

static int end_close(lua_State *L)
{
    struct end *e = check_end(L);
    struct user *u = check_user(L, e);
    kt_native_flow_close(u->flow, code_of(L, 3));
    forget(u);
    return 0;
}

static int end_copies(lua_State *L)
{
    struct end *e = check_end(L);
    kt_native_flow_copies(check_user(L, e)->flow, (unsigned)luaL_checkinteger(L, 3));
    return 0;
}

static void push_facts(lua_State *L, const struct kt_native_flow_facts *f)
{
    lua_newtable(L);
    set(L, "sent", f->sent);
    set(L, "received", f->received);
    set(L, "bytes_out", f->bytes_out);
    set(L, "bytes_in", f->bytes_in);
    set(L, "dropped", f->dropped);
    set(L, "too_large", f->too_large);
    set(L, "duplicates", f->duplicates);
}

static int end_flow(lua_State *L)
{
    struct end *e = check_end(L);
    struct kt_native_flow_facts f;
    kt_native_flow_facts(check_user(L, e)->flow, &f);
    push_facts(L, &f);
    return 1;
}

static int end_facts(lua_State *L)
{
    struct kt_native_flows_facts f;
    kt_native_flows_facts(check_end(L)->flows, &f);
    push_facts(L, &f.total);
    set(L, "flows", f.flows);
    set(L, "queued", f.queued);
    set(L, "strays", f.strays);
    set(L, "evicted", f.evicted);
    return 1;
}

static int end_events(lua_State *L)
{
    struct end *e = check_end(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->events);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, e->events);
    return 1;
}

static int end_free(lua_State *L)
{
    struct end *e = check_end(L);
    struct kt_native_flows *f = e->flows;
    kt_native_flows_free(f, code_of(L, 2));
    e->flows = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->events);
    return 1;
}

static int end_gc(lua_State *L)
{
    struct end *e = luaL_checkudata(L, 1, END);
    e->L = L;
    kt_native_flows_free(e->flows, KT_ECLOSED);
    e->flows = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, e->events);
    return 0;
}

int luaopen_spec_native_flows(lua_State *L)
{
    static const luaL_Reg methods[] = {{"clock", end_clock}, {"path", end_path}, {"due", end_due},
        {"timer", end_timer}, {"pending", end_pending}, {"write", end_write}, {"acked", end_acked},
        {"lost", end_lost}, {"feed", end_feed}, {"open", end_open}, {"send", end_send}, {"close", end_close},
        {"copies", end_copies}, {"flow", end_flow}, {"facts", end_facts}, {"events", end_events},
        {"free", end_free}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"flows", end_new}, {NULL, NULL}};
    luaL_newmetatable(L, END);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, end_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, functions);
    return 1;
}
