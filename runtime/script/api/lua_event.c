/* kt.event: something that happens once, or again after :clear, and that any number of tasks wait for.
 *
 * Invariant: no task waits for an event that is set. A task that waits holds the event on its stack. */
#include "script/core/handle.h"
#include "script/api/api.h"

#define WAIT "event:wait"

struct event {
    bool set;
    struct kt_list waiting; /* tasks */
};

static int make(lua_State *L)
{
    struct event *e = kt_handle_push(L, KT_HANDLE_EVENT, sizeof *e, 0);
    kt_list_init(&e->waiting);
    return 1;
}

static struct event *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_EVENT, method);
}

static int event_set(lua_State *L)
{
    struct event *e = self(L, "set");
    e->set = true;
    kt_task_wake_all(&e->waiting, 0, NULL);
    return 0;
}

static int event_clear(lua_State *L)
{
    self(L, "clear")->set = false;
    return 0;
}

static int finish(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushboolean(L, 1);
    return 1;
}

/* event:wait { timeout = "5s" } → true | nil, err */
static int event_wait(lua_State *L)
{
    struct event *e = self(L, "wait");
    struct kt_task *t = kt_task_need(L, WAIT);
    const uint64_t timeout_us = kt_opts_timeout(L, 2, WAIT, KT_TIME_NEVER);
    if (e->set) return finish(L, t);
    return kt_task_wait(L, t,
        &(struct kt_wait){.what = WAIT,
            .finish = finish,
            .missing = "the event was not set",
            .queue = &e->waiting,
            .by_script = true,
            .timeout_us = timeout_us});
}

static int field_is_set(lua_State *L)
{
    const struct event *e = lua_touserdata(L, 1);
    lua_pushboolean(L, e->set);
    return 1;
}

void kt_lua_event(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"set", event_set}, {"clear", event_clear}, {"wait", event_wait}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"is_set", field_is_set}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){.name = KT_HANDLE_EVENT, .methods = methods, .fields = fields});
    lua_pushcfunction(L, make);
    lua_setfield(L, -2, "event");
}
