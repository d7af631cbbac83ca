/* Schedules the streams of a session by priority and weight (struct kt_stream_policy).
 *
 * Strictly by priority; within one, deficit round robin, so that streams get shares by weight, counted in
 * bytes. Later priorities still get one byte in KT_STREAM_SPARE while earlier ones keep the session busy.
 *
 * The cost of a frame does not depend on how many streams wait, and a stream that is in no line costs
 * nothing. */
#ifndef KT_LINK_COMMON_STREAM_SCHEDULE_H
#define KT_LINK_COMMON_STREAM_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/list.h"
#include "link/stream.h"

#define KT_STREAM_SPARE 32u

/* A stream's place in the schedule. */
struct kt_stream_entry {
    struct kt_list node; /* in a line while the stream waits to send data; else free for the wire's use */
    int32_t credit;      /* bytes it may still send in this round; negative: owed to later rounds */
    uint16_t weight;
    uint8_t priority;
};

struct kt_stream_schedule {
    struct kt_list lines[KT_PRIORITIES]; /* of kt_stream_entry */
    uint32_t busy;                       /* bit p: lines[p] may have an entry; all other lines are empty */
    uint32_t passed_over; /* bytes sent past waiting streams of later priorities, since one of those sent */
    uint8_t spared;       /* the later priority that sent last */
    uint32_t frame_size;  /* most payload of a frame, in bytes */
    uint32_t overhead;    /* what a frame costs on top, in bytes */
};

void kt_stream_schedule_init(struct kt_stream_schedule *q, uint32_t frame_size, uint32_t overhead);

/* The default priority and weight, in no line. */
void kt_stream_entry_init(struct kt_stream_entry *e);

struct kt_stream_policy kt_stream_entry_policy(const struct kt_stream_entry *e);
/* Returns whether the priority changed: an entry that is in a line then belongs in another. */
bool kt_stream_entry_set(struct kt_stream_entry *e, const struct kt_stream_policy *policy);

/* Puts an entry that is in no list at the end of its priority's line. To take it out: kt_list_remove. */
void kt_stream_schedule_add(struct kt_stream_schedule *q, struct kt_stream_entry *e);
bool kt_stream_schedule_empty(struct kt_stream_schedule *q);
/* The stream that sends next, and the most bytes of payload (frames without payload are always allowed).
 * NULL: none is waiting. */
struct kt_stream_entry *kt_stream_schedule_next(struct kt_stream_schedule *q, size_t *most);
/* Records that the stream sent a frame with n bytes of payload. waits: it is still in its line, and moves to
 * the end if its credit is used up. */
void kt_stream_schedule_sent(struct kt_stream_schedule *q, struct kt_stream_entry *e, size_t n, bool waits);

#endif
