/* Starts the tasks of a script's event handlers, and counts them, so that one handler cannot run more than its
 * share. */
#include "script/core/handler.h"
#include "base/log.h"
#include "script/core/parts.h"
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

static struct kt_task *start_prepared(struct kt_runtime *rt, const struct kt_origin *origin, int nargs)
{
    lua_State *L = rt->L;
    struct kt_task *t = kt_task_new(rt, L, origin);
    if (t && lua_checkstack(kt_task_thread(t), nargs + 1)) {
        lua_xmove(L, kt_task_thread(t), nargs + 1);
        kt_task_start(t, nargs);
        return t;
    }
    if (t) kt_task_abandon(t);
    kt_log(rt->log, KT_LOG_WARN, "the handler set at %s:%d did not run: too many tasks, or out of memory",
        origin->source, origin->line);
    return NULL;
}

struct kt_task *kt_task_prepare(
    struct kt_runtime *rt, const struct kt_origin *origin, lua_CFunction prepare, const void *arg)
{
    lua_State *L = rt->L;
    struct kt_task *t = NULL;
    const int top = lua_gettop(L);
    lua_pushcfunction(L, prepare);
    lua_pushlightuserdata(L, (void *)arg);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK)
        kt_log(rt->log, KT_LOG_ERROR, "the handler set at %s:%d did not run: %s", origin->source,
            origin->line, lua_tostring(L, -1));
    else if (lua_gettop(L) > top)
        t = start_prepared(rt, origin, lua_gettop(L) - top - 1);
    lua_settop(L, top);
    return t;
}
