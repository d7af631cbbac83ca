/* The tables of kt.link and kt.accept as settings of a wire, and a wire's figures as tables. */
#ifndef KT_SCRIPT_API_CONFIG_H
#define KT_SCRIPT_API_CONFIG_H

#include <lua.h>
#include "link/wire.h"
#include "script/api/api.h"
#include "script/core/service.h"

/* Reads the table at idx, which kt.link or kt.accept has checked and completed (lua/kt/init.lua), and pushes
 * a userdata that holds the settings; strings in them are anchored by its uservalue, the table. Raises what
 * the wire finds wrong. */
struct kt_settings *kt_config_read(
    lua_State *L, int idx, const char *what, bool client, const struct kt_wire **wire);

/* Pushes a copy of s with the changes that the table at idx (link:set's) makes. */
struct kt_settings *kt_config_change(
    lua_State *L, int idx, const struct kt_wire *wire, const struct kt_settings *s);

/* Forgets the key in a handle's settings, which is not read any more. */
void kt_config_forget_key(struct kt_settings *s);

/* Logs what was opened ("link to", "vps:29900") with its settings, and warns when the key protects nothing or a setting
 * cannot be reached. The verbs in the binary report their settings and a weak key themselves. is_link: the lines are
 * about a link of the service's name. */
void kt_config_log(const struct kt_wire *wire, const struct kt_settings *s, const struct kt_service *service,
    const char *what, bool is_link);

/* The environment of this runtime's links and acceptors. */
struct kt_wire_env kt_config_env(const struct kt_runtime *rt);

/* Pushes the statistics of a link or an acceptor as a table. */
void kt_config_push_stats(lua_State *L, const struct kt_link_stats *stats);
/* A kt_stat_each whose ctx is a lua_State: sets a field of the table on top of its stack. */
void kt_config_set_stat(void *L, const struct kt_stat *row, double value);

#endif
