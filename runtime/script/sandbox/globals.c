/* The globals of a script: an allowlist of Lua's library, with guarded versions of functions that could
 * bypass kt, run endlessly inside C, or weaken the guard; and a global table that raises on undefined
 * reads, and on new names in a task. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <string.h>
#include "io/io.h"
#include "script/sandbox/origin.h"
#include "script/sandbox/pattern.h"
#include "script/sandbox/box.h"

#define DEPTH_MAX 8000          /* call depth at which pcall is refused */
#define STEP_MAX (1 << 20)      /* largest step of the collector, in KiB */
#define COLLECT_COST 10000      /* instructions counted for a collection */
#define REP_UNGUARDED_MAX 65536 /* bytes for which Lua's string.rep is used directly */
#define REP_PIECES_MAX 128      /* pieces that a longer result is joined of */

/* The globals that a script gets, besides `require` (`os` and `io` only with --unsafe). None of them loads a
 * C library, reads a file, or inspects frames and upvalues. */
static const char *const allowed[] = {"_G", "_VERSION", "assert", "collectgarbage", "coroutine", "error",
    "getmetatable", "ipairs", "load", "math", "next", "os", "io", "pairs", "pcall", "print", "rawequal",
    "rawget", "rawlen", "rawset", "select", "setmetatable", "string", "table", "tonumber", "tostring", "type",
    "utf8", "warn", "xpcall"};

/* ---- functions that replace Lua's ---- */

static int print(lua_State *L)
{
    struct kt_sandbox *s = kt_sandbox_of(L);
    int n = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1) luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_addchar(&b, '\n');
    luaL_pushresult(&b);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (s->streams[0]) fflush(s->streams[0]); /* keep the order with io.write */
    s->opts.host.print(s->opts.host.ctx, 1, text, len);
    return 0;
}

/* Calls the replaced function (upvalue 1) with the current arguments. */
static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int known_index(const char *const *known, const char *what)
{
    for (int i = 0; known[i]; i++)
        if (strcmp(what, known[i]) == 0) return i;
    return -1;
}

/* collectgarbage without the options that tune or stop the collector, with which a script could fill its
 * memory with garbage. Collects on the main thread, whose stack has room for finalizers: see kt_sandbox_new. */
static int collectgarbage(lua_State *L)
{
    lua_State *main = kt_sandbox_of(L)->L;
    static const char *const known[] = {"collect", "count", "step", "isrunning", NULL};
    const char *what = luaL_optstring(L, 1, "collect");
    const lua_Integer size = strcmp(what, "step") == 0 ? luaL_optinteger(L, 2, 0) : 0;
    if (size < 0 || size > STEP_MAX) /* it would overflow to a negative size and delay the collector */
        return kt_raise(L, "collectgarbage \"step\": expected a size of 0 to %d KiB, got %I", STEP_MAX, size);
    if (kt_guard_worked(kt_guard_of(L), COLLECT_COST)) kt_guard_raise(L);
    switch (known_index(known, what)) {
    case 0:
        lua_gc(main, LUA_GCCOLLECT);
        lua_pushinteger(L, 0);
        return 1;
    case 1:
        lua_pushnumber(L, (lua_Number)lua_gc(L, LUA_GCCOUNT) + (lua_Number)lua_gc(L, LUA_GCCOUNTB) / 1024);
        return 1;
    case 2:
        lua_pushboolean(L, lua_gc(main, LUA_GCSTEP, (int)size));
        return 1;
    case 3:
        lua_pushboolean(L, true);
        return 1;
    }
    return kt_raise(L,
        "collectgarbage \"%s\": not allowed; expected one of \"collect\", \"step\", \"count\", \"isrunning\"",
        what);
}

/* Calls the script's message handler (upvalue 1), unless the slice was stopped: it would run with hooks off,
 * as the error comes from a hook. */
