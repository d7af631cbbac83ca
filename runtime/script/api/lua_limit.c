/* The handle of kt.limit. Conns, streams and splices that use the limit keep it alive without the handle. */
#include "script/api/lua_limit.h"
#include "link/shared_limit.h"
#include "script/core/handle.h"
#include "script/api/api.h"

#define SET "limit:set"

struct kt_lua_limit {
    struct kt_shared_limit *limit;
};

struct kt_shared_limit *kt_lua_limit_of(void *handle)
{
    return handle ? ((struct kt_lua_limit *)handle)->limit : NULL;
}

/* core.limit(rate, burst) → limit; both in bytes, checked; burst nil: the default */
static int limit_new(lua_State *L)
{
    const uint64_t rate = (uint64_t)luaL_checkinteger(L, 1), burst = (uint64_t)luaL_optinteger(L, 2, 0);
    struct kt_lua_limit *h = kt_handle_push(L, KT_HANDLE_LIMIT, sizeof *h, 0);
    if (kt_shared_limit_new(kt_runtime_io(kt_runtime_of(L)), rate, burst, &h->limit) < 0)
        return luaL_error(L, "not enough memory");
    return 1;
}

static struct kt_lua_limit *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_LIMIT, method);
}

/* limit:set { rate = "2Mbit", burst = "256KiB" }; keys that are not given stay as they are */
static int limit_set(lua_State *L)
{
    const struct kt_lua_limit *h = self(L, "set");
    uint64_t rate, burst = 0, before;
    kt_shared_limit_terms(h->limit, &rate, &before);
    const struct kt_opt opts[] = {{"rate", KT_OPT_RATE, &rate}, {"burst", KT_OPT_SIZE, &burst}};
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TTABLE) return kt_opts_wrong(L, 2, SET);
    kt_opts_read(L, 2, SET, opts, sizeof opts / sizeof opts[0]);
    if (lua_getfield(L, 2, "burst") == LUA_TNIL)
        burst = before;
    else if (burst < KT_SHARED_BURST_MIN || burst > KT_SHARED_BURST_MAX)
        return kt_opts_wrong(L, 2, SET);
    kt_shared_limit_set(h->limit, rate, burst);
    return 0;
}

static int gc(lua_State *L)
{
    struct kt_lua_limit *h = lua_touserdata(L, 1);
    kt_shared_limit_release(h->limit);
    h->limit = NULL;
    return 0;
}

void kt_lua_limit(lua_State *L)
{
    static const luaL_Reg methods[] = {{"set", limit_set}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = KT_HANDLE_LIMIT, .methods = methods, .gc = gc});
    lua_pushcfunction(L, limit_new);
    lua_setfield(L, -2, "limit");
}
