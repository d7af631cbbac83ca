/* The handle of a task that kt.spawn started. */
#ifndef KT_SCRIPT_API_LUA_AWAIT_H
#define KT_SCRIPT_API_LUA_AWAIT_H

#include <lua.h>

struct kt_origin;
struct kt_task;

/* Pushes a handle, for kt_lua_task_watch or kt_lua_task_drop. origin: where the task is spawned. */
void kt_lua_task_push(lua_State *L, const struct kt_origin *origin);
/* Pops a handle that gets no task. */
void kt_lua_task_drop(lua_State *L);
/* Makes the handle on top of the stack that of the task, whose thread has room for a value. Does not raise. */
void kt_lua_task_watch(lua_State *L, struct kt_task *t);

#endif
