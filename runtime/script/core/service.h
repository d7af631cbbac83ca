/* Services: the long-lived things that a script makes (links, acceptors, listeners). Those of the main chunk
 * are declared: they open nothing; the runtime opens them in order when the main chunk has returned. Those
 * that a task makes are opened at once. All are drained and closed at the end.
 *
 * A service is the userdata of its handle. It is anchored in the registry while the runtime needs it whatever
 * the script does: from its declaration until it is open, and for as long as it serves, stays, or carries
 * something. What the main chunk declared the script is taken to need until another one replaces it: the
 * functions that used it may all be gone by then, and what they began still run. So the collector closes only
 * what nothing hangs on: of a replaced script, or made by a task and forgotten, which is worth a warning.
 *
 * On a reload a service of the new script may find that one of the old script holds its address. It then
 * inherits the socket instead of opening one: nobody is refused and nothing is lost meanwhile. That is done
 * in two steps, as all services of the new script must be fit before anything of the old one changes. */
#ifndef KT_SCRIPT_CORE_SERVICE_H
#define KT_SCRIPT_CORE_SERVICE_H

#include <stdbool.h>
#include <lua.h>
#include "base/addr.h"
#include "base/err.h"
#include "base/list.h"

struct kt_link_stats;
struct kt_runtime;
struct kt_origin;
struct kt_service;

struct kt_service_ops {
    const char *what; /* "kt.listen" */
    const char *at;   /* what stands between it and its name: "on" */
    /* What a :serve is called and what its function gets ("listener:serve", "conn"); NULL: there is none. One
     * that has it needs it, and keeps the runtime alive. */
    const char *serve, *brings;
    bool may_serve; /* ... or rather, it may have one: it can do without */
    /* The function for :serve was given while it was open already. NULL: nothing to do. */
    void (*served)(struct kt_service *s);
    /* The address that it binds for itself alone, UDP or else TCP or unix. NULL: none. */
    const struct kt_endpoint *(*binds)(const struct kt_service *s);
    bool udp;
    bool stays; /* stays open without the script holding its handle */
    /* Opens it; the text in err tells a person what to do. */
    int (*open)(struct kt_service *s, struct kt_err *err);
    /* Takes nothing new from now on; what runs goes on. NULL: nothing to do. */
    void (*drain)(struct kt_service *s);
    /* True when nothing waits to be sent. NULL: always. */
    bool (*quiet)(const struct kt_service *s);
    /* Its figures, while it is open. NULL: it has none. */
    void (*stats)(const struct kt_service *s, struct kt_link_stats *out);
    /* Closes it, if it is open. */
    void (*close)(struct kt_service *s);

    /* Whether `old`, of the same kind and open, holds the address that s wants. NULL: never. */
    bool (*heir)(const struct kt_service *s, const struct kt_service *old);
    /* Does of inheriting what may fail, and changes nothing of `old`; forgo undoes it. NULL: nothing to do.
     */
    int (*prepare)(struct kt_service *s, struct kt_service *old, struct kt_err *err);
    void (*forgo)(struct kt_service *s);
    /* What `old` holds is s's now. Cannot fail. */
    void (*inherit)(struct kt_service *s, struct kt_service *old);
};

struct kt_service {
    const struct kt_service_ops *ops;
    struct kt_runtime *rt;
    struct kt_list node; /* rt->services while not closed */
    const struct kt_origin *origin;
    int anchor;  /* registry reference: the handle, or false; LUA_NOREF: closed */
    int handler; /* registry reference to the function given to :serve, or LUA_NOREF */
    const struct kt_origin *served_at;
    bool open, closed;
    bool serving;            /* counted in rt->serving */
    bool stays;              /* as in ops, for this one */
    bool carries;            /* streams hang on it that others hold: it is needed */
    struct kt_service *from; /* during a reload: what it will inherit */
    bool claimed;            /* ... and somebody will inherit this */
    char name[300];          /* what it is about: "127.0.0.1:12948", "vps:29900" */
};

/* Enters the service on top of the stack (its handle) into the runtime's list. */
void kt_service_declare(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops);
/* The same, and opens it at once unless this is the main chunk. Returns what the constructor returns: 1, the
 * handle, or 2, nil and an err. */
int kt_service_enter(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops);
/* Enters one that is open already, and stays. */
void kt_service_adopt(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops);
/* Whether it serves or will, as declared. */
bool kt_service_serves(const struct kt_service *s);
/* 0, or what keeps it from being opened as it was declared. Opens nothing. */
int kt_service_ready(const struct kt_service *s, struct kt_err *err);
int kt_service_open(struct kt_service *s, struct kt_err *err);
void kt_service_close(struct kt_service *s);
/* `stays` or `carries` has changed. Allocates nothing. */
void kt_service_settle(struct kt_service *s);
/* Pushes the handle and returns true, or pushes nothing: it is being collected. */
bool kt_service_push(lua_State *L, const struct kt_service *s);

/* In the main chunk: the handle on top is held for as long as the script runs, or until another one replaces
 * it; in a task, nothing happens. For handles that are no services, too. */
void kt_declared_hold(lua_State *L);
/* The script was replaced: what it declared is its tasks', as long as they have it. */
void kt_declared_let_go(struct kt_runtime *rt);

/* A reload. If `old` holds the address of s: s claims it, *found is true, and the result may be an error; s
 * is opened by kt_service_inherit, or gives up the claim when it is closed. */
int kt_service_claim(struct kt_service *s, struct kt_service *old, bool *found, struct kt_err *err);
void kt_service_inherit(struct kt_service *s);

/* The methods that all have; upvalue-free C functions whose argument 1 is the handle, already checked. */
int kt_service_serve(lua_State *L, struct kt_service *s);
int kt_service_gc(lua_State *L, struct kt_service *s);

/* Listening wants a numeric address; the one name that people write there is "localhost". */
void kt_service_localhost(struct kt_endpoint *at);

#endif
