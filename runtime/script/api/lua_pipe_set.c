/* conn:set, stream:set and :stats: settings and statistics of a pipe held by a script or a splice. Once the pipe
 * has ended, :set fails and :stats returns the final counts. */
#include <stdlib.h>
#include "link/limits.h"
#include "link/splice.h"
#include "link/stream.h"
#include "script/api/config.h"
#include "script/api/lua_limit.h"
#include "script/api/lua_pipe.h"
#include "script/core/handle.h"
#include "script/api/api.h"

/* The last sample of :stats; rates are measured from there. */
struct kt_lua_look {
    uint64_t at, bytes_in, bytes_out;
    double rate_in, rate_out; /* as measured by that sample */
};
#define LOOK_US 250000u /* shortest interval between samples */

static bool is_conn(lua_State *L)
{
    return kt_handle_test(L, 1, KT_HANDLE_CONN) != NULL;
}

struct kt_pipe *kt_lua_pipe_anywhere(const struct kt_lua_pipe *h)
{
    return h->splice ? kt_splice_pipe(h->splice, h->second) : h->pipe;
}

bool kt_lua_pipe_there(const struct kt_lua_pipe *h)
{
    return kt_lua_pipe_anywhere(h) && !kt_lua_limits_ended(h);
}

/* pipe:set { rate_in, rate_out, idle, total, limit, limit_in, limit_out } → true | nil, err; a stream also has priority
 * and weight, a conn user_timeout */
int kt_lua_pipe_set(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "set");
    const bool conn = is_conn(L);
    const char *what = conn ? "conn:set" : "stream:set";
    if (lua_type(L, 2) != LUA_TTABLE) {
        lua_settop(L, 2);
        return kt_opts_wrong(L, 2, what);
    }

    struct kt_limits_terms limits;
    uint64_t user_timeout = KT_TIME_NEVER; /* not set */
    struct kt_opt_integer priority = {-1, 0, KT_PRIORITIES - 1}, weight = {-1, 1, KT_WEIGHT_MAX};
    kt_lua_limits_terms(h, &limits);
    struct kt_opt_handle both = {KT_HANDLE_LIMIT, NULL, false}, in = both, out = both;
    const struct kt_opt opts[] = {{"rate_in", KT_OPT_RATE, &limits.rate[KT_LIMITS_IN]},
        {"rate_out", KT_OPT_RATE, &limits.rate[KT_LIMITS_OUT]}, {"idle", KT_OPT_DURATION, &limits.idle_us},
        {"total", KT_OPT_DURATION, &limits.total_us}, {"limit", KT_OPT_HANDLE, &both},
        {"limit_in", KT_OPT_HANDLE, &in}, {"limit_out", KT_OPT_HANDLE, &out},
        {"user_timeout", KT_OPT_DURATION, &user_timeout}, {"priority", KT_OPT_INTEGER, &priority},
        {"weight", KT_OPT_INTEGER, &weight}};
    const struct kt_opt of_stream[] = {
        opts[0], opts[1], opts[2], opts[3], opts[4], opts[5], opts[6], opts[8], opts[9]};
    kt_opts_read(L, 2, what, conn ? opts : of_stream, conn ? 8 : 9);
    if (!in.given) in = both;
    if (!out.given) out = both;
    const struct kt_lua_shares shares = {
        {in.given, out.given}, {kt_lua_limit_of(in.value), kt_lua_limit_of(out.value)}};
    if (!kt_lua_pipe_there(h))
        return kt_lua_err_return(L, KT_ECLOSED, lua_pushfstring(L, "%s: already ended", what));

    const int rc = kt_lua_limits_set(h, kt_runtime_io(kt_runtime_of(L)), &limits, &shares);
    if (rc) return kt_lua_err_return(L, rc, NULL);
    if (conn && user_timeout != KT_TIME_NEVER) kt_conn_set_user_timeout(h->conn, user_timeout);
    struct kt_pipe *pipe = kt_lua_pipe_anywhere(h);
    struct kt_stream_facts facts;
    if (!conn && kt_stream_facts(pipe, &facts) == 0) {
        if (priority.value >= 0) facts.policy.priority = (uint32_t)priority.value;
        if (weight.value >= 0) facts.policy.weight = (uint32_t)weight.value;
        kt_stream_set(pipe, &facts.policy);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* Rates since the last sample, or since the pipe was created; NULL when out of memory. */
static const struct kt_lua_look *look(struct kt_lua_pipe *h, uint64_t now, uint64_t in, uint64_t out)
{
    struct kt_lua_look *l = h->look;
    if (!l) {
        l = h->look = calloc(1, sizeof *l);
        if (!l) return NULL;
        l->at = h->born;
    } else if (now - l->at < LOOK_US) {
        return l;
    }
    /* A young pipe has been there for too short a time to measure; count it as LOOK_US. */
    const uint64_t span = now - l->at > LOOK_US ? now - l->at : LOOK_US;
    *l = (struct kt_lua_look){.at = now,
        .bytes_in = in,
        .bytes_out = out,
        .rate_in = (double)(in - l->bytes_in) * 1e6 / (double)span,
        .rate_out = (double)(out - l->bytes_out) * 1e6 / (double)span};
    return l;
}

/* pipe:stats() → a table */
int kt_lua_pipe_stats(lua_State *L)
{
    struct kt_lua_pipe *h = kt_lua_pipe_self(L, "stats");
    const uint64_t now = kt_io_now(kt_runtime_io(kt_runtime_of(L)));
    const struct kt_pipe *pipe = kt_lua_pipe_anywhere(h);
    const uint64_t in = pipe ? pipe->bytes_in : h->bytes_in, out = pipe ? pipe->bytes_out : h->bytes_out;
    const struct kt_lua_look *seen = pipe ? look(h, now, in, out) : NULL;
    struct kt_stream_facts facts = {0};
    if (pipe) kt_stream_facts(pipe, &facts);
    lua_createtable(L, 0, 14);
#define KT_STAT_EACH(row, value) kt_config_set_stat(L, row, value)
#include "link/stat_each.h"
#include "script/api/pipe_stats.def"
    if (!is_conn(L)) kt_stream_facts_each(&facts, kt_config_set_stat, L);
    return 1;
}
