/* The server's handshake: a sequence of checks, the cheap ones first. The first that fails ends it. Only
 * what has authenticated is answered, or leaves anything behind. */
#include "link/native/handshake_server.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "crypto/hash.h"
#include "base/bytes.h"
#include "base/hmap.h"
#include "link/common/session_starts.h"
#include "link/native/code.h"

#define SECOND_US 1000000u
#define PAYLOAD_MAX (KT_NATIVE_RESPONSE_MAX - KT_NATIVE_OVERHEAD - KT_NOISE_OVERHEAD_MAX)

#define BIT(param) (1u << KT_NATIVE_PARAM_##param)

void kt_native_server_init(struct kt_native_server *s, const struct kt_native_server_opts *opts)
{
    memset(s, 0, sizeof *s);
    s->opts = *opts;
    s->params = *opts->params;
    s->opts.params = NULL; /* copied */
    s->params.present &= ~BIT(ERROR);
    s->params.present |= BIT(VERSIONS) | BIT(TIME);
    assert((s->params.present & KT_NATIVE_PARAMS_NEEDED) == KT_NATIVE_PARAMS_NEEDED);
}

void kt_native_server_end(struct kt_native_server *s)
{
    kt_wipe(s, sizeof *s);
}

/* ---- load and cookies ---- */

static void count_second(struct kt_native_server *s, uint64_t now)
{
    if (now - s->second < SECOND_US) return;
    s->load[1] = now - s->second < 2 * SECOND_US ? s->load[0] : 0;
    s->load[0] = 0;
    s->second = now;
}

static bool under_load(struct kt_native_server *s)
{
    count_second(s, kt_io_now(s->opts.io));
    return s->load[0] > KT_NATIVE_LOAD || s->load[1] > KT_NATIVE_LOAD;
}

void kt_native_server_proven(struct kt_native_server *s)
{
    count_second(s, kt_io_now(s->opts.io));
    if (s->load[0]) s->load[0]--;
}

/* Replaces the secrets, as if that had been done every KT_NATIVE_COOKIE_US. */
static void turn_secrets(struct kt_native_server *s)
{
    const uint64_t now = kt_io_now(s->opts.io), age = now - s->cookie_us;
    if (s->has_cookies && age < KT_NATIVE_COOKIE_US) return;
    const bool next = s->has_cookies && age < 2 * (uint64_t)KT_NATIVE_COOKIE_US;
    if (next)
        memcpy(s->cookie_secrets[1], s->cookie_secrets[0], KT_NATIVE_KEY);
    else
        kt_io_random(s->opts.io, s->cookie_secrets[1], KT_NATIVE_KEY);
    kt_io_random(s->opts.io, s->cookie_secrets[0], KT_NATIVE_KEY);
    s->cookie_us = next ? s->cookie_us + KT_NATIVE_COOKIE_US : now;
    s->has_cookies = true;
}

static void cookie_of(const uint8_t secret[KT_NATIVE_KEY], const struct kt_addr *from, uint8_t out[KT_HASH])
{
    uint8_t port[2];
    kt_put16(port, kt_addr_port(from));
    if (from->sa.sa_family == AF_INET)
        kt_hash(out, secret, &from->in4.sin_addr, sizeof from->in4.sin_addr, port, sizeof port);
    else
        kt_hash(out, secret, &from->in6.sin6_addr, sizeof from->in6.sin6_addr, port, sizeof port);
}

static bool cookie_good(
    struct kt_native_server *s, const uint8_t cookie[KT_NATIVE_COOKIE], const struct kt_addr *from)
{
    uint8_t want[KT_HASH];
    turn_secrets(s);
    for (unsigned i = 0; i < 2; i++) {
        cookie_of(s->cookie_secrets[i], from, want);
        if (kt_same_secret(want, cookie, KT_NATIVE_COOKIE)) return true;
    }
    return false;
}

static size_t cookie_answer(struct kt_native_server *s, const struct kt_native_header *header,
    const struct kt_addr *from, uint8_t *out)
{
    uint8_t cookie[KT_HASH], *body = out + KT_NATIVE_HEADER;
    turn_secrets(s);
    cookie_of(s->cookie_secrets[0], from, cookie);
    body[0] = KT_NATIVE_CONTROL_COOKIE;
    memcpy(body + 1, cookie, KT_NATIVE_COOKIE);
    return kt_native_wrap(
        &s->opts.secrets->header_keys, KT_NATIVE_CONTROL, header->id, out, KT_NATIVE_COOKIE_BODY);
}

