/* The client's end of a handshake (docs/wire.md section 4.3). It may have several initiations under way, each with its
 * own ephemeral key; a response to any of them completes it.
 *
 * Its owner sends what kt_native_client_initiate makes, again after each kt_native_client_pause, and hands in the
 * responses and control datagrams that come back. It keeps at most KT_NATIVE_ATTEMPTS initiations, the latest. */
#ifndef KT_LINK_NATIVE_HANDSHAKE_CLIENT_H
#define KT_LINK_NATIVE_HANDSHAKE_CLIENT_H

#include "link/native/handshake.h"

struct kt_io;

#define KT_NATIVE_ATTEMPTS 16u

/* Fields are handshake_client.c's own. */
struct kt_native_client {
    struct kt_io *io;
    const struct kt_native_secrets *secrets; /* not owned */
    struct kt_native_drops *drops;           /* likewise */
    struct kt_native_params params;
    struct kt_native_attempt {
        bool live;
        uint8_t id[KT_NATIVE_CID];
        uint64_t sent_us;
        struct kt_noise noise;
    } attempts[KT_NATIVE_ATTEMPTS];
    unsigned sent;
    uint64_t rtt_us; /* KT_NATIVE_CLIENT_AGREED: from the initiation that was answered until then */
    bool has_cookie;
    uint64_t cookie_us; /* when it came */
    uint8_t cookie[KT_NATIVE_COOKIE];
};

/* params: what this end says, everything but versions, time and error. secrets and drops outlive the client. */
void kt_native_client_init(struct kt_native_client *c, struct kt_io *io,
    const struct kt_native_secrets *secrets, const struct kt_native_params *params,
    struct kt_native_drops *drops);
/* Wipes it. */
void kt_native_client_end(struct kt_native_client *c);

/* Writes a new initiation; returns its length. nth: how many went to the same address before. */
size_t kt_native_client_initiate(
    struct kt_native_client *c, unsigned nth, uint8_t out[KT_NATIVE_INITIATION_MAX]);
/* How long to wait after the nth initiation to an address, from 0, before the next one there, in µs. */
uint64_t kt_native_client_pause(unsigned nth);

enum kt_native_client_result {
    KT_NATIVE_CLIENT_NOTHING, /* dropped and counted */
    KT_NATIVE_CLIENT_COOKIE,  /* the server is under load: send another initiation at once */
    KT_NATIVE_CLIENT_AGREED,  /* the handshake is complete */
    KT_NATIVE_CLIENT_FAILED, /* the server authenticated but refused, or its response is malformed: see err */
};

/* Handles a response or a control datagram, and changes it. header: from kt_native_peek. The client stays usable
 * after any result. */
enum kt_native_client_result kt_native_client_input(struct kt_native_client *c,
    const struct kt_native_header *header, uint8_t *dgram, size_t len, struct kt_native_agreed *agreed,
    struct kt_err *err);

#endif
