/* The life cycle of services: declare, open, inherit on a reload, close.
 *
 * Invariant: a service is in the list until it is closed, and its registry slot `anchor` holds its handle
 * exactly while the runtime needs it. */
#include "script/core/service.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "script/core/errors.h"
#include "script/core/life.h"
#include "script/core/parts.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"
#include "script/sandbox/sandbox.h"

/* Registry keys, by address: */
static const char handles;  /* weak table: service → its handle */
static const char declared; /* list of the handles created by the main chunk */

struct kt_services {
    struct kt_list all; /* in order of declaration */
    size_t serving;     /* those with `serving` */
    uint64_t numbers;   /* given so far */
};

/* ---- anchors ---- */

bool kt_service_push(lua_State *L, const struct kt_service *s)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handles);
    const bool there = lua_rawgetp(L, -1, s) == LUA_TUSERDATA;
    lua_remove(L, -2);
    if (!there) lua_pop(L, 1);
    return there;
}

/* Call after changing whether it is needed. */
static void settle(struct kt_service *s)
{
    lua_State *L = s->rt->L;
    if (s->closed) return;
    const bool needed = !s->open || s->serving || s->stays || s->ops->stays || s->carries;
    if (!needed || !kt_service_push(L, s)) lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, s->anchor); /* never nil, so this allocates nothing */
}

void kt_declared_hold(lua_State *L)
{
    if (kt_runtime_phase(kt_runtime_of(L)) != KT_DECLARE) return;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &declared);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

void kt_declared_let_go(struct kt_runtime *rt)
{
    lua_pushnil(rt->L);
    lua_rawsetp(rt->L, LUA_REGISTRYINDEX, &declared);
}

void kt_services_bind(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handles);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &declared);
}

/* ---- what others may know of a service ---- */

struct kt_runtime *kt_service_runtime(const struct kt_service *s)
{
    return s->rt;
}

const char *kt_service_name(const struct kt_service *s)
{
    return s->name;
}

const char *kt_service_what(const struct kt_service *s)
{
    return s->ops->what;
}

const struct kt_origin *kt_service_origin(const struct kt_service *s)
{
    return s->origin;
}

bool kt_service_is_open(const struct kt_service *s)
{
    return s->open;
}

bool kt_service_is_closed(const struct kt_service *s)
{
    return s->closed;
}

bool kt_service_has_handler(const struct kt_service *s)
{
    return s->handler != LUA_NOREF;
}

const struct kt_origin *kt_service_served_at(const struct kt_service *s)
{
    return s->served_at;
}

void kt_service_push_handler(lua_State *L, const struct kt_service *s)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->handler);
}

bool kt_service_stats(const struct kt_service *s, struct kt_link_stats *out)
{
    if (!s->open || !s->ops->stats) return false;
    s->ops->stats(s, out);
    return true;
}

bool kt_service_claims(const struct kt_service *s)
{
    return s->from != NULL;
}

bool kt_service_has_heirs(const struct kt_service *s)
{
    return s->ops->heir != NULL;
}

/* ---- life ---- */

int kt_services_new(struct kt_runtime *rt)
{
    rt->services = calloc(1, sizeof *rt->services);
    if (!rt->services) return KT_ENOMEM;
    kt_list_init(&rt->services->all);
    return 0;
}

void kt_services_close(struct kt_runtime *rt)
{
    while (!kt_list_empty(&rt->services->all))
        kt_service_close(KT_CONTAINER(rt->services->all.prev, struct kt_service, node));
}

void kt_services_free(struct kt_runtime *rt)
{
    free(rt->services);
    rt->services = NULL;
}

bool kt_services_serve(const struct kt_runtime *rt)
{
    return rt->services->serving > 0;
}

bool kt_services_link(const struct kt_runtime *rt)
{
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));)
        if (s->open && s->ops->quiet) return true;
    return false;
}

bool kt_services_quiet(const struct kt_runtime *rt)
{
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));)
        if (s->open && s->ops->quiet && !s->ops->quiet(s)) return false;
    return true;
}

void kt_services_drain(struct kt_runtime *rt)
{
    for (struct kt_service *s = NULL; (s = kt_service_next(rt, s));)
        if (s->open && s->ops->drain) s->ops->drain(s);
}

size_t kt_services_with_heirs(const struct kt_runtime *rt)
{
    size_t n = 0;
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) n += s->open && s->ops->heir;
    return n;
}

