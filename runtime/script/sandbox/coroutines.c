/* coroutine.resume, wrap and close for scripts. They work as in Lua's library, except that they tell the
 * guard which thread runs, a stop propagates to the resuming thread, and scripts cannot resume or close
 * tasks. */
#include <lauxlib.h>
#include "script/sandbox/origin.h"
#include "script/sandbox/box.h"

static lua_State *coroutine_arg(lua_State *L, const char *what)
{
    lua_State *co = lua_tothread(L, 1);
    if (!co) kt_raise(L, "%s: expected a coroutine, got %s", what, kt_type_name(L, 1));
    return co;
}

/* Whether co is the thread of a task or the main thread. */
static bool is_task(const struct kt_sandbox *s, lua_State *co)
{
    return s->opts.host.owns(co);
}

/* Resumes co with the n values on top of L. Moves the results to L and returns their number; on failure moves
 * the message and returns -1. Needs a stack slot for the message. */
static int resume(lua_State *L, struct kt_guard *g, lua_State *co, int n)
{
    if (!lua_checkstack(co, n)) {
        lua_pop(L, n);
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    int nresults = 0;
    lua_State *before = kt_guard_switch(g, co);
    int status = lua_resume(co, L, n, &nresults);
    kt_guard_switch(g, before);
    if (kt_guard_stopped(g)) kt_guard_raise(L);
    if (status == LUA_OK || status == LUA_YIELD) {
        if (lua_checkstack(L, nresults + 1)) {
            lua_xmove(co, L, nresults);
            return nresults;
        }
        lua_pop(co, nresults);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, 1);
    return -1;
}

static int co_resume(lua_State *L)
{
    lua_State *co = coroutine_arg(L, "coroutine.resume");
    struct kt_sandbox *s = kt_sandbox_of(L);
    if (is_task(s, co))
        return kt_raise(L, "coroutine.resume: this is a task; kt resumes it when its wait is over");
    int n = resume(L, &s->guard, co, lua_gettop(L) - 1);
    lua_pushboolean(L, n >= 0);
    lua_insert(L, n >= 0 ? -(n + 1) : -2);
    return n >= 0 ? n + 1 : 2;
}

/* Closes co's pending variables; returns a Lua status, with the message on co. */
static int close_thread(lua_State *L, lua_State *co)
{
    struct kt_guard *g = kt_guard_of(L);
    lua_State *before = kt_guard_switch(g, co);
    int status = lua_resetthread(co);
    kt_guard_switch(g, before);
    if (kt_guard_stopped(g)) kt_guard_raise(L);
    return status;
}

static int wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, kt_guard_of(L), co, lua_gettop(L));
    if (n >= 0) return n;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD && !kt_guard_killed(co)) { /* the error ended it */
        lua_pop(L, 1);                                                     /* closing may replace the error */
        close_thread(L, co);
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int co_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int co_close(lua_State *L)
{
    lua_State *co = coroutine_arg(L, "coroutine.close");
    int status = lua_status(co);
    lua_Debug ar;
    if (is_task(kt_sandbox_of(L), co))
        return kt_raise(L, "coroutine.close: this is a task; it ends when its function returns");
    if (co == L || (status == LUA_OK && lua_getstack(co, 0, &ar)))
        return kt_raise(L, "coroutine.close: the coroutine is running");
    if (kt_guard_killed(co)) { /* the guard could not stop its __close metamethods */
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "the coroutine was stopped");
        return 2;
    }
    status = close_thread(L, co);
    lua_pushboolean(L, status == LUA_OK);
    if (status == LUA_OK) return 1;
    lua_xmove(co, L, 1);
    return 2;
}

void kt_lua_coroutine(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"resume", co_resume}, {"wrap", co_wrap}, {"close", co_close}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
