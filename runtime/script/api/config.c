/* Reads the settings of a wire from a Lua table, row by row, into the struct that the wire is made from. The table was
 * checked by kt.schema, so an error here is about a value that only C can judge, such as an address. */
#include "script/api/config.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "link/common/link_memory.h"

/* Pushes what the table at idx has at a path of one or two names; nil: nothing. True if it has `false` in place of
 * the second name's table: the whole group is off. */
static bool lookup(lua_State *L, int idx, const char *path)
{
    const char *dot = strchr(path, '.');
    if (!dot) {
        lua_getfield(L, idx, path);
        return false;
    }
    lua_pushlstring(L, path, (size_t)(dot - path));
    lua_gettable(L, idx);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, dot + 1);
        lua_remove(L, -2);
        return false;
    }
    const bool off = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_pushnil(L);
    return off;
}

/* The value on top, which the schema has let through. */
static uint64_t value_of(lua_State *L, const struct kt_setting *row)
{
    const lua_Number n = lua_tonumber(L, -1);
    switch (row->type) {
    case KT_SETTING_BOOLEAN:
    case KT_SETTING_FLAG:
        return (uint64_t)lua_toboolean(L, -1);
    case KT_SETTING_DURATION:
        return (uint64_t)(n * 1e6 + 0.5);
    default:
        return n > 0 ? (uint64_t)(n + 0.5) : 0;
    }
}

/* Puts what the table says over what s has, for the rows of one wire. */
static void apply_rows(lua_State *L, int idx, const struct kt_settings_table *table, struct kt_settings *s)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct kt_setting *row = &table->rows[i];
        const bool off = lookup(L, idx, row->path);
        if (off || !lua_isnil(L, -1)) s->given |= UINT64_C(1) << i;
        if (off && row->min == 0)
            kt_setting_set(row, s, 0);
        else if (row->type == KT_SETTING_NAME && lua_isstring(L, -1))
            kt_setting_set_name(row, s, lua_tostring(L, -1));
        else if (row->type != KT_SETTING_NAME && !lua_isnil(L, -1))
            kt_setting_set(row, s, value_of(L, row));
        lua_pop(L, 1);
    }
}

/* Puts what the table says over what s has. */
static void apply(lua_State *L, int idx, const char *what, const struct kt_wire *wire, struct kt_settings *s)
{
    lua_getfield(L, idx, "mode");
    const char *mode = lua_tostring(L, -1);
    if (mode && !wire->mode(s, mode)) kt_raise(L, "%s.mode: unknown mode \"%s\"", what, mode);
    lua_pop(L, 1);

    const struct kt_wire *part;
    for (size_t i = 0; kt_wire_part(wire, s, i, &part); i++)
        apply_rows(L, idx, part->settings, kt_wire_part(wire, s, i, NULL));
}

static bool has(const struct kt_settings_table *table, const char *key)
{
    const size_t len = strlen(key);
    for (size_t i = 0; i < table->count; i++) {
        const char *path = table->rows[i].path;
        if (strncmp(path, key, len) == 0 && (path[len] == 0 || path[len] == '.')) return true;
    }
    return false;
}

/* Raises if the table has a setting that the wire does not: the schema lets through those of every wire. */
static void refuse_others(
    lua_State *L, int idx, const char *what, const struct kt_wire *wire, struct kt_settings *s)
{
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_tostring(L, -2);
        bool own = strcmp(key, "mode") == 0;
        const struct kt_wire *part;
        for (size_t i = 0; !own && kt_wire_part(wire, s, i, &part); i++) own = has(part->settings, key);
        if (!own) kt_raise(L, "%s.%s: this link's wire, %s, has no such setting", what, key, wire->name);
        lua_pop(L, 1);
    }
}

struct kt_settings *kt_config_change(
    lua_State *L, int idx, const struct kt_wire *wire, const struct kt_settings *s)
{
    struct kt_err err = {0};
    const size_t size = kt_wire_size(wire);
    struct kt_settings *c = lua_newuserdatauv(L, size, 0);
    memcpy(c, s, size);
    refuse_others(L, idx, "link:set", wire, c);
    apply(L, idx, "link:set", wire, c);
    if (wire->check(c, &err)) kt_raise(L, "link:set: %s", err.text);
    return c;
}