struct kt_tap *kt_services_tap(const struct kt_runtime *rt, const char *name)
{
    for (const struct kt_service *s = NULL; (s = kt_service_next(rt, s));) {
        struct kt_tap *tap = s->open && s->ops->tap ? s->ops->tap(s) : NULL;
        if (tap && strcmp(s->name, name) == 0) return tap;
    }
    return NULL;
}

struct kt_service *kt_service_next(const struct kt_runtime *rt, const struct kt_service *s)
{
    const struct kt_list *n = s ? s->node.next : rt->services->all.next;
    return n == &rt->services->all ? NULL : KT_CONTAINER(n, struct kt_service, node);
}

uint64_t kt_service_number(const struct kt_service *s)
{
    return s->number;
}

void kt_service_declare(
    lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    if (kt_runtime_phase(rt) == KT_END)
        kt_raise(L, "%s: the script has ended", ops->what); /* by a finalizer */
    s->ops = ops;
    s->rt = rt;
    s->handler = LUA_NOREF;
    s->anchor = LUA_NOREF;
    kt_list_init(&s->node);
    s->origin = kt_origin_here(L);
    snprintf(s->name, sizeof s->name, "%s", name);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &handles);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, s);
    lua_pop(L, 1);
    kt_declared_hold(L);
    lua_pushvalue(L, -1);
    s->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_list_push(&rt->services->all, &s->node);
    s->number = ++rt->services->numbers;
}

void kt_service_localhost(struct kt_endpoint *at)
{
    if (!at->is_unix && strcmp(at->host, "localhost") == 0) strcpy(at->host, "127.0.0.1");
}

static void unref(struct kt_runtime *rt, int *ref)
{
    luaL_unref(rt->L, LUA_REGISTRYINDEX, *ref);
    *ref = LUA_NOREF;
}

bool kt_service_serves(const struct kt_service *s)
{
    return s->ops->serve && (s->handler != LUA_NOREF || s->attends || !s->ops->may_serve);
}

/* Another service of this script with the address that s binds; if `before`, only one declared earlier. */
static const struct kt_service *rival(const struct kt_service *s, bool before)
{
    if (!s->ops->binds) return NULL;
    const struct kt_endpoint *at = s->ops->binds(s);
    if (!at->is_unix && at->port_max == 0) return NULL; /* any free port */
    const struct kt_list *n = s->rt->services->all.next;
    for (; n != &s->rt->services->all && !(before && n == &s->node); n = n->next) {
        const struct kt_service *o = KT_CONTAINER(n, struct kt_service, node);
        if (o != s && o->ops->binds && o->ops->udp == s->ops->udp && kt_endpoint_equal(at, o->ops->binds(o)))
            return o;
    }
    return NULL;
}

static int taken(const struct kt_service *s, const struct kt_service *by, struct kt_err *err)
{
    return kt_err_set(err, KT_EINUSE, "%s: the %s at %s:%d already uses this address; change one of the two",
        s->name, by->ops->what, by->origin->source, by->origin->line);
}

int kt_service_ready(const struct kt_service *s, struct kt_err *err)
{
    const struct kt_service *by = s->open ? NULL : rival(s, true);
    if (by) return taken(s, by, err);
    if (!kt_service_serves(s) || s->handler != LUA_NOREF || s->attends) return 0;
    return kt_err_set(
        err, KT_ECONFIG, "%s has no handler; add :serve(function(%s) ... end)", s->name, s->ops->brings);
}

/* Call when it was opened, or got a handler while it is open. */
static void count_serving(struct kt_service *s)
{
    if (s->serving || !s->ops->serve || (s->handler == LUA_NOREF && !s->attends)) return;
    s->serving = true;
    s->rt->services->serving++;
}

static void opened(struct kt_service *s)
{
    s->open = true;
    count_serving(s);
    settle(s);
}

void kt_service_attend(struct kt_service *s)
{
    s->attends = s->stays = true;
    if (!s->open) return;
    count_serving(s);
    settle(s);
}

void kt_service_stay(struct kt_service *s, bool stays)
{
    s->stays = stays || s->attends;
    if (s->open) settle(s);
}

void kt_service_carry(struct kt_service *s, bool carries)
{
    s->carries = carries;
    settle(s);
}

static int open_now(struct kt_service *s, struct kt_err *err)
{
    int rc = s->ops->open(s, err);
    if (rc == 0) opened(s);
    const struct kt_service *by = rc == KT_EINUSE ? rival(s, false) : NULL; /* for a better message */
    return by ? taken(s, by, err) : rc;
}

