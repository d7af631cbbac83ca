/* The far side of a conn, stream or flow, as its handle knows it: an address, and what the peer said of a stream or
 * flow that it opened. */
#ifndef KT_SCRIPT_API_LUA_PEER_H
#define KT_SCRIPT_API_LUA_PEER_H

#include <lua.h>

struct kt_peer_info;

/* The handle's first uservalues: the address as text, nil while it is unknown; a table of what was said, or nil. */
enum { KT_PEER_ADDRESS = 1, KT_PEER_SAID, KT_PEER_USERVALUES = KT_PEER_SAID };

/* Sets the address of the handle on top of the stack. May raise. */
void kt_lua_peer_set(lua_State *L, const char *address);
/* The same, and what the peer said. */
void kt_lua_peer_keep(lua_State *L, const struct kt_peer_info *peer);

/* Fields of the handle (struct kt_handle_type); nil: unknown, or not said. */
int kt_lua_peer_address(lua_State *L);
int kt_lua_peer_identity(lua_State *L);
int kt_lua_peer_target(lua_State *L);
int kt_lua_peer_client(lua_State *L);
int kt_lua_peer_name(lua_State *L);
int kt_lua_peer_original(lua_State *L);

#endif
