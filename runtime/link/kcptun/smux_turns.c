/* smux: whose data is next. Strictly by priority; within one, deficit round robin.
 *
 * A turn gives a stream credit by its weight: a quarter of a frame at the default weight, so that streams of
 * that weight send frame by frame. It sends until the credit is used up, then goes to the end of its line.
 * What a frame takes beyond the credit is owed, and later turns pay for it before the stream sends again: so
 * shares are right in bytes, whatever the lengths of frames. A frame is never longer than OVERDRAFT turns'
 * credit, so about so many visits find a stream in debt for each frame that is sent: the cost of a frame does
 * not depend on how many streams there are. A stream that is alone in its line has nobody to owe to.
 *
 * The share of later priorities: whenever KT_SMUX_SPARE frames' worth of bytes has passed over waiting
 * streams, one of them may send a short frame; the priorities that wait take turns with that.
 *
 * Invariant: a line that busy_priorities does not name is empty. (One that it names may be: streams leave
 * their line in many places, and the bit is cleared when the next look finds nobody.) */
#include "link/kcptun/smux_internal.h"
#include "base/bytes.h"

#define OVERDRAFT 4
#define FRAME_MAX                                                                                            \
    8192u /* beyond it turns grow no longer: a stream's buffer must last for one, at any weight */
#define SPARE_FRAME 2048u

void kt_smux_line_up(struct kt_smux_stream *s)
{
    struct kt_smux *m = s->m;
    struct kt_list *line = &m->data[s->priority];
    if (s->credit > 0 || kt_list_empty(line)) s->credit = 0; /* credit is for the turn it was given in */
    kt_list_push(line, &s->ready);
    m->busy_priorities |= 1u << s->priority;
}

static bool is_busy(struct kt_smux *m, unsigned priority)
{
    if (!(m->busy_priorities & 1u << priority)) return false;
    if (!kt_list_empty(&m->data[priority])) return true;
    m->busy_priorities &= ~(1u << priority);
    return false;
}

/* The first priority at or behind `from` whose line is not empty; KT_PRIORITIES: none. */
static unsigned first_busy(struct kt_smux *m, unsigned from)
{
    for (unsigned p = from; p < KT_PRIORITIES; p++)
        if (is_busy(m, p)) return p;
    return KT_PRIORITIES;
}

static struct kt_smux_stream *head_of(struct kt_smux *m, unsigned priority)
{
    return KT_CONTAINER(m->data[priority].next, struct kt_smux_stream, ready);
}

/* A later priority that is to have its share now; KT_PRIORITIES: none is. */
static unsigned to_spare(struct kt_smux *m, unsigned first)
{
    if (m->passed_over < (KT_SMUX_SPARE - 1) * SPARE_FRAME) return KT_PRIORITIES;
    unsigned p = first_busy(m, (m->spared > first ? m->spared : first) + 1u);
    return p < KT_PRIORITIES ? p : first_busy(m, first + 1);
}

bool kt_smux_waiting(struct kt_smux *m)
{
    return kt_smux_refusal(m) || !kt_list_empty(&m->control) || first_busy(m, 0) < KT_PRIORITIES;
}

/* Bytes of credit for a turn. */
static size_t quantum(const struct kt_smux_stream *s)
{
    const size_t frame = kt_min_size(s->m->cfg.frame_size, FRAME_MAX);
    const size_t bytes = s->weight * frame / ((size_t)KT_WEIGHT_DEFAULT * OVERDRAFT);
    return bytes > 0 ? bytes : 1;
}

struct kt_smux_stream *kt_smux_turn(struct kt_smux *m, size_t *most)
{
    const unsigned first = first_busy(m, 0), spare = to_spare(m, first);
    if (first == KT_PRIORITIES) return NULL;
    const unsigned priority = spare < KT_PRIORITIES ? spare : first;
    struct kt_list *line = &m->data[priority];
    struct kt_smux_stream *s = head_of(m, priority);
    *most = m->cfg.frame_size;
    if (priority != first) *most = kt_min_size(*most, SPARE_FRAME);
    if (line->next == line->prev) return s; /* alone */
    while (s->credit <= 0) {
        s->credit += (int32_t)quantum(s);
        if (s->credit > 0) break;
        kt_list_remove(&s->ready);
        kt_list_push(line, &s->ready);
        s = head_of(m, priority);
    }
    *most = kt_min_size(*most, quantum(s) * OVERDRAFT);
    return s;
}

void kt_smux_sent(struct kt_smux_stream *s, size_t n)
{
    struct kt_smux *m = s->m;
    const unsigned first = first_busy(m, 0);
    if (s->priority > first) {
        m->passed_over = 0;
        m->spared = s->priority;
    } else if (first_busy(m, s->priority + 1u) < KT_PRIORITIES) {
        m->passed_over += (uint32_t)n;
    } else {
        m->passed_over = 0;
    }
    struct kt_list *line = &m->data[s->priority];
    if (s->queue == KT_SMUX_Q_DATA && line->next == line->prev) {
        s->credit = 0;
        return;
    }
    s->credit -= (int32_t)(n + KT_SMUX_HEADER);
    if (s->credit > 0 || s->queue != KT_SMUX_Q_DATA) return;
    kt_list_remove(&s->ready);
    kt_list_push(line, &s->ready);
}
