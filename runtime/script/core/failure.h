/* What is said of tasks that failed: the error, the script's lines, and where the task was spawned.
 *
 * A handler that fails for each conn must not fill the disk with the same lines. Of the tasks spawned at one
 * line KT_FAILURES_TOLD in KT_FAILURES_US are told in full; how many more there were is said once, when that
 * time is over. */
#ifndef KT_SCRIPT_CORE_FAILURE_H
#define KT_SCRIPT_CORE_FAILURE_H

#include <stdbool.h>
#include "base/list.h"
#include "io/io.h"

struct kt_runtime;
struct kt_task;

#define KT_FAILURES_TOLD 10u
#define KT_FAILURES_US 10000000u

/* Of a runtime. */
struct kt_failures {
    struct kt_list places; /* lines that have failed within KT_FAILURES_US, the oldest first */
    struct kt_timer timer; /* when the time of the oldest is over */
};

void kt_failures_init(struct kt_runtime *rt);
/* Says what is still to be said. */
void kt_failures_end(struct kt_runtime *rt);

/* The task's function has ended with this status of lua_resume, which is no LUA_OK: the error is on its
 * stack. False if there were too many of its kind for this one to be told. */
bool kt_failure_tell(struct kt_task *t, int status);
/* Then: leaves the scopes of the task, which runs what they have to close. An error in there is told, if the
 * task's own was. */
void kt_failure_close(struct kt_task *t, int status, bool tell);

#endif
