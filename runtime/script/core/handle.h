/* Handles: full userdata for the objects that a script holds. One helper makes the metatable of every kind,
 * so that all of them close, print, compare and report errors alike. */
#ifndef KT_SCRIPT_CORE_HANDLE_H
#define KT_SCRIPT_CORE_HANDLE_H

#include <stdbool.h>
#include <lauxlib.h>
#include <lua.h>

struct kt_conn;
struct kt_io;
struct kt_iov;
struct kt_limits_terms;
struct kt_owned;
struct kt_pipe;
struct kt_task;

#define KT_HANDLE_CONN "conn"
#define KT_HANDLE_STREAM "stream"
#define KT_HANDLE_LINK "link"
#define KT_HANDLE_ACCEPTOR "acceptor"
#define KT_HANDLE_LISTENER "listener"
#define KT_HANDLE_SOCKET "socket"
#define KT_HANDLE_FLOW "flow"
#define KT_HANDLE_UDPLISTENER "udplistener"
#define KT_HANDLE_LIMIT "limit"
#define KT_HANDLE_CIDR "cidr"
#define KT_HANDLE_KCP "kcp"
#define KT_HANDLE_SECRET "secret"
#define KT_HANDLE_ERR "err"
#define KT_HANDLE_TASK "task"
#define KT_HANDLE_EVENT "event"
#define KT_HANDLE_QUEUE "queue"
#define KT_HANDLE_TIMER "timer"

struct kt_handle_type {
    const char *name;
    const luaL_Reg *methods; /* called as handle:name(…); ends with {NULL, NULL} */
    const luaL_Reg *fields;  /* read as handle.name: called with the handle, pushes one value; may be NULL */
    lua_CFunction close;     /* __close; may be NULL */
    lua_CFunction gc;        /* may be NULL */
    lua_CFunction tostring;  /* NULL: "<name>" */
    lua_CFunction concat;    /* may be NULL */
    bool hidden;             /* never reaches a script */
};

/* Registers the metatable. An unknown field is an error that lists the known ones. */
void kt_handle_type(lua_State *L, const struct kt_handle_type *type);
/* Pushes the table of registered metatables by kind, without the hidden ones. */
void kt_handle_push_types(lua_State *L);
/* Pushes a zeroed handle of n bytes with `uservalues` slots. */
void *kt_handle_push(lua_State *L, const char *name, size_t n, int uservalues);
/* The handle at idx, or NULL if it is something else. */
void *kt_handle_test(lua_State *L, int idx, const char *name);
/* Pushes "<kind name, state>" for a __tostring; name and state may be NULL. Returns 1. */
int kt_handle_text(lua_State *L, const char *kind, const char *name, const char *state);
/* The handle that a method was called on; raises if argument 1 is something else. */
void *kt_handle_self(lua_State *L, const char *name, const char *method);

/* Warns that a handle which is still owned is being collected. */
void kt_handle_dropped(const struct kt_owned *o, const char *kind);
/* Makes `to` the owner of the handle at idx, if `from` owns it. */
void kt_handle_give(lua_State *L, int idx, struct kt_task *from, struct kt_task *to);

#endif
