/* The part of a handshake that both ends share: derives Noise's keys from the user's, and secrets from Noise's. */
#include "link/native/handshake.h"
#include <string.h>

static void init(
    struct kt_native_secrets *s, const uint8_t *psk, const uint8_t *own, const uint8_t *server_public)
{
    memset(s, 0, sizeof *s);
    if (psk) memcpy(s->psk, psk, sizeof s->psk);
    if (own) {
        s->pairs = true;
        memcpy(s->own, own, sizeof s->own);
        kt_noise_public(s->own, s->own_public);
        memcpy(s->server_public, server_public ? server_public : s->own_public, sizeof s->server_public);
    }
    kt_native_header_keys_derive(s->psk, s->pairs ? s->server_public : NULL, &s->header_keys);
}

void kt_native_secrets_shared(struct kt_native_secrets *s, const uint8_t psk[KT_NATIVE_KEY])
{
    init(s, psk, NULL, NULL);
}

int kt_native_secrets_client(struct kt_native_secrets *s, const uint8_t own[KT_NATIVE_KEY],
    const uint8_t server_public[KT_NATIVE_KEY], const uint8_t *psk, struct kt_err *err)
{
    if (!kt_noise_usable(server_public))
        return kt_err_set(err, KT_ECONFIG, "the server's public key is not a valid X25519 key");
    init(s, psk, own, server_public);
    return 0;
}

void kt_native_secrets_server(
    struct kt_native_secrets *s, const uint8_t own[KT_NATIVE_KEY], const uint8_t *psk)
{
    init(s, psk, own, NULL);
}

enum kt_noise_pattern kt_native_pattern(const struct kt_native_secrets *s)
{
    return s->pairs ? KT_NOISE_IKPSK2 : KT_NOISE_NNPSK0;
}

void kt_native_noise_init(struct kt_noise *n, const struct kt_native_secrets *s, bool client)
{
    const struct kt_noise_opts opts = {.pattern = kt_native_pattern(s),
        .initiator = client,
        .prologue = s->pairs ? "kt wire 1K" : "kt wire 1P",
        .prologue_len = 10,
        .psk = s->psk,
        .static_private = s->pairs ? s->own : NULL,
        .static_public = s->pairs ? s->own_public : NULL,
        .remote_static = s->pairs && client ? s->server_public : NULL};
    kt_noise_init(n, &opts);
}

void kt_native_agree(struct kt_native_agreed *a, const struct kt_noise *n, bool client)
{
    kt_noise_split(n, client ? a->tx_secret : a->rx_secret, client ? a->rx_secret : a->tx_secret);
    memcpy(a->peer_public, n->rs, sizeof a->peer_public);
}

bool kt_native_is_unknown(const struct kt_native_header_keys *keys, const struct kt_native_header *header,
    uint8_t *dgram, size_t len, struct kt_native_drops *drops)
{
    return header->kind == KT_NATIVE_CONTROL &&
           kt_native_unwrap(keys, header, dgram, len, drops) == (int)KT_NATIVE_UNKNOWN_BODY &&
           dgram[KT_NATIVE_HEADER] == KT_NATIVE_CONTROL_UNKNOWN;
}
