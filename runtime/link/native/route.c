/* Datagrams of an acceptor. A data packet is found by its connection id, a handshake datagram by its kind
 * and then its mac1. Any other is left to another wire on the same port. */
#include <stdio.h>
#include <string.h>
#include "crypto/hash.h"
#include "crypto/keyfile.h"
#include "link/native/acceptor_internal.h"
#include "link/native/code.h"

#define REFUSED_US 600000000u   /* between two log lines about the same refused client */
#define REFUSED_ANY_US 1000000u /* ... about any: anyone who knows the server's public key can make up keys */

static void answer(struct acceptor *a, size_t port, const struct kt_dgram *in, const uint8_t *data, size_t n)
{
    struct kt_udp *udp = kt_ports_udp(a->ports, port);
    uint8_t *buf = kt_udp_reserve(udp);
    if (!buf) return;
    memcpy(buf, data, n);
    kt_udp_commit(udp, buf, buf, n, in->from, in->to);
    a->c->counters->OutPkts++;
    a->c->counters->OutBytes += n;
}

/* An initiation; the handshake's server has dropped what does not authenticate. */
static void greet(
    struct acceptor *a, size_t port, const struct kt_native_header *header, struct kt_dgram *dgram)
{
    struct kt_native_reply reply;
    struct kt_native_place place = {.udp = kt_ports_udp(a->ports, port), .peer = *dgram->from, .port = port};
    if (dgram->to) place.from = *dgram->to;
    switch (kt_native_server_input(&a->server, header, dgram, &reply)) {
    case KT_NATIVE_SERVER_AGREED:
        if (kt_native_guest_new(a, &reply.agreed, &place) == 0) answer(a, port, dgram, reply.data, reply.len);
        break;
    case KT_NATIVE_SERVER_ANSWERED:
        answer(a, port, dgram, reply.data, reply.len);
        break;
    case KT_NATIVE_SERVER_DROPPED:
        kt_native_context_dropped(a->c, dgram->from, false);
        break;
    }
    kt_wipe(&reply.agreed, sizeof reply.agreed);
}

static void say_unknown(
    struct acceptor *a, size_t port, const struct kt_native_header *header, struct kt_dgram *dgram)
{
    uint8_t out[KT_NATIVE_RESPONSE_MAX];
    const size_t n = kt_native_server_unknown(&a->server, header, dgram->len, out);
    if (n > 0) answer(a, port, dgram, out, n);
}

/* True if the header is one of this wire, read with the key of these settings. A data packet's guest and path are
 * set, or NULL. Only an id that no guest has is checked: that costs a hash. */
static bool find_path(const struct acceptor *a, const struct kt_native_context *c,
    const struct kt_dgram *dgram, struct kt_native_header *header, struct guest **guest, unsigned *path)
{
    *guest = NULL;
    if (!c || kt_native_peek(&c->secrets->header_keys, dgram->data, dgram->len, header)) return false;
    if (header->kind != KT_NATIVE_DATA) return true;
    *guest = kt_native_guest_find(a, header->id, path);
    return *guest || kt_native_cid_check(&c->secrets->header_keys, header->id);
}

/* False: it is not of this wire. */
static bool take(struct acceptor *a, size_t port, struct kt_dgram *dgram)
{
    struct kt_native_header header;
    struct guest *g;
    unsigned path = 0;
    bool old = false;
    if (!find_path(a, a->c, dgram, &header, &g, &path)) {
        if (!find_path(a, a->old, dgram, &header, &g, &path)) return false;
        old = true;
    }
    if (header.kind == KT_NATIVE_DATA) {
        a->c->counters->InBytes += dgram->len;
        if (g)
            kt_native_association_input(g->a, path, &header, dgram, kt_ports_udp(a->ports, port), port);
        else
            say_unknown(a, port, &header, dgram);
        return true;
    }
    if (header.kind != KT_NATIVE_INITIATION || old || a->closing) return false;
    a->c->counters->InBytes += dgram->len;
    greet(a, port, &header, dgram);
    return true;
}

static size_t on_batch(void *ctx, size_t port, struct kt_dgram *dgrams, size_t n)
{
    struct acceptor *a = ctx;
    const bool last = kt_ports_last(a->ports, &a->taker);
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        if (take(a, port, &dgrams[i])) continue;
        if (last)
            kt_native_context_dropped(a->c, dgrams[i].from, true);
        else
            dgrams[left++] = dgrams[i];
    }
    return left;
}

/* Rare (the system's buffer was full), so a walk is good enough. */
static void on_writable(void *ctx, size_t port)
{
    const struct acceptor *a = ctx;
    const struct kt_udp *udp = kt_ports_udp(a->ports, port);
    for (struct kt_list *n = a->ages.next; n != &a->ages; n = n->next)
        kt_native_association_writable(KT_CONTAINER(n, struct guest, by_age)->a, udp);
}

void kt_native_route_taker(struct acceptor *a)
{
    a->taker = (struct kt_port_taker){.batch = on_batch, .writable = on_writable, .ctx = a};
    kt_list_init(&a->taker.node);
}

/* Whether a refused client is not worth a log line: the last one logged had the same key and keeps trying, or was logged
 * just now. */
static bool refused_lately(struct acceptor *a, const uint8_t key[KT_NATIVE_KEY])
{
    const uint64_t now = kt_io_now(a->c->io);
    const uint64_t pause = memcmp(a->refused, key, KT_NATIVE_KEY) == 0 ? REFUSED_US : REFUSED_ANY_US;
    if (a->refused_us && now - a->refused_us < pause) return true;
    memcpy(a->refused, key, KT_NATIVE_KEY);
    a->refused_us = now;
    return false;
}

static uint64_t on_ask(void *ctx, const struct kt_native_hello *hello, char text[KT_NATIVE_ERROR_TEXT + 1])
{
    struct acceptor *a = ctx;
    a->name[0] = '\0';
    if (hello->public_key && !kt_native_guest_name(a, hello->public_key, hello->from, a->name)) {
        char address[KT_ADDR_TEXT], key[KT_KEY_TEXT];
        kt_key_encode(hello->public_key, key);
        kt_log_with(a->c->log, refused_lately(a, hello->public_key) ? KT_LOG_DEBUG : KT_LOG_WARN,
            kt_log_peer(kt_addr_text(hello->from, address)), "%s: refused: its key is not authorized: %s",
            kt_addr_text(hello->from, address), key);
        snprintf(text, KT_NATIVE_ERROR_TEXT + 1, "the server does not know this client's public key");
        return KT_NATIVE_CODE_REFUSED;
    }
    if (!kt_native_guest_room(a)) return KT_NATIVE_CODE_LIMIT;
    return a->unproven_count < KT_NATIVE_UNPROVEN ? 0 : KT_NATIVE_CODE_BUSY;
}

static uint64_t on_credit(void *ctx)
{
    return kt_native_context_first(((const struct acceptor *)ctx)->c);
}

void kt_native_route_server(struct acceptor *a)
{
    const struct kt_native_server_opts opts = {.io = a->c->io,
        .secrets = a->c->secrets,
        .params = &a->c->params,
        .starts = a->starts,
        .drops = &a->c->drops,
        .ask = on_ask,
        .credit = on_credit,
        .ctx = a,
        .started_us = a->began_us};
    kt_native_server_init(&a->server, &opts);
}
