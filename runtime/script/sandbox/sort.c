/* table.sort, by merging. Lua's own takes its pivots from the clock when a list is not to its taste, so that
 * elements that compare equal come out in another order each time; takes quadratic time under some
 * comparators; and without one never comes by an instruction at which the guard could stop it.
 *
 * Stable, and at most n log n comparisons, whatever the comparator says: one that makes no sense gets some
 * order. The list is written when all is done: a comparator that raises leaves it as it was. */
#include <lauxlib.h>
#include <limits.h>
#include "script/core/script.h"

#define BYTES 16 /* of two strings that are compared in an instruction's time, at worst */

enum { LIST = 1, LESS, FROM, TO, LEFT, RIGHT }; /* the stack: FROM and TO are lists of ours */

/* Whether the element at RIGHT goes before the one at LEFT. */
static bool right_first(lua_State *L, struct kt_guard *g)
{
    const size_t bytes = lua_type(L, LEFT) == LUA_TSTRING ? lua_rawlen(L, LEFT) : 0; /* looked through */
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

/* The element at `slot` goes to TO[k]; FROM[i] takes its place, if i is before `end`. */
static void take(lua_State *L, int slot, lua_Integer k, lua_Integer i, lua_Integer end)
{
    lua_pushvalue(L, slot);
    lua_rawseti(L, TO, k);
    if (i >= end) return;
    lua_rawgeti(L, FROM, i);
    lua_replace(L, slot);
}

/* FROM[left..right) and FROM[right..end), each in order, go to TO[left..end). */
static void merge(lua_State *L, lua_Integer left, lua_Integer right, lua_Integer end)
{
    struct kt_guard *g = &kt_runtime_of(L)->guard;
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
    struct kt_guard *g = &kt_runtime_of(L)->guard;
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