int kt_service_open(struct kt_service *s, struct kt_err *err)
{
    if (s->closed) return 0; /* the main chunk closed it again */
    int rc = kt_service_ready(s, err);
    return rc ? rc : open_now(s, err);
}

int kt_service_claim(struct kt_service *s, struct kt_runtime *old, bool *found, struct kt_err *err)
{
    *found = false;
    for (struct kt_service *o = NULL; s->ops->heir && (o = kt_service_next(old, o));) {
        if (s->ops != o->ops || !o->open || o->claimed || !s->ops->heir(s, o)) continue;
        *found = true;
        int rc = s->ops->prepare ? s->ops->prepare(s, o, err) : 0;
        if (rc) return rc;
        s->from = o;
        o->claimed = true;
        return 0;
    }
    return 0;
}

/* Opens the service of a task, with the socket of a replaced script if one holds the address. */
static int open_in_task(struct kt_service *s, struct kt_err *err)
{
    struct kt_runtime *old;
    const bool current = kt_runtime_phase(s->rt) == KT_RUN;
    for (size_t i = 0; current && (old = kt_runtime_old(s->rt, i)); i++) {
        bool found;
        int rc = kt_service_claim(s, old, &found, err);
        if (rc) return rc;
        if (!found) continue;
        kt_service_inherit(s);
        return 0;
    }
    return open_now(s, err);
}

int kt_service_enter(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name)
{
    struct kt_err err = {0};
    kt_service_declare(L, s, ops, name);
    if (kt_runtime_phase(s->rt) == KT_DECLARE) return 1;
    kt_guard_pause(s->rt->guard); /* a link may derive its key from a passphrase, which takes long */
    int rc = open_in_task(s, &err);
    kt_guard_resume(s->rt->guard);
    if (rc == 0) return 1;
    kt_service_close(s);
    return kt_lua_err_return(L, rc, err.text);
}

void kt_service_adopt(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name)
{
    kt_service_declare(L, s, ops, name);
    s->open = s->stays = true;
}

void kt_service_inherit(struct kt_service *s)
{
    struct kt_service *old = s->from;
    s->from = NULL;
    s->ops->inherit(s, old);
    opened(s);
    old->open = old->claimed = false;
    kt_service_close(old);
}

void kt_service_close(struct kt_service *s)
{
    if (s->closed) return;
    struct kt_runtime *rt = s->rt;
    s->closed = true;
    kt_list_remove(&s->node);
    if (s->from) {
        if (s->ops->forgo) s->ops->forgo(s);
        s->from->claimed = false;
        s->from = NULL;
    }
    if (s->open) s->ops->close(s);
    if (s->serving) rt->services->serving--;
    s->open = s->serving = false;
    unref(rt, &s->handler);
    unref(rt, &s->anchor); /* last: s lives in the handle */
}

void kt_service_set_handler(lua_State *L, struct kt_service *s)
{
    s->served_at = kt_origin_here(L);
    s->handler = luaL_ref(L, LUA_REGISTRYINDEX);
}

int kt_service_serve(lua_State *L, struct kt_service *s)
{
    if (lua_type(L, 2) != LUA_TFUNCTION)
        return kt_raise(L, "%s: expected a function, got %s", s->ops->serve, kt_type_name(L, 2));
    if (s->closed) return kt_raise(L, "%s %s %s: closed", s->ops->what, s->ops->at, s->name);
    if (s->handler != LUA_NOREF)
        return kt_raise(L, "%s %s %s already has a handler, set at %s:%d", s->ops->what, s->ops->at, s->name,
            s->served_at->source, s->served_at->line);
    lua_settop(L, 2);
    kt_service_set_handler(L, s);
    if (!s->open) return 1; /* the handle, so that `local l = kt.listen{…}:serve(…)` works */
    count_serving(s);
    settle(s);
    if (s->ops->served) s->ops->served(s);
    return 1;
}

int kt_service_gc(lua_State *L, struct kt_service *s)
{
    (void)L;
    if (!s->rt || s->closed) return 0;
    if (s->open && !kt_runtime_replaced(s->rt))
        kt_log(s->rt->log, KT_LOG_WARN,
            "%s %s %s, declared at %s:%d, was dropped without :close(); closed it", s->ops->what, s->ops->at,
            s->name, s->origin->source, s->origin->line);
    kt_service_close(s);
    return 0;
}
