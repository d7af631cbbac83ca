/* Handshakes of kt's own wire, at both ends, in both modes. The input is a list of datagrams, each made in one of four
 * ways from its bytes: as they are; as a body with a true mac1, which any holder of the header keys can make; as the
 * parameters in a message of a true peer; or as damage to a true datagram. Only what a true peer sent is agreed to, the
 * others leave nothing behind, and no answer is longer than what it answers. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/crypto.h"
#include "io/io.h"
#include "link/common/session_starts.h"
#include "link/native/handshake_client.h"
#include "link/native/handshake_server.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct ends {
    struct kt_io io; /* first */
    uint64_t state, wall_us;
    struct kt_native_secrets client_secrets, server_secrets;
    struct kt_native_drops drops;
    struct kt_session_starts starts;
    struct kt_native_client client;
    struct kt_native_server server;
    struct kt_addr from;
};

static void draw(struct kt_io *io, void *out, size_t n)
{
    struct ends *e = (struct ends *)io;
    for (size_t i = 0; i < n; i++) {
        e->state = e->state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)out)[i] = (uint8_t)(e->state >> 56);
    }
}

static uint64_t wall(struct kt_io *io)
{
    return ((struct ends *)io)->wall_us;
}

static uint64_t ask(void *ctx, const struct kt_native_hello *hello, char text[KT_NATIVE_ERROR_TEXT + 1])
{
    (void)ctx;
    CHECK(hello->params->max_streams <= KT_NATIVE_STREAMS_MAX);
    CHECK(strlen(hello->params->agent) <= KT_NATIVE_AGENT);
    if (hello->params->agent[0] != 'x') return 0;
    memcpy(text, "no", 3);
    return 2;
}

static void begin(struct ends *e, bool pairs)
{
    static const struct kt_io_ops ops = {.random = draw, .wall = wall};
    static const uint8_t psk[KT_NATIVE_KEY] = {1}, own[KT_NATIVE_KEY] = {2}, server[KT_NATIVE_KEY] = {3};
    uint8_t server_public[KT_NATIVE_KEY];
    CHECK(kt_crypto_init(NULL) == 0);
    e->io.ops = &ops;
    e->io.now = 1000000;
    e->wall_us = UINT64_C(1700000000000000);
    kt_noise_public(server, server_public);
    if (pairs) {
        CHECK(kt_native_secrets_client(&e->client_secrets, own, server_public, psk, NULL) == 0);
        kt_native_secrets_server(&e->server_secrets, server, psk);
    } else {
        kt_native_secrets_shared(&e->client_secrets, psk);
        kt_native_secrets_shared(&e->server_secrets, psk);
    }
    const struct kt_native_params params = {.present = KT_NATIVE_PARAMS_NEEDED, .aead = 3};
    kt_session_starts_init(&e->starts, 1);
    kt_native_client_init(&e->client, &e->io, &e->client_secrets, &params, &e->drops);
    const struct kt_native_server_opts opts = {.io = &e->io,
        .secrets = &e->server_secrets,
        .params = &params,
        .starts = &e->starts,
        .drops = &e->drops,
        .ask = ask};
    kt_native_server_init(&e->server, &opts);
    CHECK(kt_addr_from_ip(&e->from, "10.0.0.1", 4000));
}

/* ---- datagrams arrive ---- */

static uint8_t *copy_of(const uint8_t *from, size_t n)
{
    uint8_t *p = malloc(n ? n : 1);
    CHECK(p != NULL);
    if (n) memcpy(p, from, n);
    return p;
}

static enum kt_native_server_result at_server(
    struct ends *e, const uint8_t *dgram, size_t len, struct kt_native_reply *reply)
{
    enum kt_native_server_result r = KT_NATIVE_SERVER_DROPPED;
    struct kt_native_header h;
    uint8_t *copy = copy_of(dgram, len);
    const struct kt_dgram in = {.data = copy, .len = len, .from = &e->from};
    reply->len = 0;
    if (kt_native_peek(&e->server_secrets.header_keys, copy, len, &h) == 0) {
        if (h.kind == KT_NATIVE_DATA)
            CHECK(kt_native_server_unknown(&e->server, &h, len, reply->data) <= len);
        else
            r = kt_native_server_input(&e->server, &h, &in, reply);
    }
    CHECK((r == KT_NATIVE_SERVER_DROPPED) == (reply->len == 0) && reply->len <= len);
    free(copy);
    return r;
}

