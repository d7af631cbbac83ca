/* Parameters: what each end of kt's own wire says in its handshake message (docs/wire.md section 4.1). A list of type,
 * length and value, by strictly rising type. Reading is strict, allocates nothing, and is bounded by the message. */
#ifndef KT_LINK_NATIVE_PARAMS_H
#define KT_LINK_NATIVE_PARAMS_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"

#define KT_NATIVE_AGENT 64u       /* bytes of text, at most */
#define KT_NATIVE_ERROR_TEXT 200u /* likewise */
#define KT_NATIVE_INSTANCE 16u
#define KT_NATIVE_DEVICE 16u

enum kt_native_param {
    KT_NATIVE_PARAM_PADDING,
    KT_NATIVE_PARAM_VERSIONS,
    KT_NATIVE_PARAM_TIME,
    KT_NATIVE_PARAM_AEAD,
    KT_NATIVE_PARAM_INSTANCE,
    KT_NATIVE_PARAM_MAX_DATA,
    KT_NATIVE_PARAM_MAX_STREAM_DATA,
    KT_NATIVE_PARAM_MAX_STREAMS,
    KT_NATIVE_PARAM_MAX_FLOWS,
    KT_NATIVE_PARAM_ACK_DELAY,
    KT_NATIVE_PARAM_SURVIVE,
    KT_NATIVE_PARAM_AGENT,
    KT_NATIVE_PARAM_MIN_STREAM_DATA,
    KT_NATIVE_PARAM_ERROR,
    KT_NATIVE_PARAM_PARITY,
    KT_NATIVE_PARAM_KEEPALIVE,
    KT_NATIVE_PARAM_DEVICE,
};

/* Those that every initiation has, and every response without an error. */
#define KT_NATIVE_PARAMS_NEEDED                                                                              \
    ((2u << KT_NATIVE_PARAM_SURVIVE) - (1u << KT_NATIVE_PARAM_VERSIONS) +                                    \
        (1u << KT_NATIVE_PARAM_MIN_STREAM_DATA))

struct kt_native_params {
    uint32_t present;        /* bit t: the parameter with type t is there; padding is not noted */
    uint8_t lowest, highest; /* versions */
    uint8_t aead;            /* bits of enum kt_aead_method */
    uint8_t instance[KT_NATIVE_INSTANCE];
    uint8_t device[KT_NATIVE_DEVICE];
    uint64_t time_ms;                                    /* since 1970 */
    uint64_t max_data, max_stream_data, min_stream_data; /* the last at most max_stream_data */
    uint64_t max_streams, max_flows;                     /* 0..KT_NATIVE_STREAMS_MAX */
    uint64_t ack_delay_ms;                               /* 0..KT_NATIVE_ACK_DELAY_MAX */
    uint64_t survive_s;                                  /* 0..KT_NATIVE_SURVIVE_MAX */
    uint64_t parity;                                     /* 0: this end ignores PARITY */
    uint64_t keepalive_s;                                /* 0: it may be silent for any time */
    uint64_t error;                                      /* enum kt_native_code */
    char agent[KT_NATIVE_AGENT + 1]; /* text: without control characters, maybe not UTF-8 */
    char error_text[KT_NATIVE_ERROR_TEXT + 1];
};

#define KT_NATIVE_STREAMS_MAX (UINT64_C(1) << 20)
#define KT_NATIVE_ACK_DELAY_MAX 10000u
#define KT_NATIVE_SURVIVE_MAX 2592000u /* 30 days */

/* Room for the parameters of any struct, without padding. */
#define KT_NATIVE_PARAMS_SIZE 512u

/* Writes those that are present, within their ranges (asserted), and enough padding before them to make `size` bytes in
 * all; less than 3 bytes cannot be filled, and then there are none. Returns the length, at most KT_NATIVE_PARAMS_SIZE
 * or size, whichever is more. */
size_t kt_native_params_write(const struct kt_native_params *p, size_t size, uint8_t *out);

/* 0, or KT_EPROTO: not in rising order, cut off, or a known one with a wrong length or out of its range. Unknown types
 * are skipped. Which must be present is for the caller to check. */
int kt_native_params_read(struct kt_native_params *p, const uint8_t *in, size_t len);

#endif
