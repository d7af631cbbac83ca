/* Makes and frees the context that the sessions of a link or acceptor share, and opens their datagrams. */
#include "link/kcptun/context.h"
#include "crypto/kcptun/kdf.h"
#include "base/bytes.h"
#include "crypto/locked.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/common/rare_log.h"
#include "link/kcptun/features.h"
#include "link/kcptun/smux.h"
#include "link/kcptun/snappy_stream.h"
#include "link/stream.h"

/* Two of these hold any frame of the default size. Where memory is short, small ones, because each queue that holds
 * anything takes one. */
#define STREAM_BLOCK 16384u
#define SMALL_BLOCK 4096u
#define SHORT_MEMORY 8388608u
#define TUNCRYPT_COST 34816u /* two messages more (tuncrypt.c) */

/* A session's structs, its keys and tables, without the rest of its FEC decoder. */
#define SESSION_COST 14336u
/* A session's share is at most: twice LEAST bytes, for buffers and for segments in KCP; RECV_LEAST bytes of unread
 * data; the cost of LEAST_STREAMS streams. */
#define LEAST 65536u
#define RECV_LEAST 16384u
#define LEAST_STREAMS 16u
#define FEW_STREAMS 8u     /* a session may always have, even if their cost exceeds its share */
#define SHARE_LEAST 12288u /* bytes of the smallest share */
/* All shares together are 1/SHARES of max_buffered, unless they are the smallest or the largest. 1/KEPT of it is always
 * kept for the costs and shares of sessions. */
#define SHARES 16u
#define KEPT 8u
#define SMALL_PATH_US 600000000u

static size_t used(const struct kt_kcptun_context *c)
{
    return kt_slab_bytes_in_use(c->segs) + kt_slab_bytes_in_use(c->bufs) + c->state +
           kt_kcptun_context_cost(c, c->streams);
}

size_t kt_kcptun_context_cost(const struct kt_kcptun_context *c, size_t streams)
{
    return streams * (KT_STREAM_COST + (c->cfg.tuncrypt ? TUNCRYPT_COST : 0));
}

static void count(void *ctx)
{
    struct kt_kcptun_context *c = ctx;
    const size_t now = used(c);
    kt_memory_user_count(&c->memory, now, c->basic + c->sessions * SESSION_COST + now);
}

void kt_kcptun_context_busy(struct kt_kcptun_context *c)
{
    count(c);
    kt_idle_memory_busy(&c->idle_memory);
}

void kt_kcptun_context_streams(struct kt_kcptun_context *c, size_t before, size_t now)
{
    c->counters->StreamsNow += now - before;
    c->streams += now - before;
    count(c);
}

void kt_kcptun_context_count_state(struct kt_kcptun_context *c, size_t before, size_t now)
{
    c->state += now - before;
    count(c);
}

void kt_kcptun_context_count_basic(struct kt_kcptun_context *c, size_t before, size_t now)
{
    c->basic += now - before;
}

bool kt_kcptun_context_serve(struct kt_kcptun_context *c)
{
    if (c->features & KT_SMUX_F_SERVES) return false;
    c->features |= KT_SMUX_F_SERVES;
    return true;
}

void kt_kcptun_context_retire(struct kt_kcptun_context *c)
{
    c->retired = true;
}

/* ---- shares ---- */

/* The part of max_buffered that other contexts leave. */
static uint64_t ours(const struct kt_kcptun_context *c)
{
    return kt_memory_user_left(&c->memory, c->cfg.max_buffered);
}

/* The share of a session if there are this many. */
static uint64_t share_of(const struct kt_kcptun_context *c, size_t sessions)
{
    const uint64_t most = 2 * LEAST + RECV_LEAST + kt_kcptun_context_cost(c, LEAST_STREAMS);
    const uint64_t fair = c->cfg.max_buffered / SHARES / (sessions ? sessions : 1);
    return kt_min64(most, fair > SHARE_LEAST ? fair : SHARE_LEAST);
}

/* Call when sessions or cfg.max_buffered have changed. */
static void divide(struct kt_kcptun_context *c)
{
    c->share = (size_t)share_of(c, c->sessions);
}

void kt_kcptun_context_session(struct kt_kcptun_context *c, bool begins)
{
    c->sessions = begins ? c->sessions + 1 : c->sessions - 1;
    divide(c);
}

void kt_kcptun_context_set(struct kt_kcptun_context *c, const struct kt_kcptun_config *cfg)
{
    c->cfg = *cfg;
    divide(c);
}

/* Bytes kept for the sessions that there are: their costs and shares. */
static uint64_t reserved(const struct kt_kcptun_context *c)
{
    return c->basic + c->sessions * (SESSION_COST + (uint64_t)c->share);
}

bool kt_kcptun_context_admits(const struct kt_kcptun_context *c, size_t more)
{
    const size_t sessions = c->sessions + more;
    const uint64_t needed = c->basic + sessions * (SESSION_COST + share_of(c, sessions));
    return needed + used(c) <= ours(c);
}

