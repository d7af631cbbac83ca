/* Passes the first bytes of a direction to a tap, and copies all of it to a mirror.
 *
 * Invariant: while the mirror is alive, it took the first `mirrored` bytes of the direction, and the `behind` bytes
 * after them are in `late`. Once it is not, `late` is empty and all further bytes count as dropped. */
#include "link/tee.h"
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"

struct kt_tee {
    struct kt_pipe *mirror; /* NULL: none, or given up */
    uint8_t *late;          /* bytes not yet written to the mirror: late[start..start + behind) */
    size_t start, behind, room;
    struct kt_tee_counts counts;
    uint8_t *head; /* the tap's bytes, until its callback; NULL: none */
    size_t seen, first;
    void (*tapped)(void *ctx, const void *data, size_t n);
    void *ctx;
};

/* ---- the mirror ---- */

static void give_up(struct kt_tee *t)
{
    struct kt_pipe *mirror = t->mirror;
    t->mirror = NULL;
    t->counts.dropped += t->behind;
    t->behind = t->start = t->room = 0;
    free(t->late);
    t->late = NULL;
    kt_pipe_listen(mirror, NULL, NULL);
    kt_pipe_cut(mirror, KT_ELIMIT, "the copy is incomplete");
}

static void flush(struct kt_tee *t)
{
    if (t->behind == 0) return;
    const size_t n = kt_pipe_write(t->mirror, t->late + t->start, t->behind);
    t->counts.mirrored += n;
    t->start += n;
    t->behind -= n;
    if (t->behind == 0) t->start = 0;
}

/* False if they do not fit. */
static bool keep(struct kt_tee *t, const uint8_t *data, size_t n)
{
    if (n > KT_MIRROR_BEHIND - t->behind) return false;
    if (t->behind + n > t->room) {
        size_t room = t->room ? t->room : 4096;
        while (room < t->behind + n) room *= 2;
        uint8_t *late = malloc(room);
        if (!late) return false;
        if (t->behind) memcpy(late, t->late + t->start, t->behind);
        free(t->late);
        t->late = late;
        t->room = room;
        t->start = 0;
    } else if (t->start + t->behind + n > t->room) {
        memmove(t->late, t->late + t->start, t->behind);
        t->start = 0;
    }
    memcpy(t->late + t->start + t->behind, data, n);
    t->behind += n;
    return true;
}

static void copy(struct kt_tee *t, const uint8_t *data, size_t n)
{
    size_t done = 0;
    if (t->mirror && t->behind == 0) done = kt_pipe_write(t->mirror, data, n);
    t->counts.mirrored += done;
    if (t->mirror && done < n && (kt_pipe_gone(t->mirror) || !keep(t, data + done, n - done))) give_up(t);
    if (!t->mirror) t->counts.dropped += n - done;
}

static void on_readable(void *ctx)
{
    const struct kt_tee *t = ctx;
    struct kt_iov piece;
    while (kt_pipe_peek(t->mirror, &piece, 1)) kt_pipe_consume(t->mirror, piece.len);
}

static void on_writable(void *ctx)
{
    struct kt_tee *t = ctx;
    flush(t);
    if (t->behind > 0 && kt_pipe_gone(t->mirror)) give_up(t);
}

static void on_closed(void *ctx, int code)
{
    (void)code;
    give_up(ctx);
}

/* ---- the tap ---- */

void kt_tee_tell(struct kt_tee *t)
{
    if (!t || !t->head || t->seen == 0) return;
    uint8_t *head = t->head;
    t->head = NULL;
    t->tapped(t->ctx, head, t->seen);
    free(head);
}

static void look(struct kt_tee *t, const uint8_t *data, size_t n)
{
    const size_t more = kt_min_size(n, t->first - t->seen);
    memcpy(t->head + t->seen, data, more);
    t->seen += more;
}

/* ---- both ---- */

int kt_tee_new(const struct kt_tee_opts *opts, struct kt_tee **out)
{
    static const struct kt_pipe_events events = {
        .readable = on_readable, .writable = on_writable, .closed = on_closed};
    struct kt_tee *t = calloc(1, sizeof *t);
    if (!t) return KT_ENOMEM;
    if (opts->first && !(t->head = malloc(opts->first))) {
        free(t);
        return KT_ENOMEM;
    }
    t->first = opts->first;
    t->tapped = opts->tapped;
    t->ctx = opts->ctx;
    t->mirror = opts->mirror;
    if (t->mirror) {
        kt_pipe_listen(t->mirror, &events, t);
        on_readable(t); /* what arrived before */
    }
    *out = t;
    return 0;
}

void kt_tee_moved(struct kt_tee *t, const struct kt_iov *iov, size_t n)
{
    if (!t) return;
    for (size_t i = 0; n > 0; i++) {
        const size_t len = kt_min_size(iov[i].len, n);
        if (t->head) look(t, iov[i].data, len);
        copy(t, iov[i].data, len);
        n -= len;
    }
    if (t->head && t->seen == t->first) kt_tee_tell(t);
}

void kt_tee_end(struct kt_tee *t, bool cut, struct kt_tee_counts *counts)
{
    if (!t) return;
    kt_tee_tell(t);
    if (t->mirror) flush(t);
    if (t->mirror && t->behind == 0 && !cut) {
        kt_pipe_listen(t->mirror, NULL, NULL);
        kt_pipe_close(t->mirror);
    } else if (t->mirror) {
        give_up(t);
    }
    counts->mirrored += t->counts.mirrored;
    counts->dropped += t->counts.dropped;
    free(t->head);
    free(t->late);
    free(t);
}
