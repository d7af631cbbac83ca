/* The context that associations share: reads the key, counts and logs dropped packets. */
#include "link/native/context.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "crypto/hash.h"
#include "crypto/locked.h"
#include "link/common/rare_log.h"
#include "link/native/blocks.h"
#include "link/native/parity_in.h"
#include "link/stream.h"

#define PARITY_SHARE 4u /* of max_buffered, for packets that are kept to rebuild others */
/* At first, of the streams that memory and descriptors allow in all; then more as they are used. */
#define STREAMS_SHARE 16u
/* Bytes of memory of an association without streams; and with its least first credit. */
#define LINK_STATE 16384u
#define LINK_COST (LINK_STATE + (FIRST_OF_MANY / KT_NATIVE_BLOCK) * sizeof(struct kt_native_block))

/* Streams that an association may have whatever the others hold: STREAMS_LEAST, or fewer if those of all would cost
 * more than this part of max_buffered, but at least STREAMS_FEW. */
#define STREAMS_LEAST 16u
#define STREAMS_LEASTS 2u
#define STREAMS_FEW 8u
#define KEPT 8u /* of max_buffered */

/* A peer's first credit, in bytes: a round trip of 100 ms at 80 Mbit/s, or less of a small max_buffered. Windows grow
 * as they are used. */
#define FIRST_DATA 1048576u
#define FIRST_DATA_LEAST 65536u
#define FIRST_SHARE 64u /* of max_buffered */
/* The first credit of all together also fits this part of max_buffered, which limits nothing while they are few. */
#define FIRST_OF_ALL 16u
#define FIRST_OF_MANY 16384u
#define PROMISES 2u /* of max_buffered: all credit beyond the first */
/* Bytes that each stream may hold whatever the others do. */
#define STREAM_DATA 16384u
#define STREAM_DATA_LEAST 4096u
#define STREAM_SHARE 4096u /* of max_buffered */
/* A stream is let in if there is memory for it and for a block. */
#define STREAM_COST (KT_STREAM_COST + sizeof(struct kt_native_block))

static uint64_t between(uint64_t least, uint64_t n, uint64_t most)
{
    return n < least ? least : kt_min64(n, most);
}

/* Memory for bytes of streams, and bytes of streams that fit memory. */
static uint64_t in_memory(uint64_t bytes)
{
    return bytes / KT_NATIVE_BLOCK * sizeof(struct kt_native_block);
}

static uint64_t in_streams(uint64_t memory)
{
    return memory / sizeof(struct kt_native_block) * KT_NATIVE_BLOCK;
}

/* Bytes outside the blocks for `streams` streams. */
static size_t state(const struct kt_native_context *c, size_t streams)
{
    return streams * KT_STREAM_COST + c->parities * KT_NATIVE_PARITY_IN_BYTES;
}

static size_t used(const struct kt_native_context *c)
{
    return kt_slab_bytes_in_use(c->slabs.in) + kt_slab_bytes_in_use(c->slabs.out) + state(c, c->streams);
}

/* Bytes in use or promised with `streams` streams open: each has a block, for data in either direction, and all
 * credit beyond the first may be used. */
static uint64_t claims(const struct kt_native_context *c, size_t streams)
{
    const uint64_t in = kt_slab_bytes_in_use(c->slabs.in), out = kt_slab_bytes_in_use(c->slabs.out);
    const uint64_t blocks = streams * sizeof(struct kt_native_block), promised = in_memory(c->promised);
    const uint64_t later = promised + (out > blocks ? out : blocks);
    return state(c, streams) + (in + out > later ? in + out : later);
}

static void count(void *ctx)
{
    struct kt_native_context *c = ctx;
    kt_memory_user_count(&c->memory, used(c), c->links * LINK_COST + claims(c, c->streams));
}

void kt_native_context_link(struct kt_native_context *c, bool begins)
{
    c->links += begins ? 1 : -(size_t)1;
    count(c);
}

void kt_native_context_streams(struct kt_native_context *c, size_t before, size_t now)
{
    c->counters->StreamsNow += now - before;
    c->streams += now - before;
    count(c);
}

void kt_native_context_allowed(struct kt_native_context *c, size_t before, size_t now)
{
    c->allowed += now - before;
}

bool kt_native_context_parity(struct kt_native_context *c, bool begins)
{
    const uint64_t fit = c->cfg.max_buffered / PARITY_SHARE / KT_NATIVE_PARITY_IN_BYTES;
    if (begins && c->parities >= fit) return false;
    c->parities += begins ? 1 : -(size_t)1;
    count(c);
    return true;
}

/* Bytes left with `streams` streams open; an eighth is kept for associations to come. */
static uint64_t left(const struct kt_native_context *c, size_t streams)
{
    const uint64_t links = c->links * LINK_COST, kept = c->cfg.max_buffered / KEPT;
    const uint64_t all = kt_memory_user_left(&c->memory, c->cfg.max_buffered);
    return kt_sub64(all, (links > kept ? links : kept) + claims(c, streams));
}

