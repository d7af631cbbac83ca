/* The bytes of a session between its engines: smux's frames through snappy to KCP, and what KCP has received through
 * snappy to smux.
 *
 * Invariant: a frame goes to KCP whole, or the session ends: the byte stream has no gap. */
#include <string.h>
#include "link/kcptun/send_budget.h"
#include "link/kcptun/session_internal.h"

/* Bytes of payload: less is not worth a frame while the address is not validated. */
#define FIRST_PIECE 32u

/* ---- to the peer ---- */

/* Bytes a frame takes in KCP beyond its payload. */
static size_t frame_overhead(const struct kt_kcptun_session *s)
{
    return KT_SMUX_HEADER + (s->comp ? KT_SNAPPY_OVERHEAD : 0);
}

/* Room while the peer's address is not validated. Only little may be sent, so a frame is cut to that, and the
 * next one waits until it has left. Bare headers are short enough. */
static size_t first_room(const struct kt_kcptun_session *s, size_t want)
{
    struct kt_kcp_stats st;
    kt_kcp_stats(s->kcp, &st);
    const size_t spare = kt_kcptun_path_spare(&s->path), overhead = frame_overhead(s),
                 room = kt_kcp_room(s->kcp);
    if (want == 0) return room > overhead;
    if (st.queued > 0 || spare < overhead + FIRST_PIECE || room < overhead + want) return 0;
    return want + overhead <= spare ? want : spare - overhead;
}

size_t kt_kcptun_session_room(void *ctx, size_t want)
{
    struct kt_kcptun_session *s = ctx;
    if (s->over) return 0;
    if (s->path.limited) return first_room(s, want);
    if (!kt_kcptun_session_may_send(s)) return 0; /* an acknowledgement makes room */
    const struct kt_kcptun_config *cfg = &s->context->cfg;
    struct kt_kcptun_send_budget h = {
        .mss = kt_kcp_mss(s->kcp),
        .space = kt_kcp_room(s->kcp),
        .path = kt_kcptun_path_room(&s->path),
        .rate = cfg->rate,
        .window = cfg->sndwnd,
        .overhead = frame_overhead(s),
        .unacked = kt_kcp_unacked(s->kcp),
    };
    kt_kcp_outlook(s->kcp, &h.kcp);
    return kt_kcptun_send_budget_room(&h, want);
}

static void to_kcp(struct kt_kcptun_session *s, const uint8_t *data, size_t n)
{
    s->context->counters->BytesSent += n;
    /* on_room has checked the window, so this is lack of memory, and a gap in the byte stream cannot be
     * repaired */
    if (kt_kcp_write(s->kcp, data, n) < n) kt_kcptun_session_fail_code(s, KT_ENOMEM);
}

static void compressed(
    struct kt_kcptun_session *s, const uint8_t *header, const struct kt_iov *payload, size_t pieces)
{
    uint8_t frame[KT_SMUX_HEADER + 65535];
    size_t n = KT_SMUX_HEADER;
    memcpy(frame, header, KT_SMUX_HEADER);
    for (size_t i = 0; i < pieces; i++) {
        memcpy(frame + n, payload[i].data, payload[i].len);
        n += payload[i].len;
    }
    size_t len = kt_snappy_encode(s->comp, frame, n, s->context->scratch);
    to_kcp(s, s->context->scratch, len);
}

void kt_kcptun_session_frame(void *ctx, const uint8_t *header, const struct kt_iov *payload, size_t pieces)
{
    struct kt_kcptun_session *s = ctx;
    if (s->comp) {
        compressed(s, header, payload, pieces);
    } else {
        to_kcp(s, header, KT_SMUX_HEADER);
        for (size_t i = 0; i < pieces; i++) to_kcp(s, payload[i].data, payload[i].len);
    }
    if (kt_smux_small_talk(header)) return;
    s->owes = true;
    s->said_kcp = kt_kcp_mark(s->kcp);
}

/* ---- from the peer ---- */

/* Ends the session because of what the peer sent. A server first sends a frame: a client whose settings differ cannot
 * read that either, and then logs which setting it may be. Without it, the client would hear nothing before its next
 * heartbeat. */
static void reject(struct kt_kcptun_session *s, int code)
{
    if (!s->context->client) {
        kt_smux_keepalive(s->smux);
        kt_smux_pump(s->smux);
    }
    kt_kcptun_session_fail_code(s, code);
}

static size_t to_smux(struct kt_kcptun_session *s, const uint8_t *data, size_t n)
{
    long took = kt_smux_input(s->smux, data, n, &s->why);
    if (took < 0) {
        reject(s, (int)took);
        return 0;
    }
    s->more = s->more || kt_smux_spent(s->smux);
    s->blocked = (size_t)took < n && !kt_smux_spent(s->smux);
    return (size_t)took;
}

static void spend(struct kt_kcptun_session *s, size_t bytes)
{
    s->bytes_left -= bytes < s->bytes_left ? bytes : s->bytes_left;
    s->more = s->more || s->bytes_left == 0;
}

/* Moves KCP's bytes through snappy into smux until one of them accepts no more, or the turn's budget is used
 * up. */
void kt_kcptun_session_read(struct kt_kcptun_session *s)
{
    const uint8_t *data;
    size_t n;
    s->more = s->bytes_left == 0;
    while (!s->over && !s->blocked && !s->more) {
        if (s->decomp && (n = kt_snappy_peek(s->decomp, &data)) > 0) {
            const size_t took = to_smux(s, data, n);
            kt_snappy_consume(s->decomp, took);
            spend(s, took);
            continue;
        }
        if ((n = kt_kcp_peek(s->kcp, &data)) == 0) return;
        size_t used = n;
        if (s->decomp) {
            int rc = kt_snappy_feed(s->decomp, data, n, &used, &s->why);
            if (rc) reject(s, rc);
        } else {
            used = to_smux(s, data, n);
            spend(s, used);
        }
        kt_kcp_consume(s->kcp, used);
        s->context->counters->BytesReceived += used;
    }
}
