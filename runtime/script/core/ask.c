/* Runs a function of kt.control in a task and hands what it returns to the asker.
 *
 * Invariant: a question lives until its task has ended; `done` is NULL once it was answered or given up. */
#include "script/core/ask.h"
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "io/io.h"
#include "script/core/handler.h"
#include "script/core/life.h"
#include "script/core/setup.h"
#include "script/core/state.h"
#include "script/core/task.h"
#include "script/sandbox/origin.h"

static const struct kt_origin origin = {.source = "[kt.control]"};

struct kt_ask {
    struct kt_task_watch watch;
    struct kt_io *io;
    struct kt_timer timer;
    kt_ask_done done; /* NULL: nobody waits */
    void *ctx;
};

static void answer(struct kt_ask *ask, int code, const char *text, size_t len)
{
    const kt_ask_done done = ask->done;
    ask->done = NULL;
    kt_io_timer_cancel(ask->io, &ask->timer);
    if (done) done(ask->ctx, code, text, len);
}

static void answer_code(struct kt_ask *ask, int code)
{
    const char *text = kt_strerror(code);
    answer(ask, code, text, strlen(text));
}

static bool awaited(const struct kt_task_watch *w)
{
    (void)w;
    return true;
}

static int code_of(const char *name)
{
#define CODE(code, num, known, text)                                                                         \
    if (name && strcmp(name, known) == 0) return code;
    KT_ERRORS(CODE)
#undef CODE
    return KT_EFAILED;
}

/* The function returns true and JSON, or false, the name of a code, and a sentence. */
static void ended(struct kt_task_watch *w, int code, const char *text, lua_State *thread, int n)
{
    struct kt_ask *ask = KT_CONTAINER(w, struct kt_ask, watch);
    if (code == 0 && n >= 2 && lua_type(thread, -1) == LUA_TSTRING) {
        size_t len;
        const bool ok = lua_toboolean(thread, -n);
        const char *result = lua_tolstring(thread, -1, &len);
        answer(ask, ok ? 0 : code_of(lua_tostring(thread, -2)), result, len);
    } else if (text) {
        answer(ask, code, text, strlen(text));
    } else {
        answer_code(ask, code ? code : KT_EFAILED);
    }
    free(ask);
}

static void on_timeout(void *ctx)
{
    struct kt_ask *ask = ctx;
    struct kt_task *t = ask->watch.task;
    answer_code(ask, KT_ETIMEOUT);
    kt_task_stop(t);
}

/* prepare(opts) → kt.control's function, command, args */
static int prepare(lua_State *L)
{
    const struct kt_ask_opts *o = lua_touserdata(L, 1);
    kt_state_require(L, "kt.control");
    lua_pushstring(L, o->command);
    lua_pushlstring(L, o->args, o->len);
    return 3;
}

int kt_ask(struct kt_runtime *rt, const struct kt_ask_opts *opts, struct kt_ask **out)
{
    static const struct kt_task_watch_ops ops = {.awaited = awaited, .ended = ended};
    const enum kt_phase phase = kt_runtime_phase(rt);
    int code;
    if ((phase != KT_RUN && phase != KT_DRAIN) || kt_runtime_exited(rt, &code)) return KT_ECLOSED;
    struct kt_ask *ask = calloc(1, sizeof *ask);
    if (!ask) return KT_ENOMEM;
    struct kt_task *t = kt_task_prepare(rt, &origin, prepare, opts);
    if (!t) {
        free(ask);
        return KT_ENOMEM;
    }
    kt_task_set_aside(t);
    ask->watch.ops = &ops;
    ask->io = kt_runtime_io(rt);
    ask->done = opts->done;
    ask->ctx = opts->ctx;
    kt_timer_init(&ask->timer, on_timeout, ask);
    kt_io_timer_set(ask->io, &ask->timer, kt_io_now(ask->io) + opts->timeout_us);
    kt_task_set_watch(t, &ask->watch);
    *out = ask;
    return 0;
}

void kt_ask_cancel(struct kt_ask *ask)
{
    ask->done = NULL;
    kt_io_timer_cancel(ask->io, &ask->timer);
    kt_task_stop(ask->watch.task);
}
