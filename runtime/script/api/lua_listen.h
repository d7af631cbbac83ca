/* Shared by listeners for conns and for datagrams. */
#ifndef KT_SCRIPT_API_LUA_LISTEN_H
#define KT_SCRIPT_API_LUA_LISTEN_H

#include <lua.h>
#include "base/addr.h"

/* `transparent` of the checked options at index 1. */
enum kt_diverted kt_lua_diverted(lua_State *L);
/* For a reload: 0, or an error if the two differ in it, as the socket of the old one is set up for its own. */
int kt_lua_diverted_alike(const struct kt_endpoint *at, const struct kt_endpoint *old, struct kt_err *err);

#endif
