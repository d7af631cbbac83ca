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
#include "link/kcptun/features.h"
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
#define TRIM_EVERY_US 1000000u
#define GIVE_BACK 1048576u /* bytes of free blocks that are worth returning to the system */
#define SMALL_PATH_US 600000000u
#define TELL_EVERY_US 60000000u

static size_t used(const struct kt_kcptun_context *sh)
{
    return kt_slab_bytes_in_use(sh->segs) + kt_slab_bytes_in_use(sh->bufs) + sh->state +
           kt_kcptun_context_cost(sh, sh->streams);
}

size_t kt_kcptun_context_cost(const struct kt_kcptun_context *sh, size_t streams)
{
    return streams * (KT_STREAM_COST + (sh->cfg.tuncrypt ? TUNCRYPT_COST : 0));
}

static void count(struct kt_kcptun_context *sh)
{
    const size_t now = used(sh);
    sh->counters->BytesHeld += now - sh->held;
    sh->held = now;
    kt_memory_budget_take(sh->budget, &sh->taken, sh->basic + sh->sessions * SESSION_COST + now);
}

/* Runs once a second while blocks are in use; an idle link has none, and no timer. */
static void on_trim(void *ctx)
{
    struct kt_kcptun_context *sh = ctx;
    const size_t before = kt_slab_bytes(sh->segs) + kt_slab_bytes(sh->bufs);
    kt_slab_trim(sh->segs);
    kt_slab_trim(sh->bufs);
    sh->trimmed += before - kt_slab_bytes(sh->segs) - kt_slab_bytes(sh->bufs);
    count(sh);
    if (kt_slab_in_use(sh->segs) || kt_slab_in_use(sh->bufs)) {
        kt_kcptun_context_busy(sh);
    } else if (sh->trimmed >= GIVE_BACK) {
        sh->trimmed = 0;
        kt_io_freed(sh->io);
    }
}

void kt_kcptun_context_busy(struct kt_kcptun_context *sh)
{
    count(sh);
    if (!sh->trim.armed) kt_io_timer_set(sh->io, &sh->trim, kt_io_now(sh->io) + TRIM_EVERY_US);
}

void kt_kcptun_context_streams(struct kt_kcptun_context *sh, size_t before, size_t now)
{
    sh->counters->StreamsNow += now - before;
    sh->streams += now - before;
    count(sh);
}

void kt_kcptun_context_count_state(struct kt_kcptun_context *sh, size_t before, size_t now)
{
    sh->state += now - before;
    count(sh);
}

/* ---- shares ---- */

/* Of max_buffered, what other contexts leave. */
static uint64_t ours(const struct kt_kcptun_context *sh)
{
    return kt_memory_budget_left(sh->budget, sh->taken, sh->cfg.max_buffered);
}

/* Of each session, if there are that many. */
static uint64_t share_of(const struct kt_kcptun_context *sh, size_t sessions)
{
    const uint64_t most = 2 * LEAST + RECV_LEAST + kt_kcptun_context_cost(sh, LEAST_STREAMS);
    const uint64_t fair = sh->cfg.max_buffered / SHARES / (sessions ? sessions : 1);
    return kt_min64(most, fair > SHARE_LEAST ? fair : SHARE_LEAST);
}

void kt_kcptun_context_divide(struct kt_kcptun_context *sh)
{
    sh->share = (size_t)share_of(sh, sh->sessions);
}

/* Bytes kept for the sessions that there are: their costs and shares. */
static uint64_t reserved(const struct kt_kcptun_context *sh)
{
    return sh->basic + sh->sessions * (SESSION_COST + (uint64_t)sh->share);
}

bool kt_kcptun_context_admits(const struct kt_kcptun_context *sh, size_t more)
{
    const size_t sessions = sh->sessions + more;
    const uint64_t needed = sh->basic + sessions * (SESSION_COST + share_of(sh, sessions));
    return needed + used(sh) <= ours(sh);
}

size_t kt_kcptun_context_least(const struct kt_kcptun_context *sh)
{
    return kt_min_size(LEAST, sh->share / 4);
}

size_t kt_kcptun_context_recv_least(const struct kt_kcptun_context *sh)
{
    return kt_min_size(RECV_LEAST, sh->share / 8);
}

size_t kt_kcptun_context_least_streams(const struct kt_kcptun_context *sh)
{
    const size_t rest = sh->share - 2 * kt_kcptun_context_least(sh) - kt_kcptun_context_recv_least(sh);
    const size_t streams = rest / kt_kcptun_context_cost(sh, 1);
    return streams < FEW_STREAMS ? FEW_STREAMS : kt_min_size(streams, LEAST_STREAMS);
}

