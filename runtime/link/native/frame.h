/* Frames: what a packet holds (docs/wire.md, section 6). One function reads any frame, another writes any.
 *
 * Invariant: what kt_native_frame_read accepts breaks no rule of section 6 that can be checked without
 * knowing the association, and kt_native_frame_write can write it again. Reading looks at each byte once and
 * allocates nothing; texts and payloads point into the packet.
 *
 * Ids, offsets and other varints are at most KT_NATIVE_VARINT_MAX. */
#ifndef KT_LINK_NATIVE_FRAME_H
#define KT_LINK_NATIVE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "link/native/keys.h"

/* Number on the wire and name. DATA and DATAGRAM have one type for each combination of their bits. */
#define KT_NATIVE_FRAMES(X)                                                                                  \
    X(PADDING, 0x00)                                                                                         \
    X(PING, 0x01)                                                                                            \
    X(ACK, 0x02)                                                                                             \
    X(ACK_EVERY, 0x03)                                                                                       \
    X(OPEN, 0x04)                                                                                            \
    X(DATA, 0x08)                                                                                            \
    X(RESET, 0x0c)                                                                                           \
    X(STOP, 0x0d)                                                                                            \
    X(MAX_DATA, 0x10)                                                                                        \
    X(MAX_STREAM_DATA, 0x11)                                                                                 \
    X(MAX_STREAMS, 0x12)                                                                                     \
    X(BLOCKED, 0x13)                                                                                         \
    X(FLOW, 0x18)                                                                                            \
    X(FLOW_END, 0x19)                                                                                        \
    X(DATAGRAM, 0x1a)                                                                                        \
    X(PARITY, 0x20)                                                                                          \
    X(PATH_CHALLENGE, 0x28)                                                                                  \
    X(PATH_RESPONSE, 0x29)                                                                                   \
    X(CLOSE, 0x30)

enum kt_native_frame_type {
#define KT_NATIVE_FRAME_ENUM(name, num) KT_NATIVE_FRAME_##name = num,
    KT_NATIVE_FRAMES(KT_NATIVE_FRAME_ENUM)
#undef KT_NATIVE_FRAME_ENUM
};

#define KT_NATIVE_DATA_LAST 1u       /* bit of DATA's type: the last byte of the stream */
#define KT_NATIVE_DATA_LENGTH 2u     /* bit of DATA's type: has a length; else to the end of the packet */
#define KT_NATIVE_DATAGRAM_LENGTH 1u /* bit of DATAGRAM's type, likewise */

#define KT_NATIVE_ACK_RANGES 64u    /* in one ACK */
#define KT_NATIVE_ACK_BYTES 1034u   /* so that one fits into any packet that holds nothing else */
#define KT_NATIVE_ACK_EVERY_MAX 32u /* packets */
#define KT_NATIVE_NAME_MAX 255u     /* target, client and name of OPEN and FLOW, bytes */
#define KT_NATIVE_RESET_TEXT 127u
#define KT_NATIVE_CLOSE_TEXT 200u
#define KT_NATIVE_CHALLENGE 8u
#define KT_NATIVE_PARITY_SPAN 62u   /* packet numbers that a group spans, at most */
#define KT_NATIVE_PARITY_SHARDS 16u /* parity of a group, at most */
#define KT_NATIVE_PARITY_HEAD 2u    /* bytes of a shard before the frames: their length */

/* Text from the peer: any bytes, without a final zero. */
struct kt_native_text {
    const char *data;
    size_t len;
};

/* Packet numbers that arrived, both inclusive. */
struct kt_native_range {
    uint64_t first, last;
};

struct kt_native_ack {
    uint8_t path;
    uint64_t delay_us; /* from the arrival of the largest number to sending this; a multiple of 8 */
    uint32_t count;    /* ranges, 1..KT_NATIVE_ACK_RANGES */
    /* Highest first; at least one number is missing between a range and the next. */
    struct kt_native_range ranges[KT_NATIVE_ACK_RANGES];
};

struct kt_native_open {
    uint64_t id;      /* a stream, not 0 */
    uint8_t priority; /* 0..7 (link/stream.h) */
    uint32_t weight;  /* 1..256 */
    uint8_t flags;    /* none is defined: written as 0, ignored when read */
    struct kt_native_text target, client, name;
};

struct kt_native_data {
    uint64_t id;     /* a stream, not 0 */
    uint64_t offset; /* offset + len is at most KT_NATIVE_VARINT_MAX */
    const uint8_t *data;
    size_t len; /* 0 only with KT_NATIVE_DATA_LAST */
};

