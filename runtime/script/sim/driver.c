/* Drivers: the process on each simulated host that runs what the spec itself has open there, namely apps, listeners,
 * sockets and lookups.
 *
 * Invariant: a driver's list holds exactly what is open, so a crash and the end of the world close all of it. */
#include <stdlib.h>
#include <string.h>
#include "script/sim/core.h"

struct kt_lua_sim_driver *kt_lua_sim_driver(struct kt_lua_world *w, struct kt_sim_host *h, struct kt_err *err)
{
    for (struct kt_list *n = w->drivers.next; n != &w->drivers; n = n->next) {
        struct kt_lua_sim_driver *d = KT_CONTAINER(n, struct kt_lua_sim_driver, node);
        if (d->host == h && !d->dead) return d;
    }
    struct kt_lua_sim_driver *d = calloc(1, sizeof *d);
    if (!d) {
        kt_err_set(err, KT_ENOMEM, "out of memory");
        return NULL;
    }
    d->host = h;
    kt_list_init(&d->held);
    if (kt_sim_process(h, "spec", NULL, &d->io, err)) {
        free(d);
        return NULL;
    }
    kt_list_init(&d->node);
    kt_list_push(&w->drivers, &d->node);
    return d;
}

struct kt_lua_sim_held *kt_lua_sim_push_held(
    lua_State *L, struct kt_lua_world *w, struct kt_lua_sim_driver *d, size_t size, const char *class)
{
    struct kt_lua_sim_held *h = lua_newuserdatauv(L, size, 0);
    memset(h, 0, size);
    h->w = w;
    h->driver = d;
    h->id = ++w->ids;
    kt_list_init(&h->node);
    luaL_setmetatable(L, class);
    return h;
}

void kt_lua_sim_hold(struct kt_lua_sim_held *h)
{
    kt_list_push(&h->driver->held, &h->node);
}

static void close_all(struct kt_lua_sim_driver *d)
{
    while (!kt_list_empty(&d->held)) {
        struct kt_lua_sim_held *h = KT_CONTAINER(d->held.next, struct kt_lua_sim_held, node);
        h->close(h);
    }
}

void kt_lua_sim_drivers_crash(struct kt_lua_world *w, const struct kt_sim_host *h)
{
    for (struct kt_list *n = w->drivers.next; n != &w->drivers; n = n->next) {
        struct kt_lua_sim_driver *d = KT_CONTAINER(n, struct kt_lua_sim_driver, node);
        if (d->host != h || d->dead) continue;
        d->dead = true;
        close_all(d);
    }
}

void kt_lua_sim_drivers_reap(struct kt_lua_world *w, bool all)
{
    for (struct kt_list *n = w->drivers.next, *next; n != &w->drivers; n = next) {
        struct kt_lua_sim_driver *d = KT_CONTAINER(n, struct kt_lua_sim_driver, node);
        next = n->next;
        if (!d->dead && !all) continue;
        close_all(d);
        kt_list_remove(&d->node);
        kt_io_free(d->io);
        free(d);
    }
}

int kt_lua_sim_push_failure(lua_State *L, void *err)
{
    const struct kt_err *e = err;
    lua_pushstring(L, kt_errname(e->code));
    lua_pushstring(L, e->text[0] ? e->text : kt_strerror(e->code));
    return 2;
}
