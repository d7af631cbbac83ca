/* Parts of a path of kt's own wire, for spec/link/native_{mtu,copies}_spec.lua. Times are in µs.
 *
 *   m = mtu(most)
 *   size = m:size()   size = m:probe(now)   0: none   m:sent()   m:acked(size)   hole = m:lost(size, now)
 *   changed = m:packet_acked(bytes)   changed = m:packet_lost(bytes, now)
 *
 *   n = count(loss)         loss in millionths
 *   c = copies(rate)        of one stream, with a path's allowance of its own
 *   c:sent(now, loss, min_rtt, bytes)   time or nil = c:due()   yes = c:take(now, bytes)   c:stop() */
#include <lauxlib.h>
#include <lua.h>
#include "class.h"
#include "link/native/copies.h"
#include "link/native/mtu.h"

#define MTU "spec_native_path.mtu"
#define COPIES "spec_native_path.copies"

int luaopen_spec_native_path(lua_State *L);

struct thin {
    struct kt_native_copies c;
    struct kt_bucket allowance;
};

static uint32_t arg32(lua_State *L, int idx)
{
    return (uint32_t)luaL_checkinteger(L, idx);
}

static uint64_t arg64(lua_State *L, int idx)
{
    return (uint64_t)luaL_checkinteger(L, idx);
}

static struct kt_native_mtu *to_mtu(lua_State *L)
{
    return luaL_checkudata(L, 1, MTU);
}

static int mtu(lua_State *L)
{
    const uint32_t most = arg32(L, 1);
    struct kt_native_mtu *m = lua_newuserdatauv(L, sizeof *m, 0);
    kt_native_mtu_init(m, most);
    luaL_setmetatable(L, MTU);
    return 1;
}

static int mtu_size(lua_State *L)
{
    lua_pushinteger(L, kt_native_mtu_size(to_mtu(L)));
    return 1;
}

static int mtu_probe(lua_State *L)
{
    lua_pushinteger(L, kt_native_mtu_probe(to_mtu(L), arg64(L, 2)));
    return 1;
}

static int mtu_sent(lua_State *L)
{
    kt_native_mtu_sent(to_mtu(L));
    return 0;
}

static int mtu_acked(lua_State *L)
{
    kt_native_mtu_acked(to_mtu(L), arg32(L, 2));
    return 0;
}

static int mtu_lost(lua_State *L)
{
    lua_pushboolean(L, kt_native_mtu_lost(to_mtu(L), arg32(L, 2), arg64(L, 3)));
    return 1;
}

static int mtu_packet_acked(lua_State *L)
{
    lua_pushboolean(L, kt_native_mtu_packet_acked(to_mtu(L), arg32(L, 2)));
    return 1;
}

static int mtu_packet_lost(lua_State *L)
{
    lua_pushboolean(L, kt_native_mtu_packet_lost(to_mtu(L), arg32(L, 2), arg64(L, 3)));
    return 1;
}

static struct thin *to_thin(lua_State *L)
{
    return luaL_checkudata(L, 1, COPIES);
}

static int count(lua_State *L)
{
    lua_pushinteger(L, kt_native_copies_count(arg32(L, 1)));
    return 1;
}

static int copies(lua_State *L)
{
    const uint64_t rate = arg64(L, 1);
    struct thin *t = object(L, COPIES, sizeof *t);
    kt_native_copies_allow(&t->allowance, rate, 0);
    return 1;
}

static int copies_sent(lua_State *L)
{
    const struct kt_native_copies_facts facts = {
        .loss = arg32(L, 3), .min_rtt_us = arg32(L, 4), .bytes = arg32(L, 5)};
    kt_native_copies_sent(&to_thin(L)->c, &facts, arg64(L, 2));
    return 0;
}

static int copies_due(lua_State *L)
{
    const uint64_t at = kt_native_copies_due(&to_thin(L)->c);
    if (at == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static int copies_take(lua_State *L)
{
    struct thin *t = to_thin(L);
    lua_pushboolean(L, kt_native_copies_take(&t->c, &t->allowance, arg32(L, 3), arg64(L, 2)));
    return 1;
}

static int copies_stop(lua_State *L)
{
    kt_native_copies_stop(&to_thin(L)->c);
    return 0;
}

int luaopen_spec_native_path(lua_State *L)
{
    static const luaL_Reg of_mtu[] = {{"size", mtu_size}, {"probe", mtu_probe}, {"sent", mtu_sent},
        {"acked", mtu_acked}, {"lost", mtu_lost}, {"packet_acked", mtu_packet_acked},
        {"packet_lost", mtu_packet_lost}, {NULL, NULL}};
    static const luaL_Reg of_copies[] = {{"sent", copies_sent}, {"due", copies_due}, {"take", copies_take},
        {"stop", copies_stop}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"mtu", mtu}, {"count", count}, {"copies", copies}, {NULL, NULL}};
    class(L, MTU, of_mtu);
    class(L, COPIES, of_copies);
    luaL_newlib(L, functions);
    return 1;
}
