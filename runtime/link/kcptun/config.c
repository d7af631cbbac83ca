/* What a kcptun link can be told: defaults (spec 12), modes (spec 6.2), ranges. */
#include <string.h>
#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/kcptun/kcptun.h"

/* The smallest mtu that leaves every method and FEC a KCP packet above KT_KCP_MTU_MIN. */
#define MTU_MIN 128u
#define MTU_MAX 1500u
#define SECOND_US 1000000u
#define LIFETIME_MAX_S 315360000u    /* ten years: sums of times stay far from overflow */
#define RATE_MAX ((uint64_t)1 << 40) /* bytes a second: so do products */

void kt_kcptun_defaults(struct kt_kcptun_config *c, bool client)
{
    memset(c, 0, sizeof *c); /* what lies between the fields too: settings are compared as bytes */
    *c = (struct kt_kcptun_config){
        .key = "it's a secrect",
        .key_len = 14,
        .crypt = "aes",
        .qpp_count = 61,
        .mtu = 1350,
        .sndwnd = client ? 128 : 1024,
        .rcvwnd = client ? 512 : 1024,
        .datashard = 10,
        .parityshard = 3,
        .compress = true,
        .smux_version = 2,
        .smux_buffer = 4194304,
        .stream_buffer = 2097152,
        .frame_size = 8192,
        .max_streams = 4096,
        .max_sessions = 4096,
        .memory = 64 << 20,
        .keepalive_us = 10000000,
        .suspect_us = 5000000,
        .dead_us = 30000000,
        .conn = 1,
        .scavenge_us = 600000000,
        .sockbuf = 4194304,
    };
    kt_kcptun_mode(c, "fast");
}

bool kt_kcptun_mode(struct kt_kcptun_config *c, const char *name)
{
    static const struct {
        const char *name;
        bool nodelay;
        uint32_t interval, resend;
        bool nc;
    } modes[] = {
        {"normal", false, 40, 2, true}, {"fast", false, 30, 2, true}, {"fast2", true, 20, 2, true},
        {"fast3", true, 10, 2, true}, {"default", false, 40, 0, false}, /* KCP's own */
    };
    if (strcmp(name, "manual") == 0) return true;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(name, modes[i].name) != 0) continue;
        c->nodelay = modes[i].nodelay;
        c->interval_ms = modes[i].interval;
        c->resend = modes[i].resend;
        c->nc = modes[i].nc;
        return true;
    }
    return false;
}

static int range(struct kt_err *err, const char *name, uint64_t value, uint64_t min, uint64_t max)
{
    if (value >= min && value <= max) return 0;
    return kt_err_set(err, KT_ECONFIG, "%s: %llu is out of range, want %llu to %llu", name,
        (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

/* Times, told in the unit in which people set them. */
static int range_s(struct kt_err *err, const char *name, uint64_t value_us, uint64_t min_s, uint64_t max_s)
{
    if (value_us >= min_s * SECOND_US && value_us <= max_s * SECOND_US) return 0;
    return kt_err_set(err, KT_ECONFIG, "%s: %.6g s is out of range, want %llu s to %llu s", name,
        (double)value_us / 1e6, (unsigned long long)min_s, (unsigned long long)max_s);
}

int kt_kcptun_check(const struct kt_kcptun_config *c, struct kt_err *err)
{
    const struct {
        const char *name;
        uint64_t value, min, max;
    } ranges[] = {
        {"mtu", c->mtu, MTU_MIN, MTU_MAX},
        {"sndwnd", c->sndwnd, 1, KT_KCP_WND_MAX},
        {"rcvwnd", c->rcvwnd, 1, KT_KCP_WND_MAX},
        {"interval", c->interval_ms, 10, 5000},
        {"resend", c->resend, 0, 255},
        {"datashard", c->datashard, 0, KT_FEC_MAX_SHARDS},
        {"parityshard", c->parityshard, 0, KT_FEC_MAX_SHARDS},
        {"QPPCount", c->qpp_count, 1, 4096},
        {"smuxver", c->smux_version, 1, 2},
        {"smuxbuf", c->smux_buffer, 65536, (uint64_t)1 << 31},
        {"streambuf", c->stream_buffer, 8192, 0x7fffffff},
        {"framesize", c->frame_size, 1, 65535},
        {"maxstreams", c->max_streams, 1, 65535},
        {"memory", c->memory, 1 << 20, (uint64_t)1 << 40},
        {"maxsessions", c->max_sessions, 1, 1u << 20},
        {"ratelimit", c->ratelimit, 0, RATE_MAX},
        {"conn", c->conn, 1, 1024},
        {"sockbuf", c->sockbuf, 0, (uint64_t)1 << 30},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int rc = range(err, ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max);
        if (rc) return rc;
    }
    const struct {
        const char *name;
        uint64_t value_us, min_s, max_s;
    } times[] = {
        {"keepalive", c->keepalive_us, 1, 30},
        {"suspect peer timeout", c->suspect_us, 1, 60},
        {"dead peer timeout", c->dead_us, 1, 60},
        {"autoexpire", c->expire_us, 0, LIFETIME_MAX_S},
        {"scavengettl", c->scavenge_us, 0, LIFETIME_MAX_S},
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        int rc = range_s(err, times[i].name, times[i].value_us, times[i].min_s, times[i].max_s);
        if (rc) return rc;
    }
    if (c->dscp < 0 || c->dscp > 63)
        return kt_err_set(err, KT_ECONFIG, "dscp: %d is out of range, want 0 to 63", c->dscp);
    if (c->datashard && c->parityshard && c->datashard + c->parityshard > KT_FEC_MAX_SHARDS)
        return kt_err_set(err, KT_ECONFIG, "datashard + parityshard: %u + %u is more than %u", c->datashard,
            c->parityshard, KT_FEC_MAX_SHARDS);
    if (c->stream_buffer > c->smux_buffer)
        return kt_err_set(err, KT_ECONFIG, "streambuf: %u is more than smuxbuf (%llu)", c->stream_buffer,
            (unsigned long long)c->smux_buffer);
    return 0;
}
