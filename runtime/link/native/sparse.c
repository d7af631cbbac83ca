/* Remembers what sparse streams sent, and writes it again when copies are due. */
#include "link/native/sparse.h"

static struct kt_native_sparse_stream *find(struct kt_native_sparse *p, uint64_t id)
{
    for (unsigned i = 0; i < KT_NATIVE_SPARSE_STREAMS; i++)
        if (p->streams[i].id == id) return &p->streams[i];
    return NULL;
}

static struct kt_native_sparse_stream *add(struct kt_native_sparse *p, uint64_t id)
{
    struct kt_native_sparse_stream *s = find(p, 0);
    if (!s) s = &p->streams[p->next++ % KT_NATIVE_SPARSE_STREAMS];
    *s = (struct kt_native_sparse_stream){.id = id};
    return s;
}

static void sent(struct kt_native_sparse *p, struct kt_native_streams *streams,
    const struct kt_native_content *content, struct kt_native_copies_facts *facts, uint64_t now_us)
{
    struct kt_native_sparse_stream *s = find(p, content->id);
    const uint64_t bytes = kt_native_streams_inflight(streams, content->id);
    if (bytes > KT_NATIVE_COPIES_THIN || (s && s->count == KT_NATIVE_SPARSE_CONTENTS)) {
        if (s) s->id = 0;
        return;
    }
    if (!s) s = add(p, content->id);
    s->contents[s->count++] = *content;
    facts->bytes = (uint32_t)bytes;
    kt_native_copies_sent(&s->copies, facts, now_us);
    p->due_us = 0;
}

void kt_native_sparse_sent(struct kt_native_sparse *p, struct kt_native_streams *streams,
    const struct kt_native_content *contents, size_t count, const struct kt_native_sparse_facts *facts,
    uint64_t now_us)
{
    if (kt_native_copies_count(facts->loss) == 0) return;
    struct kt_native_copies_facts f = {.loss = facts->loss, .min_rtt_us = facts->min_rtt_us};
    kt_native_copies_allow(&p->allowance, facts->rate, now_us);
    for (size_t i = 0; i < count; i++)
        if (contents[i].id > 0 && kt_native_streams_takes(contents[i].type))
            sent(p, streams, &contents[i], &f, now_us);
}

uint64_t kt_native_sparse_due(struct kt_native_sparse *p)
{
    if (p->due_us > 0) return p->due_us;
    p->due_us = UINT64_MAX;
    for (unsigned i = 0; i < KT_NATIVE_SPARSE_STREAMS; i++) {
        if (p->streams[i].id == 0) continue;
        const uint64_t due = kt_native_copies_due(&p->streams[i].copies);
        if (due < p->due_us) p->due_us = due;
    }
    return p->due_us;
}

/* Writes all that the peer still lacks of what the stream sent. */
static size_t copy(struct kt_native_sparse_stream *s, struct kt_native_streams *streams, uint8_t *out,
    size_t room, struct kt_native_content *contents, size_t *count)
{
    size_t len = 0;
    for (unsigned i = 0; i < s->count && *count < KT_NATIVE_CONTENTS; i++) {
        const size_t n = kt_native_streams_copy(streams, &s->contents[i], out + len, room - len);
        if (n > 0) contents[(*count)++] = s->contents[i];
        len += n;
    }
    return len;
}

size_t kt_native_sparse_write(struct kt_native_sparse *p, struct kt_native_streams *streams, uint8_t *out,
    size_t room, struct kt_native_content *contents, size_t *count, uint64_t now_us)
{
    size_t len = 0;
    for (unsigned i = 0; i < KT_NATIVE_SPARSE_STREAMS; i++) {
        struct kt_native_sparse_stream *s = &p->streams[i];
        if (s->id == 0 || kt_native_copies_due(&s->copies) > now_us) continue;
        size_t added = *count;
        const size_t n = copy(s, streams, out + len, room - len, contents, &added);
        if (n > 0 && kt_native_copies_take(&s->copies, &p->allowance, (uint32_t)n, now_us)) {
            len += n;
            *count = added;
        } else {
            kt_native_copies_stop(&s->copies); /* not needed any more, or too much of the path */
        }
        if (kt_native_copies_due(&s->copies) == UINT64_MAX) s->id = 0;
    }
    p->due_us = 0;
    return len;
}
