/* kt.resolve { name, type = "A", servers, timeout = "5s" } → records | nil, err
 * core.name_server(text) → true | nil, sentence: whether it is a valid entry of `servers`; used by kt.api.
 * core.lookup(endpoint, timeout_s) → { ip, … } | nil, err: the addresses of an endpoint's host. The verbs use it to
 * report a bad name at startup rather than with the first connection, and kt doctor to try each address. */
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "script/api/api.h"
#include "script/core/fields.h"

#define WHAT "kt.resolve"
#define LOOKUP "kt.core.lookup"
#define TIMEOUT_US 5000000u

/* ---- answers ---- */

/* A copy of what was found, for the task's results. */
struct answer {
    size_t n;
    alignas(max_align_t) unsigned char items[];
};

/* Wakes the task with n items of `size` bytes each, or with the error if there are none. */
static void answer(struct kt_task *t, const void *items, size_t n, size_t size, const struct kt_err *err)
{
    if (n == 0) {
        kt_task_wake(t, err->code, err->text);
        return;
    }
    struct answer *a = malloc(sizeof *a + n * size);
    if (a) {
        a->n = n;
        memcpy(a->items, items, n * size);
        kt_task_bring(t, a);
    }
    kt_task_wake(t, a ? 0 : KT_ENOMEM, NULL);
}

/* Pushes the list of a task's items; push() pushes one. */
static int push_answer(
    lua_State *L, const struct kt_task *t, size_t size, void (*push)(lua_State *L, const void *item))
{
    const struct answer *a = kt_task_brought(t);
    lua_createtable(L, (int)a->n, 0);
    for (size_t i = 0; i < a->n; i++) {
        push(L, a->items + i * size);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- kt.resolve ---- */

static void answered(void *ctx, const struct kt_record *records, size_t n, const struct kt_err *err)
{
    answer(ctx, records, n, sizeof *records, err);
}

static void cancel(struct kt_task *t)
{
    kt_query_cancel(kt_task_op(t));
}

static void push_record(lua_State *L, const void *item)
{
    const struct kt_record *r = item;
    lua_createtable(L, 0, 5);
    if (r->target[0]) {
        kt_field_string(L, "target", r->target);
        kt_field_integer(L, "port", r->port);
        kt_field_integer(L, "priority", r->priority);
        kt_field_integer(L, "weight", r->weight);
    } else {
        char text[KT_ADDR_TEXT];
        kt_field_string(L, "address", kt_addr_ip_text(&r->addr, text));
    }
    kt_field_integer(L, "ttl", r->ttl);
}

static int finish(lua_State *L, struct kt_task *t)
{
    return push_answer(L, t, sizeof(struct kt_record), push_record);
}

static bool read_type(const char *text, enum kt_record_type *type)
{
    static const enum kt_record_type types[] = {KT_RECORD_A, KT_RECORD_AAAA, KT_RECORD_SRV};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        *type = types[i];
        if (strcmp(text, kt_record_type_name(*type)) == 0) return true;
    }
    return false;
}

/* kt_name_server, for a Lua string. */
static int parse_server(lua_State *L, int idx, struct kt_addr *out, struct kt_err *err)
{
    const char *text = lua_tostring(L, idx);
    if (strlen(text) != lua_rawlen(L, idx))
        return kt_err_set(err, KT_ECONFIG, "\"%.64s\": contains a zero byte", text);
    return kt_name_server(out, text, err);
}

/* Reads the list on top of the stack. False if it is invalid; kt.api words the error. */
static bool read_servers(lua_State *L, struct kt_addr servers[KT_QUERY_SERVERS], size_t *n)
{
    *n = lua_rawlen(L, -1);
    if (*n == 0 || *n > KT_QUERY_SERVERS) return false;
    size_t entries = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) entries++;
    if (entries != *n) return false; /* gaps, or other keys */
    for (size_t i = 0; i < *n; i++) {
        const bool ok = lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING &&
                        parse_server(L, -1, &servers[i], NULL) == 0;
        lua_pop(L, 1);
        if (!ok) return false;
    }
    return true;
}

static int resolve(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, WHAT);
    const char *name = NULL, *type = "A";
    bool has_servers = false;
    uint64_t timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {{"name", KT_OPT_STRING, &name}, {"type", KT_OPT_STRING, &type},
        {"servers", KT_OPT_TABLE, &has_servers}, {"timeout", KT_OPT_DURATION, &timeout}};
    struct kt_question question = {0};
    struct kt_addr servers[KT_QUERY_SERVERS];
    lua_settop(L, 1);
    kt_opts_read(L, 1, WHAT, opts, sizeof opts / sizeof *opts);
    if (!name || !read_type(type, &question.type)) return kt_opts_wrong(L, 1, WHAT);
    if (has_servers) {
        lua_pushliteral(L, "servers");
        lua_rawget(L, 1);
        if (!read_servers(L, servers, &question.server_count)) return kt_opts_wrong(L, 1, WHAT);
        question.servers = servers;
        lua_settop(L, 1);
    }

    /* A bad name is returned, not raised: it may come from a client. */
    lua_pushliteral(L, "name");
    lua_rawget(L, 1);
    struct kt_err err = {0};
    if (strlen(name) != lua_rawlen(L, -1)) {
        kt_err_set(&err, KT_ENAME, "\"%.64s\": not a name; it contains a zero byte", name);
        return kt_lua_err_return(L, KT_ENAME, err.text);
    }
    question.name = name;
    struct kt_query *op;
    int rc = kt_query(kt_runtime_io(kt_task_runtime(t)), &question, answered, t, &op, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = WHAT,
            .cancel = cancel,
            .finish = finish,
            .op = op,
            .timeout_us = timeout,
        });
}

static int name_server(lua_State *L)
{
    struct kt_addr addr;
    struct kt_err err = {0};
    luaL_checktype(L, 1, LUA_TSTRING);
    if (parse_server(L, 1, &addr, &err) == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

/* ---- core.lookup ---- */

static void found(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err)
{
    answer(ctx, addrs, n, sizeof *addrs, err);
}

static void cancel_lookup(struct kt_task *t)
{
    kt_resolve_cancel(kt_task_op(t));
}

static void push_address(lua_State *L, const void *item)
{
    char text[KT_ADDR_TEXT];
    lua_pushstring(L, kt_addr_ip_text(item, text));
}

static int finish_lookup(lua_State *L, struct kt_task *t)
{
    return push_answer(L, t, sizeof(struct kt_addr), push_address);
}

static int lookup(lua_State *L)
{
    struct kt_task *t = kt_task_need(L, LOOKUP);
    const char *text = luaL_checkstring(L, 1);
    const lua_Number timeout = luaL_checknumber(L, 2);
    struct kt_err err = {0};
    struct kt_endpoint at;
    struct kt_resolve *op;
    int rc = kt_endpoint_parse(&at, text, KT_ENDPOINT_RANGE | KT_ENDPOINT_HOST, &err);
    if (!rc) rc = kt_resolve(kt_runtime_io(kt_task_runtime(t)), at.host, at.port_min, found, t, &op, &err);
    if (rc) return kt_lua_err_return(L, rc, err.text);
    return kt_task_wait(L, t,
        &(struct kt_wait){
            .what = LOOKUP,
            .cancel = cancel_lookup,
            .finish = finish_lookup,
            .op = op,
            .timeout_us = (uint64_t)(timeout * 1e6),
        });
}

void kt_lua_resolve(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"resolve", resolve}, {"name_server", name_server}, {"lookup", lookup}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