static enum kt_native_client_result at_client(
    struct ends *e, const uint8_t *dgram, size_t len, struct kt_native_agreed *agreed)
{
    enum kt_native_client_result r = KT_NATIVE_CLIENT_NOTHING;
    struct kt_native_header h;
    struct kt_err err = {0};
    uint8_t *copy = copy_of(dgram, len);
    if (kt_native_peek(&e->client_secrets.header_keys, copy, len, &h) == 0 && h.kind != KT_NATIVE_DATA)
        r = kt_native_client_input(&e->client, &h, copy, len, agreed, &err);
    if (r == KT_NATIVE_CLIENT_FAILED) CHECK(err.code < 0 && err.text[0]);
    free(copy);
    return r;
}

/* From someone who does not hold the keys; `cookie`: but the header keys, so a cookie may be asked for or believed. */
static void stranger(struct ends *e, const uint8_t *dgram, size_t len, bool cookie)
{
    struct kt_native_reply reply;
    struct kt_native_agreed agreed;
    const size_t kept = e->starts.young.count + e->starts.old.count;
    const enum kt_native_server_result s = at_server(e, dgram, len, &reply);
    CHECK(s == KT_NATIVE_SERVER_DROPPED || (cookie && s == KT_NATIVE_SERVER_ANSWERED));
    CHECK(kept == e->starts.young.count + e->starts.old.count);
    const enum kt_native_client_result c = at_client(e, dgram, len, &agreed);
    CHECK(c == KT_NATIVE_CLIENT_NOTHING || (cookie && c == KT_NATIVE_CLIENT_COOKIE));
}

/* ---- the ways to make them ---- */

static void wrapped(struct ends *e, unsigned how, const uint8_t *data, size_t n)
{
    static const enum kt_native_kind kinds[] = {KT_NATIVE_INITIATION, KT_NATIVE_RESPONSE, KT_NATIVE_CONTROL};
    uint8_t out[KT_NATIVE_INITIATION_MAX], dgram[KT_NATIVE_DATAGRAM_MAX] = {0};
    const size_t least = how & 0x10 ? KT_NATIVE_INITIATION_MIN - KT_NATIVE_OVERHEAD : 1;
    if (n > KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD) n = KT_NATIVE_DATAGRAM_MAX - KT_NATIVE_OVERHEAD;
    if (n) memcpy(dgram + KT_NATIVE_HEADER, data, n);
    if (n < least) n = least;
    if (how & 0x20) kt_native_client_initiate(&e->client, e->client.sent, out);
    const size_t len = kt_native_wrap(&e->client_secrets.header_keys, kinds[(how >> 2) % 3],
        e->client.attempts[(how >> 6) & 3].id, dgram, n);
    stranger(e, dgram, len, true);
}

