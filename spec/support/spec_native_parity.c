/* Parity of kt's own wire, for spec/link/native_parity_spec.lua. Times are in µs.
 *
 *   count, enough = need(packets, loss, burst, most)
 *
 *   o = out()               what a path sends
 *   open, bulk = o:stats(acked, lost, spurious, bursts)   recovery's totals
 *   o:add(number, frames, asked, min_rtt, now)
 *   time or nil = o:due(next)   frame = o:write(room, now)   o:reset()   o:free()   yes = o:held()
 *
 *   i = into()              what it receives
 *   {{number, frames}...} or nil, error = i:packet(number, frames, now)   what that rebuilt; takes one
 *                           PARITY frame at the start of frames
 *   facts = i:facts()       of its struct, with `held`
 *   yes = i:idle(now)       i:free() */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include "class.h"
#include "link/native/parity_in.h"
#include "link/native/parity_out.h"

#define OUT "spec_native_parity.out"
#define INTO "spec_native_parity.into"

int luaopen_spec_native_parity(lua_State *L);

struct into {
    struct kt_native_parity_in in;
    struct kt_replay seen;
    lua_State *L; /* during a call: the list of what was rebuilt is on its top */
};

static uint64_t arg(lua_State *L, int idx)
{
    return (uint64_t)luaL_checkinteger(L, idx);
}

static int need(lua_State *L)
{
    const struct kt_native_parity_need n = kt_native_parity_need(
        (unsigned)arg(L, 1), luaL_checknumber(L, 2), luaL_checknumber(L, 3), (unsigned)arg(L, 4));
    lua_pushinteger(L, n.count);
    lua_pushboolean(L, n.enough);
    return 2;
}

/* ---- out ---- */

static struct kt_native_parity_out *to_out(lua_State *L)
{
    return luaL_checkudata(L, 1, OUT);
}

static int out(lua_State *L)
{
    object(L, OUT, sizeof(struct kt_native_parity_out));
    return 1;
}

static int out_stats(lua_State *L)
{
    struct kt_native_parity_out *o = to_out(L);
    const struct kt_native_recovery_stats stats = {
        .acked = arg(L, 2), .lost = arg(L, 3), .spurious = arg(L, 4), .bursts = arg(L, 5)};
    lua_pushboolean(L, kt_native_parity_out_open(o, &stats));
    lua_pushboolean(L, kt_native_parity_out_bulk(o));
    return 2;
}

static int out_add(lua_State *L)
{
    uint8_t shard[KT_NATIVE_PARITY_HEAD + 1500];
    size_t len;
    const char *frames = luaL_checklstring(L, 3, &len);
    luaL_argcheck(L, len > 0 && len <= 1471, 3, "no packet");
    memcpy(shard + KT_NATIVE_PARITY_HEAD, frames, len);
    const struct kt_native_parity_packet packet = {
        .number = arg(L, 2), .shard = shard, .len = len, .asked = lua_toboolean(L, 4)};
    kt_native_parity_out_add(to_out(L), &packet, (uint32_t)arg(L, 5), arg(L, 6));
    return 0;
}

static int out_due(lua_State *L)
{
    const uint64_t due = kt_native_parity_out_due(to_out(L), arg(L, 2));
    if (due == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)due);
    return 1;
}

static int out_write(lua_State *L)
{
    uint8_t frame[2000];
    const size_t room = arg(L, 2);
    luaL_argcheck(L, room <= sizeof frame, 2, "too large");
    const size_t n = kt_native_parity_out_write(to_out(L), frame, room, arg(L, 3));
    lua_pushlstring(L, (const char *)frame, n);
    return 1;
}

static int out_reset(lua_State *L)
{
    kt_native_parity_out_reset(to_out(L));
    return 0;
}

static int out_free(lua_State *L)
{
    kt_native_parity_out_free(to_out(L));
    return 0;
}

static int out_held(lua_State *L)
{
    lua_pushboolean(L, to_out(L)->sums != NULL);
    return 1;
}

/* ---- into ---- */

static struct into *to_into(lua_State *L)
{
    return luaL_checkudata(L, 1, INTO);
}

static int into(lua_State *L)
{
    object(L, INTO, sizeof(struct into));
    return 1;
}

static void on_rebuilt(void *ctx, uint64_t number, const uint8_t *frames, size_t len)
{
    lua_State *L = ((struct into *)ctx)->L;
    lua_createtable(L, 2, 0);
    lua_pushinteger(L, (lua_Integer)number);
    lua_rawseti(L, -2, 1);
    lua_pushlstring(L, (const char *)frames, len);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* As association_input.c does it. */
static int into_packet(lua_State *L)
{
    struct into *i = to_into(L);
    const uint64_t number = arg(L, 2);
    size_t len;
    const uint8_t *frames = (const uint8_t *)luaL_checklstring(L, 3, &len);
    struct kt_native_frame f;
    struct kt_err err = {0};
    int rc = 0;
    lua_newtable(L);
    i->L = L;
    if (kt_replay_check(&i->seen, number) != KT_REPLAY_NEW) return 1;
    kt_replay_add(&i->seen, number);
    const struct kt_native_parity_arrival in = {
        .number = number, .frames = frames, .len = len, .seen = &i->seen, .sink = on_rebuilt, .ctx = i};
    kt_native_parity_in_packet(&i->in, &in);
    if (kt_native_frame_read(&f, frames, len, &err) > 0 && f.type == KT_NATIVE_FRAME_PARITY) {
        if (!kt_native_parity_in_on(&i->in) && !kt_native_parity_in_start(&i->in, &in))
            return luaL_error(L, "out of memory");
        rc = kt_native_parity_in_take(&i->in, &f.parity, &in, arg(L, 4), &err);
    }
    if (!rc) return 1;
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

static int into_facts(lua_State *L)
{
    const struct kt_native_parity_in *in = &to_into(L)->in;
    lua_newtable(L);
    lua_pushinteger(L, (lua_Integer)in->frames);
    lua_setfield(L, -2, "frames");
    lua_pushinteger(L, (lua_Integer)in->rebuilt);
    lua_setfield(L, -2, "rebuilt");
    lua_pushinteger(L, (lua_Integer)in->short_groups);
    lua_setfield(L, -2, "short_groups");
    lua_pushinteger(L, (lua_Integer)in->errors);
    lua_setfield(L, -2, "errors");
    lua_pushboolean(L, kt_native_parity_in_on(in));
    lua_setfield(L, -2, "held");
    return 1;
}

static int into_idle(lua_State *L)
{
    lua_pushboolean(L, kt_native_parity_in_due(&to_into(L)->in) <= arg(L, 2));
    return 1;
}

static int into_free(lua_State *L)
{
    kt_native_parity_in_free(&to_into(L)->in);
    return 0;
}

int luaopen_spec_native_parity(lua_State *L)
{
    static const luaL_Reg functions[] = {{"need", need}, {"out", out}, {"into", into}, {NULL, NULL}};
    static const luaL_Reg outs[] = {{"stats", out_stats}, {"add", out_add}, {"due", out_due},
        {"write", out_write}, {"reset", out_reset}, {"free", out_free}, {"held", out_held},
        {"__gc", out_free}, {NULL, NULL}};
    static const luaL_Reg intos[] = {{"packet", into_packet}, {"facts", into_facts}, {"idle", into_idle},
        {"free", into_free}, {"__gc", into_free}, {NULL, NULL}};
    class(L, OUT, outs);
    class(L, INTO, intos);
    luaL_newlib(L, functions);
    return 1;
}
