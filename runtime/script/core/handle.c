/* Makes the metatables of handles, and tracks which task owns a handle.
 *
 * Invariant: a script cannot reach a handle's metatable, so __gc and __close only run on intact handles. */
#include "script/core/handle.h"
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include "base/list.h"
#include "base/log.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"

/* Upvalues of __index: methods by name, fields by name, all names in one string, the type's name. */
static int handle_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (lua_isnil(L, -1))
        return kt_raise(L, "%s.%s: no such field; expected one of %s", lua_tostring(L, lua_upvalueindex(4)),
            luaL_tolstring(L, 2, NULL), lua_tostring(L, lua_upvalueindex(3)));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int newindex(lua_State *L)
{
    return kt_raise(L, "%s.%s: a handle's fields cannot be set", lua_tostring(L, lua_upvalueindex(1)),
        luaL_tolstring(L, 2, NULL));
}

static int tostring(lua_State *L)
{
    lua_pushfstring(L, "<%s>", lua_tostring(L, lua_upvalueindex(1)));
    return 1;
}

static void add_names(luaL_Buffer *b, const luaL_Reg *reg, const char *mark, bool *first)
{
    for (; reg && reg->name; reg++) {
        if (!*first) luaL_addstring(b, ", ");
        *first = false;
        luaL_addstring(b, mark);
        luaL_addstring(b, reg->name);
    }
}

static void set_named(lua_State *L, const char *event, lua_CFunction fn, const char *name)
{
    lua_pushstring(L, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, event);
}

static void set(lua_State *L, const char *event, lua_CFunction fn)
{
    if (!fn) return;
    lua_pushcfunction(L, fn);
    lua_setfield(L, -2, event);
}

static const char types; /* its address is a registry key: metatables by kind */

void kt_handle_push_types(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &types) != LUA_TNIL) return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &types);
}

void kt_handle_type(lua_State *L, const struct kt_handle_type *type)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    luaL_newmetatable(L, type->name);
    lua_newtable(L);
    luaL_setfuncs(L, type->methods ? type->methods : none, 0);
    lua_newtable(L);
    luaL_setfuncs(L, type->fields ? type->fields : none, 0);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    bool first = true;
    add_names(&b, type->methods, ":", &first);
    add_names(&b, type->fields, "", &first);
    luaL_pushresult(&b);
    lua_pushstring(L, type->name);
    lua_pushcclosure(L, handle_index, 4);
    lua_setfield(L, -2, "__index");
    if (!type->hidden) {
        kt_handle_push_types(L);
        lua_pushvalue(L, -2);
        lua_setfield(L, -2, type->name);
        lua_pop(L, 1);
    }
    set_named(L, "__newindex", newindex, type->name);
    if (type->tostring)
        set(L, "__tostring", type->tostring);
    else
        set_named(L, "__tostring", tostring, type->name);
    set(L, "__close", type->close);
    set(L, "__gc", type->gc);
    set(L, "__concat", type->concat);
    lua_pushboolean(L, 0); /* getmetatable returns false: a script cannot reach __gc */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void *kt_handle_push(lua_State *L, const char *name, size_t n, int uservalues)
{
    void *h = lua_newuserdatauv(L, n, uservalues);
    memset(h, 0, n);
    luaL_setmetatable(L, name);
    return h;
}

void *kt_handle_test(lua_State *L, int idx, const char *name)
{
    return luaL_testudata(L, idx, name);
}

int kt_handle_text(lua_State *L, const char *kind, const char *name, const char *state)
{
    lua_pushfstring(
        L, "<%s%s%s%s%s>", kind, name ? " " : "", name ? name : "", state ? ", " : "", state ? state : "");
    return 1;
}

void *kt_handle_self(lua_State *L, const char *name, const char *method)
{
    void *h = luaL_testudata(L, 1, name);
    if (!h) kt_raise(L, "%s:%s: expected self of type %s; call it with a colon", name, method, name);
    return h;
}

void kt_handle_give(lua_State *L, int idx, struct kt_task *from, struct kt_task *to)
{
    static const char *const kinds[] = {
        KT_HANDLE_CONN, KT_HANDLE_STREAM, KT_HANDLE_SOCKET, KT_HANDLE_FLOW, KT_HANDLE_KCP};
    struct kt_owned *o = NULL; /* the first member of all of them */
    for (size_t i = 0; !o && i < sizeof kinds / sizeof kinds[0]; i++) o = kt_handle_test(L, idx, kinds[i]);
    if (o && !kt_list_empty(&o->node) && o->owner == from) kt_task_own(to, o);
}

void kt_handle_dropped(const struct kt_owned *o, const char *kind)
{
    struct kt_runtime *rt = kt_task_runtime(o->owner);
    const struct kt_origin *at = kt_task_origin(o->owner);
    if (o->owner == kt_task_main(rt))
        kt_log(kt_runtime_log(rt), KT_LOG_WARN,
            "a %s was dropped without :close(), between two tasks; closed it", kind);
    else
        kt_log(kt_runtime_log(rt), KT_LOG_WARN,
            "a %s was dropped without :close(), in the task spawned at %s:%d; closed it", kind, at->source,
            at->line);
}