static int handle_error(lua_State *L)
{
    lua_settop(L, 1);
    if (kt_guard_stopped(kt_guard_of(L))) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* Limits the depth of nested pcalls. Catching an error walks all frames, so unwinding n nested pcalls takes
 * time quadratic in n: minutes for a script stopped in a coroutine whose stack is full of them. */
static void check_depth(lua_State *L, const char *what)
{
    lua_Debug ar;
    if (lua_getstack(L, DEPTH_MAX, &ar)) kt_raise(L, "%s: nested more than %d calls deep", what, DEPTH_MAX);
}

/* Stack: the handler or nil, then the results. */
static int end_pcall(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 1;
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    check_depth(L, "pcall");
    lua_pushnil(L);
    lua_insert(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 2); /* nil, true, function, arguments */
    return end_pcall(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 0, 0, end_pcall), 0);
}

static int xpcall(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    check_depth(L, "xpcall");
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handle_error, 1);
    lua_replace(L, 1);
    lua_insert(L, 3);
    lua_pushboolean(L, 1);
    lua_replace(L, 2); /* handler, true, function, arguments */
    return end_pcall(L, lua_pcallk(L, n - 2, LUA_MULTRET, 1, 0, end_pcall), 0);
}

static void push_rep(lua_State *L, int idx, lua_Integer n, lua_Integer len);

/* Pushes strings whose concatenation is n copies of the string at idx, which has len bytes. */
static void push_pieces(lua_State *L, int idx, lua_Integer n, lua_Integer len)
{
    luaL_checkstack(L, REP_PIECES_MAX + 8, NULL);
    const lua_Integer each = n / REP_PIECES_MAX + 1;
    push_rep(L, idx, each, len);
    const int piece = lua_gettop(L);
    for (lua_Integer i = 1; i < n / each; i++) lua_pushvalue(L, piece);
    push_rep(L, idx, n % each, len);
}

/* Pushes n copies of the string at idx as one string. */
static void push_rep(lua_State *L, int idx, lua_Integer n, lua_Integer len)
{
    const int top = lua_gettop(L);
    if (n == 1) {
        lua_pushvalue(L, idx);
    } else if (n <= REP_UNGUARDED_MAX / len) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, idx);
        lua_pushinteger(L, n);
        lua_call(L, 2, 1);
    } else {
        push_pieces(L, idx, n, len);
        lua_concat(L, lua_gettop(L) - top);
    }
}

/* string.rep. Lua's own cannot be stopped and copies one string at a time, which takes years for an empty
 * string and seconds for a letter. A long result is therefore joined of few large pieces, at the speed of
 * memory and with half as much of it. */
static int rep(lua_State *L)
{
    size_t len, sep = 0;
    luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    if (!lua_isnoneornil(L, 3)) luaL_checklstring(L, 3, &sep);
    if (len + sep == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    const lua_Integer unit = (lua_Integer)(len + sep);
    if (n < 2 || n <= REP_UNGUARDED_MAX / unit || n > LUA_MAXINTEGER / unit)
        return call_original(L); /* short, or raises that it is too long */
    lua_settop(L, 3);
    lua_pushvalue(L, 1);
    if (sep > 0) { /* no separator after the last copy */
        lua_pushvalue(L, 3);
        lua_concat(L, 2);
        n--;
    }
    push_pieces(L, 4, n, unit);
    if (sep > 0) lua_pushvalue(L, 1);
    lua_concat(L, lua_gettop(L) - 4);
    return 1;
}

/* ---- the library ---- */

/* Seeds math.random from the io, so that simulated worlds are repeatable. */
static void seed_random(lua_State *L)
{
    lua_Integer seed[2];
    kt_io_random(kt_sandbox_of(L)->opts.io, seed, sizeof seed);
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seed[0]);
    lua_pushinteger(L, seed[1]);
    lua_call(L, 2, 0);
    lua_pop(L, 1);
}

static void drop_unlisted(lua_State *L)
{
    lua_pushglobaltable(L);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        size_t i = 0, n = sizeof allowed / sizeof allowed[0];
        while (i < n && strcmp(lua_tostring(L, -1), allowed[i]) != 0) i++;
        if (i < n) continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4); /* clearing an existing key is allowed during lua_next */
    }
    lua_pop(L, 1);
}

/* In the table on top of the stack, replaces a function by fn, with the old one as upvalue 1. */
static void replace(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, fn, 1);
    lua_setfield(L, -2, name);
}

