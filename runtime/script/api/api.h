/* Shared by the bindings: kinds of handles, small helpers, and the functions that register them. */
#ifndef KT_SCRIPT_API_API_H
#define KT_SCRIPT_API_API_H

#include <lauxlib.h>
#include <lua.h>
#include "base/err.h"
#include "base/log.h"
#include "io/io.h"
#include "link/counters.h"
#include "script/core/errors.h"
#include "script/core/life.h"
#include "script/core/options.h"
#include "script/core/runtime.h"
#include "script/core/setup.h"
#include "script/core/state.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"
#include "script/sandbox/sandbox.h"

/* Pushes a number, as an integer if it is whole, so that it prints without ".0". */
static inline void kt_push_number(lua_State *L, double v)
{
    if (v > -9e15 && v < 9e15 && (double)(lua_Integer)v == v)
        lua_pushinteger(L, (lua_Integer)v);
    else
        lua_pushnumber(L, v);
}

/* The bytes of a secret handle, or of a string; NULL for anything else. Anchored by the value. */
const char *kt_lua_secret_bytes(lua_State *L, int idx, size_t *len);
/* Pushes a secret of len zero bytes and returns its memory, to be filled at once. Raises without memory. */
char *kt_lua_secret_new(lua_State *L, size_t len);

/* Each adds its functions to kt.core, the table on top of the stack. */
void kt_lua_core(lua_State *L);
void kt_lua_check(lua_State *L);
void kt_lua_address(lua_State *L);
void kt_lua_resolve(lua_State *L);
void kt_lua_log(lua_State *L);
void kt_lua_task(lua_State *L);
void kt_lua_await(lua_State *L);
void kt_lua_inspect(lua_State *L);
void kt_lua_event(lua_State *L);
void kt_lua_event_log(lua_State *L);
void kt_lua_queue(lua_State *L);
void kt_lua_timer(lua_State *L);
void kt_lua_clock(lua_State *L);
void kt_lua_daemon_task(lua_State *L);
void kt_lua_kind(lua_State *L);
void kt_lua_rows(lua_State *L);
void kt_lua_secret(lua_State *L);
void kt_lua_crypto(lua_State *L);
void kt_lua_json(lua_State *L);
void kt_lua_file(lua_State *L);
void kt_lua_watch(lua_State *L);
void kt_lua_input(lua_State *L);
void kt_lua_limit(lua_State *L);
void kt_lua_pipe(lua_State *L);
void kt_lua_connect(lua_State *L);
void kt_lua_idle(lua_State *L);
void kt_lua_splice(lua_State *L);
void kt_lua_udp(lua_State *L);
void kt_lua_kcp(lua_State *L);
void kt_lua_flow(lua_State *L);
void kt_lua_udplisten(lua_State *L);
void kt_lua_listen(lua_State *L);
void kt_lua_link(lua_State *L);
void kt_lua_accept(lua_State *L);
void kt_lua_http(lua_State *L);

/* Adds argon2id to kt.crypto, the table on top of the stack. */
void kt_lua_argon2id(lua_State *L);

#endif
