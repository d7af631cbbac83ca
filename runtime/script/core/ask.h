/* Questions to a running script from outside it: a task calls a function of the module kt.control
 * (lua/kt/control.lua), which returns JSON. The task does not keep the script alive, and its failure is the
 * asker's, so it is not logged. */
#ifndef KT_SCRIPT_CORE_ASK_H
#define KT_SCRIPT_CORE_ASK_H

#include <stddef.h>
#include <stdint.h>

struct kt_ask;
struct kt_runtime;

/* Called once, from the end of a turn, after which the question is gone. code 0: the text is JSON; otherwise a
 * sentence. The text is valid during the call. */
typedef void (*kt_ask_done)(void *ctx, int code, const char *text, size_t len);

struct kt_ask_opts {
    const char *command; /* the function's name; outlives the question */
    const char *args;    /* JSON, for the function; copied */
    size_t len;
    uint64_t timeout_us; /* after it, the task is stopped and the answer is KT_ETIMEOUT */
    kt_ask_done done;
    void *ctx;
};

/* 0; KT_ECLOSED if the script has ended; KT_ENOMEM, also if it has too many tasks. */
int kt_ask(struct kt_runtime *rt, const struct kt_ask_opts *opts, struct kt_ask **out);
/* Ends the question without an answer, and stops its task. */
void kt_ask_cancel(struct kt_ask *ask);

#endif
