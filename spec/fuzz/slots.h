/* Streams in the hands of a fuzz target: each in a slot, so that the input can name it. */
#ifndef SPEC_FUZZ_SLOTS_H
#define SPEC_FUZZ_SLOTS_H

#include <stdbool.h>
#include <string.h>
#include "base/pipe.h"
#include "link/stream.h"
#include "check.h"

struct slot {
    struct kt_pipe *pipe; /* NULL: free */
    struct world *w;      /* the target's */
    bool broken;
};

/* Ends the stream, if there is one. how: in which of four ways. */
static inline void slot_drop(struct slot *s, unsigned how)
{
    struct kt_pipe *p = s->pipe;
    s->pipe = NULL;
    if (!p) return;
    switch (how % 4) {
    case 0:
        kt_pipe_close(p);
        break;
    case 1:
        kt_pipe_reset(p, KT_ECANCELED);
        break;
    case 2:
        kt_pipe_abort(p, KT_EREFUSED, "db.example.com:5432 (192.0.2.1:5432): connection refused");
        break;
    case 3:
        kt_pipe_cut(p, KT_ERESET, "the conn to the target was reset");
        break;
    }
}

static inline void slot_set_policy(struct slot *s, unsigned what)
{
    const struct kt_stream_policy policy = {what % KT_PRIORITIES, 1 + what};
    struct kt_stream_facts facts;
    CHECK(kt_stream_set(s->pipe, &policy) == 0);
    CHECK(kt_stream_facts(s->pipe, &facts) == 0);
    CHECK(facts.policy.priority == policy.priority && facts.policy.weight == policy.weight);
}

static inline void slot_read(struct slot *s, size_t most)
{
    struct kt_iov iov[3];
    const size_t n = kt_pipe_peek(s->pipe, iov, 3);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += iov[i].len;
    kt_pipe_consume(s->pipe, total < most ? total : most);
}

/* Call in `closed`, which comes once. Returns whether the peer gave a reason; text_max: its most bytes. */
static inline bool slot_broke(struct slot *s, int code, size_t text_max)
{
    struct kt_err why;
    CHECK(code < 0 && !s->broken);
    s->broken = true;
    if (!kt_pipe_why(s->pipe, &why)) return false;
    CHECK(why.code < 0 && strlen(why.text) <= text_max);
    return true;
}

/* Puts a stream in a free slot of n, or closes it. */
static inline void slots_hold(
    struct slot *slots, size_t n, struct world *w, struct kt_pipe *p, const struct kt_pipe_events *events)
{
    for (size_t i = 0; i < n; i++) {
        struct slot *s = &slots[i];
        if (s->pipe) continue;
        *s = (struct slot){.pipe = p, .w = w};
        kt_pipe_listen(p, events, s);
        return;
    }
    kt_pipe_close(p);
}

#endif
