/* Hands events to their listeners. Invariant: a listener is in the list exactly while it listens, and may leave it
 * within its own call. */
#include "script/core/events.h"
#include <stddef.h>

void kt_events_init(struct kt_events *events)
{
    kt_list_init(&events->listeners);
}

void kt_events_listen(struct kt_events *events, struct kt_events_listener *l)
{
    kt_list_push(&events->listeners, &l->node);
}

void kt_events_unlisten(struct kt_events_listener *l)
{
    kt_list_remove(&l->node);
}

void kt_events_emit(struct kt_events *events, const struct kt_event *e)
{
    if (!events) return;
    for (struct kt_list *n = events->listeners.next, *next; n != &events->listeners; n = next) {
        struct kt_events_listener *l = KT_CONTAINER(n, struct kt_events_listener, node);
        next = n->next;
        l->fn(l->ctx, e);
    }
}

const char *kt_event_name(enum kt_event_type type)
{
    static const char *const names[] = {
#define KT_EVENT_NAME(type, name, doc) [KT_EVENT_##type] = name,
        KT_EVENT_TYPES(KT_EVENT_NAME)
#undef KT_EVENT_NAME
    };
    return names[type];
}
