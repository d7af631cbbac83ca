/* kt.limit: a rate limit that several conns, streams and splices share. */
#ifndef KT_SCRIPT_API_LUA_LIMIT_H
#define KT_SCRIPT_API_LUA_LIMIT_H

struct kt_shared_limit;

/* The limit of a handle of kind KT_HANDLE_LIMIT; NULL for NULL. */
struct kt_shared_limit *kt_lua_limit_of(void *handle);

#endif
