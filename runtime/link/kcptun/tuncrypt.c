/* Encrypts what is written to a pipe and decrypts what is read from it.
 *
 * Writing stages at most one sealed message, and accepts nothing more until the inner pipe has accepted all
 * of it. Reading holds at most one opened message. So a stream costs two messages of memory, and
 * back-pressure passes through.
 *
 * After close the pipe exists without a user until the staged bytes are in the inner pipe or cannot be
 * delivered any more. Arrivals are dropped meanwhile, so that they do not block other streams. */
#include "link/kcptun/tuncrypt.h"
#include <stdlib.h>
#include <string.h>
#include "crypto/secretstream.h"
#include "io/io.h"
#include "link/stream.h"

struct tuncrypt {
    struct kt_pipe pipe;
    struct kt_pipe *inner; /* NULL once released */
    struct kt_io *io;
    struct kt_turn turn; /* reports a break found during a user's call; frees after close */
    struct kt_secretstream_tx *tx;
    struct kt_secretstream_rx *rx;
    const uint8_t *text; /* opened, unread: in rx */
    size_t text_len;
    size_t staged, sent; /* bytes in `out`; of them accepted by inner */
    int broken;          /* why; 0: not broken */
    bool deaf;           /* ... and arrivals are not trusted */
    bool final_in;       /* the peer's direction has ended */
    bool final_out;      /* ours has ended, or will */
    bool final_staged;
    bool short_write;                       /* the user waits for writable */
    bool told;                              /* `closed` was raised */
    bool closed;                            /* the user has released it */
    bool cut;                               /* ... and our direction ends without its final message */
    struct kt_err why;                      /* ... and the inner pipe is cut for this reason */
    uint8_t out[KT_SECRETSTREAM_FRAME_MAX]; /* preceded by the header at first */
};

static struct tuncrypt *of(const struct kt_pipe *p)
{
    return KT_CONTAINER(p, struct tuncrypt, pipe);
}

static void destroy(struct tuncrypt *t)
{
    kt_io_turn_cancel(&t->turn);
    kt_secretstream_tx_free(t->tx);
    kt_secretstream_rx_free(t->rx);
    free(t);
}

static void break_off(struct tuncrypt *t, int code)
{
    if (t->broken) return;
    t->broken = code;
    kt_io_turn(t->io, &t->turn);
}

/* True if the inner pipe has everything that was staged. */
static bool flush(struct tuncrypt *t)
{
    if (t->sent < t->staged && t->inner)
        t->sent += kt_pipe_write(t->inner, t->out + t->sent, t->staged - t->sent);
    if (t->sent < t->staged) return false;
    t->sent = t->staged = 0;
    return true;
}

static void stage(struct tuncrypt *t, const void *text, size_t n, bool final)
{
    t->staged += kt_secretstream_seal(t->tx, text, n, final, t->out + t->staged);
}

/* Sends the final message when there is room. True if the inner pipe has it. */
static bool flush_final(struct tuncrypt *t)
{
    if (!flush(t)) return false;
    if (!t->final_staged) {
        t->final_staged = true;
        stage(t, NULL, 0, true);
        return flush(t);
    }
    return true;
}

/* ---- the clear side ---- */

static void not_authentic(struct tuncrypt *t)
{
    t->deaf = true;
    break_off(t, KT_EAUTH);
}

/* Also opens what arrived before the inner pipe broke. */
static size_t on_peek(struct kt_pipe *p, struct kt_iov *iov, size_t max)
{
    struct tuncrypt *t = of(p);
    while (t->text_len == 0 && !t->deaf && max > 0) {
        struct kt_iov sealed;
        size_t used;
        if (kt_pipe_peek(t->inner, &sealed, 1) == 0) {
            if (kt_pipe_eof(t->inner) && !t->final_in) not_authentic(t);
            break;
        }
        int n = kt_secretstream_open(t->rx, sealed.data, sealed.len, &used, &t->text, &t->final_in);
        if (n < 0) {
            not_authentic(t);
            break;
        }
        kt_pipe_consume(t->inner, used);
        t->text_len = (size_t)n;
    }
    if (t->broken && !t->told) kt_io_turn(t->io, &t->turn); /* it broke before there was a listener */
    if (t->text_len == 0 || max == 0) return 0;
    iov[0] = (struct kt_iov){t->text, t->text_len};
    return 1;
}