static void replace_in(lua_State *L, const char *library, const char *name, lua_CFunction fn)
{
    lua_getglobal(L, library);
    replace(L, name, fn);
    lua_pop(L, 1);
}

void kt_globals_open(lua_State *L)
{
    struct kt_sandbox *s = kt_sandbox_of(L);
    static const luaL_Reg libs[] = {
        {LUA_GNAME, luaopen_base},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},
        {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_OSLIBNAME, luaopen_os},
        {LUA_IOLIBNAME, luaopen_io},
    };
    size_t n = sizeof libs / sizeof libs[0] - (s->opts.unsafe ? 0 : 2);
    for (size_t i = 0; i < n; i++) {
        luaL_requiref(L, libs[i].name, libs[i].func, 1);
        lua_pop(L, 1);
    }
    drop_unlisted(L);
    seed_random(L);
    kt_lua_bounded(L); /* before the replacements that use these functions */
    if (s->opts.repeatable) {
        kt_lua_order(L, &s->guard);
        kt_lua_os(L);
    }
    if (s->opts.unsafe) kt_lua_unsafe(L);
    lua_register(L, "print", print);
    lua_getglobal(L, LUA_STRLIBNAME);
    kt_lua_pattern(L);
    replace(L, "rep", rep);
    lua_pop(L, 1);
    lua_getglobal(L, LUA_TABLIBNAME);
    kt_lua_table(L);
    kt_lua_sort(L);
    lua_pop(L, 1);
}

/* ---- the script's environment ---- */

int kt_table_copy(lua_State *L, int idx)
{
    idx = lua_absindex(L, idx);
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    return 1;
}

static int undefined(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL);
    if (strcmp(name, "os") == 0 || strcmp(name, "io") == 0)
        return luaL_error(L, "global '%s' is not available: os and io need kt run --unsafe", name);
    static const char *const kept[][2] = {{"debug", "it could bypass the sandbox"},
        {"dofile", "use require, which loads modules from the script's own folder"},
        {"loadfile", "use require, which loads modules from the script's own folder"},
        {"package", "use require, which loads modules from the script's own folder"},
        {"loadstring", "use load"}, {"unpack", "use table.unpack"}};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        if (strcmp(name, kept[i][0]) == 0)
            return luaL_error(L, "global '%s' is not available: %s", name, kept[i][1]);
    return luaL_error(L, "global '%s' is not defined", name);
}

/* All tasks share the globals, so that one declared in a task is mostly a forgotten `local`, and shows one
 * connection another's data. */
static int undeclared(lua_State *L)
{
    const struct kt_sandbox *s = kt_sandbox_of(L);
    if (s->guard.in_tasks && s->modules == 0) {
        const char *name = luaL_tolstring(L, 2, NULL);
        return luaL_error(L, "global '%s' is shared by all connections; write: local %s", name, name);
    }
    lua_rawset(L, 1);
    return 0;
}

void kt_globals_begin_module(lua_State *L)
{
    kt_sandbox_of(L)->modules++;
}

void kt_globals_end_module(lua_State *L)
{
    kt_sandbox_of(L)->modules--;
}

/* Methods of strings come from the library itself, which modules in the binary rely on; the script's `string`
 * is a copy. A function that the script adds to it also becomes a method; one that it replaces does not. */
static void part_strings(lua_State *L)
{
    lua_getglobal(L, LUA_STRLIBNAME);
    kt_table_copy(L, -1);
    lua_pushvalue(L, -1);
    lua_setglobal(L, LUA_STRLIBNAME);
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void kt_globals_guard(lua_State *L)
{
    replace_in(L, LUA_GNAME, "collectgarbage", collectgarbage);
    lua_register(L, "pcall", pcall);
    lua_register(L, "xpcall", xpcall);
    kt_lua_finalizer(L);
    lua_getglobal(L, LUA_COLIBNAME);
    kt_lua_coroutine(L);
    lua_pop(L, 1);
    part_strings(L);
    lua_pushglobaltable(L);
    lua_newtable(L);
    lua_pushcfunction(L, undefined);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, undeclared);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