/* Reads { name = "public key", … } on top of the stack into an array, which the settings at idx anchor. A function
 * there is the caller's. */
static void read_authorized(lua_State *L, int idx, struct kt_settings *s)
{
    const int table = lua_gettop(L);
    s->asks = lua_isfunction(L, table);
    if (!lua_istable(L, table)) return;
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) n++;
    struct kt_authorized *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
    lua_setiuservalue(L, idx, 2);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        list[s->authorized_count].name = lua_tostring(L, -2);
        list[s->authorized_count++].key = lua_tostring(L, -1);
    }
    s->authorized = list;
}

/* Reads { "host:port", … } on top of the stack into an array, which the settings at idx anchor. */
static void read_others(lua_State *L, int idx, const char *what, struct kt_settings *s)
{
    const int table = lua_gettop(L);
    struct kt_err err = {0};
    if (!lua_istable(L, table)) return;
    const lua_Unsigned n = lua_rawlen(L, table);
    if (n >= KT_REMOTES_MAX) kt_raise(L, "%s.remote: expected at most %d addresses", what, KT_REMOTES_MAX);
    struct kt_endpoint *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
    lua_setiuservalue(L, idx, 3);
    s->others = list;
    for (; s->others_count < n; s->others_count++) {
        lua_rawgeti(L, table, (lua_Integer)s->others_count + 1);
        const char *at = lua_tostring(L, -1);
        const unsigned flags = KT_ENDPOINT_RANGE | KT_ENDPOINT_HOST;
        if (!at || kt_endpoint_parse(&list[s->others_count], at, flags, &err))
            kt_raise(L, "%s.remote: %s", what, at ? err.text : "not a string");
        lua_pop(L, 1);
    }
}

/* Reads { "192.0.2.1", "wlan0", … } on top of the stack likewise. */
static void read_locals(lua_State *L, int idx, const char *what, struct kt_settings *s)
{
    const int table = lua_gettop(L);
    if (!lua_istable(L, table)) return;
    const lua_Unsigned n = lua_rawlen(L, table);
    if (n == 0) return;
    if (n > KT_LOCALS_MAX) kt_raise(L, "%s.paths: expected at most %d addresses", what, KT_LOCALS_MAX);
    struct kt_local *list = lua_newuserdatauv(L, n * sizeof *list, 0);
    lua_setiuservalue(L, idx, 4);
    s->locals = list;
    for (; s->locals_count < n; s->locals_count++) {
        lua_rawgeti(L, table, (lua_Integer)s->locals_count + 1);
        const char *at = lua_tostring(L, -1);
        struct kt_local *local = &list[s->locals_count];
        *local = (struct kt_local){.address.sa.sa_family = AF_UNSPEC};
        if (!at || (!kt_addr_from_ip(&local->address, at, 0) && strlen(at) >= sizeof local->device))
            kt_raise(L, "%s.paths: expected IP addresses or interfaces of this machine", what);
        if (local->address.sa.sa_family == AF_UNSPEC) snprintf(local->device, sizeof local->device, "%s", at);
        lua_pop(L, 1);
    }
}

static void read_keys(lua_State *L, int idx, const char *what, struct kt_settings *s)
{
    const int self = lua_gettop(L); /* the userdata */
    lua_getfield(L, idx, "key");
    s->key = kt_lua_secret_bytes(L, -1, &s->key_len);
    lua_getfield(L, idx, "private_key");
    s->private_key = kt_lua_secret_bytes(L, -1, &s->private_key_len);
    lua_getfield(L, idx, "server_key");
    s->server_key = lua_tostring(L, -1);
    lua_getfield(L, idx, "authorized");
    read_authorized(L, self, s);
    if (!s->key && !s->private_key) kt_raise(L, "%s.key: missing", what);
    lua_settop(L, self);
}

