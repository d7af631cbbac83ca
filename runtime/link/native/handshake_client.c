/* The client's handshake. Invariant: a live attempt is an initiation that was written and has had no answer yet. */
#include "link/native/handshake_client.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "crypto/hash.h"
#include "io/io.h"
#include "link/native/code.h"

#define PAUSE_FIRST_US 250000u
#define PAUSE_LAST_US 2000000u
#define COOKIE_PAUSE_US 250000u /* between cookies that are believed */
#define SPREAD (KT_NATIVE_INITIATION_MAX - KT_NATIVE_INITIATION_MIN + 1u)

#define WRITTEN_HERE                                                                                         \
    (1u << KT_NATIVE_PARAM_VERSIONS | 1u << KT_NATIVE_PARAM_TIME | 1u << KT_NATIVE_PARAM_ERROR)

void kt_native_client_init(struct kt_native_client *c, struct kt_io *io,
    const struct kt_native_secrets *secrets, const struct kt_native_params *params,
    struct kt_native_drops *drops)
{
    memset(c, 0, sizeof *c);
    c->io = io;
    c->secrets = secrets;
    c->drops = drops;
    c->params = *params;
    c->params.present &= ~WRITTEN_HERE;
    c->params.present |= 1u << KT_NATIVE_PARAM_VERSIONS | 1u << KT_NATIVE_PARAM_TIME;
    c->params.lowest = c->params.highest = KT_NATIVE_VERSION;
    assert((c->params.present & KT_NATIVE_PARAMS_NEEDED) == KT_NATIVE_PARAMS_NEEDED);
}

void kt_native_client_end(struct kt_native_client *c)
{
    kt_wipe(c, sizeof *c);
}

/* Every other initiation is as short as allowed, for a path that passes nothing longer. */
static size_t pick_length(struct kt_native_client *c, unsigned nth)
{
    uint8_t random;
    kt_io_random(c->io, &random, 1);
    return KT_NATIVE_INITIATION_MIN + (nth & 1 ? 0 : random % SPREAD);
}

size_t kt_native_client_initiate(
    struct kt_native_client *c, unsigned nth, uint8_t out[KT_NATIVE_INITIATION_MAX])
{
    struct kt_native_attempt *a = &c->attempts[c->sent % KT_NATIVE_ATTEMPTS];
    uint8_t ephemeral[KT_NATIVE_KEY], payload[KT_NATIVE_INITIATION_MAX], *body = out + KT_NATIVE_HEADER;
    const size_t other =
        KT_NATIVE_OVERHEAD + KT_NATIVE_COOKIE + kt_noise_overhead(kt_native_pattern(c->secrets), 1);
    const size_t want = pick_length(c, nth) - other;
    c->params.time_ms = kt_io_wall(c->io) / 1000;
    const size_t size = kt_native_params_write(&c->params, want, payload);
    assert(size == want);

    kt_io_random(c->io, a->id, sizeof a->id);
    kt_io_random(c->io, ephemeral, sizeof ephemeral);
    kt_native_noise_init(&a->noise, c->secrets, true);
    memcpy(body, c->cookie, KT_NATIVE_COOKIE); /* zero without one */
    const int n = kt_noise_write(&a->noise, ephemeral, payload, size, body + KT_NATIVE_COOKIE);
    assert(n > 0); /* the server's key is usable: kt_native_secrets_client */
    kt_wipe(ephemeral, sizeof ephemeral);
    a->live = true;
    a->sent_us = kt_io_now(c->io);
    c->sent++;
    return kt_native_wrap(
        &c->secrets->header_keys, KT_NATIVE_INITIATION, a->id, out, KT_NATIVE_COOKIE + (size_t)n);
}

uint64_t kt_native_client_pause(unsigned nth)
{
    uint64_t pause = PAUSE_FIRST_US;
    for (unsigned i = 0; i < nth && pause < PAUSE_LAST_US; i++) pause *= 2;
    return pause;
}

static struct kt_native_attempt *find(struct kt_native_client *c, const uint8_t id[KT_NATIVE_CID])
{
    for (unsigned i = 0; i < KT_NATIVE_ATTEMPTS; i++)
        if (c->attempts[i].live && memcmp(c->attempts[i].id, id, KT_NATIVE_CID) == 0) return &c->attempts[i];
    return NULL;
}

static void drop_attempt(struct kt_native_attempt *a)
{
    kt_noise_wipe(&a->noise);
    a->live = false;
}

static enum kt_native_client_result take_cookie(
    struct kt_native_client *c, struct kt_native_attempt *a, const uint8_t *body, size_t n)
{
    const uint64_t now = kt_io_now(c->io);
    if (n != KT_NATIVE_COOKIE_BODY || body[0] != KT_NATIVE_CONTROL_COOKIE) {
        c->drops->malformed++;
        return KT_NATIVE_CLIENT_NOTHING;
    }
    if (c->has_cookie &&
        now - c->cookie_us < COOKIE_PAUSE_US) { /* a forger must not make the client send at his rate */
        c->drops->replayed++;
        return KT_NATIVE_CLIENT_NOTHING;
    }
    memcpy(c->cookie, body + 1, KT_NATIVE_COOKIE);
    c->has_cookie = true;
    c->cookie_us = now;
    drop_attempt(a); /* the server kept nothing of it */
    return KT_NATIVE_CLIENT_COOKIE;
}