/* A true client or server says these parameters. */
static void parameters(struct ends *e, bool client, const uint8_t *data, size_t n)
{
    uint8_t dgram[KT_NATIVE_DATAGRAM_MAX] = {0}, *body = dgram + KT_NATIVE_HEADER, ephemeral[32];
    struct kt_native_reply reply;
    struct kt_native_agreed agreed;
    struct kt_native_params p, q;
    struct kt_noise noise;
    size_t len;
    if (n > 1100) n = 1100;
    const int rc = kt_native_params_read(&p, data, n);
    if (rc == 0) { /* what was read can be written, and is read as the same */
        uint8_t list[KT_NATIVE_PARAMS_SIZE];
        len = kt_native_params_write(&p, 0, list);
        CHECK(kt_native_params_read(&q, list, len) == 0 && memcmp(&p, &q, sizeof p) == 0);
    }
    draw(&e->io, ephemeral, sizeof ephemeral);
    if (client) {
        const uint8_t id[KT_NATIVE_CID] = {7};
        size_t size = KT_NATIVE_COOKIE;
        kt_native_noise_init(&noise, &e->client_secrets, true);
        size += (size_t)kt_noise_write(&noise, ephemeral, data, n, body + size);
        if (size < KT_NATIVE_INITIATION_MIN - KT_NATIVE_OVERHEAD) return;
        len = kt_native_wrap(&e->client_secrets.header_keys, KT_NATIVE_INITIATION, id, dgram, size);
        const enum kt_native_server_result r = at_server(e, dgram, len, &reply);
        CHECK(r != KT_NATIVE_SERVER_AGREED || (rc == 0 && p.agent[0] != 'x'));
        return;
    }
    len = kt_native_client_initiate(&e->client, e->client.sent, dgram);
    const struct kt_native_attempt *a = &e->client.attempts[(e->client.sent - 1) % KT_NATIVE_ATTEMPTS];
    struct kt_native_header h;
    uint8_t id[KT_NATIVE_CID], payload[KT_NATIVE_DATAGRAM_MAX];
    memcpy(id, a->id, sizeof id);
    CHECK(kt_native_peek(&e->server_secrets.header_keys, dgram, len, &h) == 0);
    const int size = kt_native_unwrap(&e->server_secrets.header_keys, &h, dgram, len, &e->drops);
    kt_native_noise_init(&noise, &e->server_secrets, false);
    CHECK(size > 0 &&
          kt_noise_read(&noise, body + KT_NATIVE_COOKIE, (size_t)size - KT_NATIVE_COOKIE, payload) > 0);
    const int m = kt_noise_write(&noise, ephemeral, data, n, body);
    len = kt_native_wrap(&e->server_secrets.header_keys, KT_NATIVE_RESPONSE, id, dgram, (size_t)m);
    const enum kt_native_client_result r = at_client(e, dgram, len, &agreed);
    CHECK(r == KT_NATIVE_CLIENT_FAILED || (r == KT_NATIVE_CLIENT_AGREED && rc == 0));
}

/* A true handshake, with one byte of each datagram changed on the way, and then without. */
static void damaged(struct ends *e, unsigned at, unsigned by)
{
    uint8_t dgram[KT_NATIVE_INITIATION_MAX];
    struct kt_native_reply reply;
    struct kt_native_agreed near;
    const size_t len = kt_native_client_initiate(&e->client, e->client.sent, dgram);
    by = by % 255 + 1;
    dgram[at % len] ^= (uint8_t)by;
    stranger(e, dgram, len, false);
    dgram[at % len] ^= (uint8_t)by;
    enum kt_native_server_result r = at_server(e, dgram, len, &reply);
    if (r == KT_NATIVE_SERVER_ANSWERED) return; /* under load */
    CHECK(r == KT_NATIVE_SERVER_AGREED);
    stranger(e, dgram, len, false); /* a replay */
    reply.data[at % reply.len] ^= (uint8_t)by;
    stranger(e, reply.data, reply.len, false);
    reply.data[at % reply.len] ^= (uint8_t)by;
    CHECK(at_client(e, reply.data, reply.len, &near) == KT_NATIVE_CLIENT_AGREED);
    CHECK(memcmp(near.tx_secret, reply.agreed.rx_secret, KT_NATIVE_KEY) == 0);
    CHECK(memcmp(near.rx_secret, reply.agreed.tx_secret, KT_NATIVE_KEY) == 0);
    kt_native_server_proven(&e->server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct ends *e = calloc(1, sizeof *e);
    CHECK(e != NULL);
    begin(e, data[0] & 1);
    data++;
    size--;
    while (size >= 4) {
        const unsigned how = data[0];
        size_t n = (size_t)data[1] | (size_t)(data[2] & 7) << 8;
        const unsigned by = data[3];
        e->io.now += (uint64_t)(data[2] >> 3) * 1000000u;
        data += 4;
        size -= 4;
        if (how % 4 == 3) {
            damaged(e, (unsigned)n, by);
            continue;
        }
        if (n > size) n = size;
        if (how % 4 == 0)
            stranger(e, data, n, false);
        else if (how % 4 == 1)
            wrapped(e, how, data, n);
        else
            parameters(e, how & 4, data, n);
        data += n;
        size -= n;
    }
    kt_native_client_end(&e->client);
    kt_native_server_end(&e->server);
    kt_session_starts_free(&e->starts);
    free(e);
    return 0;
}
