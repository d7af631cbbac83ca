/* Carries KCP packets to the peer as datagrams, within the rate limit and, while the peer's address is not
 * validated, within the amplification limit. */
#include "link/kcptun/path.h"

#define BURST (64 * 1500)
#define AMPLIFICATION 3u /* RFC 9000, 8.1 */
/* Credit kept back from data, so that the first segment, which is short, can be sent three times. */
#define KEEP 300u

int kt_kcptun_path_init(
    struct kt_kcptun_path *p, struct kt_kcptun_context *context, struct kt_udp *udp, const struct kt_addr *to)
{
    *p = (struct kt_kcptun_path){.context = context, .udp = udp, .to = to, .mtu = context->cfg.mtu};
    kt_bucket_set(&p->rate, context->cfg.rate, BURST, kt_io_now(context->io));
    p->offset = (uint32_t)kt_seal_header(context->seal);
    p->overhead = (uint32_t)kt_seal_overhead(context->seal);
    if (!kt_kcptun_context_fec(context)) return 0;
    p->offset += KT_FEC_HEADER;
    p->overhead += KT_FEC_HEADER;
    p->data = context->cfg.datashard;
    p->parity = context->cfg.parityshard;
    int rc = kt_fec_enc_new(&p->enc, p->data, p->parity);
    if (rc == 0) kt_kcptun_path_parity(p, kt_kcptun_parity(&context->cfg));
    return rc;
}

void kt_kcptun_path_parity(struct kt_kcptun_path *p, unsigned n)
{
    if (!p->enc) return;
    p->sent_parity = n < p->parity ? n : p->parity;
    kt_fec_enc_limit(p->enc, p->sent_parity);
}

bool kt_kcptun_path_tune(struct kt_kcptun_path *p)
{
    const struct kt_kcptun_config *cfg = &p->context->cfg;
    kt_bucket_set(&p->rate, cfg->rate, BURST, kt_io_now(p->context->io));
    if (!p->enc) return !kt_kcptun_context_fec(p->context);
    if (kt_kcptun_context_fec(p->context) && (cfg->datashard != p->data || cfg->parityshard > p->parity))
        return false;
    kt_kcptun_path_parity(p, kt_kcptun_context_fec(p->context) ? kt_kcptun_parity(cfg) : 0);
    return true;
}

void kt_kcptun_path_free(struct kt_kcptun_path *p)
{
    kt_fec_enc_free(p->enc);
    p->enc = NULL;
}

/* False while the bucket is in debt, or would be after the datagrams being filled. One datagram and a group's
 * parity may overdraw it, because the limit is on the mean rate. */
static bool may_send(struct kt_kcptun_path *p)
{
    if (p->rate.rate == 0) return true;
    return kt_bucket_room(&p->rate, kt_io_now(p->context->io)) > (size_t)p->reserved * p->context->cfg.mtu;
}

size_t kt_kcptun_path_room(struct kt_kcptun_path *p)
{
    return p->full ? 0 : kt_bucket_room(&p->rate, kt_io_now(p->context->io));
}

uint64_t kt_kcptun_path_ready(const struct kt_kcptun_path *p, uint64_t now_us)
{
    if (p->full) return KT_TIME_NEVER;
    if (!p->paced || p->rate.rate == 0) /* the limit may have been removed since */
        return p->limited ? KT_TIME_NEVER : now_us;
    const uint64_t due = p->rate.level > 0 ? now_us : kt_bucket_due(&p->rate, p->context->cfg.mtu);
    return due > now_us ? due : now_us + 1;
}

static uint8_t *reserve_datagram(struct kt_kcptun_path *p)
{
    uint8_t *buf = kt_udp_reserve(p->udp);
    p->full = buf == NULL;
    return buf;
}

/* ---- the amplification limit ---- */

void kt_kcptun_path_limit(struct kt_kcptun_path *p)
{
    p->limited = true;
    p->credit = 0;
}

void kt_kcptun_path_credit(struct kt_kcptun_path *p, size_t size)
{
    p->credit += AMPLIFICATION * (uint64_t)size;
}

void kt_kcptun_path_unlimit(struct kt_kcptun_path *p)
{
    p->limited = false;
}

size_t kt_kcptun_path_spare(const struct kt_kcptun_path *p)
{
    if (!p->limited) return SIZE_MAX;
    const uint64_t keep = KEEP + p->overhead + KT_KCP_OVERHEAD;
    return p->credit > keep ? (size_t)(p->credit - keep) : 0;
}

