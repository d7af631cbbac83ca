/* Keeps the far side's address and words in uservalues, so that they outlive the conn, stream or flow. Without
 * any there is no table. */
#include "script/api/lua_peer.h"
#include "link/link.h"

void kt_lua_peer_set(lua_State *L, const char *address)
{
    lua_pushstring(L, address);
    lua_setiuservalue(L, -2, KT_PEER_ADDRESS);
}

void kt_lua_peer_keep(lua_State *L, const struct kt_peer_info *peer)
{
    const struct {
        const char *key, *text;
    } said[] = {{"identity", peer->identity}, {"target", peer->target}, {"client", peer->client},
        {"name", peer->name}, {"original", peer->original}};
    kt_lua_peer_set(L, peer->address);
    if (!peer->identity && !peer->target && !peer->client && !peer->name && !peer->original) return;
    lua_createtable(L, 0, sizeof said / sizeof said[0]);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        lua_pushstring(L, said[i].text);
        lua_setfield(L, -2, said[i].key);
    }
    lua_setiuservalue(L, -2, KT_PEER_SAID);
}

int kt_lua_peer_address(lua_State *L)
{
    lua_getiuservalue(L, 1, KT_PEER_ADDRESS);
    return 1;
}

static int said(lua_State *L, const char *key)
{
    if (lua_getiuservalue(L, 1, KT_PEER_SAID) == LUA_TTABLE) lua_getfield(L, -1, key);
    return 1;
}

int kt_lua_peer_identity(lua_State *L)
{
    return said(L, "identity");
}

int kt_lua_peer_target(lua_State *L)
{
    return said(L, "target");
}

int kt_lua_peer_client(lua_State *L)
{
    return said(L, "client");
}

int kt_lua_peer_original(lua_State *L)
{
    return said(L, "original");
}

int kt_lua_peer_name(lua_State *L)
{
    return said(L, "name");
}
