/* Logs failed tasks, at a limited rate for each line that spawns them and each message.
 *
 * Invariant: a place is in the list from its first failure until KT_FAILURES_US later, and the timer is armed
 * exactly while the list is not empty. The number of places is bounded by the number of origins (task.c) times
 * KT_FAILURES_KINDS + 1, so a linear search will do. */
#include "script/core/failure.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "io/io.h"
#include "link/counters.h"
#include "script/core/errors.h"
#include "script/core/events.h"
#include "script/core/parts.h"
#include "script/core/setup.h"
#include "script/core/task.h"
#include "script/sandbox/guard.h"
#include "script/sandbox/origin.h"

#define TEXT 256u /* longer messages are cut */
#define DIGITS "0123456789"

struct kt_failures {
    struct kt_list places; /* failures within KT_FAILURES_US, by line and message, oldest first */
    struct kt_timer timer; /* fires when the oldest interval ends */
};

/* ---- rate limit ---- */

struct place {
    struct kt_list node;
    const struct kt_origin *origin;
    uint64_t since;
    uint64_t count;
    char text[TEXT]; /* the first message; "": of all beyond KT_FAILURES_KINDS */
};

/* Whether two messages differ in numbers only (ids, ports, sizes). A position before them ("s.lua:7: ") counts. */
static bool alike(const char *a, const char *b)
{
    int at = 0;
    (void)sscanf(a, "%*[^:]:%*[0-9]: %n", &at);
    if (strncmp(a, b, (size_t)at) != 0) return false;
    for (a += at, b += at;; a++, b++) {
        const size_t n = strspn(a, DIGITS), m = strspn(b, DIGITS);
        if ((n == 0) != (m == 0)) return false;
        a += n;
        b += m;
        if (*a != *b) return false;
        if (*a == '\0') return true;
    }
}

/* Ends the interval of the oldest place. */
static void end_oldest(struct kt_runtime *rt)
{
    struct place *p = KT_CONTAINER(kt_list_pop(&rt->failures->places), struct place, node);
    if (p->count > KT_FAILURES_TOLD)
        kt_log(rt->log, KT_LOG_ERROR, "task failed: %llu more times in %.3g s (spawned at %s:%d), %s%s",
            (unsigned long long)(p->count - KT_FAILURES_TOLD), (double)(kt_io_now(rt->io) - p->since) / 1e6,
            p->origin->source, p->origin->line, p->text[0] ? "such as: " : "with other messages", p->text);
    free(p);
}

static struct place *oldest(const struct kt_runtime *rt)
{
    return KT_CONTAINER(rt->failures->places.next, struct place, node);
}

static void on_timer(void *ctx)
{
    struct kt_runtime *rt = ctx;
    struct kt_failures *f = rt->failures;
    const uint64_t now = kt_io_now(rt->io);
    while (!kt_list_empty(&f->places) && now >= oldest(rt)->since + KT_FAILURES_US) end_oldest(rt);
    if (!kt_list_empty(&f->places)) kt_io_timer_set(rt->io, &f->timer, oldest(rt)->since + KT_FAILURES_US);
}

int kt_failures_new(struct kt_runtime *rt)
{
    rt->failures = calloc(1, sizeof *rt->failures);
    if (!rt->failures) return KT_ENOMEM;
    kt_list_init(&rt->failures->places);
    kt_timer_init(&rt->failures->timer, on_timer, rt);
    return 0;
}

void kt_failures_free(struct kt_runtime *rt)
{
    free(rt->failures);
    rt->failures = NULL;
}

void kt_failures_end(struct kt_runtime *rt)
{
    kt_io_timer_cancel(rt->io, &rt->failures->timer);
    while (!kt_list_empty(&rt->failures->places)) end_oldest(rt);
}

/* The place of a failure of this origin with this message. NULL: it is to be added, with *text, which becomes
 * "" if the line already has KT_FAILURES_KINDS messages. */
