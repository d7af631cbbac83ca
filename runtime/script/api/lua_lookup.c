/* core.lookup(endpoint, timeout_s) → { ip, … } | nil, err: the addresses of an endpoint's host. The verbs use it to
 * report a bad name at startup rather than with the first connection, and kt doctor to try each address. */
#include <stdlib.h>
#include <string.h>
#include "script/core/handle.h"
#include "script/api/api.h"

#define WHAT "kt.core.lookup"

struct answer {
    size_t n;
    struct kt_addr addrs[];
};

static void found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    if (n == 0) {
        kt_task_wake(ctx, err->code, err->text);
        return;
    }
    struct answer *a = malloc(sizeof *a + n * sizeof *addrs);
    if (a) {
        a->n = n;
        memcpy(a->addrs, addrs, n * sizeof *addrs);
        kt_task_bring(ctx, a);
    }
    kt_task_wake(ctx, a ? 0 : KT_ENOMEM, NULL);
}

static void cancel(struct kt_task *t)
{
    kt_resolve_cancel(kt_task_op(t));
}

static int finish(lua_State *L, struct kt_task *t)
{
    const struct answer *a = kt_task_brought(t);
    lua_createtable(L, (int)a->n, 0);
    for (size_t i = 0; i < a->n; i++) {
        char text[KT_ADDR_TEXT];
        lua_pushstring(L, kt_addr_ip_text(&a->addrs[i], text));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
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