struct kt_native_datagram {
    uint64_t id; /* a flow, not 0 */
    uint64_t sequence;
    const uint8_t *data;
    size_t len;
};

struct kt_native_parity {
    uint64_t first;   /* packet number; first + KT_NATIVE_PARITY_SPAN is at most KT_NATIVE_VARINT_MAX */
    uint64_t members; /* bit i: packet first + i is in the group; bit 0 is set */
    uint8_t index;    /* among the group's parity shards, below KT_NATIVE_PARITY_SHARDS */
    const uint8_t *shard;
    size_t len; /* more than KT_NATIVE_PARITY_HEAD */
};

/* Packet numbers from the first member to the last, inclusive. members: not 0. */
static inline unsigned kt_native_parity_span(uint64_t members)
{
    return 64u - (unsigned)__builtin_clzll(members);
}

struct kt_native_frame {
    uint8_t type; /* with the bits of DATA and DATAGRAM */
    union {
        size_t padding; /* PADDING: frames in a row, at least 1 */
        struct kt_native_ack ack;
        struct {
            uint8_t path;
            uint32_t packets; /* 1..KT_NATIVE_ACK_EVERY_MAX */
        } ack_every;
        struct kt_native_open open;
        struct kt_native_data data;
        struct {
            uint64_t id;     /* a stream, not 0 */
            uint64_t offset; /* of the first byte that the peer's application does not get */
            uint64_t code;
            struct kt_native_text text;
        } reset;
        struct {
            uint64_t id;    /* a stream, not 0 */
            uint64_t taken; /* bytes that the application took */
        } stop;
        uint64_t max_data; /* bytes */
        struct {
            uint64_t id;            /* a stream, not 0 */
            uint64_t taken, window; /* bytes; at most KT_NATIVE_VARINT_MAX together */
        } max_stream_data;
        struct {
            uint64_t id;     /* a stream, or 0 for the association */
            uint64_t offset; /* bytes of the stream from there on wait; of the association: max_data */
        } blocked;
        uint64_t max_streams; /* since the start */
        struct {
            uint64_t id; /* not 0 */
            struct kt_native_text target, client;
        } flow;
        struct {
            uint64_t id, code; /* a flow, not 0 */
        } flow_end;
        struct kt_native_datagram datagram;
        struct kt_native_parity parity;
        uint8_t challenge[KT_NATIVE_CHALLENGE]; /* PATH_CHALLENGE, PATH_RESPONSE */
        struct {
            uint64_t code;
            struct kt_native_text text;
        } close;
    };
};

/* The name of a type ("DATA"), or "unknown". Static storage. */
const char *kt_native_frame_name(uint8_t type);

/* Whether a packet with such a frame must be acknowledged (5.1). */
static inline bool kt_native_frame_eliciting(uint8_t type)
{
    return type != KT_NATIVE_FRAME_PADDING && type != KT_NATIVE_FRAME_ACK && type != KT_NATIVE_FRAME_CLOSE;
}

static inline bool kt_native_frame_is_data(uint8_t type)
{
    return (type & ~3u) == KT_NATIVE_FRAME_DATA;
}

static inline bool kt_native_frame_is_datagram(uint8_t type)
{
    return (type & ~1u) == KT_NATIVE_FRAME_DATAGRAM;
}

/* Reads the frame at the start of `in`, the rest of a packet. Returns the bytes it takes (at least 1), or
 * KT_EPROTO with a sentence that names the frame, for CLOSE; then f is undefined. A type is one byte. */
long kt_native_frame_read(struct kt_native_frame *f, const uint8_t *in, size_t len, struct kt_err *err);

/* Writes a frame, which must keep the ranges above. Returns the bytes written, or 0 if it does not fit; then the
 * content of out is undefined. An ACK takes at most KT_NATIVE_ACK_BYTES. A DATA or DATAGRAM frame without length
 * must be the last of its packet. */
size_t kt_native_frame_write(uint8_t *out, size_t room, const struct kt_native_frame *f);

/* As kt_native_frame_write for DATA, but writes only what precedes the payload: the caller puts d->len bytes
 * behind it. d->data is not read. type: with its bits. 0: both do not fit. */
size_t kt_native_data_header(uint8_t *out, size_t room, const struct kt_native_data *d, uint8_t type);

/* The longest payload of a DATA frame with a length that fits into room; 0: none.
 * room: at most 16,383 bytes. */
size_t kt_native_data_fits(size_t room, uint64_t id, uint64_t offset);

#endif
