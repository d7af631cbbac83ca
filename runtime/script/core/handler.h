/* A handler: a function of the script's for what happens again and again (link:on, pool:on). Each event is a
 * task for it; the bound on those that have not ended keeps a function that hangs from taking the room of the
 * conns. */
#ifndef KT_SCRIPT_CORE_HANDLER_H
#define KT_SCRIPT_CORE_HANDLER_H

#include <stdbool.h>
#include "base/list.h"

struct kt_log;
struct kt_origin;
struct kt_task;

#define KT_HANDLERS_MAX 64u      /* of one link, or of one pool */
#define KT_HANDLER_TASKS_MAX 16u /* of one handler, unless it is to have fewer */

struct kt_handler {
    const struct kt_origin *origin; /* where it was set */
    struct kt_list running;         /* its tasks, by their `fellow`: they take themselves off when they end */
    unsigned most;
    bool told; /* ... that there were too many */
};

void kt_handler_init(struct kt_handler *h, const struct kt_origin *origin, unsigned most);
/* Whether as many tasks of it run as may. Says so once; event: what it is the handler of. */
bool kt_handler_busy(struct kt_handler *h, const struct kt_log *log, const char *event);
void kt_handler_add(struct kt_handler *h, struct kt_task *t);
/* Lets go of its tasks, which go on. */
void kt_handler_end(struct kt_handler *h);

#endif
