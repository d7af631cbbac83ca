/* Services: the long-lived objects of a script (links, acceptors, listeners). The main chunk only declares
 * them; the runtime opens them in order once the main chunk has returned. Services created by a task open at
 * once. All are drained and closed at the end.
 *
 * A service is the userdata of its handle. The registry anchors it while the runtime needs it, whatever the
 * script does: from its declaration until it is open, and while it serves, stays or carries streams. Services
 * declared in the main chunk are also kept until a reload replaces the script, since work begun by functions
 * that are gone may still depend on them. So the collector closes a service only if its script was replaced,
 * or if a task created it and dropped it, which is logged as a warning.
 *
 * On a reload, a service of the new script whose address a service of the old one holds inherits its socket
 * instead of opening one, so no client is refused and nothing is lost. This takes two steps, as every service
 * of the new script must be ready before anything of the old one changes. A service that a task of the new script
 * makes inherits in the same way, from any replaced script that still has the address open. */
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
struct kt_tap;

struct kt_service_ops {
    const char *what; /* "kt.listen" */
    const char *at;   /* joins `what` and the name in messages: "on" */
    /* The name of its :serve method and the argument of its handler ("listener:serve", "conn"); NULL: it has
     * no such method. A service with it needs a handler, unless may_serve, and keeps the runtime alive. */
    const char *serve, *brings;
    bool may_serve; /* the handler is optional */
    /* Called when :serve is called on an open service. NULL: nothing to do. */
    void (*served)(struct kt_service *s);
    /* The address that it binds exclusively: UDP if `udp`, else TCP or unix. NULL: none. */
    const struct kt_endpoint *(*binds)(const struct kt_service *s);
    bool udp;
    bool stays; /* stays open even if the script drops its handle */
    /* Opens it; the text in err says what to do. */
    int (*open)(struct kt_service *s, struct kt_err *err);
    /* Stops accepting; existing connections continue. NULL: nothing to do. */
    void (*drain)(struct kt_service *s);
    /* Whether its send queue is empty. NULL: always. */
    bool (*quiet)(const struct kt_service *s);
    /* Statistics of an open service. NULL: none. */
    void (*stats)(const struct kt_service *s, struct kt_link_stats *out);
    /* Shows the packets of an open service (link/tap.h). NULL: it has none. */
    struct kt_tap *(*tap)(const struct kt_service *s);
    /* Closes an open service. */
    void (*close)(struct kt_service *s);

    /* Whether `old`, open and of the same kind, holds the address of s. NULL: never. */
    bool (*heir)(const struct kt_service *s, const struct kt_service *old);
    /* Does the part of inheriting that may fail, and leaves `old` unchanged; forgo undoes it. NULL: nothing
     * to do. */
    int (*prepare)(struct kt_service *s, struct kt_service *old, struct kt_err *err);
    void (*forgo)(struct kt_service *s);
    /* Moves what `old` holds to s. Cannot fail. */
    void (*inherit)(struct kt_service *s, struct kt_service *old);
};

/* Embedded in the handle. Only service.c reads or writes these fields; the others call its functions. */
struct kt_service {
    const struct kt_service_ops *ops;
    struct kt_runtime *rt;
    struct kt_list node; /* among all services, unless closed */
    const struct kt_origin *origin;
    uint64_t number; /* rises along the list */
    int anchor;      /* registry reference: the handle, or false; LUA_NOREF: closed */
    int handler;     /* registry reference to the function given to :serve, or LUA_NOREF */
    const struct kt_origin *served_at;
    bool open, closed;
    bool attends;            /* has a handler other than that of :serve */
    bool serving;            /* open, and has a handler */
    bool stays;              /* as in ops, for this one */
    bool carries;            /* streams in use depend on it */
    struct kt_service *from; /* during a reload: the service that it will inherit from */
    bool claimed;            /* during a reload: another service will inherit from this one */
    char name[300];          /* for messages: "127.0.0.1:12948", "vps:29900" */
};

/* Returns 0 or KT_ENOMEM. */
int kt_services_new(struct kt_runtime *rt);
/* Closes all, in reverse order of declaration: listeners before the links they forward to. */
void kt_services_close(struct kt_runtime *rt);
void kt_services_free(struct kt_runtime *rt);
/* Call once for a new state, protected. */
void kt_services_bind(lua_State *L);
/* Whether an open one has a handler. */
bool kt_services_serve(const struct kt_runtime *rt);
/* Whether an open one has a send queue, as links do. */
bool kt_services_link(const struct kt_runtime *rt);
/* Whether the send queues of all are empty. */
bool kt_services_quiet(const struct kt_runtime *rt);
/* Makes all stop accepting. Those with a `drain` also have an `heir`. */
void kt_services_drain(struct kt_runtime *rt);
/* How many open services a new script may take over (those with an `heir`). */
size_t kt_services_with_heirs(const struct kt_runtime *rt);