static struct place *find(const struct kt_failures *f, const struct kt_origin *origin, const char **text)
{
    struct place *other = NULL;
    unsigned kinds = 0;
    for (struct kt_list *n = f->places.next; n != &f->places; n = n->next) {
        struct place *p = KT_CONTAINER(n, struct place, node);
        if (p->origin != origin) continue;
        if (p->text[0] == '\0')
            other = p;
        else if (alike(p->text, *text))
            return p;
        else
            kinds++;
    }
    if (kinds < KT_FAILURES_KINDS && **text) return NULL;
    *text = "";
    return other;
}

/* Counts a failure; true if it should be logged. */
static bool is_news(struct kt_runtime *rt, const struct kt_origin *origin, const char *message)
{
    struct kt_failures *f = rt->failures;
    char cut[TEXT];
    const char *text = cut;
    snprintf(cut, sizeof cut, "%s", message);
    struct place *p = find(f, origin, &text);
    if (p) return ++p->count <= KT_FAILURES_TOLD;
    p = malloc(sizeof *p);
    if (!p) return true;
    *p = (struct place){.origin = origin, .since = kt_io_now(rt->io), .count = 1};
    snprintf(p->text, sizeof p->text, "%s", text);
    if (kt_list_empty(&f->places)) kt_io_timer_set(rt->io, &f->timer, p->since + KT_FAILURES_US);
    kt_list_push(&f->places, &p->node);
    return true;
}

/* ---- log lines ---- */

/* "at client.lua:7 in forward < client.lua:14; ": the script's own lines, innermost first. */
static void trace(lua_State *co, char *out, size_t size)
{
    lua_Debug ar;
    size_t len = 0;
    out[0] = '\0';
    int shown = 0;
    for (int level = 0; shown < 8 && lua_getstack(co, level, &ar); level++) {
        if (!lua_getinfo(co, "Sln", &ar) || ar.currentline <= 0 || kt_origin_embedded(ar.short_src)) continue;
        int n = snprintf(out + len, size - len, "%s%s:%d%s%.40s", shown++ == 0 ? "at " : " < ", ar.short_src,
            ar.currentline, ar.name ? " in " : "", ar.name ? ar.name : "");
        len += (size_t)n < size - len ? (size_t)n : size - len - 1;
    }
    if (shown) snprintf(out + len, size - len, "; ");
}

struct report {
    const struct kt_failed *f;
    bool told; /* result: it was logged, not only counted */
};

/* The conn or the peer that the task served. */
static struct kt_log_fields about_of(const struct kt_failed *f)
{
    return kt_task_about(kt_task_of(f->thread));
}

static void log_failure(struct report *r, const char *text)
{
    const struct kt_failed *f = r->f;
    char line[1024], lines[640];
    r->told = is_news(f->rt, f->origin, text);
    if (!r->told) return;
    trace(f->thread, lines, sizeof lines);
    snprintf(line, sizeof line, "task failed: %s (%sspawned at %s:%d)", text, lines, f->origin->source,
        f->origin->line);
    const struct kt_log_fields about = about_of(f);
    kt_log_with(f->rt->log, KT_LOG_ERROR, about, "%s", line);
    kt_events_emit(kt_runtime_events(f->rt),
        &(struct kt_event){
            .type = KT_EVENT_ERROR, .text = line, .conn = about.conn, .peer = about.peer, .failed = true});
}

/* Runs protected on the main state: the error on top of the task's stack may have a __tostring metamethod
 * written by the script. */
static int report(lua_State *L)
{
    struct report *r = lua_touserdata(L, 1);
    lua_pushvalue(r->f->thread, -1);
    lua_xmove(r->f->thread, L, 1);
    log_failure(r, kt_lua_err_raised(L, -1));
    return 0;
}

static const char *close_failed(const struct kt_failed *f)
{
    return f->stopped ? "__close of a canceled task failed" : "__close of a failed task failed as well";
}

/* The same for an error raised by a __close, which is argument 2. */
static int report_close(lua_State *L)
{
    const struct kt_failed *f = lua_touserdata(L, 1);
    kt_log_with(f->rt->log, KT_LOG_ERROR, about_of(f), "%s: %s (spawned at %s:%d)", close_failed(f),
        kt_lua_err_raised(L, 2), f->origin->source, f->origin->line);
    return 0;
}

