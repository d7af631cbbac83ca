/* Process events, for subscribers: links that come up and go down, switches of pools, reloads, tasks that fail.
 * Runtimes and their supervisor share one source. Without a listener an event costs one comparison. */
#ifndef KT_SCRIPT_CORE_EVENTS_H
#define KT_SCRIPT_CORE_EVENTS_H

#include <stdbool.h>
#include "base/list.h"

/* type, meaning */
#define KT_EVENT_TYPES(X)                                                                                    \
    X(UP, "up", "a link came up, or a pool's check found it up")                                             \
    X(DOWN, "down", "a link went down, or a pool's checks found it down")                                    \
    X(SWITCH, "switch", "a pool sends new streams over another link")                                        \
    X(RELOAD, "reload", "the script was loaded again, or that failed")                                       \
    X(ERROR, "error", "a task failed")

enum kt_event_type {
#define KT_EVENT_ENUM(type, name, doc) KT_EVENT_##type,
    KT_EVENT_TYPES(KT_EVENT_ENUM)
#undef KT_EVENT_ENUM
};

struct kt_event {
    enum kt_event_type type;
    const char *link; /* its name; NULL: of no link */
    const char *pool; /* NULL: of no pool */
    const char *conn; /* of an error: the conn that the failed task served, as in the log; NULL: none */
    const char *peer; /* likewise, the peer */
    const char *text; /* a sentence */
    bool failed;      /* of a reload: nothing has changed; of an error: always */
};

struct kt_events {
    struct kt_list listeners;
};

struct kt_events_listener {
    struct kt_list node; /* set by kt_events_listen */
    /* Must not run Lua, nor end another listener. */
    void (*fn)(void *ctx, const struct kt_event *e);
    void *ctx;
};

void kt_events_init(struct kt_events *events);
void kt_events_listen(struct kt_events *events, struct kt_events_listener *l);
/* Harmless if it does not listen. l->node must have been initialized. */
void kt_events_unlisten(struct kt_events_listener *l);
/* events may be NULL: nobody listens. */
void kt_events_emit(struct kt_events *events, const struct kt_event *e);
/* "up". Static storage. */
const char *kt_event_name(enum kt_event_type type);

#endif
