/* A UDP socket of a script: its fields, shared by lua_udp.c, which opens and closes it, and lua_udp_io.c. */
#ifndef KT_SCRIPT_API_LUA_UDP_INTERNAL_H
#define KT_SCRIPT_API_LUA_UDP_INTERNAL_H

#include "base/addr.h"
#include "base/dgramq.h"
#include "script/core/service.h"
#include "script/core/task.h"
#include "script/api/udp_local.h"
#include "script/api/udp_share.h"

#define KT_LUA_UDP_RECEIVE "socket:receive"
#define KT_LUA_UDP_SEND "socket:send"
#define KT_LUA_UDP_CLOSED "closed during the call"

struct kt_lua_udp {
    struct kt_owned owned;     /* first; unlinked if declared */
    struct kt_service service; /* if declared, or listed */
    struct kt_runtime *rt;
    bool declared; /* in the main chunk */
    bool listed;   /* opened in a task, as a service */
    bool wants_peer;
    struct kt_endpoint on;
    struct kt_addr to;
    struct kt_resolve *resolve;      /* while kt.udp looks the peer up */
    struct kt_lua_udp_holder holder; /* holds the socket while it is open */
    struct kt_dgramq queue;
    struct kt_lua_udp_locals locals; /* by peer whose datagrams were received */
    struct kt_task *receiver;
    struct kt_list senders; /* tasks that wait for room */
    int error;              /* ICMP error of an earlier datagram, for the next receive; 0: none */
    char peer[KT_ADDR_TEXT];
};

/* Methods of the handle. */
int kt_lua_udp_receive(lua_State *L);
int kt_lua_udp_send(lua_State *L);

#endif
