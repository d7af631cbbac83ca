/* kt.link: a link and its streams. The table that kt.link was given arrives here checked and flat. */
#include <stdio.h>
#include <string.h>
#include "script/config.h"
#include "script/handle.h"
#include "script/service.h"

#define OPEN "link:open"
#define TIMEOUT_US 10000000u

struct kt_lua_link {
    struct kt_service service; /* first */
    struct kt_link *link;
    struct kt_list opening; /* tasks that wait for a stream: kt_link_close forgets them without a word */
    struct kt_kcptun_config config; /* its strings are anchored by uservalue 1, until it is open */
    char mode[16];
};

/* ---- the service ---- */

static int open(struct kt_service *s, struct kt_err *err)
{
    struct kt_lua_link *l = (struct kt_lua_link *)s;
    int rc = kt_kcptun_link(s->rt->io, &l->config, s->rt->log, &s->rt->counters, &l->link, err);
    if (rc == 0) kt_config_log(&l->config, l->mode, s, "link to");
    l->config.key = NULL;
    l->config.crypt = NULL;
    return rc;
}

static bool quiet(const struct kt_service *s)
{
    struct kt_link_stats stats;
    kt_link_stats(((const struct kt_lua_link *)s)->link, &stats);
    return stats.inflight == 0 && stats.queued == 0;
}

static void close_link(struct kt_service *s)
{
    struct kt_lua_link *l = (struct kt_lua_link *)s;
    kt_link_close(l->link);
    l->link = NULL;
    for (struct kt_list *n; (n = kt_list_pop(&l->opening));)
        kt_task_wake(KT_CONTAINER(n, struct kt_task, wait), KT_ECLOSED, "the link was closed");
}

static void stats_of(const struct kt_service *s, struct kt_link_stats *out)
{
    kt_link_stats(((const struct kt_lua_link *)s)->link, out);
}

static const struct kt_service_ops ops = {
    .what = "kt.link", .open = open, .quiet = quiet, .stats = stats_of, .close = close_link};

/* core.link(config) */
static int link_to(lua_State *L)
{
    kt_declare_need(L, "kt.link");
    struct kt_kcptun_config config;
    kt_config_read(L, 1, "link", true, &config);
    struct kt_lua_link *l = kt_handle_push(L, KT_HANDLE_LINK, sizeof *l, 2);
    l->config = config;
    kt_list_init(&l->opening);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_getfield(L, 1, "mode");
    snprintf(l->mode, sizeof l->mode, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "fast");
    lua_pop(L, 1);
    lua_getfield(L, 1, "remote");
    snprintf(l->service.name, sizeof l->service.name, "%s", lua_tostring(L, -1));
    lua_setiuservalue(L, -2, 2); /* the peer of its streams */
    kt_service_declare(L, &l->service, &ops);
    return 1;
}

/* ---- link:open ---- */

static void opened(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    struct kt_task *t = ctx;
    if (stream) {
        t->pipe = stream;
        t->rt->pipes++;
        kt_task_wake(t, 0, NULL);
    } else {
        kt_task_wake(t, err->code, err->text);
    }
}

static void cancel(struct kt_task *t)
{
    kt_open_cancel(t->op);
}

static int finish(lua_State *L, struct kt_task *t)
{
    kt_pipe_take(lua_touserdata(L, -1), t);
    return 1;
}

/* link:open { timeout = "5s", client = conn.peer } → stream | nil, err */
static int link_open(lua_State *L)
{
    struct kt_lua_link *l = kt_handle_self(L, KT_HANDLE_LINK, "open");
    struct kt_task *t = kt_task_need(L, OPEN);
    const char *client = NULL;
    uint64_t timeout = TIMEOUT_US;
    const struct kt_opt opts[] = {{"timeout", KT_OPT_DURATION, &timeout}, {"client", KT_OPT_STRING, &client}};
    kt_opts_read(L, 2, OPEN, opts, 2);
    if (!l->link) return kt_err_return(L, KT_ECLOSED, "the link was closed");
    if (client) kt_log(t->rt->log, KT_LOG_DEBUG, "a stream to %s for %s", l->service.name, client);

    lua_settop(L, 1);
    kt_pipe_push(L, KT_HANDLE_STREAM); /* now, so that there is memory for it when the stream is there */
    lua_getiuservalue(L, 1, 2);
    lua_setiuservalue(L, 2, 1);
    if (!l->link) return kt_err_return(L, KT_ECLOSED, "the link was closed"); /* by a finalizer, just now */
    struct kt_err err = {0};
    struct kt_open *op;
    int rc = kt_link_open(l->link, opened, t, &op, &err);
    if (rc) return kt_err_return(L, rc, err.text);
    t->op = op;
    kt_list_push(&l->opening, &t->wait);
    return kt_task_wait(L, t, OPEN, cancel, finish, timeout);
}

/* ---- the rest of the handle ---- */

static int link_stats(lua_State *L)
{
    const struct kt_lua_link *l = kt_handle_self(L, KT_HANDLE_LINK, "stats");
    struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
    if (l->link) kt_link_stats(l->link, &stats);
    kt_config_push_stats(L, &stats);
    return 1;
}

static int link_close(lua_State *L)
{
    kt_service_close(kt_handle_self(L, KT_HANDLE_LINK, "close"));
    return 0;
}

static int gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

static int field_remote(lua_State *L)
{
    lua_getiuservalue(L, 1, 2);
    return 1;
}

void kt_lua_link(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"open", link_open}, {"stats", link_stats}, {"close", link_close}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"remote", field_remote}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_LINK, .methods = methods, .fields = fields, .close = link_close, .gc = gc});
    lua_pushcfunction(L, link_to);
    lua_setfield(L, -2, "link");
}
