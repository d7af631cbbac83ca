/* Accessors of a task: its runtime, thread and origin, what its log lines are about, and what it does now.
 *
 * Invariant: nothing here changes whether the task runs. */
#include <stdlib.h>
#include <string.h>
#include "script/core/parts.h"
#include "script/core/task_internal.h"
#include "script/sandbox/origin.h"

#define ABOUT_TEXT 47u /* bytes kept of each of the two texts */

struct kt_runtime *kt_runtime_of(lua_State *L)
{
    return kt_task_of(L)->rt;
}

struct kt_runtime *kt_task_runtime(const struct kt_task *t)
{
    return t->rt;
}

lua_State *kt_task_thread(const struct kt_task *t)
{
    return t->L;
}

const struct kt_origin *kt_task_origin(const struct kt_task *t)
{
    return t->origin;
}

const char *kt_task_waits_in(const struct kt_task *t)
{
    return t->state == WAITING ? t->wait.what : NULL;
}

void kt_task_look(const struct kt_task *t, struct kt_task_look *out)
{
    static const enum kt_task_state states[] = {
        [READY] = KT_TASK_READY, [RUNNING] = KT_TASK_RUNNING, [WAITING] = KT_TASK_WAITING};
    *out = (struct kt_task_look){
        .state = states[t->state], .waits_in = kt_task_waits_in(t), .age_us = kt_io_now(t->rt->io) - t->born};
    lua_Debug ar;
    for (int level = 0; out->line == 0 && lua_getstack(t->L, level, &ar); level++) {
        if (!lua_getinfo(t->L, "Sl", &ar) || ar.currentline <= 0 || kt_origin_embedded(ar.short_src))
            continue;
        out->line = ar.currentline;
        memcpy(out->source, ar.short_src,
            sizeof ar.short_src < sizeof out->source ? sizeof ar.short_src : sizeof out->source - 1);
    }
}

/* ---- what its log lines are about ---- */

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

void kt_task_forget_about(struct kt_task *t)
{
    if (t->about && --t->about->refs == 0) free(t->about);
    t->about = NULL;
}

void kt_task_set_about(struct kt_task *t, const struct kt_log_fields *about)
{
    const size_t conn = about->conn ? strnlen(about->conn, ABOUT_TEXT) : 0;
    const size_t peer = about->peer ? strnlen(about->peer, ABOUT_TEXT) : 0;
    kt_task_forget_about(t);
    if (conn + peer == 0) return;
    struct about *a = t->about = calloc(1, sizeof *a + conn + peer + 2);
    if (!a) return; /* its log lines say less */
    a->refs = 1;
    a->peer = (uint32_t)conn + 1;
    if (conn > 0) memcpy(a->text, about->conn, conn);
    if (peer > 0) memcpy(a->text + a->peer, about->peer, peer);
}

struct kt_log_fields kt_task_about(const struct kt_task *t)
{
    const struct about *a = t->about;
    return a ? (struct kt_log_fields){.conn = or_null(a->text), .peer = or_null(a->text + a->peer)}
             : (struct kt_log_fields){0};
}
