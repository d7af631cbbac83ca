/* kt.queue: hands values from task to task, in order, and holds a bounded number of them.
 *
 * A push to a task that waits in pop puts the value on that task's stack; a pop takes the value of a task that
 * waits in push from its stack. So a wait ends at the moment that the two have met.
 *
 * Invariant: a task waits in pop only while the queue is empty, and in push only while it is full. The values
 * are in the ring, the handle's uservalue: `count` of them from slot `head` on. Handles among them belong to
 * kt_task_main. */
#include "script/core/handle.h"
#include "script/api/api.h"

#define PUSH "queue:push"
#define POP "queue:pop"
#define RING 1
#define CLOSED "the queue was closed"

struct queue {
    lua_Integer size, head, count;
    bool closed;
    struct kt_list pushing, popping; /* tasks that wait */
};

/* core.queue(size) → queue */
static int make(lua_State *L)
{
    const lua_Integer size = luaL_checkinteger(L, 1);
    struct queue *q = kt_handle_push(L, KT_HANDLE_QUEUE, sizeof *q, 1);
    q->size = size;
    kt_list_init(&q->pushing);
    kt_list_init(&q->popping);
    lua_newtable(L);
    lua_setiuservalue(L, -2, RING);
    return 1;
}

static struct queue *self(lua_State *L, const char *method)
{
    return kt_handle_self(L, KT_HANDLE_QUEUE, method);
}

static lua_Integer slot(const struct queue *q, lua_Integer nth)
{
    return (q->head + nth) % q->size + 1;
}

/* Appends the value on top of the stack, which is popped. The queue is at index 1 and has room. */
static void append(lua_State *L, struct queue *q)
{
    lua_getiuservalue(L, 1, RING);
    lua_insert(L, -2);
    lua_rawseti(L, -2, slot(q, q->count));
    lua_pop(L, 1);
    q->count++;
}

/* Pushes the first value and removes it from the queue at index 1. */
static void take(lua_State *L, struct queue *q)
{
    lua_getiuservalue(L, 1, RING);
    lua_rawgeti(L, -1, slot(q, 0));
    lua_pushnil(L);
    lua_rawseti(L, -3, slot(q, 0));
    lua_remove(L, -2);
    q->head = (q->head + 1) % q->size;
    q->count--;
}

/* ---- push ---- */

static int pushed(lua_State *L, struct kt_task *t)
{
    (void)t;
    lua_pushboolean(L, 1);
    return 1;
}

/* queue:push(value [, { timeout = "5s" }]) → true | nil, err */
static int queue_push(lua_State *L)
{
    struct queue *q = self(L, "push");
    struct kt_task *t = kt_task_need(L, PUSH), *to = kt_task_queued(&q->popping);
    if (lua_isnoneornil(L, 2)) return kt_raise(L, PUSH ": expected a value, got nil");
    const uint64_t timeout_us = kt_opts_timeout(L, 3, PUSH, KT_TIME_NEVER);
    lua_settop(L, 2);
    if (q->closed) return kt_lua_err_return(L, KT_ECLOSED, PUSH ": " CLOSED);
    if (to) {
        if (!lua_checkstack(kt_task_thread(to), 1)) return luaL_error(L, "out of memory");
        kt_handle_give(L, 2, t, to);
        lua_xmove(L, kt_task_thread(to), 1);
        kt_task_wake(to, 0, NULL);
        return pushed(L, t);
    }
    if (q->count < q->size) {
        luaL_checkstack(L, 3, NULL);
        lua_pushvalue(L, 2);
        append(L, q);
        kt_handle_give(L, 2, t, kt_task_main(kt_runtime_of(L)));
        return pushed(L, t);
    }
    return kt_task_wait(L, t,
        &(struct kt_wait){.what = PUSH,
            .finish = pushed,
            .missing = "the queue stayed full",
            .queue = &q->pushing,
            .by_script = true,
            .timeout_us = timeout_us});
}

/* ---- pop ---- */

/* The value is on top of the stack. */
static int popped(lua_State *L, struct kt_task *t)
{
    (void)L;
    (void)t;
    return 1;
}

/* queue:pop { timeout = "5s" } → value | nil, err */
static int queue_pop(lua_State *L)
{
    struct queue *q = self(L, "pop");
    struct kt_task *t = kt_task_need(L, POP), *from = kt_task_queued(&q->pushing);
    const uint64_t timeout_us = kt_opts_timeout(L, 2, POP, KT_TIME_NEVER);
    lua_settop(L, 1);
    luaL_checkstack(L, 4, NULL);
    if (q->count == 0) {
        if (q->closed) return kt_lua_err_return(L, KT_ECLOSED, POP ": " CLOSED);
        return kt_task_wait(L, t,
            &(struct kt_wait){.what = POP,
                .finish = popped,
                .missing = "the queue stayed empty",
                .queue = &q->popping,
                .by_script = true,
                .timeout_us = timeout_us});
    }
    take(L, q); /* at index 2 */
    kt_handle_give(L, 2, kt_task_main(kt_runtime_of(L)), t);
    if (from) { /* a full queue has room for the value of the next one, at index 2 of its call */
        if (!lua_checkstack(kt_task_thread(from), 1)) return luaL_error(L, "out of memory");
        lua_pushvalue(kt_task_thread(from), 2);
        lua_xmove(kt_task_thread(from), L, 1);
        kt_handle_give(L, 3, from, kt_task_main(kt_runtime_of(L)));
        append(L, q);
        kt_task_wake(from, 0, NULL);
    }
    return 1;
}

/* ---- the handle ---- */

static int queue_close(lua_State *L)
{
    struct queue *q = self(L, "close");
    q->closed = true;
    kt_task_wake_all(&q->pushing, KT_ECLOSED, PUSH ": " CLOSED);
    kt_task_wake_all(&q->popping, KT_ECLOSED, POP ": " CLOSED);
    return 0;
}

static int field_count(lua_State *L)
{
    const struct queue *q = lua_touserdata(L, 1);
    lua_pushinteger(L, q->count);
    return 1;
}

static int field_size(lua_State *L)
{
    const struct queue *q = lua_touserdata(L, 1);
    lua_pushinteger(L, q->size);
    return 1;
}

void kt_lua_queue(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"push", queue_push}, {"pop", queue_pop}, {"close", queue_close}, {NULL, NULL}};
    static const luaL_Reg fields[] = {{"count", field_count}, {"size", field_size}, {NULL, NULL}};
    kt_handle_type(
        L, &(struct kt_handle_type){
               .name = KT_HANDLE_QUEUE, .methods = methods, .fields = fields, .close = queue_close});
    lua_pushcfunction(L, make);
    lua_setfield(L, -2, "queue");
}
