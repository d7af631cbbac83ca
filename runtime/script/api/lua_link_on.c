/* link:on: event handlers of a link. Each event starts a task for each of its handlers, which gets the link's
 * current statistics and, for some events, the reason.
 *
 * Handlers are stored in a table held by the link's handle, not in the registry, so that a handler that
 * refers to its link does not keep it from being collected.
 *
 * Invariant: each handler of "stats" has a running timer while the link is open, each handler of "degraded"
 * while the link is up; others have none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "script/core/events.h"
#include "script/core/handler.h"
#include "script/api/lua_link.h"

#define ON "link:on"
#define EVERY_US 5000000u
#define EVERY_MIN_US 100000u
#define LOOK_US 250000u /* interval between checks for "degraded" */
#define BETTER 0.75     /* an episode ends below this fraction of its threshold */

enum event { UP, DOWN, DEGRADED, STATS, FLOW, EVENTS };
static const char *const names[EVENTS] = {"up", "down", "degraded", "stats", "flow"};

struct watch {
    struct kt_list node; /* in l->watches */
    struct kt_lua_link *l;
    enum event event;
    lua_Integer id; /* key of the function in the handle's table */
    struct kt_handler handler;
    struct kt_timer timer;
    uint64_t every_us;
    double loss; /* thresholds; 0: none */
    uint64_t srtt_us, silence_us;
    bool degraded; /* within an episode */
};

/* ---- running handlers ---- */

struct happening {
    const struct watch *w;
    const struct kt_link_stats *stats;
    const struct kt_err *why; /* or NULL */
};

/* Protected: → handler, stats, err or nil */
static int prepare(lua_State *L)
{
    const struct happening *h = lua_touserdata(L, 1);
    if (!kt_service_push(L, &h->w->l->service)) return 0;
    lua_getiuservalue(L, -1, KT_LINK_HANDLERS);
    lua_rawgeti(L, -1, h->w->id);
    kt_config_push_stats(L, h->stats);
    if (h->why)
        kt_lua_err_push(L, h->why->code, h->why->text);
    else
        lua_pushnil(L);
    return 3;
}

static void run(struct watch *w, const struct kt_link_stats *stats, const struct kt_err *why)
{
    struct kt_runtime *rt = kt_service_runtime(&w->l->service);
    const struct happening h = {w, stats, why};
    if (!kt_runtime_attends(rt) || kt_handler_busy(&w->handler, kt_runtime_log(rt), names[w->event])) return;
    if (kt_runtime_replaced(rt) && w->event == STATS) return; /* the new script reports now */
    struct kt_task *t = kt_task_prepare(rt, w->handler.origin, prepare, &h);
    if (t) kt_handler_add(&w->handler, t);
}

/* ---- degraded ---- */

static bool too_much(double value, double threshold, bool degraded)
{
    return threshold > 0 && (degraded ? value > threshold * BETTER : value >= threshold);
}

/* Whether a threshold is exceeded; err says which. */
static bool is_degraded(const struct watch *w, const struct kt_link_stats *s, struct kt_err *err)
{
    const double loss = kt_link_loss(s);
    if (too_much((double)s->silence_us, (double)w->silence_us, w->degraded))
        kt_err_set(err, KT_ELIMIT, "the peer has not answered for %.1f s", (double)s->silence_us / 1e6);
    else if (too_much(loss, w->loss, w->degraded))
        kt_err_set(
            err, KT_ELIMIT, "recent loss is %.1f %%, over the limit of %.3g %%", loss * 100, w->loss * 100);
    else if (too_much(s->srtt_us, (double)w->srtt_us, w->degraded))
        kt_err_set(err, KT_ELIMIT, "the round trip takes %.0f ms, over the limit of %.0f ms",
            s->srtt_us / 1e3, (double)w->srtt_us / 1e3);
    else
        return false;
    return true;
}