static void on_consume(struct kt_pipe *p, size_t n)
{
    struct tuncrypt *t = of(p);
    t->text += n;
    t->text_len -= n;
}

static bool on_eof(const struct kt_pipe *p)
{
    const struct tuncrypt *t = of(p);
    return t->final_in && t->text_len == 0;
}

static size_t on_write(struct kt_pipe *p, const void *data, size_t n)
{
    struct tuncrypt *t = of(p);
    size_t taken = 0;
    while (taken < n && !t->broken && !t->final_out && flush(t)) {
        size_t piece = n - taken < KT_SECRETSTREAM_TEXT_MAX ? n - taken : KT_SECRETSTREAM_TEXT_MAX;
        stage(t, (const uint8_t *)data + taken, piece, false);
        taken += piece;
    }
    flush(t);
    t->short_write = taken < n;
    return taken;
}

/* One message, even if the inner pipe has less room: the rest of it stays staged. */
static size_t on_room(struct kt_pipe *p)
{
    struct tuncrypt *t = of(p);
    if (t->broken || t->final_out) return 1;
    if (flush(t) && kt_pipe_room(t->inner) > 0) return KT_SECRETSTREAM_TEXT_MAX;
    t->short_write = true;
    return 0;
}

static void on_shutdown(struct kt_pipe *p)
{
    struct tuncrypt *t = of(p);
    t->final_out = true;
    if (flush_final(t)) kt_pipe_shutdown(t->inner);
}

static bool on_half_close(const struct kt_pipe *p)
{
    return kt_pipe_half_close(of(p)->inner);
}

static bool on_gone(const struct kt_pipe *p)
{
    return !of(p)->broken && kt_pipe_gone(of(p)->inner); /* broken: reported by `closed` */
}

static void drop(struct tuncrypt *t)
{
    t->closed = true;
    t->pipe.events = NULL;
    kt_io_turn(t->io, &t->turn); /* frees */
}

static void on_reset(struct kt_pipe *p, int reason, const char *text)
{
    struct tuncrypt *t = of(p);
    kt_pipe_abort(t->inner, reason, text);
    t->inner = NULL;
    drop(t);
}

/* After close: sends the rest, then releases the inner pipe. */
static void wind_up(struct tuncrypt *t)
{
    struct kt_iov late;
    while (kt_pipe_peek(t->inner, &late, 1)) kt_pipe_consume(t->inner, late.len);
    bool in_vain = t->broken || kt_pipe_gone(t->inner);
    if (!in_vain && !(t->cut ? flush(t) : flush_final(t))) return; /* continued by inner's events */
    if (t->why.code)
        kt_pipe_cut(t->inner, t->why.code, t->why.text[0] ? t->why.text : NULL);
    else
        kt_pipe_close(t->inner);
    t->inner = NULL;
    drop(t);
}

static void on_close(struct kt_pipe *p)
{
    struct tuncrypt *t = of(p);
    t->closed = t->final_out = true;
    t->pipe.events = NULL;
    wind_up(t);
}

/* Without the final message the peer knows that data is missing, even if the inner pipe cannot carry the
 * abort. */
static void on_cut(struct kt_pipe *p, int reason, const char *text)
{
    struct tuncrypt *t = of(p);
    t->cut = !t->final_out;
    kt_err_set(&t->why, reason, "%s", text ? text : "");
    on_close(p);
}

static bool on_young(const struct kt_pipe *p)
{
    return kt_pipe_young(of(p)->inner);
}

