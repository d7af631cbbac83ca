/* What kt.link and kt.accept were told, as the wire wants it. */
#ifndef KT_SCRIPT_API_CONFIG_H
#define KT_SCRIPT_API_CONFIG_H

#include <lua.h>
#include "link/kcptun/kcptun.h"
#include "script/core/script.h"
#include "script/core/service.h"

/* Reads the flat table at idx, which kt.link or kt.accept made after checking it (lua/kt/init.lua), over the
 * defaults. Keys: the fields of struct kt_kcptun_config with times in seconds, and `mode`. Raises what the
 * wire finds wrong. Strings in out are anchored by the table. */
void kt_config_read(lua_State *L, int idx, const char *what, bool client, struct kt_kcptun_config *out);

/* Reads a table as above with nothing but what is to change into what is. */
void kt_config_change(lua_State *L, int idx, struct kt_kcptun_config *c);

/* Logs what was opened ("link to", "vps:29900") with its settings, and warns when the key is the one that
 * everybody knows. The verbs in the binary tell of their settings themselves. */
void kt_config_log(
    const struct kt_kcptun_config *c, const char *mode, const struct kt_service *s, const char *what);

/* Pushes a table of a link's or an acceptor's figures. */
void kt_config_push_stats(lua_State *L, const struct kt_link_stats *stats);

#endif
