/* kt.accept: takes links from peers; each stream that they open is a task. */
#include <stdio.h>
#include "script/config.h"
#include "script/handle.h"
#include "script/service.h"

struct kt_lua_acceptor {
    struct kt_service service; /* first */
    struct kt_acceptor *acceptor;
    struct kt_kcptun_config config; /* its strings are anchored by uservalue 1 */
    char mode[16];
};

static void on_stream(void *ctx, struct kt_pipe *stream, const char *peer)
{
    struct kt_lua_acceptor *a = ctx;
    struct kt_service *s = &a->service;
    kt_task_serve(s->rt, s->handler, s->served_at, stream, NULL, peer);
}

static int open(struct kt_service *s, struct kt_err *err)
{
    static const struct kt_acceptor_events events = {.stream = on_stream};
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s;
    int rc =
        kt_kcptun_accept(s->rt->io, &a->config, s->rt->log, &s->rt->counters, &events, a, &a->acceptor, err);
    if (rc == 0) kt_config_log(&a->config, a->mode, s, "accepting links on");
    a->config.key = NULL;
    a->config.crypt = NULL;
    return rc;
}

static bool quiet(const struct kt_service *s)
{
    struct kt_link_stats stats;
    kt_acceptor_stats(((const struct kt_lua_acceptor *)s)->acceptor, &stats);
    return stats.inflight == 0 && stats.queued == 0;
}

static void close_acceptor(struct kt_service *s)
{
    struct kt_lua_acceptor *a = (struct kt_lua_acceptor *)s;
    kt_acceptor_close(a->acceptor);
    a->acceptor = NULL;
}

static void stats_of(const struct kt_service *s, struct kt_link_stats *out)
{
    kt_acceptor_stats(((const struct kt_lua_acceptor *)s)->acceptor, out);
}

/* No drain: the sessions carry what still runs. New streams are refused by kt_task_serve. */
static const struct kt_service_ops ops = {
    .what = "kt.accept",
    .serve = "acceptor:serve",
    .brings = "stream",
    .open = open,
    .quiet = quiet,
    .stats = stats_of,
    .close = close_acceptor,
};

/* core.accept(config) */
static int accept_on(lua_State *L)
{
    kt_declare_need(L, "kt.accept");
    struct kt_kcptun_config config;
    kt_config_read(L, 1, "accept", false, &config);
    kt_service_localhost(&config.at);
    struct kt_lua_acceptor *a = kt_handle_push(L, KT_HANDLE_ACCEPTOR, sizeof *a, 1);
    a->config = config;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_getfield(L, 1, "mode");
    snprintf(a->mode, sizeof a->mode, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "fast");
    lua_getfield(L, 1, "on");
    snprintf(a->service.name, sizeof a->service.name, "%s", lua_tostring(L, -1));
    lua_pop(L, 2);
    kt_service_declare(L, &a->service, &ops);
    return 1;
}

static int serve(lua_State *L)
{
    return kt_service_serve(L, kt_handle_self(L, KT_HANDLE_ACCEPTOR, "serve"));
}

static int acceptor_stats(lua_State *L)
{
    const struct kt_lua_acceptor *a = kt_handle_self(L, KT_HANDLE_ACCEPTOR, "stats");
    struct kt_link_stats stats = {.since_heard_us = UINT64_MAX};
    if (a->acceptor) kt_acceptor_stats(a->acceptor, &stats);
    kt_config_push_stats(L, &stats);
    return 1;
}

static int close_method(lua_State *L)
{
    kt_service_close(kt_handle_self(L, KT_HANDLE_ACCEPTOR, "close"));
    return 0;
}

static int gc(lua_State *L)
{
    return kt_service_gc(L, lua_touserdata(L, 1));
}

void kt_lua_accept(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"serve", serve}, {"stats", acceptor_stats}, {"close", close_method}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){
                          .name = KT_HANDLE_ACCEPTOR, .methods = methods, .close = close_method, .gc = gc});
    lua_pushcfunction(L, accept_on);
    lua_setfield(L, -2, "accept");
}