size_t kt_kcptun_context_least(const struct kt_kcptun_context *c)
{
    return kt_min_size(LEAST, c->share / 4);
}

size_t kt_kcptun_context_recv_least(const struct kt_kcptun_context *c)
{
    return kt_min_size(RECV_LEAST, c->share / 8);
}

size_t kt_kcptun_context_least_streams(const struct kt_kcptun_context *c)
{
    const size_t rest = c->share - 2 * kt_kcptun_context_least(c) - kt_kcptun_context_recv_least(c);
    const size_t streams = rest / kt_kcptun_context_cost(c, 1);
    return streams < FEW_STREAMS ? FEW_STREAMS : kt_min_size(streams, LEAST_STREAMS);
}

size_t kt_kcptun_context_most(const struct kt_kcptun_context *c)
{
    const uint64_t kept = c->cfg.max_buffered / KEPT, now = reserved(c);
    return (size_t)kt_sub64(ours(c), (now > kept ? now : kept) + used(c));
}

size_t kt_kcptun_context_free(const struct kt_kcptun_context *c)
{
    return (size_t)kt_sub64(ours(c), reserved(c) + used(c));
}

size_t kt_kcptun_context_spare(
    const struct kt_kcptun_context *c, size_t held, size_t state, size_t streams, bool first)
{
    const size_t others = kt_kcptun_context_most(c), least = kt_kcptun_context_least(c);
    const size_t most = first ? others + others / 4 : others;
    /* The least is for bytes: whatever its streams and state cost, a session must be able to move data. */
    const size_t bytes = kt_sub_size(most, kt_kcptun_context_cost(c, streams) + state);
    return kt_sub_size(bytes > least ? bytes : least, held);
}

bool kt_kcptun_context_log_now(struct kt_kcptun_context *c, enum kt_kcptun_rarely what)
{
    return kt_rare_log_due(c->io, &c->logged_us[what]);
}

static void show(const struct kt_kcptun_context *c, bool out, const struct kt_udp *udp,
    const struct kt_addr *peer, const struct kt_addr *here, const uint8_t *data, size_t len)
{
    const struct kt_tapped packet = {
        .wire = "kcptun", .out = out, .peer = peer, .here = here, .data = data, .len = len};
    kt_tap_show(c->tap, packet, udp);
}

void kt_kcptun_context_show(const struct kt_kcptun_context *c, const struct kt_udp *udp,
    const struct kt_addr *peer, const struct kt_addr *here, const uint8_t *buf, size_t len)
{
    if (kt_tap_on(c->tap)) show(c, true, udp, peer, here, buf + kt_seal_header(c->seal), len);
}

bool kt_kcptun_context_open(struct kt_kcptun_context *c, const struct kt_udp *udp, struct kt_dgram *dgram,
    uint8_t **body, size_t *len)
{
    c->counters->InBytes += dgram->len;
    if (kt_seal_open(c->seal, dgram->data, dgram->len, body, len) == 0) {
        if (kt_tap_on(c->tap)) show(c, false, udp, dgram->from, dgram->to, *body, *len);
        return true;
    }
    c->counters->InCsumErrors++;
    kt_rare_log_forged(c->io, c->log, &c->logged_us[KT_KCPTUN_FORGED], dgram->from,
        "are key and crypt the same on both ends?");
    return false;
}

void kt_kcptun_context_send(struct kt_kcptun_context *c, struct kt_udp *udp, uint8_t *buf, size_t len,
    const struct kt_addr *to, const struct kt_addr *from)
{
    uint8_t nonce[KT_SEAL_MAX_NONCE];
    kt_kcptun_context_show(c, udp, to, from, buf, len);
    kt_io_random(c->io, nonce, kt_seal_nonce(c->seal));
    len = kt_seal_packet(c->seal, buf, len, nonce);
    kt_udp_commit(udp, buf, buf, len, to, from);
    c->counters->OutPkts++;
    c->counters->OutBytes += len;
}

static int set_up(struct kt_kcptun_context *c, const struct kt_kcptun_config *cfg, struct kt_err *err)
{
    if (!c->memory.budget) return kt_err_set(err, KT_ENOMEM, "out of memory");
    c->pass = kt_locked_alloc(KT_KCPTUN_PASS);
    int rc = c->pass ? kt_kdf_pass(cfg->common.key, cfg->common.key_len, c->pass) : KT_ENOMEM;
    if (rc) return kt_err_set(err, rc, "cannot derive the key: %s", kt_strerror(rc));
    rc = kt_seal_new(&c->seal, cfg->crypt, c->pass, err);
    if (rc) return rc;
    if (cfg->qpp && (rc = kt_qpp_new(&c->qpp, cfg->common.key, cfg->common.key_len, cfg->qpp_count)))
        return kt_err_set(err, rc, "cannot make the QPP pads");
    if (cfg->compress && !(c->scratch = malloc(KT_SNAPPY_MOST)))
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    if ((rc = kt_slab_new(&c->segs, kt_kcp_block_size(cfg->mtu), 0)) ||
        (rc = kt_slab_new(&c->bufs, c->cfg.max_buffered > SHORT_MEMORY ? STREAM_BLOCK : SMALL_BLOCK, 0)))
        return kt_err_set(err, rc, "out of memory");
    kt_idle_memory_init(&c->idle_memory, c->io, c->segs, c->bufs, count, c);
    return 0;
}