static bool on_behind(const struct kt_pipe *p)
{
    return kt_pipe_behind(of(p)->inner);
}

static bool on_why(const struct kt_pipe *p, struct kt_err *out)
{
    return kt_pipe_why(of(p)->inner, out);
}

static void on_stream_set(struct kt_pipe *p, const struct kt_stream_policy *policy)
{
    kt_stream_set(of(p)->inner, policy);
}

static void on_stream_facts(const struct kt_pipe *p, struct kt_stream_facts *out)
{
    kt_stream_facts(of(p)->inner, out);
}

static const struct kt_stream_ops stream_ops = {on_stream_set, on_stream_facts};

static const struct kt_pipe_ops ops = {
    .peek = on_peek,
    .consume = on_consume,
    .eof = on_eof,
    .write = on_write,
    .room = on_room,
    .shutdown = on_shutdown,
    .half_close = on_half_close,
    .reset = on_reset,
    .close = on_close,
    .gone = on_gone,
    .cut = on_cut,
    .young = on_young,
    .behind = on_behind,
    .why = on_why,
    .single = true,
    .stream = &stream_ops,
};

/* ---- the sealed side ---- */

static void inner_readable(void *ctx)
{
    struct tuncrypt *t = ctx;
    if (t->closed)
        wind_up(t);
    else if (t->pipe.events)
        t->pipe.events->readable(t->pipe.ctx);
}

static void inner_writable(void *ctx)
{
    struct tuncrypt *t = ctx;
    if (t->closed) {
        wind_up(t);
        return;
    }
    bool all = t->final_out ? flush_final(t) : flush(t);
    if (!all && !kt_pipe_gone(t->inner)) return; /* if the pipe is gone, let the writer find out */
    if (t->final_out) {
        kt_pipe_shutdown(t->inner);
    } else if (t->short_write) {
        t->short_write = false;
        if (t->pipe.events) t->pipe.events->writable(t->pipe.ctx);
    }
}

static void inner_closed(void *ctx, int code)
{
    struct tuncrypt *t = ctx;
    break_off(t, code);
    if (t->closed) wind_up(t);
}

static void inner_known(void *ctx)
{
    struct tuncrypt *t = ctx;
    if (t->pipe.events && t->pipe.events->known) t->pipe.events->known(t->pipe.ctx);
}

static const struct kt_pipe_events inner_events = {
    .readable = inner_readable, .writable = inner_writable, .closed = inner_closed, .known = inner_known};

static void on_turn(void *ctx)
{
    struct tuncrypt *t = ctx;
    if (t->closed && !t->inner) {
        destroy(t);
    } else if (t->broken && !t->told && t->pipe.events) {
        t->told = true;
        t->pipe.events->closed(t->pipe.ctx, t->broken);
    }
}

int kt_kcptun_tuncrypt(
    struct kt_io *io, struct kt_pipe *inner, const uint8_t pass[32], bool client, struct kt_pipe **out)
{
    struct tuncrypt *t = calloc(1, sizeof *t);
    if (!t) return KT_ENOMEM;
    uint8_t key[KT_SECRETSTREAM_KEY];
    t->io = io;
    t->pipe.ops = &ops;
    kt_turn_init(&t->turn, on_turn, t);
    kt_secretstream_key(pass, client, key);
    kt_io_random(io, t->out, KT_SECRETSTREAM_HEADER);
    int rc = kt_secretstream_tx_new(&t->tx, key, t->out);
    t->staged = KT_SECRETSTREAM_HEADER;
    kt_secretstream_key(pass, !client, key);
    if (!rc) rc = kt_secretstream_rx_new(&t->rx, key);
    explicit_bzero(key, sizeof key);
    if (rc) {
        destroy(t);
        return rc;
    }
    t->inner = inner;
    kt_pipe_listen(inner, &inner_events, t);
    *out = &t->pipe;
    return 0;
}