size_t kt_kcptun_context_most(const struct kt_kcptun_context *sh)
{
    const uint64_t kept = sh->cfg.max_buffered / KEPT, now = reserved(sh);
    return (size_t)kt_sub64(ours(sh), (now > kept ? now : kept) + used(sh));
}

size_t kt_kcptun_context_free(const struct kt_kcptun_context *sh)
{
    return (size_t)kt_sub64(ours(sh), reserved(sh) + used(sh));
}

size_t kt_kcptun_context_spare(
    const struct kt_kcptun_context *sh, size_t held, size_t state, size_t streams, bool first)
{
    const size_t others = kt_kcptun_context_most(sh), least = kt_kcptun_context_least(sh);
    const size_t most = first ? others + others / 4 : others;
    /* The least is for bytes: whatever its streams and state cost, a session must be able to move data. */
    const size_t bytes = kt_sub_size(most, kt_kcptun_context_cost(sh, streams) + state);
    return kt_sub_size(bytes > least ? bytes : least, held);
}

static void forged(struct kt_kcptun_context *sh, const struct kt_addr *from)
{
    char text[KT_ADDR_TEXT];
    const uint64_t now = kt_io_now(sh->io);
    sh->counters->InCsumErrors++;
    if (sh->forged_logged_us && now - sh->forged_logged_us < TELL_EVERY_US) return;
    sh->forged_logged_us = now;
    kt_log_with(sh->log, KT_LOG_WARN, kt_log_peer(kt_addr_text(from, text)),
        "%s: a datagram does not authenticate (dropped; logged at most once a minute): are key and crypt the "
        "same on both ends?",
        text);
}

static void show(const struct kt_kcptun_context *sh, bool out, const struct kt_udp *udp,
    const struct kt_addr *peer, const struct kt_addr *here, const uint8_t *data, size_t len)
{
    const struct kt_tapped packet = {
        .wire = "kcptun", .out = out, .peer = peer, .here = here, .data = data, .len = len};
    kt_tap_show(sh->tap, packet, udp);
}

void kt_kcptun_context_show(const struct kt_kcptun_context *sh, const struct kt_udp *udp,
    const struct kt_addr *peer, const struct kt_addr *here, const uint8_t *buf, size_t len)
{
    if (kt_tap_on(sh->tap)) show(sh, true, udp, peer, here, buf + kt_seal_header(sh->seal), len);
}

bool kt_kcptun_context_open(struct kt_kcptun_context *sh, const struct kt_udp *udp, struct kt_dgram *dgram,
    uint8_t **body, size_t *len)
{
    sh->counters->InBytes += dgram->len;
    if (kt_open_packet(sh->seal, dgram->data, dgram->len, body, len) == 0) {
        if (kt_tap_on(sh->tap)) show(sh, false, udp, dgram->from, dgram->to, *body, *len);
        return true;
    }
    forged(sh, dgram->from);
    return false;
}

void kt_kcptun_context_send(struct kt_kcptun_context *sh, struct kt_udp *udp, uint8_t *buf, size_t len,
    const struct kt_addr *to, const struct kt_addr *from)
{
    uint8_t nonce[KT_SEAL_MAX_NONCE];
    kt_kcptun_context_show(sh, udp, to, from, buf, len);
    kt_io_random(sh->io, nonce, kt_seal_nonce(sh->seal));
    len = kt_seal_packet(sh->seal, buf, len, nonce);
    kt_udp_commit(udp, buf, buf, len, to, from);
    sh->counters->OutPkts++;
    sh->counters->OutBytes += len;
}

static int set_up(struct kt_kcptun_context *sh, const struct kt_kcptun_config *cfg, struct kt_err *err)
{
    if (!sh->budget) return kt_err_set(err, KT_ENOMEM, "out of memory");
    sh->pass = kt_locked_alloc(KT_PASS);
    int rc = sh->pass ? kt_kdf_pass(cfg->common.key, cfg->common.key_len, sh->pass) : KT_ENOMEM;
    if (rc) return kt_err_set(err, rc, "cannot derive the key: %s", kt_strerror(rc));
    rc = kt_seal_new(&sh->seal, cfg->crypt, sh->pass, err);
    if (rc) return rc;
    if (cfg->qpp && (rc = kt_qpp_new(&sh->qpp, cfg->common.key, cfg->common.key_len, cfg->qpp_count)))
        return kt_err_set(err, rc, "cannot make the QPP pads");
    if (cfg->compress && !(sh->scratch = malloc(KT_SNAPPY_MOST)))
        return kt_err_set(err, KT_ENOMEM, "out of memory");
    if ((rc = kt_slab_new(&sh->segs, kt_kcp_block_size(cfg->mtu), 0)) ||
        (rc = kt_slab_new(&sh->bufs, sh->cfg.max_buffered > SHORT_MEMORY ? STREAM_BLOCK : SMALL_BLOCK, 0)))
        return kt_err_set(err, rc, "out of memory");
    return 0;
}

