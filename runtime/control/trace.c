/* Sends tapped packets as lines of JSON.
 *
 * Invariant: the tap leads here exactly while the trace lives. A packet is sent only while at most BACKLOG_MAX bytes
 * wait for the client, so there is room for its line and the last one, and a slow client is not dropped. */
#include "control/trace.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/addr.h"
#include "control/server.h"
#include "crypto/primitives.h"
#include "io/io.h"
#include "link/tap.h"

#define BACKLOG_MAX ((size_t)16 * 1024 * 1024)
#define DATA_MAX ((size_t)KT_UDP_MAX)
#define BASE64_MAX (4 * (DATA_MAX + 2) / 3 + 1)
#define JSON_MAX (BASE64_MAX + 512)

_Static_assert(BACKLOG_MAX + 2 * JSON_MAX <= KT_CONTROL_STREAM_OUT, "a slow client would be dropped");

struct kt_control_trace {
    struct kt_io *io;
    struct kt_tap *tap;
    struct kt_control_client *client;
    uint64_t dropped[2]; /* 0: of incoming packets, 1: of outgoing ones; since the last one that was sent */
};

/* `,"peer":"192.0.2.1:29900"`, or nothing. */
static const char *address(const char *name, const struct kt_addr *addr, char *out, size_t size)
{
    char text[KT_ADDR_TEXT];
    out[0] = '\0';
    if (addr) snprintf(out, size, ",\"%s\":\"%s\"", name, kt_addr_text(addr, text));
    return out;
}

static void on_packet(void *ctx, const struct kt_tapped *p)
{
    struct kt_control_trace *t = ctx;
    char data[BASE64_MAX], peer[96], here[96], json[JSON_MAX];
    if (kt_control_backlog(t->client) > BACKLOG_MAX || p->len > DATA_MAX) {
        t->dropped[p->out]++;
        return;
    }
    kt_encode(KT_ENCODING_BASE64, data, (struct kt_bytes){p->data, p->len});
    const int len = snprintf(json, sizeof json,
        "{\"time\":%.6f,\"wire\":\"%s\",\"out\":%s%s%s,\"path\":%u,\"number\":%llu,\"dropped\":%llu,\"data\":"
        "\"%s\"}",
        (double)kt_io_wall(t->io) / 1e6, p->wire, p->out ? "true" : "false",
        address("peer", p->peer, peer, sizeof peer), address("here", p->here, here, sizeof here), p->path,
        (unsigned long long)p->number, (unsigned long long)t->dropped[p->out], data);
    t->dropped[p->out] = 0;
    kt_control_stream(t->client, "packet", json, (size_t)len);
}

struct kt_control_trace *kt_control_trace_begin(
    struct kt_io *io, struct kt_tap *tap, struct kt_control_client *client)
{
    struct kt_control_trace *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->io = io;
    t->tap = kt_tap_ref(tap);
    t->client = client;
    tap->fn = on_packet;
    tap->ctx = t;
    return t;
}

void kt_control_trace_end(struct kt_control_trace *t)
{
    char json[80];
    if (!t) return;
    const int len = snprintf(json, sizeof json, "{\"in\":%llu,\"out\":%llu}",
        (unsigned long long)t->dropped[0], (unsigned long long)t->dropped[1]);
    kt_control_stream(t->client, "dropped", json, (size_t)len);
    t->tap->fn = NULL;
    kt_tap_unref(t->tap);
    free(t);
}
