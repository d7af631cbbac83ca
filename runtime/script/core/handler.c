/* Counts the tasks of a script's event handlers, so that one handler cannot run more than its share. */
#include "script/core/handler.h"
#include "base/log.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"

void kt_handler_init(struct kt_handler *h, const struct kt_origin *origin, unsigned most)
{
    *h = (struct kt_handler){.origin = origin, .most = most};
    kt_list_init(&h->running);
}

bool kt_handler_busy(struct kt_handler *h, const struct kt_log *log, const char *event)
{
    unsigned n = 0;
    for (const struct kt_list *t = h->running.next; t != &h->running; t = t->next) n++;
    if (n < h->most) return false;
    if (!h->told && h->most == 1)
        kt_log(log, KT_LOG_WARN,
            "the \"%s\" handler set at %s:%d is still running; it is not called again until it returns",
            event, h->origin->source, h->origin->line);
    else if (!h->told)
        kt_log(log, KT_LOG_WARN,
            "the \"%s\" handler set at %s:%d is still running in %u tasks; it is not called again until one "
            "returns",
            event, h->origin->source, h->origin->line, h->most);
    return h->told = true;
}

void kt_handler_add(struct kt_handler *h, struct kt_task *t)
{
    kt_task_list(t, &h->running);
}

void kt_handler_end(struct kt_handler *h)
{
    while (kt_list_pop(&h->running)) {
    }
}