static enum kt_native_client_result fail(struct kt_err *err, int code, const char *text)
{
    kt_err_set(err, code, "%s", text);
    return KT_NATIVE_CLIENT_FAILED;
}

/* Says why the server refused. */
static enum kt_native_client_result refused(
    const struct kt_native_client *c, const struct kt_native_params *p, struct kt_err *err)
{
    const int code = kt_native_code_error(p->error);
    const bool text = p->error_text[0];
    const uint64_t here = kt_io_wall(c->io) / 1000;
    if (p->error == KT_NATIVE_CODE_VERSION && p->present >> KT_NATIVE_PARAM_VERSIONS & 1)
        kt_err_set(err, code,
            "the server speaks version %u to %u of this wire, this end version %u; update the older one",
            p->lowest, p->highest, KT_NATIVE_VERSION);
    else if (p->error == KT_NATIVE_CODE_CLOCK && p->present >> KT_NATIVE_PARAM_TIME & 1)
        kt_err_set(err, code,
            "this machine's clock is %" PRIu64 " s %s the server's; they may differ by at most %u s",
            (p->time_ms > here ? p->time_ms - here : here - p->time_ms) / 1000,
            p->time_ms > here ? "behind" : "ahead of", KT_NATIVE_CLOCK_MS / 1000);
    else if (p->error == KT_NATIVE_CODE_BUSY || p->error == KT_NATIVE_CODE_LIMIT)
        kt_err_set(
            err, code, "the server accepts no more links at the moment%s%s", text ? ": " : "", p->error_text);
    else
        kt_err_set(
            err, code ? code : KT_EREFUSED, "refused by the server%s%s", text ? ": " : "", p->error_text);
    return KT_NATIVE_CLIENT_FAILED;
}

static enum kt_native_client_result take_response(struct kt_native_client *c, struct kt_native_attempt *a,
    const uint8_t *body, size_t n, struct kt_native_agreed *agreed, struct kt_err *err)
{
    uint8_t payload[KT_NATIVE_DATAGRAM_MAX];
    const int size = kt_noise_read(&a->noise, body, n, payload);
    if (size < 0) {
        c->drops->forged++;
        return KT_NATIVE_CLIENT_NOTHING;
    }
    memset(agreed, 0, sizeof *agreed);
    struct kt_native_params *p = &agreed->peer;
    const int rc = kt_native_params_read(p, payload, (size_t)size);
    if (rc == 0 && p->present >> KT_NATIVE_PARAM_ERROR & 1) {
        drop_attempt(a);
        return refused(c, p, err);
    }
    const bool one_aead = p->aead == KT_AEAD_AES_256_GCM || p->aead == KT_AEAD_CHACHA20_POLY1305;
    if (rc || (p->present & KT_NATIVE_PARAMS_NEEDED) != KT_NATIVE_PARAMS_NEEDED ||
        p->lowest != KT_NATIVE_VERSION || p->highest != KT_NATIVE_VERSION || !one_aead ||
        !(p->aead & c->params.aead)) {
        c->drops->parameters++;
        drop_attempt(a);
        return fail(err, KT_EPROTO, "the server's response is malformed");
    }
    agreed->version = p->highest;
    agreed->max_data = c->params.max_data;
    agreed->aead = (enum kt_aead_method)p->aead;
    kt_native_agree(agreed, &a->noise, true);
    c->rtt_us = kt_io_now(c->io) - a->sent_us;
    for (unsigned i = 0; i < KT_NATIVE_ATTEMPTS; i++) drop_attempt(&c->attempts[i]);
    return KT_NATIVE_CLIENT_AGREED;
}

enum kt_native_client_result kt_native_client_input(struct kt_native_client *c,
    const struct kt_native_header *header, uint8_t *dgram, size_t len, struct kt_native_agreed *agreed,
    struct kt_err *err)
{
    struct kt_native_attempt *a = find(c, header->id);
    if (!a || (header->kind != KT_NATIVE_RESPONSE && header->kind != KT_NATIVE_CONTROL)) {
        c->drops->unknown++;
        return KT_NATIVE_CLIENT_NOTHING;
    }
    const int n = kt_native_unwrap(&c->secrets->header_keys, header, dgram, len, c->drops);
    if (n < 0) return KT_NATIVE_CLIENT_NOTHING;
    uint8_t *body = dgram + KT_NATIVE_HEADER;
    if (header->kind == KT_NATIVE_CONTROL) return take_cookie(c, a, body, (size_t)n);
    return take_response(c, a, body, (size_t)n, agreed, err);
}
