/* kt.sim.core: simulated worlds for a Lua state of its own (a spec's), which is no state of a runtime:
 * nothing here may use what belongs to one (tasks, the guard, kt_raise). lua/kt/sim makes the public kt.sim
 * of it.
 *
 * A world anchors all that is in it, so that no collection of garbage changes what happens there. Nothing
 * but the spec anchors the world: the functions that it calls, which lead back to it, are its user values, so
 * that one that is forgotten goes with all that it holds. Everything that happens comes to one Lua function,
 * dispatch(kind, id, …); after an error in it the run ends at the end of that instant, and raises it.
 *
 * Callbacks may ask for the end of what is running at the moment (a script's packet rule may crash the
 * script's host). So processes are only made dead at once; they are freed between two instants (reap). */
#ifndef KT_SCRIPT_SIM_CORE_H
#define KT_SCRIPT_SIM_CORE_H

#include <lauxlib.h>
#include <lua.h>
#include "base/list.h"
#include "io/sim/sim.h"
#include "script/core/logger.h"
#include "script/core/runtime.h"

#define KT_SIM_WORLD "kt.sim.world"
#define KT_SIM_SCRIPT "kt.sim.script"
#define KT_SIM_APP "kt.sim.app"
#define KT_SIM_LISTENER "kt.sim.listener"

struct kt_lua_world {
    struct kt_sim *sim;
    lua_State *L;    /* who is calling, as long as callbacks may come; else NULL */
    int until;       /* registry: function() → done?; or LUA_NOREF */
    int error;       /* registry: what a callback raised first; or LUA_NOREF */
    unsigned failed; /* callbacks that raised */
    bool stop;       /* the run is to end at the end of this instant */
    bool watched;    /* dispatch wants packets and log lines */
    uint64_t print;  /* fingerprint of all that happened to packets */
    uint64_t packets;
    uint64_t instants; /* that were run through */
    lua_Integer ids;   /* of apps, listeners, scripts */
    struct kt_list events, scripts, apps, listeners, drivers;
};

/* A world's user values. */
enum kt_lua_sim_slot {
    KT_SIM_SLOT_DISPATCH = 1, /* function(kind, id, …) */
    KT_SIM_SLOT_RULE          /* function(from, to, src, dst, data, id) → verdict; or nil */
};

/* The process of a host that stands for those who use it: apps and servers of the spec's own. */
struct kt_lua_sim_driver {
    struct kt_list node;
    struct kt_io *io;
    struct kt_sim_host *host;
    bool dead;
};

/* The world at index 1, not closed; raises. */
struct kt_lua_world *kt_lua_sim_world_arg(lua_State *L);
/* Pushes a user value of a world that runs, wherever on the stack that is. */
void kt_lua_sim_push_slot(lua_State *L, const struct kt_lua_world *w, enum kt_lua_sim_slot slot);
/* The host named at idx, which must be there. */
struct kt_sim_host *kt_lua_sim_host_arg(lua_State *L, struct kt_lua_world *w, int idx);
/* nil, the code's name, the sentence. */
int kt_lua_sim_fail_return(lua_State *L, const struct kt_err *err);

/* Calls dispatch with what push puts on the stack; push runs protected and returns how many. The first two
 * are the kind and the id. */
typedef int (*kt_lua_sim_push)(lua_State *L, void *ctx);
void kt_lua_sim_dispatch(
    struct kt_lua_world *w, const char *kind, lua_Integer id, kt_lua_sim_push push, void *ctx);

/* Takes the error from the top of L's stack: the run under way ends with this instant, and raises it, or the
 * one that was there before. What else is due at this instant still comes: nobody would tell of it again. */
void kt_lua_sim_keep_error(struct kt_lua_world *w, lua_State *L);

/* Frees what died, if no callback is under way that stands on it. */
void kt_lua_sim_reap(struct kt_lua_world *w);

/* ---- app.c ---- */

/* The host's driver, made if need be. */
struct kt_lua_sim_driver *kt_lua_sim_driver(
    struct kt_lua_world *w, struct kt_sim_host *h, struct kt_err *err);
/* The host goes down: all that its driver has is closed. */
void kt_lua_sim_drivers_crash(struct kt_lua_world *w, const struct kt_sim_host *h);
void kt_lua_sim_drivers_reap(struct kt_lua_world *w, bool all);
void kt_lua_sim_apps_close(struct kt_lua_world *w);

/* ---- script.c ---- */

void kt_lua_sim_scripts_crash(struct kt_lua_world *w, const struct kt_sim_host *h);
void kt_lua_sim_scripts_reap(struct kt_lua_world *w, bool all);

/* ---- packets.c ---- */

void kt_lua_sim_packets_watch(struct kt_lua_world *w);

/* Pushes kt.sim.core. */
int kt_lua_sim_core(lua_State *L);

/* ---- each adds methods to the table on top (the world's metatable's __index), or makes metatables ---- */

void kt_lua_sim_hosts(lua_State *L);
void kt_lua_sim_lines(lua_State *L);
void kt_lua_sim_packets(lua_State *L);
void kt_lua_sim_apps(lua_State *L);
void kt_lua_sim_scripts(lua_State *L);
void kt_lua_sim_bytes(lua_State *L);

/* Makes a metatable with methods, __gc. */
void kt_lua_sim_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* A field of the options at idx, from 0 to 9e18; 0 if absent. */
lua_Number kt_lua_sim_number(lua_State *L, int idx, const char *name);

#endif
