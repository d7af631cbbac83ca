/* table.sort, as a merge sort. Lua's own may choose pivots by the clock, so that the order of equal elements
 * differs between runs; it takes quadratic time with some comparators; and without a comparator it runs no
 * instruction at which the guard could stop it.
 *
 * Stable, with at most n log n comparisons even if the comparator is inconsistent. Invariant: the list is
 * written only at the end, so a comparator that raises leaves it unchanged. */
#include <lauxlib.h>
#include <limits.h>
#include "script/sandbox/box.h"

#define BYTES 16 /* bytes of two strings compared in the time of an instruction, at worst */

enum { LIST = 1, LESS, FROM, TO, LEFT, RIGHT }; /* stack indices; FROM and TO are our own lists */

/* Whether the element at RIGHT goes before the one at LEFT. */
static bool right_first(lua_State *L, struct kt_guard *g)
{
    const size_t bytes = lua_type(L, LEFT) == LUA_TSTRING ? lua_rawlen(L, LEFT) : 0; /* scanned */
    if (kt_guard_steps(g, 1 + bytes / BYTES)) kt_guard_raise(L);
    if (lua_isnil(L, LESS)) return lua_compare(L, RIGHT, LEFT, LUA_OPLT);
    lua_pushvalue(L, LESS);
    lua_pushvalue(L, RIGHT);
    lua_pushvalue(L, LEFT);
    lua_call(L, 2, 1);
    const bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

/* Moves the element at `slot` to TO[k], and FROM[i] to `slot` if i < end. */
static void take(lua_State *L, int slot, lua_Integer k, lua_Integer i, lua_Integer end)
{
    lua_pushvalue(L, slot);
    lua_rawseti(L, TO, k);
    if (i >= end) return;
    lua_rawgeti(L, FROM, i);
    lua_replace(L, slot);
}

/* Merges the sorted FROM[left..right) and FROM[right..end) into TO[left..end). */
static void merge(lua_State *L, lua_Integer left, lua_Integer right, lua_Integer end)
{
    struct kt_guard *g = kt_guard_of(L);
    const lua_Integer middle = right;
    lua_rawgeti(L, FROM, left);
    lua_replace(L, LEFT);
    if (right < end) {
        lua_rawgeti(L, FROM, right);
        lua_replace(L, RIGHT);
    }
    for (lua_Integer k = left; left < middle || right < end; k++) {
        if (kt_guard_step(g)) kt_guard_raise(L);
        if (left == middle || (right < end && right_first(L, g)))
            take(L, RIGHT, k, ++right, end);
        else
            take(L, LEFT, k, ++left, middle);
    }
}

static int sort(lua_State *L)
{
    struct kt_guard *g = kt_guard_of(L);
    luaL_checktype(L, LIST, LUA_TTABLE);
    const lua_Integer n = luaL_len(L, LIST);
    if (n < 2) return 0;
    luaL_argcheck(L, n < INT_MAX, LIST, "array too big");
    if (!lua_isnoneornil(L, LESS)) luaL_checktype(L, LESS, LUA_TFUNCTION);
    lua_settop(L, LESS);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    lua_settop(L, RIGHT);
    for (lua_Integer i = 1; i <= n; i++) {
        if (kt_guard_step(g)) kt_guard_raise(L);
        lua_geti(L, LIST, i);
        lua_rawseti(L, FROM, i);
    }
    for (lua_Integer width = 1; width < n; width *= 2) {
        for (lua_Integer at = 1; at <= n; at += 2 * width) {
            const lua_Integer right = at + width, end = right + width;
            merge(L, at, right < n + 1 ? right : n + 1, end < n + 1 ? end : n + 1);
        }
        lua_pushvalue(L, FROM);
        lua_copy(L, TO, FROM);
        lua_replace(L, TO);
    }
    for (lua_Integer i = 1; i <= n; i++) {
        if (kt_guard_step(g)) kt_guard_raise(L);
        lua_rawgeti(L, FROM, i);
        lua_seti(L, LIST, i);
    }
    return 0;
}

void kt_lua_sort(lua_State *L)
{
    lua_pushcfunction(L, sort);
    lua_setfield(L, -2, "sort");
}
