/* Strict priorities with a spare share, and deficit round robin within each priority.
 *
 * Each round gives a stream a quantum of credit by its weight: a quarter of a frame at the default weight. The
 * stream sends until the credit is used up, then moves to the end of its line. A frame may overdraw the credit;
 * the quanta of later rounds repay that before the stream sends again, so shares are exact in bytes whatever the
 * frame lengths. A frame is at most OVERDRAFT quanta long, so on average no more than OVERDRAFT visits find a
 * stream in debt per frame sent. A stream that is alone in its line has no debt.
 *
 * Spare share: after KT_STREAM_SPARE frames' worth of bytes has passed over waiting streams, one of those
 * sends a short frame. The later priorities take turns at that.
 *
 * Invariant: a line whose bit is not set in `busy` is empty. A line whose bit is set may be empty too,
 * because streams leave their line with kt_list_remove; the next look clears the bit. */
#include "link/common/stream_schedule.h"
#include "base/bytes.h"

#define OVERDRAFT 4
/* A quantum does not grow with frames longer than this: a stream's buffer must hold one, at any weight. */
#define FRAME_MAX 8192u
#define SPARE_FRAME 2048u

void kt_stream_schedule_init(struct kt_stream_schedule *q, uint32_t frame_size, uint32_t overhead)
{
    *q = (struct kt_stream_schedule){.frame_size = frame_size, .overhead = overhead};
    for (size_t p = 0; p < KT_PRIORITIES; p++) kt_list_init(&q->lines[p]);
}

void kt_stream_entry_init(struct kt_stream_entry *e)
{
    *e = (struct kt_stream_entry){.priority = KT_PRIORITY_DEFAULT, .weight = KT_WEIGHT_DEFAULT};
    kt_list_init(&e->node);
}

struct kt_stream_policy kt_stream_entry_policy(const struct kt_stream_entry *e)
{
    return (struct kt_stream_policy){.priority = e->priority, .weight = e->weight};
}

bool kt_stream_entry_set(struct kt_stream_entry *e, const struct kt_stream_policy *policy)
{
    const bool changed = e->priority != policy->priority;
    e->priority = (uint8_t)policy->priority;
    e->weight = (uint16_t)policy->weight;
    return changed;
}

static struct kt_stream_entry *entry_of(struct kt_list *node)
{
    return KT_CONTAINER(node, struct kt_stream_entry, node);
}

/* For a line that is not empty. */
static bool is_alone(const struct kt_list *line)
{
    return line->next == line->prev;
}

static void move_to_end(struct kt_list *line, struct kt_stream_entry *e)
{
    kt_list_remove(&e->node);
    kt_list_push(line, &e->node);
}

void kt_stream_schedule_add(struct kt_stream_schedule *q, struct kt_stream_entry *e)
{
    struct kt_list *line = &q->lines[e->priority];
    if (e->credit > 0 || kt_list_empty(line))
        e->credit = 0; /* credit is only good for the round it was given in */
    kt_list_push(line, &e->node);
    q->busy |= 1u << e->priority;
}

/* The first priority from `from` on whose line is not empty; KT_PRIORITIES: none. */
static unsigned first_busy(struct kt_stream_schedule *q, unsigned from)
{
    for (uint32_t left = q->busy & ~0u << from; left; left &= left - 1) {
        const unsigned p = (unsigned)__builtin_ctz(left);
        if (!kt_list_empty(&q->lines[p])) return p;
        q->busy &= ~(1u << p);
    }
    return KT_PRIORITIES;
}

bool kt_stream_schedule_empty(struct kt_stream_schedule *q)
{
    return first_busy(q, 0) == KT_PRIORITIES;
}

/* The later priority that gets its spare share now; KT_PRIORITIES: none. */
static unsigned to_spare(struct kt_stream_schedule *q, unsigned first)
{
    if (q->passed_over < (KT_STREAM_SPARE - 1) * kt_min32(SPARE_FRAME, q->frame_size)) return KT_PRIORITIES;
    unsigned p = first_busy(q, (q->spared > first ? q->spared : first) + 1u);
    return p < KT_PRIORITIES ? p : first_busy(q, first + 1);
}

/* The credit for a round, in bytes. */
static size_t quantum(const struct kt_stream_schedule *q, const struct kt_stream_entry *e)
{
    const size_t frame = kt_min_size(q->frame_size, FRAME_MAX);
    const size_t bytes = e->weight * frame / ((size_t)KT_WEIGHT_DEFAULT * OVERDRAFT);
    return bytes > 0 ? bytes : 1;
}

struct kt_stream_entry *kt_stream_schedule_next(struct kt_stream_schedule *q, size_t *most)
{
    const unsigned first = first_busy(q, 0), spare = to_spare(q, first);
    if (first == KT_PRIORITIES) return NULL;
    const unsigned priority = spare < KT_PRIORITIES ? spare : first;
    struct kt_list *line = &q->lines[priority];
    struct kt_stream_entry *e = entry_of(line->next);
    *most = q->frame_size;
    if (priority != first) *most = kt_min_size(*most, SPARE_FRAME);
    if (is_alone(line)) return e;
    while (e->credit <= 0) {
        e->credit += (int32_t)quantum(q, e);
        if (e->credit > 0) break;
        move_to_end(line, e);
        e = entry_of(line->next);
    }
    *most = kt_min_size(*most, quantum(q, e) * OVERDRAFT);
    return e;
}

void kt_stream_schedule_sent(struct kt_stream_schedule *q, struct kt_stream_entry *e, size_t n, bool waits)
{
    const unsigned first = first_busy(q, 0);
    if (e->priority > first) {
        q->passed_over = 0;
        q->spared = e->priority;
    } else if (first_busy(q, e->priority + 1u) < KT_PRIORITIES) {
        q->passed_over += (uint32_t)n;
    } else {
        q->passed_over = 0;
    }
    struct kt_list *line = &q->lines[e->priority];
    if (waits && is_alone(line)) {
        e->credit = 0;
        return;
    }
    e->credit -= (int32_t)(n + q->overhead);
    if (e->credit <= 0 && waits) move_to_end(line, e);
}