struct kt_settings *kt_config_read(
    lua_State *L, int idx, const char *what, bool client, const struct kt_wire **wire)
{
    luaL_checktype(L, idx, LUA_TTABLE);
    lua_getfield(L, idx, "wire");
    *wire = kt_wire_find(luaL_checkstring(L, -1));
    if (!*wire) kt_raise(L, "%s.wire: unknown wire \"%s\"", what, lua_tostring(L, -1));
    lua_pop(L, 1);

    struct kt_settings *s = lua_newuserdatauv(L, kt_wire_size(*wire), 4);
    struct kt_err err = {0};
    (*wire)->defaults(s, client);
    lua_pushvalue(L, idx);
    lua_setiuservalue(L, -2, 1);

    const char *where = client ? "remote" : "on";
    lua_getfield(L, idx, where);
    const char *at = lua_tostring(L, -1);
    unsigned flags = KT_ENDPOINT_RANGE | (client ? KT_ENDPOINT_HOST : KT_ENDPOINT_ZERO);
    if (!at || kt_endpoint_parse(&s->at, at, flags, &err))
        kt_raise(L, "%s.%s: %s", what, where, at ? err.text : "missing");
    lua_pop(L, 1);

    lua_getfield(L, idx, "others");
    read_others(L, lua_gettop(L) - 1, what, s);
    lua_pop(L, 1);
    lua_getfield(L, idx, "paths");
    read_locals(L, lua_gettop(L) - 1, what, s);
    lua_pop(L, 1);

    read_keys(L, idx, what, s);

    lua_getfield(L, idx, "stay");
    s->stay = lua_toboolean(L, -1);
    lua_pop(L, 1);

    apply(L, idx, what, *wire, s);
    if ((*wire)->check(s, &err)) kt_raise(L, "%s: %s", what, err.text);
    return s;
}

void kt_config_forget_key(struct kt_settings *s)
{
    s->key = s->private_key = NULL;
    s->key_len = s->private_key_len = 0;
}

void kt_config_log(const struct kt_wire *wire, const struct kt_settings *s, const struct kt_service *service,
    const char *what, bool is_link)
{
    const struct kt_log *log = kt_runtime_log(kt_service_runtime(service));
    const struct kt_log_fields about = {.link = is_link ? kt_service_name(service) : NULL};
    char text[500] = "";
    if (wire->conflict) wire->conflict(s, is_link, text, sizeof text);
    if (text[0]) kt_log_with(log, KT_LOG_WARN, about, "%s %s: %s", what, kt_service_name(service), text);
    if (kt_origin_embedded(kt_service_origin(service)->source)) return;
    wire->summary(s, text, sizeof text);
    kt_log_with(log, KT_LOG_INFO, about, "%s %s: %s", what, kt_service_name(service), text);
    const char *weak = wire->weak_key(s);
    if (weak)
        kt_log_with(log, KT_LOG_WARN, about, "the key is %s: anyone can read and use this tunnel", weak);
}

struct kt_wire_env kt_config_env(const struct kt_runtime *rt)
{
    struct kt_link_memory *link_memory = kt_runtime_link_memory(rt);
    return (struct kt_wire_env){.io = kt_runtime_io(rt),
        .log = kt_runtime_log(rt),
        .counters = kt_runtime_counters(rt),
        .starts = &link_memory->starts,
        .phrases = link_memory->phrases,
        .preferred_peers = &link_memory->preferred_peers};
}

void kt_config_set_stat(void *L, const struct kt_stat *row, double value)
{
    if (isinf(value)) return; /* not known */
    if (row->unit == KT_STAT_FLAG)
        lua_pushboolean(L, value != 0);
    else
        kt_push_number(L, value);
    lua_setfield(L, -2, row->name);
}

void kt_config_push_stats(lua_State *L, const struct kt_link_stats *s)
{
    lua_createtable(L, 0, 32);
    kt_link_stats_each(s, kt_config_set_stat, L);
}
