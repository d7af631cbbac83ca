/* A handler: a script's function for a recurring event (link:on, pool:on). Each event starts a task; a bound
 * on the running ones keeps a function that never returns from using up the tasks that conns need. */
#ifndef KT_SCRIPT_CORE_HANDLER_H
#define KT_SCRIPT_CORE_HANDLER_H

#include <lua.h>
#include <stdbool.h>
#include "base/list.h"

struct kt_log;
struct kt_origin;
struct kt_runtime;
struct kt_task;

#define KT_HANDLERS_MAX 64u      /* per link or pool */
#define KT_HANDLER_TASKS_MAX 16u /* per handler, by default */

struct kt_handler {
    const struct kt_origin *origin; /* where it was set */
    struct kt_list running;         /* its tasks (kt_task_list) */
    unsigned most;                  /* tasks at a time */
    bool told;                      /* the warning about too many was logged */
};

void kt_handler_init(struct kt_handler *h, const struct kt_origin *origin, unsigned most);
/* Whether the handler already runs `most` tasks. Logs a warning the first time; event is its event's name. */
bool kt_handler_busy(struct kt_handler *h, const struct kt_log *log, const char *event);
void kt_handler_add(struct kt_handler *h, struct kt_task *t);
/* Unlinks its tasks, which keep running. */
void kt_handler_end(struct kt_handler *h);

/* For callbacks: starts a task for a handler of the script. Calls prepare(arg), protected, which returns the
 * handler and its arguments, or nothing for no task; it must not run Lua of the script. Returns the task,
 * which has not run yet, or NULL. */
struct kt_task *kt_task_prepare(
    struct kt_runtime *rt, const struct kt_origin *origin, lua_CFunction prepare, const void *arg);
#endif
