/* conn:set, stream:set and :stats: the limits and the figures of a pipe in a script's hands, or in a
 * splice's.
 *
 * All of it goes through the shaper, which also hands on to a link's stream what only that can do. Once the
 * pipe has ended, set says so, and stats keeps what the shaper had counted. */
#include "link/stream.h"
#include "script/handle.h"
#include "script/script.h"

static bool is_conn(lua_State *L)
{
    return kt_handle_test(L, 1, KT_HANDLE_CONN) != NULL;
}

/* pipe:set { rate_in, rate_out, idle, total }, of a stream also { priority, weight } → true | nil, err */
int kt_lua_pipe_set(lua_State *L)
{
    const struct kt_lua_pipe *h = kt_pipe_self(L, "set");
    const bool conn = is_conn(L);
    const char *what = conn ? "conn:set" : "stream:set";
    if (lua_type(L, 2) != LUA_TTABLE) {
        lua_settop(L, 2);
        return kt_opts_wrong(L, 2, what);
    }

    struct kt_shaper_limits limits = {0};
    struct kt_opt_integer priority = {-1, 0, KT_PRIORITIES - 1}, weight = {-1, 1, KT_WEIGHT_MAX};
    if (h->shaper) kt_shaper_limits(h->shaper, &limits);
    const struct kt_opt opts[] = {{"rate_in", KT_OPT_RATE, &limits.rate_in},
        {"rate_out", KT_OPT_RATE, &limits.rate_out}, {"idle", KT_OPT_DURATION, &limits.idle_us},
        {"total", KT_OPT_DURATION, &limits.total_us}, {"priority", KT_OPT_INTEGER, &priority},
        {"weight", KT_OPT_INTEGER, &weight}};
    const size_t known = sizeof opts / sizeof opts[0];
    kt_opts_read(L, 2, what, opts, conn ? known - 2 : known);
    if (!h->shaper || !kt_shaper_alive(h->shaper))
        return kt_err_return(L, KT_ECLOSED, lua_pushfstring(L, "%s: it has ended", what));

    kt_shaper_set(h->shaper, &limits);
    struct kt_pipe *pipe = kt_shaper_pipe(h->shaper);
    struct kt_stream_facts facts;
    if (!conn && kt_stream_facts(pipe, &facts) == 0) {
        if (priority.value >= 0) facts.policy.priority = (uint32_t)priority.value;
        if (weight.value >= 0) facts.policy.weight = (uint32_t)weight.value;
        kt_stream_set(pipe, &facts.policy);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static void put(lua_State *L, const char *key, double value)
{
    kt_push_number(L, value);
    lua_setfield(L, -2, key);
}

static void put_stream(lua_State *L, const struct kt_stream_facts *f)
{
    put(L, "priority", f->policy.priority);
    put(L, "weight", f->policy.weight);
    put(L, "queued", (double)f->queued);
    put(L, "srtt", f->srtt_us / 1e6);
    put(L, "rttvar", f->rttvar_us / 1e6);
    put(L, "loss", f->loss);
    put(L, "retransmitted", (double)f->retransmitted);
    put(L, "recovered", (double)f->recovered);
    put(L, "inflight", f->inflight);
}

/* pipe:stats() → a table */
int kt_lua_pipe_stats(lua_State *L)
{
    const struct kt_lua_pipe *h = kt_pipe_self(L, "stats");
    struct kt_shaper_figures f = h->last;
    struct kt_stream_facts facts = {0};
    if (h->shaper) kt_shaper_figures(h->shaper, &f);
    if (h->shaper) kt_stream_facts(kt_shaper_pipe(h->shaper), &facts);
    lua_createtable(L, 0, 14);
    put(L, "bytes_in", (double)f.bytes_in);
    put(L, "bytes_out", (double)f.bytes_out);
    put(L, "rate_in", (double)f.rate_in);
    put(L, "rate_out", (double)f.rate_out);
    put(L, "since", (double)f.age_us / 1e6);
    if (!is_conn(L)) put_stream(L, &facts);
    return 1;
}
