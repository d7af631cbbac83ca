/* pairs and next for repeatable runtimes and the specs that run them: they visit tables in key order. The
 * order of Lua's own depends on addresses and on a random seed, so it differs between runs.
 *
 * Numbers come first, then strings (by bytes), booleans, and last values compared by identity, in the order
 * in which they were first seen. As in Lua, keys may be removed during a traversal, but not added.
 *
 * Values seen at the same time are ordered by address. That is repeatable in a repeatable runtime, whose
 * memory is an arena, but not in a spec's state. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include "script/sandbox/box.h"

/* Upvalues of both: 1 is the identities seen; */
#define GUARD 2  /* NULL in a spec's own state */
#define WALKS 3  /* of next: table being traversed → { keys in order, position by key }, weak */
#define FIRSTS 4 /* of next: table → its first key when last asked for, weak */

#define COST 8 /* instructions counted per sorted key */

struct key {
    int rank; /* order of its type */
    bool is_integer;
    lua_Integer i; /* integer, boolean, ordinal */
    lua_Number n;
    const char *s;
    size_t len;
    const void *where; /* identity */
    lua_Integer at;    /* index in the list of keys */
};

static int by_number(const struct key *a, const struct key *b)
{
    if (a->is_integer && b->is_integer) return (a->i > b->i) - (a->i < b->i);
    lua_Number x = a->is_integer ? (lua_Number)a->i : a->n, y = b->is_integer ? (lua_Number)b->i : b->n;
    return x != y ? (x > y) - (x < y) : a->is_integer - b->is_integer;
}

static int by_bytes(const struct key *a, const struct key *b)
{
    int order = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare(const void *pa, const void *pb)
{
    const struct key *a = pa, *b = pb;
    if (a->rank != b->rank) return a->rank - b->rank;
    if (a->rank == 0) return by_number(a, b);
    if (a->rank == 1) return by_bytes(a, b);
    return (a->i > b->i) - (a->i < b->i);
}

static int compare_where(const void *pa, const void *pb)
{
    const struct key *a = pa, *b = pb;
    if (a->rank != b->rank) return a->rank - b->rank;
    return ((uintptr_t)a->where > (uintptr_t)b->where) - ((uintptr_t)a->where < (uintptr_t)b->where);
}

/* Reads the key at idx, which anchors its string. Upvalue 1: identities seen, weak. */
static struct key read_key(lua_State *L, int idx)
{
    struct key k = {.rank = 3};
    switch (lua_type(L, idx)) {
    case LUA_TNUMBER:
        k.rank = 0;
        k.is_integer = lua_isinteger(L, idx);
        if (k.is_integer)
            k.i = lua_tointeger(L, idx);
        else
            k.n = lua_tonumber(L, idx);
        break;
    case LUA_TSTRING:
        k.rank = 1;
        k.s = lua_tolstring(L, idx, &k.len);
        break;
    case LUA_TBOOLEAN:
        k.rank = 2;
        k.i = lua_toboolean(L, idx);
        break;
    default:
        k.where = lua_topointer(L, idx);
        lua_pushvalue(L, idx);
        lua_rawget(L, lua_upvalueindex(1));
        k.i = lua_tointeger(L, -1); /* 0: not seen yet */
        lua_pop(L, 1);
    }
    return k;
}

/* Assigns ordinals to keys that were not seen before. The keys are in the list at `list`. */
static void meet(lua_State *L, int list, struct key *keys, size_t n)
{
    size_t strangers = 0;
    for (size_t i = 0; i < n; i++) strangers += keys[i].rank == 3 && keys[i].i == 0;
    if (strangers == 0) return;
    qsort(keys, n, sizeof *keys, compare_where);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].rank != 3 || keys[i].i != 0) continue;
        lua_rawgeti(L, lua_upvalueindex(1),
            1); /* the number seen so far; keys of the script are never numbers here */
        keys[i].i = lua_tointeger(L, -1) + 1;
        lua_pop(L, 1);
        lua_pushinteger(L, keys[i].i);
        lua_rawseti(L, lua_upvalueindex(1), 1);
        lua_rawgeti(L, list, keys[i].at);
        lua_pushinteger(L, keys[i].i);
        lua_rawset(L, lua_upvalueindex(1));
    }
}

/* Pushes a sorted list of the keys of the table at index 1. */
static void push_keys(lua_State *L)
{
    lua_newtable(L);
    const int list = lua_gettop(L);
    lua_Integer n = 0;
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, list, ++n);
    }
    struct kt_guard *g = lua_touserdata(L, lua_upvalueindex(GUARD));
    if (g && kt_guard_worked(g, (uint64_t)n * COST)) kt_guard_raise(L);
    if (n < 2) return;
    struct key *keys = lua_newuserdatauv(L, (size_t)n * sizeof *keys, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, list, i);
        keys[i - 1] = read_key(L, -1);
        keys[i - 1].at = i;
        lua_pop(L, 1);
    }
    meet(L, list, keys, (size_t)n);
    qsort(keys, (size_t)n, sizeof *keys, compare);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, list, keys[i - 1].at);
        lua_rawseti(L, -2, i);
    }
    lua_replace(L, list);
    lua_settop(L, list);
}

