/* A client of kt's own wire that has the key, made of the handshake and the packets alone, on the first address of the
 * attacker (tunnel.h): it puts frames of its choice into well sealed packets. And the settings of honest ends. */
#ifndef SPEC_FUZZ_NATIVE_PEER_H
#define SPEC_FUZZ_NATIVE_PEER_H

#include "link/native/handshake_client.h"
#include "link/native/native.h"
#include "link/native/packet.h"
#include "tunnel.h"

/* All zero: it has not shaken hands. */
struct native_peer {
    struct kt_native_secrets secrets;
    struct kt_native_params params;
    struct kt_native_drops drops;
    struct kt_native_client hello;
    struct kt_native_tx tx;
    bool agreed;
    uint64_t number; /* of its next packet */
};

static inline struct kt_native_config native_peer_settings(bool client)
{
    static const char key[] = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    struct kt_native_config c;
    kt_native_wire.defaults(&c.common, client);
    c.common.key = key;
    c.common.key_len = strlen(key);
    return c;
}

/* A datagram from the server that is not a data packet. True: they have agreed. */
static inline bool native_peer_take(struct native_peer *p, const struct kt_native_header *h, uint8_t *data,
    size_t len, struct kt_native_agreed *agreed)
{
    if (p->agreed) return false;
    if (kt_native_client_input(&p->hello, h, data, len, agreed, NULL) != KT_NATIVE_CLIENT_AGREED)
        return false;
    p->agreed = true;
    CHECK(kt_native_tx_init(&p->tx, agreed->aead, &p->secrets.header_keys, agreed->tx_secret) == 0);
    return true;
}

/* Shakes hands. The tunnel's on_packet passes what comes back to native_peer_take. */
static inline void native_peer_greet(struct native_peer *p, struct tunnel *t)
{
    static const uint8_t psk[KT_NATIVE_KEY] = {1};
    uint8_t out[KT_NATIVE_INITIATION_MAX];
    kt_native_secrets_shared(&p->secrets, psk);
    p->params = (struct kt_native_params){.present = KT_NATIVE_PARAMS_NEEDED,
        .aead = KT_AEAD_CHACHA20_POLY1305,
        .max_data = 100000,
        .max_stream_data = 50000,
        .min_stream_data = 1000,
        .max_streams = 10,
        .survive_s = 30};
    kt_native_client_init(&p->hello, t->near, &p->secrets, &p->params, &p->drops);
    tunnel_inject(t, 0, out, kt_native_client_initiate(&p->hello, 0, out));
    tunnel_advance(t, 1000);
    CHECK(p->agreed);
}

/* Makes a datagram of n bytes of frames, which begin at dgram + KT_NATIVE_HEADER. Returns its length. */
static inline size_t native_peer_seal(struct native_peer *p, const struct tunnel *t, uint8_t *dgram, size_t n)
{
    const int len = kt_native_seal(&p->tx, 0, p->number++, dgram, n, kt_sim_now(t->sim));
    CHECK(len > 0);
    return (size_t)len;
}

static inline void native_peer_end(struct native_peer *p)
{
    kt_native_client_end(&p->hello);
    kt_native_tx_free(&p->tx);
}

#endif
