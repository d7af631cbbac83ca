/* FEC encoder: keeps parity sums (fec_sums.h), not packets.
 *
 * Invariant: between calls, the sums are those of the open group's data packets so far, if it is sent with parity.
 * After the last data packet they are the parity; they stay until the next data packet opens a group. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "kcp/fec.h"
#include "kcp/fec_sums.h"
#include "kcp/fec_wire.h"

struct kt_fec_enc {
    unsigned data, parity;
    unsigned limit, rows; /* parity packets to send: from the next group on; for the open one */
    unsigned whole;       /* groups still to be sent whole, regardless of the limit */
    uint32_t next;        /* seqid of the next packet */
    uint32_t parity_base; /* seqid of the finished group's first parity packet */
    uint32_t groups;      /* seqids wrap after this many groups */
    unsigned count;       /* data packets in the open group; == data: finished, parity may be fetched */
    uint64_t last_us;     /* time of the last data packet */
    bool started;         /* last_us is set */
    struct kt_fec_sums *sums;
};

int kt_fec_enc_new(struct kt_fec_enc **out, unsigned data, unsigned parity)
{
    *out = NULL;
    if (data < 1 || parity < 1 || data > KT_FEC_MAX_SHARDS || parity > KT_FEC_MAX_SHARDS - data)
        return KT_EINVAL;
    struct kt_fec_enc *e = calloc(1, sizeof *e);
    if (!e) return KT_ENOMEM;
    const int rc = kt_fec_sums_new(&e->sums, data, parity);
    if (rc) {
        free(e);
        return rc;
    }
    e->data = data;
    e->parity = e->limit = e->rows = parity;
    e->whole = KT_FEC_FULL_GROUPS;
    e->groups = fec_groups(data + parity);
    *out = e;
    return 0;
}

void kt_fec_enc_free(struct kt_fec_enc *e)
{
    if (!e) return;
    kt_fec_sums_free(e->sums);
    free(e);
}

void kt_fec_enc_limit(struct kt_fec_enc *e, unsigned n)
{
    assert(n <= e->parity);
    e->limit = n;
}

void kt_fec_enc_seek(struct kt_fec_enc *e, uint32_t group)
{
    assert(group < e->groups);
    e->next = group * (e->data + e->parity);
    e->count = e->data; /* the next data packet opens a group */
}

static uint32_t advance(const struct kt_fec_enc *e, uint32_t seqid, unsigned by)
{
    uint32_t paws = e->groups * (e->data + e->parity);
    return by < paws - seqid ? seqid + by : by - (paws - seqid);
}

unsigned kt_fec_enc_data(struct kt_fec_enc *e, uint8_t *pkt, size_t len, uint64_t now_us)
{
    assert(len >= KT_FEC_HEADER && len <= KT_FEC_MAX_PACKET);
    if (e->count == e->data) e->count = 0;
    if (e->count == 0) {
        e->rows = e->whole > 0 ? e->parity : e->limit;
        if (e->whole > 0) e->whole--;
        if (e->rows > 0) kt_fec_sums_begin(e->sums, e->rows);
    }
    size_t shard = len - FEC_OFF_SHARD;
    kt_put32(pkt, e->next);
    kt_put16(pkt + FEC_OFF_TYPE, KT_FEC_TYPE_DATA);
    kt_put16(pkt + FEC_OFF_SHARD, (uint32_t)shard);
    if (e->rows > 0) kt_fec_sums_add(e->sums, e->count, pkt + FEC_OFF_SHARD, shard);
    e->next = advance(e, e->next, 1);
    e->count++;

    bool late = e->started && now_us > e->last_us && now_us - e->last_us >= KT_FEC_PARITY_GAP_US;
    e->last_us = now_us;
    e->started = true;
    if (e->count < e->data) return 0;
    /* Late parity is useless and is not sent, but its seqids are used up (wire-kcptun.md 5.2 rule 3). */
    e->parity_base = e->next;
    e->next = advance(e, e->next, e->parity);
    return late ? 0 : e->rows;
}

size_t kt_fec_enc_parity(struct kt_fec_enc *e, unsigned i, uint8_t *out)
{
    assert(e->count == e->data && i < e->rows);
    kt_put32(out, e->parity_base + i); /* a group never straddles the wrap */
    kt_put16(out + FEC_OFF_TYPE, KT_FEC_TYPE_PARITY);
    size_t len;
    const uint8_t *sum = kt_fec_sums_row(e->sums, i, &len);
    memcpy(out + FEC_OFF_SHARD, sum, len);
    return FEC_OFF_SHARD + len;
}
