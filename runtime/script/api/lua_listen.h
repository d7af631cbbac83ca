/* What listeners for conns and for datagrams share. */
#ifndef KT_SCRIPT_API_LUA_LISTEN_H
#define KT_SCRIPT_API_LUA_LISTEN_H

#include <lua.h>
#include "base/addr.h"

/* `transparent` of the checked options at index 1. */
enum kt_diverted kt_lua_diverted(lua_State *L);

#endif
