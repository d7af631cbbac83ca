/* Link handles: those created by kt.link, and those that an acceptor hands out, one per peer.
 *
 *   lua_link.c     the handle: open, probe, set, stats, close
 *   lua_link_on.c  its events: handlers that run as tasks
 *
 * Invariant: `link` is NULL exactly while the link is not open; tasks in `waiting` have a call pending on it. */
#ifndef KT_SCRIPT_API_LUA_LINK_H
#define KT_SCRIPT_API_LUA_LINK_H

#include "base/histogram.h"
#include "link/link.h"
#include "script/api/config.h"
#include "script/core/handle.h"
#include "script/core/service.h"

struct kt_lua_link {
    struct kt_service service; /* first */
    struct kt_link *link;
    struct kt_tap *tap;          /* NULL: an acceptor's link, or it was not open yet */
    struct kt_link_totals ended; /* of a link that was closed */
    struct kt_list waiting;      /* tasks: kt_link_close forgets their calls without a word */
    struct kt_list watches;      /* of the handlers (lua_link_on.c) */
    struct kt_list greeting;     /* an acceptor's: the task of on("link") (kt_task_list) */
    unsigned last_watch;
    struct kt_link_events events;       /* those that have a handler */
    const struct kt_origin *on_flow_at; /* where the handler of "flow" was set; NULL: there is none */
    bool peer;                          /* an acceptor's */
    struct kt_histogram opens;          /* how long successful calls of :open took */
    const struct kt_wire *wire;
    struct kt_settings *settings; /* as set; the userdata in KT_LINK_CONFIG. NULL: an acceptor's link */
};

/* Its uservalues: */
enum {
    KT_LINK_CONFIG = 1,
    KT_LINK_REMOTE,
    KT_LINK_HANDLERS,
    KT_LINK_IDENTITY,
    KT_LINK_USERVALUES = KT_LINK_IDENTITY
};

/* Pushes a handle for a link that is not open. */
struct kt_lua_link *kt_lua_link_push(lua_State *L);
/* Turns the handle on top of the stack into one for a link that an acceptor handed out. If it raises, the
 * link still belongs to the caller. */
void kt_lua_link_peer(
    lua_State *L, struct kt_lua_link *l, struct kt_link *link, const struct kt_peer_info *peer);

/* Whether it needs its peer now: it is to stay up, carries streams, or calls wait for it. */
bool kt_lua_link_wanted(const struct kt_lua_link *l);
/* Current statistics; for a link that is not open, only its totals. */
void kt_lua_link_stats(const struct kt_lua_link *l, struct kt_link_stats *out);

/* Call when the link got a handler for what its peer opens: keeps a session up, as the peer cannot open anything
 * without one. */
void kt_lua_link_served(struct kt_lua_link *l);

/* ---- lua_link_on.c ---- */

int kt_lua_link_event(lua_State *L);
/* Pushes the handler of "flow" of a link (struct kt_lua_link), or nothing if the link is being collected. */
void kt_lua_link_push_flow_handler(lua_State *L, const void *link);
/* Call when the link has opened: starts the timers of the handlers. */
void kt_lua_link_opened(struct kt_lua_link *l);
/* Removes the handlers. */
void kt_lua_link_forget(struct kt_lua_link *l);
/* Runs the handlers of "up", and of "down" with the reason. */
void kt_lua_link_up(struct kt_lua_link *l);
void kt_lua_link_down(struct kt_lua_link *l, const struct kt_err *why);

#endif
