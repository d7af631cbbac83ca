/* Hands tables of a script to the one that replaces it (kt.keep).
 *
 * The new script asks for a table by name while its main chunk runs. The old one does not run then, so a copy
 * made at that moment is its last state. Only plain data is copied: the two scripts have two states,
 * and functions, handles and metatables belong to one of them.
 *
 * Invariant: reading the old state allocates nothing there except stack, so it cannot raise. */
#include "script/core/keep.h"
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/core/parts.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"

#define WHAT "kt.keep"
#define NAME_MAX_BYTES 64u
#define WAY_MAX 40u /* bytes of the way to a value that a message shows */

/* Its address is a registry key: true once the previous script's kept values were refused. */
static const char refused;
static const char kept; /* its address is a registry key: tables by name */

struct copy {
    lua_State *from, *to; /* from: what is read, maybe `to` itself */
    bool check;           /* only checks */
    const char *name;
    size_t used; /* of KT_KEEP_MAX */
};

/* The way to a value, for messages. */
struct way {
    const struct way *up;
    char key[40];
};

static void write_way(char *out, size_t size, const struct way *w)
{
    if (!w) return;
    write_way(out, size, w->up);
    const size_t len = strlen(out);
    snprintf(out + len, size - len, "%s", w->key);
}

static int refuse(const struct copy *c, const struct way *w, const char *why)
{
    char place[200] = "";
    write_way(place, sizeof place, w);
    if (strlen(place) > WAY_MAX) strcpy(place + WAY_MAX, "...");
    return kt_raise(c->to, WHAT " \"%s\": %s%s %s; only tables, strings, numbers and booleans can be kept",
        c->name, c->name, place, why);
}

static void spend(struct copy *c, size_t bytes)
{
    c->used += KT_KEEP_COST + bytes;
    if (c->used > KT_KEEP_MAX)
        kt_raise(
            c->to, WHAT " \"%s\": more than %d MiB of data; keep less", c->name, (int)(KT_KEEP_MAX >> 20));
}

/* Copies the string, number or boolean on top of c->from; returns false for anything else. */
static bool copy_plain(struct copy *c)
{
    size_t len = 0;
    const char *s;
    switch (lua_type(c->from, -1)) {
    case LUA_TBOOLEAN:
        spend(c, 0);
        if (!c->check) lua_pushboolean(c->to, lua_toboolean(c->from, -1));
        return true;
    case LUA_TNUMBER:
        spend(c, 0);
        if (c->check) return true;
        if (lua_isinteger(c->from, -1))
            lua_pushinteger(c->to, lua_tointeger(c->from, -1));
        else
            lua_pushnumber(c->to, lua_tonumber(c->from, -1));
        return true;
    case LUA_TSTRING:
        s = lua_tolstring(c->from, -1, &len);
        spend(c, len);
        if (!c->check) lua_pushlstring(c->to, s, len);
        return true;
    default:
        return false;
    }
}

static void name_key(const struct copy *c, struct way *w, int key)
{
    if (lua_type(c->from, key) == LUA_TSTRING)
        snprintf(w->key, sizeof w->key, ".%.32s", lua_tostring(c->from, key));
    else if (lua_isinteger(c->from, key))
        snprintf(w->key, sizeof w->key, "[%lld]", (long long)lua_tointeger(c->from, key));
    else
        snprintf(w->key, sizeof w->key, "[…]");
}

/* Copies the value on top of c->from. */
static void copy_value(struct copy *c, const struct way *w, int depth)
{
    if (copy_plain(c)) return;
    char why[64];
    if (lua_type(c->from, -1) != LUA_TTABLE) {
        snprintf(why, sizeof why, "is a %s", kt_type_name(c->from, -1));
        refuse(c, w, why);
    }
    if (lua_getmetatable(c->from, -1)) {
        lua_pop(c->from, 1);
        refuse(c, w, "has a metatable");
    }
    if (depth == KT_KEEP_DEPTH) refuse(c, w, "is nested too deeply, or in itself");
    luaL_checkstack(c->to, 6, NULL);
    if (!lua_checkstack(c->from, 4)) luaL_error(c->to, "out of memory");
    spend(c, 0);
    if (!c->check) lua_newtable(c->to);
    struct way below = {.up = w};
    for (lua_pushnil(c->from); lua_next(c->from, -2); lua_pop(c->from, 1)) {
        name_key(c, &below, -2);
        lua_pushvalue(c->from, -2);
        if (!copy_plain(c)) {
            snprintf(why, sizeof why, "has a key that is a %s", kt_type_name(c->from, -1));
            refuse(c, w, why);
        }
        lua_pop(c->from, 1);
        copy_value(c, &below, depth + 1);
        if (!c->check) lua_rawset(c->to, -3);
    }
}

