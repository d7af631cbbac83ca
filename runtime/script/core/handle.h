/* Handles: full userdata that stand for what a script holds. One metatable per kind, made by one helper, so
 * that all of them close, print, compare and complain alike. */
#ifndef KT_SCRIPT_CORE_HANDLE_H
#define KT_SCRIPT_CORE_HANDLE_H

#include <stdbool.h>
#include <lauxlib.h>
#include <lua.h>
#include "base/list.h"
#include "link/shaper.h"

struct kt_conn;
struct kt_pipe;
struct kt_task;

#define KT_HANDLE_CONN "conn"
#define KT_HANDLE_STREAM "stream"
#define KT_HANDLE_LINK "link"
#define KT_HANDLE_ACCEPTOR "acceptor"
#define KT_HANDLE_LISTENER "listener"
#define KT_HANDLE_SOCKET "socket"
#define KT_HANDLE_SECRET "secret"
#define KT_HANDLE_ERR "err"

struct kt_handle_type {
    const char *name;
    const luaL_Reg *methods; /* called as handle:name(…); ends with {NULL, NULL} */
    const luaL_Reg *fields;  /* read as handle.name: called with the handle, pushes one value; may be NULL */
    lua_CFunction close;     /* __close; may be NULL */
    lua_CFunction gc;        /* may be NULL */
    lua_CFunction tostring;  /* NULL: "<name>" */
    lua_CFunction concat;    /* may be NULL */
    bool hidden;             /* no script ever holds one */
};

/* Registers the metatable, also among rt->ref_handles unless it is hidden. An unknown field is an error that
 * lists the known ones. */
void kt_handle_type(lua_State *L, const struct kt_handle_type *type);
/* Pushes a zeroed handle of n bytes with `uservalues` slots. */
void *kt_handle_push(lua_State *L, const char *name, size_t n, int uservalues);
/* The handle at idx, or NULL if it is something else. */
void *kt_handle_test(lua_State *L, int idx, const char *name);
/* What a message calls the value at idx: a handle's kind ("link"), or its Lua type. Anchored by the value. */
const char *kt_handle_kind(lua_State *L, int idx);
/* Pushes "<kind name, state>" for a __tostring; name and state may be NULL. Returns 1. */
int kt_handle_text(lua_State *L, const char *kind, const char *name, const char *state);
/* The handle that a method was called on, or an error that shows the call ("use link:open{…}, with a colon").
 */
void *kt_handle_self(lua_State *L, const char *name, const char *method);

/* ---- what a task owns: embedded in the handle ---- */

struct kt_owned {
    struct kt_task *owner; /* good while node is in its list */
    struct kt_list node;   /* owner->owned, or in none */
    void (*end)(
        struct kt_owned *o, int code); /* closes it (code 0) or resets it, and takes it off the list */
};

/* Ends all that is in the list. */
void kt_owned_end(struct kt_list *owned, int code);
/* Hands what is at idx, if `from` owns it, to another task. */
void kt_owned_give(lua_State *L, int idx, struct kt_task *from, struct kt_task *to);

/* ---- conns and streams (lua_pipe.c) ---- */

struct kt_lua_reading;
struct kt_lua_writing;
struct kt_lua_look;
struct kt_splice;

struct kt_lua_pipe {
    struct kt_owned owned;          /* first */
    struct kt_pipe *pipe;           /* NULL: closed, or taken over by a splice */
    struct kt_splice *splice;       /* ... by this one */
    struct kt_lua_pipe *other;      /* ... with that one */
    struct kt_shaper *shaper;       /* around the pipe, once a limit was set; NULL: none, or it has ended */
    struct kt_conn *conn;           /* NULL: a stream, or it has ended */
    bool accepted;                  /* a stream that the peer opened */
    bool shut;                      /* the script has ended sending */
    bool heard;                     /* the script knows that it broke */
    bool second;                    /* of its splice */
    int code;                       /* how it broke; 0: it did not */
    struct kt_lua_reading *reading; /* the call that waits for data, or NULL */
    struct kt_lua_writing *writing; /* ... and for room */
    uint64_t bytes_in, bytes_out;   /* of a pipe that has ended */
    uint64_t born;                  /* us; of one that has ended: how long it was there */
    struct kt_lua_look *look;       /* what :stats saw last; NULL: it was never called */
};

/* Pushes a handle without a pipe. Its uservalue 1 is the peer's address as text, when known. */
struct kt_lua_pipe *kt_lua_pipe_push(lua_State *L, const char *kind);
/* Gives the handle on top of the stack the pipe that waits in the task (t->pipe, t->conn), and its peer's
 * address, NULL: unknown; the task owns it. Raises when memory is short: then the pipe is still where it was.
 */
void kt_lua_pipe_take(lua_State *L, struct kt_task *t, const char *peer);
/* The open conn or stream at idx, or an error. */
struct kt_lua_pipe *kt_lua_pipe_arg(lua_State *L, int idx, const char *what);
/* Returns nil and an err: the script holds KT_PIPES_MAX of them. */
int kt_lua_pipe_too_many(lua_State *L, const char *what);
/* A splice takes both: for the script they are closed, but for :set and :stats. Both still count in
 * rt->pipes. */
void kt_lua_pipe_give(struct kt_lua_pipe *a, struct kt_lua_pipe *b, struct kt_splice *splice);
/* The splice of a has moved so much and has ended both, or is going to. */
void kt_lua_pipe_moved(struct kt_lua_pipe *a, uint64_t a_to_b, uint64_t b_to_a, uint64_t now);
/* Hears of what happens to the pipe from now on, whether or not a call waits (lua_pipe_io.c). */
void kt_lua_pipe_attend(struct kt_lua_pipe *h);

/* The conn or stream that a method was called on, open or not; raises for anything else. */
struct kt_lua_pipe *kt_lua_pipe_self(lua_State *L, const char *method);

/* ---- limits and figures (lua_pipe_set.c) ---- */

int kt_lua_pipe_set(lua_State *L);
int kt_lua_pipe_stats(lua_State *L);
/* The pipe, whoever has it; NULL: it has ended. */
struct kt_pipe *kt_lua_pipe_anywhere(const struct kt_lua_pipe *h);
/* False as well once a limit of time has ended it. */
bool kt_lua_pipe_there(const struct kt_lua_pipe *h);

/* ---- reading and writing (lua_pipe_io.c) ---- */

int kt_lua_pipe_read(lua_State *L);
int kt_lua_pipe_read_exactly(lua_State *L);
int kt_lua_pipe_read_until(lua_State *L);
int kt_lua_pipe_write(lua_State *L);
int kt_lua_pipe_shutdown(lua_State *L);
/* Ends the calls that wait on the pipe, which is about to be closed. */
void kt_lua_pipe_interrupt(struct kt_lua_pipe *h);
/* Registers what the calls need. */
void kt_lua_pipe_io(lua_State *L);

#endif
