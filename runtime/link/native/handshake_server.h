/* The server's end of handshakes (docs/wire.md section 4.2). One of these serves any number of clients: it keeps
 * nothing of a handshake but the initiation's ephemeral key, to refuse replays, and hands the result to its owner,
 * who keeps associations.
 *
 * A datagram that does not authenticate is dropped, counted and not answered, at the cost of one hash and at most
 * one AEAD operation (and in mode K one multiplication on the curve). Under load, a cookie is asked for before that. */
#ifndef KT_LINK_NATIVE_HANDSHAKE_SERVER_H
#define KT_LINK_NATIVE_HANDSHAKE_SERVER_H

#include "io/io.h"
#include "link/native/handshake.h"

struct kt_session_starts;

/* The server is under load after more handshakes than this in a second that no data packet followed. */
#define KT_NATIVE_LOAD 64u
#define KT_NATIVE_COOKIE_US 120000000u  /* age of a cookie's secret; a cookie is good for one to two of it */
#define KT_NATIVE_UNKNOWN_US 600000000u /* how long after its start a server answers with `unknown` */
#define KT_NATIVE_UNKNOWN_PAUSE_US 100000u /* between two such answers */

/* A client that has the key, and wants an association. */
struct kt_native_hello {
    const struct kt_native_params *params;
    const uint8_t *public_key; /* mode K: the client's, KT_NATIVE_KEY bytes; NULL in mode P */
    const struct kt_addr *from;
};

/* Lets a client in: 0; or refuses it: REFUSED, LIMIT or BUSY of enum kt_native_code, with a text for its user (may be
 * left empty). Called for each initiation that authenticates, so maybe more than once for one client. */
typedef uint64_t (*kt_native_ask)(
    void *ctx, const struct kt_native_hello *hello, char text[KT_NATIVE_ERROR_TEXT + 1]);

struct kt_native_server_opts {
    struct kt_io *io;
    const struct kt_native_secrets *secrets;
    const struct kt_native_params *params; /* this end's, without versions, time and error; copied */
    struct kt_session_starts
        *starts; /* replay memory; shared by all that an initiation could be replayed to */
    struct kt_native_drops *drops;
    kt_native_ask ask;
    /* max_data and max_stream_data for an association that begins now. NULL: as in params. */
    uint64_t (*credit)(void *ctx);
    void *ctx;
    uint64_t started_us; /* when the process began, by kt_io_now */
};

/* Fields are handshake_server.c's own. */
struct kt_native_server {
    struct kt_native_server_opts opts;
    struct kt_native_params params;
    uint8_t cookie_secrets[2][KT_NATIVE_KEY]; /* the current one, and the one before */
    uint64_t cookie_us;                       /* when the current one began */
    bool has_cookies;
    uint64_t second;     /* µs, when the current second of `load` began */
    uint32_t load[2];    /* handshakes without a data packet, in this second and the one before */
    uint64_t unknown_us; /* no `unknown` is sent before */
};

/* io, secrets, starts and drops outlive the server. */
void kt_native_server_init(struct kt_native_server *s, const struct kt_native_server_opts *opts);
/* Wipes it. */
void kt_native_server_end(struct kt_native_server *s);

enum kt_native_server_result {
    KT_NATIVE_SERVER_DROPPED,  /* and counted; nothing is to be sent */
    KT_NATIVE_SERVER_ANSWERED, /* the reply is a cookie or an error; nothing is kept */
    KT_NATIVE_SERVER_AGREED,   /* the reply is the response: keep the association, unproven, and send it */
};

struct kt_native_reply {
    uint8_t data[KT_NATIVE_RESPONSE_MAX]; /* the datagram to send back */
    size_t len;                           /* 0: none */
    struct kt_native_agreed agreed;       /* holds secrets: wipe it */
};

/* An initiation. header: what kt_native_peek read. The datagram is changed, except when its mac1 is wrong. */
enum kt_native_server_result kt_native_server_input(struct kt_native_server *s,
    const struct kt_native_header *header, const struct kt_dgram *dgram, struct kt_native_reply *reply);

/* A first data packet has opened in an association that the server agreed to: it was not load. */
void kt_native_server_proven(struct kt_native_server *s);

/* A data packet of `len` bytes with a connection id of no association here. Returns the length of the answer in out
 * (KT_NATIVE_RESPONSE_MAX bytes), or 0: none is to be sent. It is for clients of a server that has restarted; after
 * KT_NATIVE_UNKNOWN_US the server is silent, so that replayed packets of old associations draw no answer. */
size_t kt_native_server_unknown(
    struct kt_native_server *s, const struct kt_native_header *header, size_t len, uint8_t *out);

#endif
