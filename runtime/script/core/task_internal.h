/* The fields of a task, shared by task.c, which has its life, and task_facts.c. Elsewhere it is opaque. */
#ifndef KT_SCRIPT_CORE_TASK_INTERNAL_H
#define KT_SCRIPT_CORE_TASK_INTERNAL_H

#include "io/io.h"
#include "script/core/task.h"

enum state { SPARE, READY, RUNNING, WAITING };

struct kt_task {
    struct kt_runtime *rt;
    lua_State *L;
    int ref;   /* registry reference to the thread */
    int nargs; /* arguments of the first resume */
    int code;  /* outcome of the wait: 0 or a KT_E…; the rest is below */
    enum state state;
    bool spawned;          /* started by kt.spawn */
    bool aside;            /* does not keep the script alive */
    bool stopped;          /* by kt_task_stop: it does not run again */
    struct kt_list node;   /* among all tasks, or the spare ones */
    struct kt_list owned;  /* list of kt_owned: pipes and sockets */
    struct kt_list queued; /* READY: in a ready queue; WAITING: in the queue of its wait, if that has one */
    struct kt_list listed; /* in the list of kt_task_list */
    const struct kt_origin *origin;
    uint64_t born;               /* µs */
    struct about *about;         /* NULL: nothing */
    struct kt_task_watch *watch; /* NULL: none */

    struct kt_wait wait; /* the wait that it is in, or was in last */
    struct kt_timer timer;

    /* the rest of that outcome, until the task runs */
    char *text; /* malloc'd sentence, or NULL */
    unsigned char result[KT_TASK_RESULT];
    void *brought;        /* malloc'd, or NULL */
    struct kt_pipe *pipe; /* a pipe without a handle yet */
    struct kt_conn *conn; /* the same, if it is a conn */
};

/* Subject of a task's log lines; tasks that it spawns share it. */
struct about {
    uint32_t refs, peer; /* peer: its offset in text */
    char text[];         /* conn and peer, each with a final zero; "": none */
};

/* Drops the task's reference to the subject of its log lines. */
void kt_task_forget_about(struct kt_task *t);

#endif