/* The tap of the open link or acceptor of that name, not counted; NULL: there is none. */
struct kt_tap *kt_services_tap(const struct kt_runtime *rt, const char *name);

/* The service declared after s, or the first if s is NULL; NULL: there is none. */
struct kt_service *kt_service_next(const struct kt_runtime *rt, const struct kt_service *s);
/* From 1 on, in the order of declaration; to continue a list that was left in an earlier turn. */
uint64_t kt_service_number(const struct kt_service *s);

/* Adds the service, whose handle is on top of the stack, to the runtime's list. name: for messages; cut to
 * 299 bytes. */
void kt_service_declare(
    lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name);
/* The same, and opens it at once unless in the main chunk. Returns the constructor's results: 1 (the handle),
 * or 2 (nil and an err). */
int kt_service_enter(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name);
/* Adds a service that is already open, and stays. */
void kt_service_adopt(lua_State *L, struct kt_service *s, const struct kt_service_ops *ops, const char *name);
/* Whether it is declared to serve: it has a handler, or needs one. */
bool kt_service_serves(const struct kt_service *s);
/* 0, or why the service cannot be opened as declared. Opens nothing. */
int kt_service_ready(const struct kt_service *s, struct kt_err *err);
int kt_service_open(struct kt_service *s, struct kt_err *err);
void kt_service_close(struct kt_service *s);

/* Sets whether it stays open even if the script drops its handle. One with a handler other than that of
 * :serve always does. Allocates nothing. */
void kt_service_stay(struct kt_service *s, bool stays);
/* Sets whether streams in use depend on it. Allocates nothing. */
void kt_service_carry(struct kt_service *s, bool carries);

struct kt_runtime *kt_service_runtime(const struct kt_service *s);
const char *kt_service_name(const struct kt_service *s);
/* The function of the API that made it: "kt.listen". */
const char *kt_service_what(const struct kt_service *s);
/* Where it was declared. */
const struct kt_origin *kt_service_origin(const struct kt_service *s);
bool kt_service_is_open(const struct kt_service *s);
bool kt_service_is_closed(const struct kt_service *s);
/* Whether :serve was called; if so, where, and its function. */
bool kt_service_has_handler(const struct kt_service *s);
const struct kt_origin *kt_service_served_at(const struct kt_service *s);
void kt_service_push_handler(lua_State *L, const struct kt_service *s);
/* Returns false and fills in nothing unless it is open and has statistics. */
bool kt_service_stats(const struct kt_service *s, struct kt_link_stats *out);

/* Pushes the handle and returns true; returns false and pushes nothing if it is being collected. */
bool kt_service_push(lua_State *L, const struct kt_service *s);

/* In the main chunk: keeps the handle on top of the stack until the script ends or is replaced. In a task:
 * does nothing. Also works for handles other than services. */
void kt_declared_hold(lua_State *L);
/* Releases the handles kept by kt_declared_hold, when the script is replaced. */
void kt_declared_let_go(struct kt_runtime *rt);

/* For a reload. If a service of `old` holds the address of s, s claims it and *found is true; the result may be an
 * error. kt_service_inherit opens s; closing s gives up the claim. */
int kt_service_claim(struct kt_service *s, struct kt_runtime *old, bool *found, struct kt_err *err);
void kt_service_inherit(struct kt_service *s);
/* Whether it has claimed one. */
bool kt_service_claims(const struct kt_service *s);
/* Whether a service of its kind can take over an address. */
bool kt_service_has_heirs(const struct kt_service *s);

/* It has a handler other than that of :serve: it is of use without that one, and stays. */
void kt_service_attend(struct kt_service *s);

/* Methods common to all services; argument 1 is the handle, already checked. */
int kt_service_serve(lua_State *L, struct kt_service *s);
/* Makes the function on top of the stack, which it pops, the handler of a service without :serve. */
void kt_service_set_handler(lua_State *L, struct kt_service *s);
int kt_service_gc(lua_State *L, struct kt_service *s);

/* Replaces "localhost" by 127.0.0.1, as listening needs a numeric address. */
void kt_service_localhost(struct kt_endpoint *at);

#endif