bool kt_native_context_admits_links(const struct kt_native_context *c, size_t more)
{
    const uint64_t kept = c->cfg.max_buffered / KEPT, rest = left(c, c->streams);
    return (c->links + more) * LINK_COST <= kept || more * LINK_COST <= rest;
}

size_t kt_native_context_spare(const struct kt_native_context *c, uint64_t queued)
{
    const uint64_t rest = left(c, c->streams),
                   kept = kt_min64(rest - left(c, c->streams + c->allowed), rest / 2);
    return (size_t)kt_sub64(rest - kept, c->client ? 0 : in_memory(queued));
}

uint64_t kt_native_context_promise(struct kt_native_context *c, uint64_t before, uint64_t want)
{
    const uint64_t rest = kt_sub64(in_streams(c->cfg.max_buffered / PROMISES), c->promised - before);
    const uint64_t share = c->client ? rest : rest / 2;
    const uint64_t granted =
        kt_min64(want, kt_min64(share, before + in_streams(left(c, c->streams + c->allowed))));
    if (granted < before + (want - before) / 2) return before; /* too little for a frame */
    c->promised += granted - before;
    return granted;
}

void kt_native_context_promise_end(struct kt_native_context *c, uint64_t bytes)
{
    c->promised -= bytes;
}

size_t kt_native_context_share(const struct kt_native_context *c, size_t counted)
{
    const uint64_t least = c->cfg.max_buffered / STREAMS_LEASTS / (c->links ? c->links : 1) / STREAM_COST;
    const uint64_t fit = left(c, c->streams + c->allowed - counted) / 2 / STREAM_COST,
                   few = between(STREAMS_FEW, least, STREAMS_LEAST);
    return (size_t)(fit > few ? fit : few);
}

bool kt_native_context_fits(const struct kt_native_context *c, size_t uncounted)
{
    return left(c, c->streams + uncounted) > 0;
}

/* An acceptor leaves KEPT to other links, and its first link leaves half of the rest to them. */
uint64_t kt_native_context_needs(uint64_t streams, bool client)
{
    const uint64_t cost = streams * STREAM_COST;
    return client ? cost : (2 * cost * KEPT + KEPT - 2) / (KEPT - 1);
}

uint64_t kt_native_context_own_streams(const struct kt_native_context *c)
{
    const uint64_t fit = c->cfg.max_buffered / STREAM_COST;
    return kt_min64(fit > STREAMS_LEAST ? fit : STREAMS_LEAST, c->cfg.max_streams);
}

void kt_native_context_busy(struct kt_native_context *c)
{
    count(c);
    kt_idle_memory_busy(&c->idle_memory);
}

uint64_t kt_native_context_first(const struct kt_native_context *c)
{
    const uint64_t most = between(FIRST_DATA_LEAST, c->cfg.max_buffered / FIRST_SHARE, FIRST_DATA);
    return between(FIRST_OF_MANY, c->cfg.max_buffered / FIRST_OF_ALL / (c->links + 1), most);
}

struct kt_native_credit kt_native_context_credit(const struct kt_native_context *c, uint64_t first)
{
    const uint64_t fit = kt_min64(c->cfg.max_buffered / STREAM_COST, kt_io_descriptors(c->io));
    return (struct kt_native_credit){.max_data = first,
        .max_stream_data = first,
        .min_stream_data = between(STREAM_DATA_LEAST, c->cfg.max_buffered / STREAM_SHARE, STREAM_DATA),
        .max_streams = kt_min64(between(STREAMS_LEAST, fit / STREAMS_SHARE, fit), c->cfg.max_streams)};
}

/* Identifies this machine to the servers with this key: a hash, since others must not learn its own name. */
static void set_device(struct kt_native_context *c)
{
    static const char use[] = "kt wire 1 device";
    char machine[KT_IO_MACHINE];
    uint8_t hash[KT_HASH];
    kt_io_machine(c->io, machine, sizeof machine);
    if (!machine[0]) return;
    kt_hash(hash, c->secrets->header_keys.header_key, use, sizeof use - 1, machine, strlen(machine));
    memcpy(c->params.device, hash, sizeof c->params.device);
    c->params.present |= 1u << KT_NATIVE_PARAM_DEVICE;
}

static void set_params(struct kt_native_context *c)
{
    const struct kt_native_credit credit = kt_native_context_credit(c, kt_native_context_first(c));
    c->params = (struct kt_native_params){.present = KT_NATIVE_PARAMS_NEEDED | 1u << KT_NATIVE_PARAM_AGENT |
                                                     1u << KT_NATIVE_PARAM_PARITY |
                                                     (uint32_t)c->client << KT_NATIVE_PARAM_KEEPALIVE,
        .aead = c->io->portable ? KT_AEAD_CHACHA20_POLY1305 : (uint8_t)kt_aead_methods(),
        .max_data = credit.max_data,
        .max_stream_data = credit.max_stream_data,
        .min_stream_data = credit.min_stream_data,
        .max_streams = credit.max_streams,
        .max_flows = c->cfg.max_flows,
        .ack_delay_ms = KT_NATIVE_ACK_DELAY_US / 1000,
        .survive_s = c->cfg.survive_us / 1000000,
        .parity = c->cfg.parity,
        .keepalive_s = (c->cfg.keepalive_us + 999999) / 1000000};
    kt_io_random(c->io, c->params.instance, sizeof c->params.instance);
    snprintf(c->params.agent, sizeof c->params.agent, "kt");
    if (c->client) set_device(c);
}

