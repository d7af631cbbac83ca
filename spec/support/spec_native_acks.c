/* The receiver's acknowledgements on kt's own wire, for spec/link/native_acks_spec.lua. Times are in µs.
 *
 *   a = new(max_delay)
 *   fresh = a:received(number, now [, "quiet"])   quiet: need not be acknowledged
 *   time or nil = a:due()   0: now   a:waiting()   a:every(packets)
 *   frame = a:write(now)   {delay, known, {first, last}...}, highest first; nil: nothing known
 *   a:ask()   a:known(known)   n = every(packets) */
#include <lauxlib.h>
#include <lua.h>
#include "class.h"
#include "results.h"
#include "link/native/ack_ranges.h"

#define ACKS "spec_native_acks"

int luaopen_spec_native_acks(lua_State *L);

static struct kt_native_acks *to_acks(lua_State *L)
{
    return luaL_checkudata(L, 1, ACKS);
}

static int new (lua_State *L)
{
    struct kt_native_acks *a = lua_newuserdatauv(L, sizeof *a, 0);
    kt_native_acks_init(a, (uint32_t)luaL_checkinteger(L, 1));
    luaL_setmetatable(L, ACKS);
    return 1;
}

static int received(lua_State *L)
{
    lua_pushboolean(L, kt_native_acks_received(to_acks(L), (uint64_t)luaL_checkinteger(L, 2),
                           lua_isnoneornil(L, 4), (uint64_t)luaL_checkinteger(L, 3)));
    return 1;
}

static int due(lua_State *L)
{
    const uint64_t at = kt_native_acks_due(to_acks(L));
    if (at == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)at);
    return 1;
}

static int waiting(lua_State *L)
{
    lua_pushboolean(L, kt_native_acks_waiting(to_acks(L)));
    return 1;
}

static int write_ack(lua_State *L)
{
    uint8_t out[KT_NATIVE_ACK_BYTES];
    struct kt_native_content content;
    const size_t n =
        kt_native_acks_write(to_acks(L), 3, out, sizeof out, (uint64_t)luaL_checkinteger(L, 2), &content);
    if (n == 0) return 0;
    struct kt_native_frame f;
    if (kt_native_frame_read(&f, out, n, NULL) != (long)n || f.type != KT_NATIVE_FRAME_ACK || f.ack.path != 3)
        return luaL_error(L, "not the ACK that was asked for");
    if (content.type != KT_NATIVE_FRAME_ACK || content.path != 3) return luaL_error(L, "wrong content");
    lua_newtable(L);
    set(L, "delay", f.ack.delay_us);
    set(L, "known", content.offset);
    for (uint32_t i = 0; i < f.ack.count; i++) {
        lua_newtable(L);
        lua_pushinteger(L, (lua_Integer)f.ack.ranges[i].first);
        lua_rawseti(L, -2, 1);
        lua_pushinteger(L, (lua_Integer)f.ack.ranges[i].last);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int ask(lua_State *L)
{
    lua_pushboolean(L, kt_native_acks_ask(to_acks(L)));
    return 1;
}

static int known(lua_State *L)
{
    const struct kt_native_content content = {
        .offset = (uint64_t)luaL_checkinteger(L, 2), .type = KT_NATIVE_FRAME_ACK, .path = 3};
    kt_native_acks_known(to_acks(L), &content);
    return 0;
}

static int set_every(lua_State *L)
{
    kt_native_acks_every(to_acks(L), (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int every(lua_State *L)
{
    lua_pushinteger(L, kt_native_ack_every((uint32_t)luaL_checkinteger(L, 1)));
    return 1;
}

int luaopen_spec_native_acks(lua_State *L)
{
    static const luaL_Reg methods[] = {{"received", received}, {"due", due}, {"waiting", waiting},
        {"write", write_ack}, {"ask", ask}, {"known", known}, {"every", set_every}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"new", new}, {"every", every}, {NULL, NULL}};
    class(L, ACKS, methods);
    luaL_newlib(L, functions);
    return 1;
}