/* Reserves credit for a packet of at least *len bytes, and sets *len to the most that it may use. */
static bool promise(struct kt_kcptun_path *p, size_t *len)
{
    const uint64_t left = p->credit - p->promised, least = *len + p->overhead;
    if (left < least) return false;
    const uint64_t most = left - p->overhead;
    *len = kt_kcptun_path_mtu(p);
    if (most < *len) *len = (size_t)most;
    p->promised += *len + p->overhead;
    return true;
}

/* Charges for a datagram of this size. False if there is not enough credit. */
static bool afford(struct kt_kcptun_path *p, size_t size)
{
    if (!p->limited) return true;
    if (p->credit < size) return false;
    p->credit -= size;
    return true;
}

void kt_kcptun_path_move(struct kt_kcptun_path *p, struct kt_udp *udp, const struct kt_addr *from)
{
    p->udp = udp;
    p->from = from ? *from : (struct kt_addr){.sa.sa_family = AF_UNSPEC};
    p->full = false;
}

const struct kt_addr *kt_kcptun_path_from(const struct kt_kcptun_path *p)
{
    return p->from.sa.sa_family ? &p->from : NULL;
}

/* ---- packets ---- */

uint8_t *kt_kcptun_path_reserve(void *path, size_t *len)
{
    struct kt_kcptun_path *p = path;
    const uint64_t promised = p->promised;
    p->paced = !may_send(p);
    if (p->paced) return NULL;
    if (!p->limited)
        *len = kt_kcptun_path_mtu(p);
    else if (!promise(p, len))
        return NULL;
    uint8_t *buf = reserve_datagram(p);
    if (!buf) {
        p->promised = promised;
        return NULL;
    }
    p->reserved++;
    return buf + p->offset;
}

/* Datagrams to be sealed together (crypto/kcptun/seal.h) and sent. */
struct outgoing {
    struct kt_kcptun_path *path;
    size_t n;
    struct kt_seal_job jobs[KT_SEAL_BATCH];
};

static void seal_all(struct outgoing *o)
{
    struct kt_kcptun_path *p = o->path;
    struct kt_kcptun_context *context = p->context;
    uint8_t nonces[KT_SEAL_BATCH * KT_SEAL_MAX_NONCE];
    if (o->n == 0) return;
    const struct kt_addr *from = kt_kcptun_path_from(p);
    for (size_t i = 0; kt_tap_on(context->tap) && i < o->n; i++)
        kt_kcptun_context_show(context, p->udp, p->to, from, o->jobs[i].pkt, o->jobs[i].len);
    kt_io_random(context->io, nonces, o->n * kt_seal_nonce(context->seal));
    kt_seal_packets(context->seal, o->jobs, o->n, nonces);
    for (size_t i = 0; i < o->n; i++) {
        size_t len = o->jobs[i].len;
        if (p->whole && len > p->whole) kt_udp_fragment(p->udp, o->jobs[i].pkt);
        kt_udp_commit(p->udp, o->jobs[i].pkt, o->jobs[i].pkt, len, p->to, from);
        context->counters->OutPkts++;
        context->counters->OutBytes += len;
        kt_bucket_take(&p->rate, len);
    }
    o->n = 0;
}

/* Takes over a transmit buffer: the sealing header, then a body of len bytes. */
static void emit(struct outgoing *o, uint8_t *buf, size_t len)
{
    o->jobs[o->n++] = (struct kt_seal_job){.pkt = buf, .len = len};
    if (o->n == KT_SEAL_BATCH) seal_all(o);
}

void kt_kcptun_path_send(void *path, const struct kt_packet *pkts, size_t n)
{
    struct kt_kcptun_path *p = path;
    const size_t offset = p->offset;
    const size_t fec = p->enc ? KT_FEC_HEADER : 0, header = offset - fec;
    const uint64_t now = kt_io_now(p->context->io);
    struct outgoing out;
    out.path = p;
    out.n = 0;
    p->reserved -= (uint32_t)n;
    p->promised = 0; /* KCP is not filling any now */
    for (size_t i = 0; i < n; i++) {
        uint8_t *buf = pkts[i].data - offset;
        size_t len = pkts[i].len + fec;
        unsigned parity = p->enc ? kt_fec_enc_data(p->enc, buf + header, len, now) : 0;
        afford(p, pkts[i].len + p->overhead); /* as promised */
        emit(&out, buf, len);
        for (unsigned k = 0; k < parity; k++) {
            uint8_t *extra = reserve_datagram(p);
            /* The socket is full: skip parity rather than delay data. Its seqids are used up anyway. */
            if (!extra) break;
            size_t size = kt_fec_enc_parity(p->enc, k, extra + header);
            if (afford(p, size + kt_seal_overhead(p->context->seal)))
                emit(&out, extra, size);
            else
                kt_udp_cancel(p->udp, extra);
        }
    }
    seal_all(&out);
}
