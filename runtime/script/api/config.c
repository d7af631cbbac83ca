/* Flat tables to kcptun configurations: see config.h. */
#include "script/api/config.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum kind { FLAG, U32, U64, SIZE, INT, SECONDS };

static const struct {
    const char *key;
    enum kind kind;
    size_t offset;
} fields[] = {
#define FIELD(key, kind, member)                                                                             \
    {                                                                                                        \
        key, kind, offsetof(struct kt_kcptun_config, member)                                                 \
    }
    FIELD("qpp", FLAG, qpp),
    FIELD("qpp_count", U32, qpp_count),
    FIELD("tuncrypt", FLAG, tuncrypt),
    FIELD("mtu", U32, mtu),
    FIELD("sndwnd", U32, sndwnd),
    FIELD("rcvwnd", U32, rcvwnd),
    FIELD("nodelay", FLAG, nodelay),
    FIELD("interval_ms", U32, interval_ms),
    FIELD("resend", U32, resend),
    FIELD("nc", FLAG, nc),
    FIELD("acknodelay", FLAG, acknodelay),
    FIELD("datashard", U32, datashard),
    FIELD("parityshard", U32, parityshard),
    FIELD("ratelimit", U64, ratelimit),
    FIELD("compress", FLAG, compress),
    FIELD("smux_version", U32, smux_version),
    FIELD("smux_buffer", U64, smux_buffer),
    FIELD("stream_buffer", U32, stream_buffer),
    FIELD("frame_size", U32, frame_size),
    FIELD("max_streams", U32, max_streams),
    FIELD("max_sessions", U32, max_sessions),
    FIELD("memory", U64, memory),
    FIELD("keepalive", SECONDS, keepalive_us),
    FIELD("suspect_after", SECONDS, suspect_us),
    FIELD("dead_after", SECONDS, dead_us),
    FIELD("conn", U32, conn),
    FIELD("expire", SECONDS, expire_us),
    FIELD("scavenge", SECONDS, scavenge_us),
    FIELD("dscp", INT, dscp),
    FIELD("sockbuf", SIZE, sockbuf),
    FIELD("stay", FLAG, stay),
#undef FIELD
};

/* The value on top of the stack, which the schema has let through: nothing here can be out of a 32-bit range.
 */
static void store(lua_State *L, enum kind kind, void *at)
{
    lua_Number n = lua_tonumber(L, -1);
    uint64_t u = n > 0 ? (uint64_t)(n + 0.5) : 0;
    switch (kind) {
    case FLAG:
        *(bool *)at = lua_toboolean(L, -1);
        break;
    case U32:
        *(uint32_t *)at = u > UINT32_MAX ? UINT32_MAX : (uint32_t)u;
        break;
    case U64:
        *(uint64_t *)at = u;
        break;
    case SIZE:
        *(size_t *)at = u;
        break;
    case INT:
        *(int *)at = u > INT32_MAX ? INT32_MAX : (int)u;
        break;
    case SECONDS:
        *(uint64_t *)at = (uint64_t)(n * 1e6 + 0.5);
        break;
    }
}

/* What the table says over what *out has. */
static void apply(lua_State *L, int idx, const char *what, struct kt_kcptun_config *out)
{
    lua_getfield(L, idx, "mode");
    const char *mode = lua_tostring(L, -1);
    if (mode && !kt_kcptun_mode(out, mode)) kt_raise(L, "%s.mode: \"%s\" is not known", what, mode);
    lua_pop(L, 1);

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (lua_getfield(L, idx, fields[i].key) != LUA_TNIL)
            store(L, fields[i].kind, (char *)out + fields[i].offset);
        lua_pop(L, 1);
    }
}

void kt_config_change(lua_State *L, int idx, struct kt_kcptun_config *c)
{
    struct kt_err err = {0};
    apply(L, idx, "link:set", c);
    if (kt_kcptun_check(c, &err)) kt_raise(L, "link:set: %s", err.text);
}

