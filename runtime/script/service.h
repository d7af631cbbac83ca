/* Services: the long-lived things that a main chunk declares (links, acceptors, listeners). Declared ones
 * open nothing; the runtime opens them in order when the main chunk has returned, drains and closes them at
 * the end.
 *
 * A service is the userdata of its handle. It is anchored in the registry while the runtime needs it whatever
 * the script does: from its declaration until it is open, and for as long as it serves. */
#ifndef KT_SCRIPT_SERVICE_H
#define KT_SCRIPT_SERVICE_H

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
    /* What a :serve is called and what its function gets ("listener:serve", "conn"); NULL: there is none. One
     * that has it needs it, and keeps the runtime alive. */
    const char *serve, *brings;
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
};

struct kt_service {
    const struct kt_service_ops *ops;
    struct kt_runtime *rt;
    struct kt_list node; /* rt->services while not closed */
    const struct kt_origin *origin;
    int anchor;  /* registry reference to the handle, or LUA_NOREF */
    int handler; /* registry reference to the function given to :serve, or LUA_NOREF */
    const struct kt_origin *served_at;
    bool open, closed;
    char name[300]; /* what it is about: "127.0.0.1:12948", "vps:29900" */
};

/* Enters the service on top of the stack (its handle) into the runtime's list. */
void kt_service_declare(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops);
/* 0, or what keeps it from being opened as it was declared. Opens nothing. */
int kt_service_ready(const struct kt_service *s, struct kt_err *err);
int kt_service_open(struct kt_service *s, struct kt_err *err);
void kt_service_close(struct kt_service *s);

/* The methods that all have; upvalue-free C functions whose argument 1 is the handle, already checked. */
int kt_service_serve(lua_State *L, struct kt_service *s);
int kt_service_gc(lua_State *L, struct kt_service *s);

/* Listening wants a numeric address; the one name that people write there is "localhost". */
void kt_service_localhost(struct kt_endpoint *at);

#endif
