/* core.event_log: what has happened in the process (core/events.h), for a module that shows it later.
 *
 * Events come while no Lua may run, so they are kept here until the module takes them. Invariant: at most EVENTS_MAX
 * are kept; the oldest gives way. */
#include <stdlib.h>
#include <string.h>
#include "script/core/events.h"
#include "script/core/handle.h"
#include "script/api/api.h"
#include "script/core/fields.h"

#define EVENT_LOG "eventlog"
#define EVENTS_MAX 128u
#define TEXT_MAX 300u
#define ADDRESS_MAX 160u

struct entry {
    enum kt_event_type type;
    bool failed;
    uint64_t wall_us;
    char link[TEXT_MAX], pool[TEXT_MAX], text[TEXT_MAX], conn[ADDRESS_MAX], peer[ADDRESS_MAX]; /* "": none */
};

struct event_log {
    struct kt_events_listener listener;
    struct kt_io *io;
    struct entry *entries; /* a ring of EVENTS_MAX */
    size_t first, n;
};

/* Copies text, or what fits. */
static void keep(char *out, size_t size, const char *text)
{
    out[0] = 0;
    if (text) strncat(out, text, size - 1);
}

static void on_event(void *ctx, const struct kt_event *e)
{
    struct event_log *log = ctx;
    if (log->n == EVENTS_MAX) {
        log->first = (log->first + 1) % EVENTS_MAX;
        log->n--;
    }
    struct entry *out = &log->entries[(log->first + log->n++) % EVENTS_MAX];
    out->type = e->type;
    out->failed = e->failed;
    out->wall_us = kt_io_wall(log->io);
    keep(out->link, sizeof out->link, e->link);
    keep(out->pool, sizeof out->pool, e->pool);
    keep(out->conn, sizeof out->conn, e->conn);
    keep(out->peer, sizeof out->peer, e->peer);
    keep(out->text, sizeof out->text, e->text);
}

/* core.event_log() → a log of what happens from now on */
static int make(lua_State *L)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    struct event_log *log = kt_handle_push(L, EVENT_LOG, sizeof *log, 0);
    kt_list_init(&log->listener.node);
    log->entries = malloc(EVENTS_MAX * sizeof *log->entries);
    if (!log->entries) return luaL_error(L, "not enough memory");
    log->io = kt_runtime_io(rt);
    log->listener.fn = on_event;
    log->listener.ctx = log;
    kt_events_listen(kt_runtime_events(rt), &log->listener);
    return 1;
}

static void add(lua_State *L, const char *name, const char *text)
{
    if (text[0]) kt_field_string(L, name, text);
}

/* core.event_take(log) → { time = seconds since 1970, type, link, pool, conn, peer, text, failed } | nil: the oldest
 * one that was not taken */
static int take(lua_State *L)
{
    struct event_log *log = luaL_checkudata(L, 1, EVENT_LOG);
    if (log->n == 0) return 0;
    const struct entry *e = &log->entries[log->first];
    lua_createtable(L, 0, 8);
    kt_field_number(L, "time", (double)e->wall_us / 1e6);
    kt_field_string(L, "type", kt_event_name(e->type));
    add(L, "link", e->link);
    add(L, "pool", e->pool);
    add(L, "conn", e->conn);
    add(L, "peer", e->peer);
    kt_field_string(L, "text", e->text);
    kt_field_boolean(L, "failed", e->failed);
    log->first = (log->first + 1) % EVENTS_MAX;
    log->n--;
    return 1;
}

static int gc(lua_State *L)
{
    struct event_log *log = luaL_checkudata(L, 1, EVENT_LOG);
    kt_events_unlisten(&log->listener);
    free(log->entries);
    log->entries = NULL;
    log->n = 0;
    return 0;
}

void kt_lua_event_log(lua_State *L)
{
    static const luaL_Reg functions[] = {{"event_log", make}, {"event_take", take}, {NULL, NULL}};
    kt_handle_type(L, &(struct kt_handle_type){.name = EVENT_LOG, .gc = gc, .hidden = true});
    luaL_setfuncs(L, functions, 0);
}