/* Upvalues: the list of keys, the number visited. */
static int step(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
    for (;;) {
        if (lua_rawgeti(L, lua_upvalueindex(1), ++i) == LUA_TNIL) return 1;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 1) != LUA_TNIL) break;
        lua_pop(L, 2);
    }
    lua_pushinteger(L, i);
    lua_replace(L, lua_upvalueindex(2));
    return 2;
}

static int continue_pairs(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 3;
}

static int pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_callk(L, 1, 3, 0, continue_pairs);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    push_keys(L);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, step, 2);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Pushes the first key of the table at index 1 and its value, and returns 2; or pushes nil and returns 1.
 * Most callers only test whether the table is empty. */
static int first(lua_State *L)
{
    lua_pushnil(L);
    if (!lua_next(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    if (!lua_next(L, 1)) { /* the only one */
        lua_pushvalue(L, -1);
        lua_rawget(L, 1);
        return 2;
    }
    lua_settop(L, 1);
    push_keys(L);
    lua_rawgeti(L, -1, 1);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    return 2;
}

/* Stores the value on top of the stack under t in a weak table that is an upvalue. */
static void remember(lua_State *L, int upvalue)
{
    lua_pushvalue(L, 1);
    lua_insert(L, -2);
    lua_rawset(L, lua_upvalueindex(upvalue));
}

/* Whether the key at index 2 was the first of t when last asked for, and has been removed since. */
static bool first_is_gone(lua_State *L)
{
    lua_pushvalue(L, 2);
    lua_rawget(L, 1);
    lua_pushvalue(L, 1);
    lua_rawget(L, lua_upvalueindex(FIRSTS));
    bool gone = lua_isnil(L, -2) && lua_rawequal(L, -1, 2);
    lua_pop(L, 2);
    return gone;
}

static void set_key(lua_State *L, bool there)
{
    lua_pushvalue(L, 2);
    if (there)
        lua_pushboolean(L, 1);
    else
        lua_pushnil(L);
    lua_rawset(L, 1);
}

/* Pushes { keys in order, position by key }, which include the key at index 2. */
static void begin_walk(lua_State *L)
{
    const bool gone = first_is_gone(L);
    lua_createtable(L, 2, 0); /* 3 */
    if (gone) set_key(L, true);
    push_keys(L);
    if (gone) set_key(L, false);
    lua_newtable(L);
    for (lua_Integer i = 1; lua_rawgeti(L, 4, i) != LUA_TNIL; i++) {
        lua_pushinteger(L, i);
        lua_rawset(L, 5);
    }
    lua_pop(L, 1);
    lua_rawseti(L, 3, 2);
    lua_rawseti(L, 3, 1);
    lua_pushvalue(L, 3);
    remember(L, WALKS);
}

/* Pushes the keys of the traversal at index 3, and the position of the key at index 2, or nil. */
static int push_place(lua_State *L)
{
    lua_rawgeti(L, 3, 1);
    lua_rawgeti(L, 3, 2);
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, -2);
    lua_replace(L, -2);
    return type;
}

/* next(t, key) */
static int next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushnil(L);
        remember(L, WALKS);
        int n = first(L);
        lua_pushvalue(L, -n);
        remember(L, FIRSTS);
        return n;
    }
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(WALKS)) == LUA_TNIL) {
        lua_pop(L, 1);
        begin_walk(L);
    }
    if (push_place(L) == LUA_TNIL) {
        lua_settop(L, 2); /* that traversal was abandoned, and the key is newer */
        begin_walk(L);
        if (push_place(L) == LUA_TNIL) return luaL_error(L, "invalid key to 'next'");
    }
    for (lua_Integer i = lua_tointeger(L, -1) + 1;; i++) {
        lua_settop(L, 4);
        if (lua_rawgeti(L, 4, i) == LUA_TNIL) break;
        lua_pushvalue(L, -1);
        if (lua_rawget(L, 1) != LUA_TNIL) return 2;
    }
    lua_pushvalue(L, -1); /* nil: the traversal is over, release its keys */
    remember(L, WALKS);
    return 1;
}

static void push_weak(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

void kt_lua_order(lua_State *L, struct kt_guard *guard)
{
    push_weak(L);
    lua_pushvalue(L, -1);
    lua_pushlightuserdata(L, guard);
    lua_pushcclosure(L, pairs, 2);
    lua_setglobal(L, "pairs");
    lua_pushlightuserdata(L, guard);
    push_weak(L);
    push_weak(L);
    lua_pushcclosure(L, next, 4);
    lua_setglobal(L, "next");
}
