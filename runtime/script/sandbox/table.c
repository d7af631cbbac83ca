/* table.concat, insert, move, remove and unpack, as in the reference manual (6.6), but stepping the guard at
 * each element. Lua's own may run endlessly without an instruction or an allocation: on a proxy of invented
 * length whose metamethods are C functions or long chains of tables. table.sort is in sort.c.
 *
 * Invariant: between two steps at most one element is read and one written. */
#include <lauxlib.h>
#include <limits.h>
#include "script/sandbox/origin.h"
#include "script/sandbox/box.h"

#define MOVE_MAX (1 << 24) /* elements in one table.move */

enum { READ = 1, WRITE = 2, LENGTH = 4 };

static void step(lua_State *L, struct kt_guard *g)
{
    if (kt_guard_step(g)) kt_guard_raise(L);
}

/* Raises unless the argument is a table or has the metamethods for the given uses. */
static void check_list(lua_State *L, int arg, int uses)
{
    static const char *const events[] = {"__index", "__newindex", "__len"};
    if (lua_istable(L, arg)) return;
    for (int i = 0; i < 3; i++) {
        if (!(uses & 1 << i)) continue;
        if (luaL_getmetafield(L, arg, events[i]) == LUA_TNIL) luaL_checktype(L, arg, LUA_TTABLE);
        lua_pop(L, 1);
    }
}

static lua_Integer length(lua_State *L, int uses)
{
    check_list(L, 1, uses | LENGTH);
    return luaL_len(L, 1);
}

static void add_element(lua_State *L, struct kt_guard *g, luaL_Buffer *b, lua_Integer i)
{
    step(L, g);
    lua_geti(L, 1, i);
    if (!lua_isstring(L, -1)) /* Lua's own message */
        luaL_error(
            L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)i);
    luaL_addvalue(b);
}

/* table.concat(list [, sep [, i [, j]]]) */
static int concat(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer n = length(L, READ);
    size_t sep_len;
    const char *sep = luaL_optlstring(L, 2, "", &sep_len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    const lua_Integer last = luaL_optinteger(L, 4, n);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; i < last; i++) {
        add_element(L, g, &b, i);
        luaL_addlstring(&b, sep, sep_len);
    }
    if (i == last) add_element(L, g, &b, i);
    luaL_pushresult(&b);
    return 1;
}

/* table.insert(list, [pos,] value) */
static int insert(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer end =
        (lua_Integer)((lua_Unsigned)length(L, READ | WRITE) + 1); /* first empty position */
    lua_Integer at = end;
    if (lua_gettop(L) == 3) {
        at = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)at - 1 < (lua_Unsigned)end, 2, "position out of bounds");
        for (lua_Integer i = end; i > at; i--) {
            step(L, g);
            lua_geti(L, 1, i - 1);
            lua_seti(L, 1, i);
        }
    } else if (lua_gettop(L) != 2) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, at); /* the last argument */
    return 0;
}

/* table.remove(list [, pos]) */
static int remove_(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer n = length(L, READ | WRITE);
    lua_Integer at = luaL_optinteger(L, 2, n);
    if (at != n) luaL_argcheck(L, (lua_Unsigned)at - 1 <= (lua_Unsigned)n, 2, "position out of bounds");
    lua_geti(L, 1, at);
    for (; at < n; at++) {
        step(L, g);
        lua_geti(L, 1, at + 1);
        lua_seti(L, 1, at);
    }
    lua_pushnil(L);
    lua_seti(L, 1, at);
    return 1;
}

/* table.move(a1, from, last, to [, a2]) */
static int move(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer from = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3),
                      to = luaL_checkinteger(L, 4);
    const int into = lua_isnoneornil(L, 5) ? 1 : 5;
    check_list(L, 1, READ);
    check_list(L, into, WRITE);
    lua_settop(L, 5);
    if (last >= from) {
        if ((lua_Unsigned)last - (lua_Unsigned)from >= MOVE_MAX)
            return kt_raise(L, "table.move: at most %d elements at once", MOVE_MAX);
        const lua_Integer n = last - from + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        /* Move from the end if the ranges overlap. */
        const bool up = to > from && to <= last && (into == 1 || lua_compare(L, 1, 5, LUA_OPEQ));
        for (lua_Integer k = 0; k < n; k++) {
            const lua_Integer i = up ? n - 1 - k : k;
            step(L, g);
            lua_geti(L, 1, from + i);
            lua_seti(L, into, to + i);
        }
    }
    lua_pushvalue(L, into);
    return 1;
}

/* table.unpack(list [, i [, j]]) */
static int unpack(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer first = luaL_optinteger(L, 2, 1);
    const lua_Integer last = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    if (first > last) return 0;
    const lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first; /* one less than the number of values */
    if (n >= INT_MAX - 1 || !lua_checkstack(L, (int)n + 1))
        return luaL_error(L, "too many results to unpack");
    for (lua_Unsigned k = 0; k <= n; k++) {
        step(L, g);
        lua_geti(L, 1, (lua_Integer)((lua_Unsigned)first + k));
    }
    return (int)n + 1;
}

void kt_lua_table(lua_State *L)
{
    static const luaL_Reg functions[] = {{"concat", concat}, {"insert", insert}, {"move", move},
        {"remove", remove_}, {"unpack", unpack}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