int kt_kcptun_context_new(struct kt_kcptun_context **out, const struct kt_wire *wire,
    const struct kt_wire_env *env, const struct kt_kcptun_config *cfg, bool client, struct kt_err *err)
{
    int rc = wire->check(&cfg->common, err);
    if (rc) return rc;
    struct kt_kcptun_context *sh = calloc(1, sizeof *sh);
    if (!sh) return kt_err_set(err, KT_ENOMEM, "out of memory");
    sh->refs = 1;
    sh->wire = wire;
    sh->io = env->io;
    sh->log = kt_log_of_link(&sh->log_of_link, env->log, env->name);
    sh->counters = env->counters;
    sh->tap = kt_tap_ref(env->tap);
    sh->budget = kt_memory_budget_ref(env->budget);
    sh->cfg = *cfg;
    sh->cfg.common.key = NULL;
    sh->cfg.common.key_len = 0;
    sh->cfg.crypt = NULL;
    kt_kcptun_settle(&sh->cfg);
    kt_kcptun_context_divide(sh);
    sh->client = client;
    sh->quiet_log = env->quiet_log;
    snprintf(sh->crypt, sizeof sh->crypt, "%s", cfg->crypt);
    sh->features = kt_kcptun_features(cfg);
    kt_io_random(sh->io, &sh->hash_seed, sizeof sh->hash_seed);
    kt_timer_init(&sh->trim, on_trim, sh);
    if ((rc = set_up(sh, cfg, err))) {
        kt_kcptun_context_unref(sh);
        return rc;
    }
    const char *weakness = kt_seal_weakness(sh->crypt);
    if (weakness)
        kt_log(sh->log, KT_LOG_WARN, "crypt %s %s; use aes or aes-128-gcm on both ends", sh->crypt, weakness);
    *out = sh;
    return 0;
}

struct kt_kcptun_context *kt_kcptun_context_ref(struct kt_kcptun_context *sh)
{
    sh->refs++;
    return sh;
}

void kt_kcptun_context_unref(void *shared)
{
    struct kt_kcptun_context *sh = shared;
    if (--sh->refs) return;
    kt_io_timer_cancel(sh->io, &sh->trim);
    if (sh->counters) sh->counters->BytesHeld -= sh->held;
    if (sh->budget) kt_memory_budget_take(sh->budget, &sh->taken, 0);
    kt_memory_budget_unref(sh->budget);
    kt_tap_unref(sh->tap);
    kt_seal_free(sh->seal);
    kt_qpp_free(sh->qpp);
    free(sh->scratch);
    kt_slab_free(sh->segs);
    kt_slab_free(sh->bufs);
    kt_locked_free(sh->pass);
    free(sh);
}

bool kt_kcptun_context_same_secret(const struct kt_kcptun_context *a, const struct kt_kcptun_context *b)
{
    return strcmp(a->crypt, b->crypt) == 0 && memcmp(a->pass, b->pass, KT_PASS) == 0;
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

uint32_t kt_kcptun_context_mtu(const struct kt_kcptun_context *sh, const struct kt_addr *peer)
{
    uint32_t mtu = sh->cfg.mtu;
    for (size_t i = 0; i < sh->small_count && i < KT_SMALL_PATHS; i++) {
        const struct kt_kcptun_small_path *path = &sh->small_paths[i];
        if (path->mtu < mtu && kt_io_now(sh->io) < path->until && same_host(path, peer)) mtu = path->mtu;
    }
    return mtu;
}

void kt_kcptun_context_note_mtu(struct kt_kcptun_context *sh, const struct kt_addr *peer, uint32_t mtu)
{
    size_t i = 0;
    while (i < sh->small_count && i < KT_SMALL_PATHS && !same_host(&sh->small_paths[i], peer)) i++;
    if (i == sh->small_count || i == KT_SMALL_PATHS) i = sh->small_count++ % KT_SMALL_PATHS;
    struct kt_kcptun_small_path *path = &sh->small_paths[i];
    *path =
        (struct kt_kcptun_small_path){.peer = *peer, .mtu = mtu, .until = kt_io_now(sh->io) + SMALL_PATH_US};
    kt_addr_set_port(&path->peer, 0);
}