int kt_kcptun_context_new(struct kt_kcptun_context **out, const struct kt_wire *wire,
    const struct kt_wire_env *env, const struct kt_kcptun_config *cfg, bool client, struct kt_err *err)
{
    int rc = wire->check(&cfg->common, err);
    if (rc) return rc;
    struct kt_kcptun_context *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    c->refs = 1;
    c->wire = wire;
    c->io = env->io;
    c->log = kt_log_of_link(&c->log_of_link, env->log, env->name);
    c->counters = env->counters;
    c->tap = kt_tap_ref(env->tap);
    kt_memory_user_init(&c->memory, env->budget, env->counters);
    c->cfg = *cfg;
    c->cfg.common.key = NULL;
    c->cfg.common.key_len = 0;
    c->cfg.crypt = NULL;
    kt_kcptun_settle(&c->cfg);
    divide(c);
    c->client = client;
    c->quiet_log = env->quiet_log;
    snprintf(c->crypt, sizeof c->crypt, "%s", cfg->crypt);
    c->features = kt_kcptun_features(cfg);
    kt_io_random(c->io, &c->hash_seed, sizeof c->hash_seed);
    if ((rc = set_up(c, cfg, err))) {
        kt_kcptun_context_unref(c);
        return rc;
    }
    const char *weakness = kt_seal_weakness(c->crypt);
    if (weakness)
        kt_log(c->log, KT_LOG_WARN, "crypt %s %s; use aes or aes-128-gcm on both ends", c->crypt, weakness);
    *out = c;
    return 0;
}

struct kt_kcptun_context *kt_kcptun_context_ref(struct kt_kcptun_context *c)
{
    c->refs++;
    return c;
}

void kt_kcptun_context_unref(void *context)
{
    struct kt_kcptun_context *c = context;
    if (--c->refs) return;
    kt_idle_memory_end(&c->idle_memory);
    kt_memory_user_end(&c->memory);
    kt_tap_unref(c->tap);
    kt_seal_free(c->seal);
    kt_qpp_free(c->qpp);
    free(c->scratch);
    kt_slab_free(c->segs);
    kt_slab_free(c->bufs);
    kt_locked_free(c->pass);
    free(c);
}

bool kt_kcptun_context_same_secret(const struct kt_kcptun_context *a, const struct kt_kcptun_context *b)
{
    return strcmp(a->crypt, b->crypt) == 0 && memcmp(a->pass, b->pass, KT_KCPTUN_PASS) == 0;
}

/* Compares the settings as bytes: a difference in padding only causes a needless change. */
bool kt_kcptun_context_same(const struct kt_kcptun_context *a, const struct kt_kcptun_context *b)
{
    struct kt_kcptun_config x = a->cfg, y = b->cfg;
    if (!kt_endpoint_equal(&x.common.at, &y.common.at)) return false;
    memset(&x.common, 0, sizeof x.common); /* a mode matters only through the values that it sets */
    memset(&y.common, 0, sizeof y.common);
    return kt_kcptun_context_same_secret(a, b) && memcmp(&x, &y, sizeof x) == 0;
}

static bool same_host(const struct kt_kcptun_small_path *path, const struct kt_addr *peer)
{
    struct kt_addr host = *peer;
    kt_addr_set_port(&host, 0);
    return kt_addr_equal(&path->peer, &host);
}

uint32_t kt_kcptun_context_mtu(const struct kt_kcptun_context *c, const struct kt_addr *peer)
{
    uint32_t mtu = c->cfg.mtu;
    for (size_t i = 0; i < c->small_count && i < KT_KCPTUN_SMALL_PATHS; i++) {
        const struct kt_kcptun_small_path *path = &c->small_paths[i];
        if (path->mtu < mtu && kt_io_now(c->io) < path->until && same_host(path, peer)) mtu = path->mtu;
    }
    return mtu;
}

void kt_kcptun_context_note_mtu(struct kt_kcptun_context *c, const struct kt_addr *peer, uint32_t mtu)
{
    size_t i = 0;
    while (i < c->small_count && i < KT_KCPTUN_SMALL_PATHS && !same_host(&c->small_paths[i], peer)) i++;
    if (i == c->small_count || i == KT_KCPTUN_SMALL_PATHS) i = c->small_count++ % KT_KCPTUN_SMALL_PATHS;
    struct kt_kcptun_small_path *path = &c->small_paths[i];
    *path =
        (struct kt_kcptun_small_path){.peer = *peer, .mtu = mtu, .until = kt_io_now(c->io) + SMALL_PATH_US};
    kt_addr_set_port(&path->peer, 0);
}