void kt_config_read(lua_State *L, int idx, const char *what, bool client, struct kt_kcptun_config *out)
{
    luaL_checktype(L, idx, LUA_TTABLE);
    kt_kcptun_defaults(out, client);
    struct kt_err err = {0};

    const char *where = client ? "remote" : "on";
    lua_getfield(L, idx, where);
    const char *at = lua_tostring(L, -1);
    unsigned flags = KT_ENDPOINT_RANGE | (client ? KT_ENDPOINT_HOST : KT_ENDPOINT_ZERO);
    if (!at || kt_endpoint_parse(&out->at, at, flags, &err))
        kt_raise(L, "%s.%s: %s", what, where, at ? err.text : "missing");
    lua_pop(L, 1);

    lua_getfield(L, idx, "crypt");
    if (lua_isstring(L, -1)) out->crypt = lua_tostring(L, -1);
    lua_pop(L, 1);

    lua_getfield(L, idx, "key");
    const char *key = kt_lua_secret_bytes(L, -1, &out->key_len);
    if (!key) kt_raise(L, "%s.key: missing", what);
    out->key = key;
    lua_pop(L, 1);

    apply(L, idx, what, out);
    if (kt_kcptun_check(out, &err)) kt_raise(L, "%s: %s", what, err.text);
}

void kt_config_log(
    const struct kt_kcptun_config *c, const char *mode, const struct kt_service *s, const char *what)
{
    if (kt_origin_embedded(s->origin->source)) return;
    char fec[32] = "no fec";
    if (c->datashard && c->parityshard) snprintf(fec, sizeof fec, "fec %u/%u", c->datashard, c->parityshard);
    kt_log(s->rt->log, KT_LOG_INFO, "%s %s: %s, %s, mtu %u, windows %u/%u, %s, %s, smux %u%s%s", what,
        s->name, c->crypt, mode, c->mtu, c->sndwnd, c->rcvwnd, fec, c->compress ? "snappy" : "no compression",
        c->smux_version, c->qpp ? ", qpp" : "", c->tuncrypt ? ", tuncrypt" : "");

    static const char known[] = "it's a secrect";
    const char *weak = NULL;
    if (c->key_len == 0)
        weak = "empty";
    else if (c->key_len == sizeof known - 1 && memcmp(c->key, known, sizeof known - 1) == 0)
        weak = "kcptun's default, which everybody knows";
    if (weak) kt_log(s->rt->log, KT_LOG_WARN, "the key is %s: anyone can read and use this tunnel", weak);
}

void kt_config_push_stats(lua_State *L, const struct kt_link_stats *s)
{
    const struct {
        const char *key;
        double value;
    } values[] = {
        {"sessions", (double)s->sessions},
        {"streams", (double)s->streams},
        {"srtt", (double)s->srtt_us / 1e6},
        {"rttvar", (double)s->rttvar_us / 1e6},
        {"rto", (double)s->rto_us / 1e6},
        {"segs_out", (double)s->total.segs_out},
        {"segs_retrans", (double)s->total.segs_retrans},
        {"segs_recovered", (double)s->total.segs_recovered},
        {"bytes_in", (double)s->total.bytes_in},
        {"bytes_out", (double)s->total.bytes_out},
        {"inflight", (double)s->inflight},
        {"queued", (double)s->queued},
        {"rmt_wnd", (double)s->rmt_wnd},
        {"cwnd", (double)s->cwnd},
        {"since_heard", s->since_heard_us == UINT64_MAX ? HUGE_VAL : (double)s->since_heard_us / 1e6},
        {"since", (double)s->up_us / 1e6},
        {"loss", kt_link_loss(s)},
        {"rate_in", (double)s->rate_in},
        {"rate_out", (double)s->rate_out},
        {"retransmitted", (double)s->total.segs_retrans},
        {"recovered", (double)s->total.segs_recovered},
    };
    lua_createtable(L, 0, sizeof values / sizeof values[0] + 1);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        kt_push_number(L, values[i].value);
        lua_setfield(L, -2, values[i].key);
    }
    lua_pushboolean(L, s->up);
    lua_setfield(L, -2, "up");
}