/* ---- replays ---- */

/* An ephemeral key as the replay memory knows it, with the memory's seed, so that no client can choose it. */
static uint64_t key_hash(const struct kt_native_server *s, const uint8_t key[KT_NATIVE_KEY])
{
    uint64_t h = s->opts.starts->seed, word;
    for (size_t i = 0; i < KT_NATIVE_KEY; i += sizeof word) {
        memcpy(&word, key + i, sizeof word);
        h = kt_hash_u64(word, h);
    }
    return h;
}

static bool replayed(const struct kt_native_server *s, const uint8_t key[KT_NATIVE_KEY])
{
    const uint64_t h = key_hash(s, key);
    return kt_session_starts_seen(s->opts.starts, (uint32_t)(h >> 32), (uint32_t)h);
}

static void remember(struct kt_native_server *s, const uint8_t key[KT_NATIVE_KEY])
{
    const uint64_t h = key_hash(s, key);
    kt_session_starts_add(s->opts.starts, (uint32_t)(h >> 32), (uint32_t)h);
}

/* ---- the response ---- */

/* Writes the second message with these parameters, and up to 127 bytes of padding. Returns the datagram's length,
 * or 0 if the client's key is of low order. */
static size_t respond(struct kt_native_server *s, struct kt_noise *noise, const uint8_t id[KT_NATIVE_CID],
    struct kt_native_params *p, uint8_t *out)
{
    uint8_t payload[PAYLOAD_MAX], ephemeral[KT_NATIVE_KEY], random;
    p->time_ms = kt_io_wall(s->opts.io) / 1000;
    kt_io_random(s->opts.io, &random, 1);
    size_t size = kt_native_params_write(p, 0, payload);
    size = kt_native_params_write(p, size + random % 128, payload);
    kt_io_random(s->opts.io, ephemeral, sizeof ephemeral);
    const int n = kt_noise_write(noise, ephemeral, payload, size, out + KT_NATIVE_HEADER);
    kt_wipe(ephemeral, sizeof ephemeral);
    if (n < 0) return 0;
    return kt_native_wrap(&s->opts.secrets->header_keys, KT_NATIVE_RESPONSE, id, out, (size_t)n);
}

/* Checks the client's parameters. Returns an error code with text, or 0 and the *aead to use. */
static uint64_t judge(struct kt_native_server *s, const struct kt_native_params *p, const uint8_t *public_key,
    const struct kt_addr *from, enum kt_aead_method *aead, char text[KT_NATIVE_ERROR_TEXT + 1])
{
    const uint64_t here = kt_io_wall(s->opts.io) / 1000;
    if (!(p->present & BIT(VERSIONS)) || p->lowest > p->highest) return KT_NATIVE_CODE_PROTOCOL;
    if (p->lowest > KT_NATIVE_VERSION || p->highest < KT_NATIVE_VERSION) return KT_NATIVE_CODE_VERSION;
    if ((p->present & KT_NATIVE_PARAMS_NEEDED) != KT_NATIVE_PARAMS_NEEDED || p->present & BIT(ERROR))
        return KT_NATIVE_CODE_PROTOCOL;
    if (p->time_ms > here + KT_NATIVE_CLOCK_MS || here > p->time_ms + KT_NATIVE_CLOCK_MS)
        return KT_NATIVE_CODE_CLOCK;
    const unsigned both = p->aead & s->params.aead;
    *aead = both & KT_AEAD_AES_256_GCM ? KT_AEAD_AES_256_GCM : KT_AEAD_CHACHA20_POLY1305;
    if (!(both & (KT_AEAD_AES_256_GCM | KT_AEAD_CHACHA20_POLY1305))) {
        snprintf(text, KT_NATIVE_ERROR_TEXT + 1, "no AEAD in common");
        return KT_NATIVE_CODE_MISMATCH;
    }
    const struct kt_native_hello hello = {.params = p, .public_key = public_key, .from = from};
    return s->opts.ask(s->opts.ctx, &hello, text);
}

