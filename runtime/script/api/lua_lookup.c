/* core.lookup(endpoint, timeout_s) → true | nil, err: whether the host name of an endpoint resolves. The
 * verbs use it to report a bad name at startup rather than with the first connection. */
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.core.lookup"

static void found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    (void)addrs;
    kt_task_wake(ctx, n ? 0 : err->code, n ? NULL : err->text);
}

static void cancel(struct kt_task *t)
{
    kt_resolve_cancel(kt_task_op(t));
}

static int finish(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushboolean(L, 1);
    return 1;
}

static int lookup(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    const char *text = luaL_checkstring(L, 1);
    const lua_Number timeout = luaL_checknumber(L, 2);
    struct kt_err err = {0};
    struct kt_endpoint at;
    struct kt_resolve *op;
    int rc = kt_endpoint_parse(&at, text, KT_ENDPOINT_RANGE | KT_ENDPOINT_HOST, &err);
    if (!rc) rc = kt_resolve(kt_runtime_io(kt_task_runtime(t)), at.host, at.port_min, found, t, &op, &err);
    if (rc) return kt_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT,
            .cancel = cancel,
            .finish = finish,
            .op = op,
            .timeout_us = (uint64_t)(timeout * 1e6),
        });
}

void kt_lua_lookup(lua_State *L)
{
    lua_pushcfunction(L, lookup);
    lua_setfield(L, -2, "lookup");
}
