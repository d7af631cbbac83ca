/* Reading and writing frames. frame.h has the rules; each frame has one function to read it and one to write
 * it, next to each other, which treat the fields in the same order.
 *
 * Invariant: a reader fails once and stays failed, so that a frame's function need not check after each
 * field; a writer likewise, once there is no room. */
#include "link/native/frame.h"

#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "link/native/varint.h"
#include "link/stream.h"

struct reader {
    const uint8_t *at, *end;
    const char *wrong; /* the first rule broken; NULL: none */
};

struct writer {
    uint8_t *at, *end;
    bool full;
};

const char *kt_native_frame_name(uint8_t type)
{
    if (kt_native_frame_is_data(type)) return "DATA";
    if (kt_native_frame_is_datagram(type)) return "DATAGRAM";
    switch (type) {
#define NAME(name, num)                                                                                      \
    case num:                                                                                                \
        return #name;
        KT_NATIVE_FRAMES(NAME)
#undef NAME
    }
    return "unknown";
}

/* ---- fields ---- */

static void require(struct reader *r, bool holds, const char *rule)
{
    if (!holds && !r->wrong) r->wrong = rule;
}

/* n bytes, or NULL. */
static const uint8_t *take(struct reader *r, uint64_t n)
{
    require(r, n <= (size_t)(r->end - r->at), "cut short");
    if (r->wrong) return NULL;
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

static uint8_t get8(struct reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? *p : 0;
}

static uint64_t get(struct reader *r)
{
    uint64_t v = 0;
    if (r->wrong) return 0;
    const size_t n = kt_native_varint_get(&v, r->at, (size_t)(r->end - r->at));
    require(r, n > 0, "cut short");
    r->at += n;
    return v;
}

static uint64_t get_id(struct reader *r)
{
    const uint64_t id = get(r);
    require(r, id > 0, "id 0");
    return id;
}

static uint8_t get_path(struct reader *r)
{
    const uint8_t path = get8(r);
    require(r, path < KT_NATIVE_PATHS, "path above 7");
    return path;
}

static struct kt_native_text get_text(struct reader *r, size_t most)
{
    const uint64_t len = get(r);
    require(r, len <= most, "text too long");
    const uint8_t *p = take(r, len);
    return p ? (struct kt_native_text){.data = (const char *)p, .len = (size_t)len}
             : (struct kt_native_text){0};
}

/* Bytes with a length before them, or to the end of the packet. */
static const uint8_t *get_payload(struct reader *r, bool length, size_t *len)
{
    const uint64_t n = length ? get(r) : (uint64_t)(r->end - r->at);
    *len = (size_t)n;
    return take(r, n);
}

static uint8_t *claim(struct writer *w, size_t n)
{
    if (n > (size_t)(w->end - w->at)) w->full = true;
    if (w->full) return NULL;
    uint8_t *p = w->at;
    w->at += n;
    return p;
}

static void put8(struct writer *w, uint8_t v)
{
    uint8_t *p = claim(w, 1);
    if (p) *p = v;
}

static void put(struct writer *w, uint64_t v)
{
    assert(v <= KT_NATIVE_VARINT_MAX);
    uint8_t *p = claim(w, kt_native_varint_size(v));
    if (p) kt_native_varint_put(p, KT_NATIVE_VARINT_BYTES, v);
}

static void put_bytes(struct writer *w, const void *data, size_t len)
{
    uint8_t *p = claim(w, len);
    if (p && len > 0) memcpy(p, data, len);
}

static void put_text(struct writer *w, const struct kt_native_text *text)
{
    put(w, text->len);
    put_bytes(w, text->data, text->len);
}

/* ---- frames ---- */

static void read_padding(struct reader *r, size_t *n)
{
    for (*n = 1; r->at < r->end && *r->at == KT_NATIVE_FRAME_PADDING; r->at++) ++*n;
}

static void write_padding(struct writer *w, size_t n)
{
    uint8_t *p = claim(w, n - 1);
    if (p) memset(p, 0, n - 1);
}

/* As RFC 9000 section 19.3.1: a gap is the missing numbers less one, a range the numbers in it less one. */
static void read_ack(struct reader *r, struct kt_native_ack *ack)
{
    ack->path = get_path(r);
    uint64_t last = get(r);
    ack->delay_us = kt_min64(get(r), KT_NATIVE_VARINT_MAX / 8) * 8;
    const uint64_t further = get(r);
    require(r, further < KT_NATIVE_ACK_RANGES, "too many ranges");
    ack->count = 0;
    for (uint64_t i = 0; !r->wrong; i++) {
        const uint64_t more = get(r);
        require(r, more <= last, "range below packet number 0");
        ack->ranges[ack->count++] = (struct kt_native_range){last - more, last};
        if (i == further) return;
        const uint64_t gap = get(r);
        require(r, gap + 2 <= last - more, "range below packet number 0");
        last -= more + gap + 2;
    }
}

static void write_ack(struct writer *w, const struct kt_native_ack *ack)
{
    const struct kt_native_range *range = ack->ranges;
    put8(w, ack->path);
    put(w, range->last);
    put(w, ack->delay_us / 8);
    put(w, ack->count - 1);
    put(w, range->last - range->first);
    for (uint32_t i = 1; i < ack->count; i++, range++) {
        put(w, range[0].first - range[1].last - 2);
        put(w, range[1].last - range[1].first);
    }
}

static void read_open(struct reader *r, struct kt_native_open *open)
{
    open->id = get_id(r);
    open->priority = get8(r);
    require(r, open->priority < KT_PRIORITIES, "priority above 7");
    const uint64_t weight = get(r);
    require(r, weight >= 1 && weight <= KT_WEIGHT_MAX, "weight outside 1..256");
    open->weight = (uint32_t)weight;
    open->flags = get8(r);
    open->target = get_text(r, KT_NATIVE_NAME_MAX);
    open->client = get_text(r, KT_NATIVE_NAME_MAX);
    open->name = get_text(r, KT_NATIVE_NAME_MAX);
}

static void write_open(struct writer *w, const struct kt_native_open *open)
{
    put(w, open->id);
    put8(w, open->priority);
    put(w, open->weight);
    put8(w, open->flags);
    put_text(w, &open->target);
    put_text(w, &open->client);
    put_text(w, &open->name);
}

static void read_data(struct reader *r, uint8_t type, struct kt_native_data *d)
{
    d->id = get_id(r);
    d->offset = get(r);
    d->data = get_payload(r, type & KT_NATIVE_DATA_LENGTH, &d->len);
    require(r, d->len > 0 || type & KT_NATIVE_DATA_LAST, "empty, and not the last");
    require(r, d->len <= KT_NATIVE_VARINT_MAX - d->offset, "ends above the highest offset");
}

static void put_data(struct writer *w, uint8_t type, const struct kt_native_data *d)
{
    put(w, d->id);
    put(w, d->offset);
    if (type & KT_NATIVE_DATA_LENGTH) put(w, d->len);
}

static void put_datagram(struct writer *w, uint8_t type, const struct kt_native_datagram *d)
{
    put(w, d->id);
    put(w, d->sequence);
    if (type & KT_NATIVE_DATAGRAM_LENGTH) put(w, d->len);
}

static void read_parity(struct reader *r, struct kt_native_parity *p)
{
    p->first = get(r);
    require(
        r, p->first <= KT_NATIVE_VARINT_MAX - KT_NATIVE_PARITY_SPAN, "ends above the highest packet number");
    p->members = get(r);
    require(r, p->members & 1, "its first packet is not a member");
    p->index = get8(r);
    require(r, p->index < KT_NATIVE_PARITY_SHARDS, "more than 16 parity shards");
    p->shard = get_payload(r, true, &p->len);
    require(r, p->len > KT_NATIVE_PARITY_HEAD, "shard without frames");
}

static void write_parity(struct writer *w, const struct kt_native_parity *p)
{
    put(w, p->first);
    put(w, p->members);
    put8(w, p->index);
    put(w, p->len);
    put_bytes(w, p->shard, p->len);
}

static void read_challenge(struct reader *r, uint8_t *challenge)
{
    const uint8_t *p = take(r, KT_NATIVE_CHALLENGE);
    if (p) memcpy(challenge, p, KT_NATIVE_CHALLENGE);
}

static void read_body(struct reader *r, struct kt_native_frame *f)
{
    uint64_t n;
    switch (f->type) {
    case KT_NATIVE_FRAME_PADDING:
        read_padding(r, &f->padding);
        break;
    case KT_NATIVE_FRAME_PING:
        break;
    case KT_NATIVE_FRAME_ACK:
        read_ack(r, &f->ack);
        break;
    case KT_NATIVE_FRAME_ACK_EVERY:
        f->ack_every.path = get_path(r);
        n = get(r);
        require(r, n >= 1 && n <= KT_NATIVE_ACK_EVERY_MAX, "packets outside 1..32");
        f->ack_every.packets = (uint32_t)n;
        break;
    case KT_NATIVE_FRAME_OPEN:
        read_open(r, &f->open);
        break;
    case KT_NATIVE_FRAME_RESET:
        f->reset.id = get_id(r);
        f->reset.offset = get(r);
        f->reset.code = get(r);
        f->reset.text = get_text(r, KT_NATIVE_RESET_TEXT);
        break;
    case KT_NATIVE_FRAME_STOP:
        f->stop.id = get_id(r);
        f->stop.taken = get(r);
        break;
    case KT_NATIVE_FRAME_MAX_DATA:
        f->max_data = get(r);
        break;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        f->max_stream_data.id = get_id(r);
        f->max_stream_data.taken = get(r);
        f->max_stream_data.window = get(r);
        require(r, f->max_stream_data.window <= KT_NATIVE_VARINT_MAX - f->max_stream_data.taken,
            "ends above the highest offset");
        break;
    case KT_NATIVE_FRAME_MAX_STREAMS:
        f->max_streams = get(r);
        require(r, f->max_streams <= KT_NATIVE_VARINT_MAX / 2, "more streams than ids");
        break;
    case KT_NATIVE_FRAME_BLOCKED:
        f->blocked.id = get(r);
        f->blocked.offset = get(r);
        break;
    case KT_NATIVE_FRAME_FLOW:
        f->flow.id = get_id(r);
        f->flow.target = get_text(r, KT_NATIVE_NAME_MAX);
        f->flow.client = get_text(r, KT_NATIVE_NAME_MAX);
        break;
    case KT_NATIVE_FRAME_FLOW_END:
        f->flow_end.id = get_id(r);
        f->flow_end.code = get(r);
        break;
    case KT_NATIVE_FRAME_PARITY:
        read_parity(r, &f->parity);
        break;
    case KT_NATIVE_FRAME_PATH_CHALLENGE:
    case KT_NATIVE_FRAME_PATH_RESPONSE:
        read_challenge(r, f->challenge);
        break;
    case KT_NATIVE_FRAME_CLOSE:
        f->close.code = get(r);
        f->close.text = get_text(r, KT_NATIVE_CLOSE_TEXT);
        break;
    default:
        if (kt_native_frame_is_data(f->type)) {
            read_data(r, f->type, &f->data);
        } else if (kt_native_frame_is_datagram(f->type)) {
            f->datagram.id = get_id(r);
            f->datagram.sequence = get(r);
            f->datagram.data = get_payload(r, f->type & KT_NATIVE_DATAGRAM_LENGTH, &f->datagram.len);
        } else {
            require(r, false, "unknown type");
        }
    }
}

static void write_body(struct writer *w, const struct kt_native_frame *f)
{
    switch (f->type) {
    case KT_NATIVE_FRAME_PADDING:
        write_padding(w, f->padding);
        break;
    case KT_NATIVE_FRAME_PING:
        break;
    case KT_NATIVE_FRAME_ACK:
        write_ack(w, &f->ack);
        break;
    case KT_NATIVE_FRAME_ACK_EVERY:
        put8(w, f->ack_every.path);
        put(w, f->ack_every.packets);
        break;
    case KT_NATIVE_FRAME_OPEN:
        write_open(w, &f->open);
        break;
    case KT_NATIVE_FRAME_RESET:
        put(w, f->reset.id);
        put(w, f->reset.offset);
        put(w, f->reset.code);
        put_text(w, &f->reset.text);
        break;
    case KT_NATIVE_FRAME_STOP:
        put(w, f->stop.id);
        put(w, f->stop.taken);
        break;
    case KT_NATIVE_FRAME_MAX_DATA:
        put(w, f->max_data);
        break;
    case KT_NATIVE_FRAME_MAX_STREAM_DATA:
        put(w, f->max_stream_data.id);
        put(w, f->max_stream_data.taken);
        put(w, f->max_stream_data.window);
        break;
    case KT_NATIVE_FRAME_BLOCKED:
        put(w, f->blocked.id);
        put(w, f->blocked.offset);
        break;
    case KT_NATIVE_FRAME_MAX_STREAMS:
        put(w, f->max_streams);
        break;
    case KT_NATIVE_FRAME_FLOW:
        put(w, f->flow.id);
        put_text(w, &f->flow.target);
        put_text(w, &f->flow.client);
        break;
    case KT_NATIVE_FRAME_FLOW_END:
        put(w, f->flow_end.id);
        put(w, f->flow_end.code);
        break;
    case KT_NATIVE_FRAME_PARITY:
        write_parity(w, &f->parity);
        break;
    case KT_NATIVE_FRAME_PATH_CHALLENGE:
    case KT_NATIVE_FRAME_PATH_RESPONSE:
        put_bytes(w, f->challenge, KT_NATIVE_CHALLENGE);
        break;
    case KT_NATIVE_FRAME_CLOSE:
        put(w, f->close.code);
        put_text(w, &f->close.text);
        break;
    default:
        if (kt_native_frame_is_data(f->type)) {
            put_data(w, f->type, &f->data);
            put_bytes(w, f->data.data, f->data.len);
        } else {
            assert(kt_native_frame_is_datagram(f->type));
            put_datagram(w, f->type, &f->datagram);
            put_bytes(w, f->datagram.data, f->datagram.len);
        }
    }
}

long kt_native_frame_read(struct kt_native_frame *f, const uint8_t *in, size_t len, struct kt_err *err)
{
    if (len == 0) return kt_err_set(err, KT_EPROTO, "packet without a frame");
    struct reader r = {.at = in + 1, .end = in + len};
    f->type = in[0];
    read_body(&r, f);
    if (!r.wrong) return (long)(r.at - in);
    return kt_err_set(err, KT_EPROTO, "frame %s (0x%02x): %s", kt_native_frame_name(in[0]), in[0], r.wrong);
}

size_t kt_native_frame_write(uint8_t *out, size_t room, const struct kt_native_frame *f)
{
    struct writer w = {.at = out, .end = out + room};
    put8(&w, f->type);
    write_body(&w, f);
    return w.full ? 0 : (size_t)(w.at - out);
}

size_t kt_native_data_header(uint8_t *out, size_t room, const struct kt_native_data *d, uint8_t type)
{
    struct writer w = {.at = out, .end = out + room};
    put8(&w, type);
    put_data(&w, type, d);
    return w.full || d->len > (size_t)(w.end - w.at) ? 0 : (size_t)(w.at - out);
}

/* The payload's length takes one byte or two. */
size_t kt_native_data_fits(size_t room, uint64_t id, uint64_t offset)
{
    const size_t header = 1 + kt_native_varint_size(id) + kt_native_varint_size(offset) + 1;
    if (room <= header) return 0;
    const size_t len = room - header;
    return kt_native_varint_size(len) == 1 ? len : len - 1;
}