/* The task's own error, or nil, is on top of the main stack; the error left by lua_resetthread is on the
 * thread's. */
static void tell_close(const struct kt_failed *f)
{
    lua_State *L = f->rt->L;
    lua_xmove(f->thread, L, 1);
    if (lua_rawequal(L, -1, -2)) return; /* the task's own error, already logged */
    lua_State *before = kt_guard_switch(f->rt->guard, L);
    lua_pushcfunction(L, report_close);
    lua_pushlightuserdata(L, (void *)f);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        kt_log_with(f->rt->log, KT_LOG_ERROR, about_of(f), "%s (spawned at %s:%d)", close_failed(f),
            f->origin->source, f->origin->line);
    kt_guard_switch(f->rt->guard, before);
}

bool kt_failure_close(const struct kt_failed *f, int status, bool tell)
{
    struct kt_runtime *rt = f->rt;
    const int top = lua_gettop(rt->L);
    const bool room = lua_checkstack(rt->L, 5) && lua_checkstack(f->thread, 1), raised = status != LUA_YIELD;
    if (room && raised) { /* lua_resetthread may overwrite it on the thread's stack */
        lua_pushvalue(f->thread, -1);
        lua_xmove(f->thread, rt->L, 1);
    } else if (room) {
        lua_pushnil(rt->L);
    }
    const int closed = lua_resetthread(f->thread);
    if (kt_guard_stopped(rt->guard))
        kt_log_with(rt->log, KT_LOG_ERROR, about_of(f), "__close of a %s task: %s (spawned at %s:%d)",
            f->stopped ? "canceled" : "failed", kt_guard_text(f->thread), f->origin->source, f->origin->line);
    else if (tell && room && closed != LUA_OK)
        tell_close(f);
    lua_settop(f->thread, 0);
    lua_settop(rt->L, room ? top + 1 : top);
    if (room && raised) lua_xmove(rt->L, f->thread, 1);
    lua_settop(rt->L, top);
    return room && raised;
}

bool kt_failure_text(const struct kt_failed *f, int status, char *out, size_t size)
{
    if (kt_guard_stopped(f->rt->guard))
        snprintf(out, size, "%s", kt_guard_text(f->thread));
    else if (status == LUA_YIELD) /* the script called coroutine.yield */
        snprintf(out, size,
            "coroutine.yield in a task: nothing resumes it; call kt.sleep(0) to let other tasks run");
    else if (status == LUA_ERRMEM)
        kt_guard_memory_text(f->rt->guard, out, size);
    else
        return false;
    return true;
}

void kt_failure_note(lua_State *L, const char *what)
{
    struct kt_runtime *rt = kt_runtime_of(L);
    const struct kt_origin *origin = kt_task_origin(kt_task_of(L));
    char lines[640];
    kt_runtime_counters(rt)->TaskErrors++;
    const char *text = kt_lua_err_raised(L, -1);
    if (is_news(rt, origin, text)) {
        trace(L, lines, sizeof lines);
        kt_log_with(rt->log, KT_LOG_ERROR, kt_task_about(kt_task_of(L)), "%s: %s (%sserved at %s:%d)", what,
            text, lines, origin->source, origin->line);
    }
    lua_pop(L, 1);
}

bool kt_failure_tell(const struct kt_failed *f, int status)
{
    struct kt_runtime *rt = f->rt;
    char text[KT_GUARD_TEXT];
    struct report r = {.f = f};
    if (kt_failure_text(f, status, text, sizeof text)) {
        log_failure(&r, text);
        return r.told;
    }
    lua_State *before = kt_guard_switch(rt->guard, rt->L);
    const int top = lua_gettop(rt->L);
    lua_pushcfunction(rt->L, report);
    lua_pushlightuserdata(rt->L, &r);
    if (!lua_checkstack(f->thread, 1) || lua_pcall(rt->L, 1, 0, 0) != LUA_OK)
        log_failure(&r, "formatting its error failed as well");
    lua_settop(rt->L, top);
    kt_guard_switch(rt->guard, before);
    return r.told;
}
