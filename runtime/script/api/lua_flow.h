/* Flows as a script has them. */
#ifndef KT_SCRIPT_API_LUA_FLOW_H
#define KT_SCRIPT_API_LUA_FLOW_H

#include <lua.h>

struct kt_flow;
struct kt_origin;
struct kt_peer_info;
struct kt_runtime;

/* A flow that arrived, and the handler for it. */
struct kt_lua_flow_arrival {
    struct kt_flow *flow;
    const struct kt_peer_info *peer;               /* of a UDP listener: only its address */
    const struct kt_origin *origin;                /* where the handler was set */
    void (*handler)(lua_State *L, const void *of); /* pushes the handler, or nothing if it is gone */
    const void *of;
};

/* Runs the handler in a task that owns the flow. Closes the flow if no task can be created. */
void kt_lua_flow_serve(struct kt_runtime *rt, const struct kt_lua_flow_arrival *arrival);

/* link:flow { … } */
int kt_lua_link_flow(lua_State *L);
/* kt.connect { udp = "host:port" }: the stack has the options, with `udp`. timeout in µs, for the lookup. */
int kt_lua_flow_connect(lua_State *L, const char *to, uint64_t timeout);
/* kt.splice(flow, flow [, options]) */
int kt_lua_flow_splice(lua_State *L);

#endif