int kt_native_context_new(struct kt_native_context **out, const struct kt_wire *wire,
    const struct kt_wire_env *env, const struct kt_native_config *cfg, bool client, struct kt_err *err)
{
    int rc = wire->check(&cfg->common, err);
    if (rc) return rc;
    struct kt_native_context *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "out of memory");
    *c = (struct kt_native_context){.refs = 1,
        .wire = wire,
        .io = env->io,
        .counters = env->counters,
        .phrases = env->phrases,
        .tap = kt_tap_ref(env->tap),
        .cfg = *cfg,
        .client = client};
    c->log = kt_log_of_link(&c->log_of_link, env->log, env->name);
    struct kt_settings *common = &c->cfg.common;
    common->key = common->private_key = common->server_key = NULL;
    common->authorized = NULL;
    common->others = NULL;
    common->others_count = 0;
    common->locals = NULL;
    common->locals_count = 0;
    common->key_len = common->private_key_len = common->authorized_count = 0;
    kt_io_random(c->io, &c->hash_seed, sizeof c->hash_seed);
    c->secrets = kt_locked_alloc(sizeof *c->secrets);
    if (!kt_memory_user_init(&c->memory, env->budget, env->counters) || !c->secrets ||
        kt_slab_new(&c->slabs.in, sizeof(struct kt_native_block), 0) ||
        kt_slab_new(&c->slabs.out, sizeof(struct kt_native_block), 0))
        rc = kt_err_set(err, KT_ENOMEM, "out of memory");
    else
        kt_idle_memory_init(&c->idle_memory, c->io, c->slabs.in, c->slabs.out, count, c);
    if (!rc) rc = kt_native_credentials_read(c->secrets, &cfg->common, client, env->phrases, err);
    if (!rc) rc = kt_native_names_read(&c->names, &cfg->common, err);
    if (rc) {
        kt_native_context_unref(c);
        return rc;
    }
    set_params(c);
    *out = c;
    return 0;
}

struct kt_native_context *kt_native_context_ref(struct kt_native_context *c)
{
    c->refs++;
    return c;
}

void kt_native_context_unref(void *context)
{
    struct kt_native_context *c = context;
    if (--c->refs > 0) return;
    kt_idle_memory_end(&c->idle_memory);
    kt_memory_user_end(&c->memory);
    kt_tap_unref(c->tap);
    kt_slab_free(c->slabs.in);
    kt_slab_free(c->slabs.out);
    kt_locked_free(c->secrets);
    kt_native_names_free(c->names);
    free(c);
}

void kt_native_context_set(struct kt_native_context *c, const struct kt_native_config *cfg)
{
    c->cfg = *cfg;
}

void kt_native_context_retire(struct kt_native_context *c)
{
    c->retired = true;
}

void kt_native_context_succeed(struct kt_native_context *c, const struct kt_native_context *old)
{
    memcpy(c->params.instance, old->params.instance, sizeof c->params.instance);
}

bool kt_native_context_same_key(const struct kt_native_context *a, const struct kt_native_context *b)
{
    return memcmp(a->secrets, b->secrets, sizeof *a->secrets) == 0;
}

/* The settings as bytes, padding included: kt_settings_init zeroes it. */
bool kt_native_context_same(const struct kt_native_context *a, const struct kt_native_context *b)
{
    struct kt_native_config x = a->cfg, y = b->cfg;
    if (x.common.asks || y.common.asks) return false; /* the answer may be another by now */
    if (!kt_endpoint_equal(&x.common.at, &y.common.at)) return false;
    memset(&x.common, 0, sizeof x.common);
    memset(&y.common, 0, sizeof y.common);
    return kt_native_context_same_key(a, b) && kt_native_names_equal(a->names, b->names) &&
           memcmp(&x, &y, sizeof x) == 0;
}

void kt_native_context_dropped(struct kt_native_context *c, const struct kt_addr *from, bool forged)
{
    if (!forged) {
        c->counters->InErrs++;
        return;
    }
    c->counters->InCsumErrors++;
    const char *ask = !c->secrets->pairs ? "is the key the same on both ends?"
                      : c->client        ? "is server_key (--serverkey) that server's public key?"
                                         : "does that client use a key pair, and this server's public key?";
    kt_rare_log_forged(c->io, c->log, &c->forged_logged_us, from, ask);
}