/* Pushes the kept table of that name on a state's stack, or nil. Allocates nothing but stack. */
static void push_kept(lua_State *L, const char *name)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept) == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            if (strcmp(lua_tostring(L, -2), name) != 0) continue;
            lua_replace(L, -3);
            lua_pop(L, 1);
            return;
        }
    }
    lua_pop(L, 1);
    lua_pushnil(L);
}

/* copy(struct copy) → the copy of the value on top of its `from` */
static int copy_protected(lua_State *L)
{
    copy_value(lua_touserdata(L, 1), NULL, 0);
    return 1;
}

/* Pushes what the previous script kept as `name` and adds its size to *used, or pushes nothing and returns false. */
static bool take(lua_State *L, const char *name, size_t *used)
{
    const struct kt_runtime *before = kt_runtime_before(kt_runtime_of(L));
    lua_State *from = before ? kt_runtime_state(before) : NULL;
    if (!from || !lua_checkstack(from, 8)) return false;
    const int top = lua_gettop(from);
    push_kept(from, name);
    if (lua_isnil(from, -1)) {
        lua_settop(from, top);
        return false;
    }
    struct copy c = {.from = from, .to = L, .name = name, .used = *used};
    lua_pushcfunction(L, copy_protected);
    lua_pushlightuserdata(L, &c);
    const int status = lua_pcall(L, 1, 1, 0);
    lua_settop(from, top);
    if (status != LUA_OK) {
        lua_pushboolean(L, 1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &refused);
        lua_error(L);
    }
    *used = c.used;
    return true;
}

static const char
    spent; /* its address is a registry key: the size of all kept tables, as KT_KEEP_MAX counts */

/* core.keep(name, table) → the table that the script before has kept under that name, or the one given */
static int keep(lua_State *L)
{
    kt_declare_need(L, WHAT);
    size_t len = 0;
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    if (!name || len == 0 || len > NAME_MAX_BYTES || strlen(name) != len)
        return kt_raise(L, WHAT ": argument 1: expected a name, of up to %d bytes", (int)NAME_MAX_BYTES);
    if (lua_type(L, 2) != LUA_TTABLE)
        return kt_raise(L,
            WHAT " \"%s\": argument 2: expected a table, got %s; keep a table, and change what is in it",
            name, kt_type_name(L, 2));
    lua_settop(L, 2);
    luaL_checkstack(L, 8, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kept) == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &kept);
        lua_replace(L, 3);
    }
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) != LUA_TNIL)
        return kt_raise(L, WHAT " \"%s\": kept already; give each table a name of its own", name);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &spent);
    const size_t before = (size_t)lua_tointeger(L, -1);
    lua_settop(L, 3);

    struct copy check = {.from = L, .to = L, .check = true, .name = name, .used = before};
    lua_pushvalue(L, 2);
    copy_value(&check, NULL, 0);
    size_t used = before;
    if (!take(L, name, &used)) used = check.used; /* the default stays on top */
    lua_pushinteger(L, (lua_Integer)used);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &spent);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 3);
    return 1;
}

bool kt_keep_refused(lua_State *L)
{
    const bool yes = lua_rawgetp(L, LUA_REGISTRYINDEX, &refused) == LUA_TBOOLEAN;
    lua_pop(L, 1);
    return yes;
}

void kt_keep_bind(lua_State *L)
{
    lua_pushcfunction(L, keep);
    lua_setfield(L, -2, "keep");
}
