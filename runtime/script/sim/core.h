/* kt.sim.core: simulated worlds for a spec's Lua state. That state does not belong to a runtime, so nothing
 * here may use what does (tasks, the guard, kt_raise). lua/kt/sim builds the public kt.sim on top of it.
 *
 * A world anchors everything in it, so that garbage collection does not change what happens there. Only the
 * spec anchors the world: its callbacks, which refer back to it, are its user values, so an unreferenced
 * world is collected with all its contents. Every event calls one Lua function, dispatch(kind, id, …). If
 * that raises, the run ends at the end of the current instant and raises the error.
 *
 * A callback may end whatever is running (a packet rule may crash the host of the script that triggered it).
 * So processes are only marked dead at first, and freed between two instants (reap). */
#ifndef KT_SCRIPT_SIM_CORE_H
#define KT_SCRIPT_SIM_CORE_H

#include <lauxlib.h>
#include <lua.h>
#include "base/list.h"
#include "io/sim/sim.h"
#include "script/core/logger.h"
#include "script/core/runtime.h"

#define KT_SIM_WORLD "kt.sim.world"
#define KT_SIM_WORLDS "kt.sim.worlds" /* registry: weak table of worlds by address */
#define KT_SIM_SCRIPT "kt.sim.script"
#define KT_SIM_APP "kt.sim.app"
#define KT_SIM_LISTENER "kt.sim.listener"
#define KT_SIM_SOCKET "kt.sim.socket"
#define KT_SIM_LOOKUP "kt.sim.lookup"

struct kt_lua_world {
    struct kt_sim *sim;
    lua_State *L;    /* the caller of world:run, for callbacks; NULL while the world does not run */
    int until;       /* registry: function() → done?; or LUA_NOREF */
    int error;       /* registry: the first error raised by a callback; or LUA_NOREF */
    unsigned failed; /* callbacks that raised an error */
    bool stop;       /* end the run at the end of this instant */
    bool watched;    /* dispatch gets packets and log lines */
    struct kt_phrases *phrases; /* shared by all worlds of this Lua state: deriving keys takes real time */
    uint64_t print;             /* fingerprint of all packet events */
    uint64_t packets;
    uint64_t instants; /* simulated so far */
    lua_Integer ids;   /* the last id of a script, or of what a driver has open */
    struct kt_list events, scripts, drivers;
};

/* A world's user values. */
enum kt_lua_sim_slot {
    KT_SIM_SLOT_DISPATCH = 1, /* function(kind, id, …) */
    KT_SIM_SLOT_RULE          /* function(from, to, src, dst, data, id) → verdict; or nil */
};

/* The process on a host that runs the spec's own apps, servers and sockets. */
struct kt_lua_sim_driver {
    struct kt_list node;
    struct kt_io *io;
    struct kt_sim_host *host;
    struct kt_list held; /* struct kt_lua_sim_held */
    bool dead;
};

/* An open thing of a driver: the first member of an app, a listener, a socket, a lookup. */
struct kt_lua_sim_held {
    struct kt_list node; /* driver->held exactly while it is open */
    struct kt_lua_world *w;
    struct kt_lua_sim_driver *driver;
    lua_Integer id;
    void (*close)(struct kt_lua_sim_held *h); /* closes and unlinks it; called again, it does nothing */
};

/* The open world at index 1; raises. Lua owns it. */
struct kt_lua_world *kt_lua_sim_world_arg(lua_State *L);
/* Pushes a user value of a running world, which need not be on the stack. */
void kt_lua_sim_push_slot(lua_State *L, const struct kt_lua_world *w, enum kt_lua_sim_slot slot);
/* The host whose name is at idx; raises if there is none. The world's sim owns it. */
struct kt_sim_host *kt_lua_sim_host_arg(lua_State *L, struct kt_lua_world *w, int idx);
/* Returns nil, the name of the code, and the sentence. */
int kt_lua_sim_fail_return(lua_State *L, const struct kt_err *err);

/* Calls dispatch(kind, id, …) with the values that push puts on the stack; push runs protected and returns
 * their number. push may be NULL. */
typedef int (*kt_lua_sim_push)(lua_State *L, void *ctx);
void kt_lua_sim_dispatch(
    struct kt_lua_world *w, const char *kind, lua_Integer id, kt_lua_sim_push push, void *ctx);

/* Takes the error from the top of L's stack. The run ends with this instant and raises the first error.
 * Events still due at this instant are dispatched, as they would otherwise be lost. */
void kt_lua_sim_keep_error(struct kt_lua_world *w, lua_State *L);

/* Frees dead processes. Call only where none of their callbacks can be on the stack. */
void kt_lua_sim_reap(struct kt_lua_world *w);

/* ---- driver.c ---- */

/* The host's driver, made if necessary; NULL and err if that fails. The world owns it. */
struct kt_lua_sim_driver *kt_lua_sim_driver(
    struct kt_lua_world *w, struct kt_sim_host *h, struct kt_err *err);
/* Pushes a userdata of `size` bytes, zeroed, that begins with a kt_lua_sim_held with the world's next id. Its `close`
 * must be set before kt_lua_sim_hold lists it as open. */
struct kt_lua_sim_held *kt_lua_sim_push_held(
    lua_State *L, struct kt_lua_world *w, struct kt_lua_sim_driver *d, size_t size, const char *class);
void kt_lua_sim_hold(struct kt_lua_sim_held *h);
/* Call when the host crashes: closes everything that its driver has open. */
void kt_lua_sim_drivers_crash(struct kt_lua_world *w, const struct kt_sim_host *h);
/* Frees the dead drivers, or all of them, with what they have open. */
void kt_lua_sim_drivers_reap(struct kt_lua_world *w, bool all);
/* For kt_lua_sim_dispatch: pushes the code and the sentence of a struct kt_err. */
int kt_lua_sim_push_failure(lua_State *L, void *err);

/* ---- script.c ---- */

void kt_lua_sim_scripts_crash(struct kt_lua_world *w, const struct kt_sim_host *h);
void kt_lua_sim_scripts_reap(struct kt_lua_world *w, bool all);

/* ---- packets.c ---- */

void kt_lua_sim_packets_watch(struct kt_lua_world *w);

/* Pushes kt.sim.core. */
int kt_lua_sim_core(lua_State *L);

/* ---- each adds methods to the table on top of the stack (the world's __index), or creates metatables
 * ---- */

void kt_lua_sim_hosts(lua_State *L);
void kt_lua_sim_lines(lua_State *L);
void kt_lua_sim_packets(lua_State *L);
void kt_lua_sim_apps(lua_State *L);
void kt_lua_sim_sockets(lua_State *L);
void kt_lua_sim_scripts(lua_State *L);
void kt_lua_sim_bytes(lua_State *L);

/* Creates a metatable with methods and __gc. */
void kt_lua_sim_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* A numeric field of the options at idx, clamped to 0..9e18; 0 if absent. */
lua_Number kt_lua_sim_number(lua_State *L, int idx, const char *name);

#endif