/* The first message has authenticated. */
static enum kt_native_server_result answer(struct kt_native_server *s, struct kt_noise *noise,
    const struct kt_native_header *header, const uint8_t *payload, size_t size, const struct kt_addr *from,
    struct kt_native_reply *reply)
{
    struct kt_native_params p = s->params;
    struct kt_native_agreed *agreed = &reply->agreed;
    p.error_text[0] = '\0';
    memset(agreed, 0, sizeof *agreed);
    if (kt_native_params_read(&agreed->peer, payload, size)) {
        s->opts.drops->parameters++;
        p.error = KT_NATIVE_CODE_PROTOCOL;
    } else {
        p.error = judge(
            s, &agreed->peer, s->opts.secrets->pairs ? noise->rs : NULL, from, &agreed->aead, p.error_text);
    }
    if (p.error) { /* the response then has the range of versions, and nothing of this end's limits */
        s->opts.drops->refused++;
        p.present = BIT(VERSIONS) | BIT(TIME) | BIT(ERROR);
    }
    if (s->opts.credit) p.max_data = p.max_stream_data = s->opts.credit(s->opts.ctx);
    agreed->max_data = p.max_data;
    p.lowest = p.highest = KT_NATIVE_VERSION;
    p.aead = (uint8_t)agreed->aead;
    reply->len = respond(s, noise, header->id, &p, reply->data);
    if (reply->len == 0) {
        s->opts.drops->forged++;
        return KT_NATIVE_SERVER_DROPPED;
    }
    if (p.error) return KT_NATIVE_SERVER_ANSWERED;
    agreed->version = KT_NATIVE_VERSION;
    kt_native_agree(agreed, noise, false);
    return KT_NATIVE_SERVER_AGREED;
}

enum kt_native_server_result kt_native_server_input(struct kt_native_server *s,
    const struct kt_native_header *header, const struct kt_dgram *dgram, struct kt_native_reply *reply)
{
    struct kt_native_drops *drops = s->opts.drops;
    reply->len = 0;
    if (header->kind != KT_NATIVE_INITIATION || dgram->len < KT_NATIVE_INITIATION_MIN) {
        drops->malformed++;
        return KT_NATIVE_SERVER_DROPPED;
    }
    const int n = kt_native_unwrap(&s->opts.secrets->header_keys, header, dgram->data, dgram->len, drops);
    if (n < 0) return KT_NATIVE_SERVER_DROPPED;
    uint8_t *cookie = dgram->data + KT_NATIVE_HEADER, *message = cookie + KT_NATIVE_COOKIE,
            key[KT_NATIVE_KEY];
    memcpy(key, message, sizeof key); /* every first message begins with its ephemeral key */
    if (replayed(s, key)) {
        drops->replayed++;
        return KT_NATIVE_SERVER_DROPPED;
    }
    if (under_load(s) && !cookie_good(s, cookie, dgram->from)) {
        drops->cookie++;
        reply->len = cookie_answer(s, header, dgram->from, reply->data);
        return KT_NATIVE_SERVER_ANSWERED;
    }

    struct kt_noise noise;
    uint8_t payload[KT_NATIVE_DATAGRAM_MAX];
    s->load[0]++;
    kt_native_noise_init(&noise, s->opts.secrets, false);
    const int size = kt_noise_read(&noise, message, (size_t)n - KT_NATIVE_COOKIE, payload);
    enum kt_native_server_result result = KT_NATIVE_SERVER_DROPPED;
    if (size < 0) {
        drops->forged++;
    } else {
        remember(s, key);
        result = answer(s, &noise, header, payload, (size_t)size, dgram->from, reply);
    }
    kt_noise_wipe(&noise);
    if (result != KT_NATIVE_SERVER_AGREED) kt_wipe(&reply->agreed, sizeof reply->agreed);
    return result;
}

size_t kt_native_server_unknown(
    struct kt_native_server *s, const struct kt_native_header *header, size_t len, uint8_t *out)
{
    const uint64_t now = kt_io_now(s->opts.io);
    const struct kt_native_header_keys *keys = &s->opts.secrets->header_keys;
    if (header->kind != KT_NATIVE_DATA || len < KT_NATIVE_OVERHEAD + KT_NATIVE_UNKNOWN_BODY) return 0;
    if (now - s->opts.started_us >= KT_NATIVE_UNKNOWN_US) return 0;
    if (now < s->unknown_us) return 0;
    if (!kt_native_cid_check(keys, header->id)) return 0;
    s->unknown_us = now + KT_NATIVE_UNKNOWN_PAUSE_US;
    uint8_t *body = out + KT_NATIVE_HEADER;
    body[0] = KT_NATIVE_CONTROL_UNKNOWN;
    kt_io_random(s->opts.io, body + 1, KT_NATIVE_UNKNOWN_BODY - 1);
    return kt_native_wrap(keys, KT_NATIVE_CONTROL, header->id, out, KT_NATIVE_UNKNOWN_BODY);
}