static void on_timer(void *ctx)
{
    struct watch *w = ctx;
    struct kt_io *io = kt_runtime_io(kt_service_runtime(&w->l->service));
    struct kt_link_stats stats;
    struct kt_err err = {0};
    kt_lua_link_stats(w->l, &stats);
    kt_io_timer_set(io, &w->timer, kt_io_now(io) + (w->event == STATS ? w->every_us : LOOK_US));
    if (w->event == STATS) {
        run(w, &stats, NULL);
        return;
    }
    const bool before = w->degraded;
    w->degraded = is_degraded(w, &stats, &err);
    if (w->degraded && !before) run(w, &stats, &err);
}

static void start(struct watch *w)
{
    struct kt_io *io = kt_runtime_io(kt_service_runtime(&w->l->service));
    struct kt_link_stats stats;
    if (w->event < DEGRADED || !w->l->link) return;
    kt_lua_link_stats(w->l, &stats);
    if (w->event == DEGRADED && !stats.up) return;
    kt_io_timer_set(io, &w->timer, kt_io_now(io) + (w->event == STATS ? w->every_us : LOOK_US));
}

/* ---- events of the link ---- */

static struct watch *watch_of(struct kt_list *node)
{
    return KT_CONTAINER(node, struct watch, node);
}

void kt_lua_link_opened(struct kt_lua_link *l)
{
    for (struct kt_list *n = l->watches.next; n != &l->watches; n = n->next) start(watch_of(n));
}

static void tell(struct kt_lua_link *l, enum event event, const struct kt_err *why)
{
    if (kt_list_empty(&l->watches)) return;
    struct kt_link_stats stats;
    kt_lua_link_stats(l, &stats);
    for (struct kt_list *n = l->watches.next; n != &l->watches; n = n->next) {
        struct watch *w = watch_of(n);
        if (w->event == event) run(w, &stats, why);
        if (w->event != DEGRADED) continue;
        w->degraded = false;
        if (event == UP)
            start(w);
        else
            kt_io_timer_cancel(kt_runtime_io(kt_service_runtime(&l->service)), &w->timer);
    }
}

/* Events of an acceptor's peers come from their presence (lua_accept.c), even if no script uses their links. */
static void emit(const struct kt_lua_link *l, enum kt_event_type type, const char *text)
{
    if (l->peer) return;
    kt_events_emit(kt_runtime_events(kt_service_runtime(&l->service)),
        &(struct kt_event){.type = type, .link = kt_service_name(&l->service), .text = text});
}

void kt_lua_link_up(struct kt_lua_link *l)
{
    emit(l, KT_EVENT_UP, "the link is up");
    tell(l, UP, NULL);
}

void kt_lua_link_down(struct kt_lua_link *l, const struct kt_err *why)
{
    emit(l, KT_EVENT_DOWN, why->text);
    tell(l, DOWN, why);
}

void kt_lua_link_forget(struct kt_lua_link *l)
{
    for (struct kt_list *n; (n = kt_list_pop(&l->watches));) {
        struct watch *w = watch_of(n);
        kt_io_timer_cancel(kt_runtime_io(kt_service_runtime(&l->service)), &w->timer);
        kt_handler_end(&w->handler);
        free(w);
    }
}

/* ---- flows ---- */

void kt_lua_link_push_flow_handler(lua_State *L, const void *link)
{
    if (!kt_service_push(L, &((const struct kt_lua_link *)link)->service)) return;
    lua_getiuservalue(L, -1, KT_LINK_HANDLERS);
    lua_getfield(L, -1, "flow");
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* The stack: the link, "flow", the handler; on top, the table of handlers. Such a flow belongs to one task, so there is
 * one handler. */
static int on_flow(lua_State *L, struct kt_lua_link *l)
{
    if (l->peer)
        return kt_raise(L, ON
            "(\"flow\"): this link was accepted; acceptor:on(\"flow\", …) gets the flows that its peer opens");
    if (l->on_flow_at)
        return kt_raise(L, ON ": \"flow\" already has a handler, set at %s:%d", l->on_flow_at->source,
            l->on_flow_at->line);
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "flow");
    l->on_flow_at = kt_origin_here(L);
    kt_service_attend(&l->service);
    if (l->link) kt_lua_link_served(l);
    lua_settop(L, 1);
    return 1;
}

