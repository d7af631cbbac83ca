/* Parameters by a table: a row for each type says where its value is in the struct and what bounds it. */
#include "link/native/params.h"
#include <assert.h>
#include <string.h>
#include "base/bytes.h"
#include "base/text.h"
#include "link/native/varint.h"

enum kind { PADDING, BYTES, TIME, NUMBER, TEXT, ERROR };

#define AT(field) offsetof(struct kt_native_params, field)
#define PADDING_HEAD 3u /* type, and a length of 2 bytes */

/* BYTES: max is their number. NUMBER: the highest. TEXT: the longest. */
static const struct row {
    enum kind kind;
    size_t at;
    uint64_t max;
} rows[] = {
    [KT_NATIVE_PARAM_PADDING] = {PADDING, 0, 0},
    [KT_NATIVE_PARAM_VERSIONS] = {BYTES, AT(lowest), 2},
    [KT_NATIVE_PARAM_TIME] = {TIME, AT(time_ms), 0},
    [KT_NATIVE_PARAM_AEAD] = {BYTES, AT(aead), 1},
    [KT_NATIVE_PARAM_INSTANCE] = {BYTES, AT(instance), KT_NATIVE_INSTANCE},
    [KT_NATIVE_PARAM_MAX_DATA] = {NUMBER, AT(max_data), KT_NATIVE_VARINT_MAX},
    [KT_NATIVE_PARAM_MAX_STREAM_DATA] = {NUMBER, AT(max_stream_data), KT_NATIVE_VARINT_MAX},
    [KT_NATIVE_PARAM_MAX_STREAMS] = {NUMBER, AT(max_streams), KT_NATIVE_STREAMS_MAX},
    [KT_NATIVE_PARAM_MAX_FLOWS] = {NUMBER, AT(max_flows), KT_NATIVE_STREAMS_MAX},
    [KT_NATIVE_PARAM_ACK_DELAY] = {NUMBER, AT(ack_delay_ms), KT_NATIVE_ACK_DELAY_MAX},
    [KT_NATIVE_PARAM_SURVIVE] = {NUMBER, AT(survive_s), KT_NATIVE_SURVIVE_MAX},
    [KT_NATIVE_PARAM_AGENT] = {TEXT, AT(agent), KT_NATIVE_AGENT},
    [KT_NATIVE_PARAM_MIN_STREAM_DATA] = {NUMBER, AT(min_stream_data), KT_NATIVE_VARINT_MAX},
    [KT_NATIVE_PARAM_ERROR] = {ERROR, AT(error_text), KT_NATIVE_ERROR_TEXT},
    [KT_NATIVE_PARAM_PARITY] = {NUMBER, AT(parity), KT_NATIVE_VARINT_MAX},
    [KT_NATIVE_PARAM_KEEPALIVE] = {NUMBER, AT(keepalive_s), KT_NATIVE_SURVIVE_MAX},
    [KT_NATIVE_PARAM_DEVICE] = {BYTES, AT(device), KT_NATIVE_DEVICE},
};
#define ROWS (sizeof rows / sizeof rows[0])

_Static_assert(AT(highest) == AT(lowest) + 1, "versions are two bytes in a row");

/* ---- writing ---- */

static size_t put_number(uint8_t *out, uint64_t v)
{
    return kt_native_varint_put(out, KT_NATIVE_VARINT_BYTES, v);
}

/* Writes a value; returns its length. */
static size_t put_value(const struct kt_native_params *p, const struct row *row, uint8_t *out)
{
    const uint8_t *field = (const uint8_t *)p + row->at;
    size_t n = 0;
    uint64_t v;
    switch (row->kind) {
    case BYTES:
        memcpy(out, field, row->max);
        return row->max;
    case TIME:
        kt_put64(out, p->time_ms);
        return sizeof p->time_ms;
    case NUMBER:
        memcpy(&v, field, sizeof v);
        assert(v <= row->max);
        return put_number(out, v);
    case ERROR:
        n = put_number(out, p->error); /* fall through */
    case TEXT: {
        const size_t len = strnlen((const char *)field, row->max);
        memcpy(out + n, field, len);
        return n + len;
    }
    case PADDING:
        break;
    }
    return 0;
}

size_t kt_native_params_write(const struct kt_native_params *p, size_t size, uint8_t *out)
{
    assert(p->min_stream_data <= p->max_stream_data);
    uint8_t list[KT_NATIVE_PARAMS_SIZE], value[KT_NATIVE_VARINT_BYTES + KT_NATIVE_ERROR_TEXT];
    size_t n = 0, padding = 0;
    for (size_t type = 1; type < ROWS; type++) {
        if (!(p->present >> type & 1)) continue;
        const size_t len = put_value(p, &rows[type], value);
        list[n++] = (uint8_t)type;
        n += put_number(list + n, len);
        memcpy(list + n, value, len);
        n += len;
    }
    if (size >= n + PADDING_HEAD) {
        padding = size - n;
        const size_t len = padding - PADDING_HEAD;
        assert(len < 1u << 14);
        memset(out, 0, padding);
        out[1] = (uint8_t)(0x40 | len >> 8); /* a varint of 2 bytes, whatever its value */
        out[2] = (uint8_t)len;
    }
    memcpy(out + padding, list, n);
    return padding + n;
}

/* ---- reading ---- */

static int get_number(uint64_t *v, const uint8_t *in, size_t len, uint64_t max)
{
    return kt_native_varint_get(v, in, len) == len && *v <= max ? 0 : KT_EPROTO;
}

static int get_text(char *out, const uint8_t *in, size_t len, size_t max)
{
    if (len > max) return KT_EPROTO;
    memcpy(out, in, len);
    for (size_t i = 0; i < len; i++)
        if (!out[i]) out[i] = '?';
    out[len] = '\0';
    kt_text_clean(out);
    return 0;
}

static int get_value(struct kt_native_params *p, const struct row *row, const uint8_t *in, size_t len)
{
    uint8_t *field = (uint8_t *)p + row->at;
    uint64_t v;
    size_t n;
    switch (row->kind) {
    case PADDING:
        return 0;
    case BYTES:
        if (len != row->max) return KT_EPROTO;
        memcpy(field, in, len);
        return 0;
    case TIME:
        if (len != sizeof p->time_ms) return KT_EPROTO;
        p->time_ms = kt_get64(in);
        return 0;
    case NUMBER:
        if (len == 0 || get_number(&v, in, len, row->max)) return KT_EPROTO;
        memcpy(field, &v, sizeof v);
        return 0;
    case TEXT:
        return get_text((char *)field, in, len, row->max);
    case ERROR:
        n = kt_native_varint_get(&p->error, in, len);
        return n ? get_text((char *)field, in + n, len - n, row->max) : KT_EPROTO;
    }
    return KT_EPROTO;
}

int kt_native_params_read(struct kt_native_params *p, const uint8_t *in, size_t len)
{
    uint64_t above = 0; /* the lowest type that may come */
    memset(p, 0, sizeof *p);
    while (len > 0) {
        uint64_t type, size;
        size_t n = kt_native_varint_get(&type, in, len);
        const size_t m = n ? kt_native_varint_get(&size, in + n, len - n) : 0;
        if (m == 0 || type < above || size > len - n - m) return KT_EPROTO;
        above = type + 1;
        n += m;
        if (type < ROWS) {
            if (get_value(p, &rows[type], in + n, (size_t)size)) return KT_EPROTO;
            if (type) p->present |= 1u << type;
        }
        in += n + size;
        len -= n + (size_t)size;
    }
    return p->min_stream_data <= p->max_stream_data ? 0 : KT_EPROTO;
}