/* ---- link:on ---- */

static enum event event_arg(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (int e = 0; e < EVENTS; e++)
        if (strcmp(name, names[e]) == 0) return (enum event)e;
    if (lua_type(L, 2) != LUA_TSTRING) kt_raise(L, ON ": expected an event name, got %s", kt_type_name(L, 2));
    kt_raise(L,
        ON ": unknown event \"%s\"; expected one of \"up\", \"down\", \"degraded\", \"stats\", \"flow\"",
        name);
}

static void read_options(lua_State *L, struct watch *w)
{
    uint64_t every = KT_TIME_NEVER, srtt = KT_TIME_NEVER, silence = KT_TIME_NEVER;
    double loss = -1;
    const struct kt_opt opts[] = {{"every", KT_OPT_DURATION, &every}, {"loss", KT_OPT_SHARE, &loss},
        {"srtt", KT_OPT_DURATION, &srtt}, {"silence", KT_OPT_DURATION, &silence}};
    kt_opts_read(L, 4, ON, opts, 4);
    const bool thresholds = loss >= 0 || srtt != KT_TIME_NEVER || silence != KT_TIME_NEVER;
    if (w->event != STATS && every != KT_TIME_NEVER)
        kt_raise(L, ON "(\"%s\"): every applies only to \"stats\"", names[w->event]);
    if (w->event != DEGRADED && thresholds)
        kt_raise(L, ON "(\"%s\"): loss, srtt and silence apply only to \"degraded\"", names[w->event]);
    if (every < EVERY_MIN_US) kt_opts_wrong(L, 4, ON);
    w->every_us = every == KT_TIME_NEVER ? EVERY_US : every;
    w->loss = loss >= 0 ? loss : thresholds ? 0 : 0.05;
    w->srtt_us = srtt == KT_TIME_NEVER ? 0 : srtt;
    w->silence_us = silence != KT_TIME_NEVER ? silence : thresholds ? 0 : 1500000;
}

/* link:on("up" | "down" | "degraded" | "stats", function(stats, err) … end [, options]) → link
 * link:on("flow", function(flow) … end) → link */
int kt_lua_link_event(lua_State *L)
{
    struct kt_lua_link *l = kt_handle_self(L, KT_HANDLE_LINK, "on");
    struct watch draft = {.event = event_arg(L), .l = l};
    if (lua_type(L, 3) != LUA_TFUNCTION)
        return kt_raise(L, ON ": expected a function, got %s", kt_type_name(L, 3));
    read_options(L, &draft);
    if (kt_service_is_closed(&l->service)) return kt_raise(L, ON ": the link was closed");
    lua_settop(L, 3);
    if (lua_getiuservalue(L, 1, KT_LINK_HANDLERS) != LUA_TTABLE) {
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, KT_LINK_HANDLERS);
    }
    if (draft.event == FLOW) return on_flow(L, l);
    if (l->last_watch == KT_HANDLERS_MAX)
        return kt_raise(L,
            ON ": limit of %d handlers per link reached; set handlers once, not for each connection",
            (int)KT_HANDLERS_MAX);
    draft.id = ++l->last_watch;
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, draft.id);
    struct watch *w = malloc(sizeof *w);
    if (!w) return kt_raise(L, ON ": out of memory");
    *w = draft;
    kt_timer_init(&w->timer, on_timer, w);
    /* One task at a time for "stats", as newer statistics follow anyway. */
    kt_handler_init(&w->handler, kt_origin_here(L), w->event == STATS ? 1 : KT_HANDLER_TASKS_MAX);
    kt_list_push(&l->watches, &w->node);
    start(w);
    lua_settop(L, 1);
    return 1;
}
