/* A small table, searched in full for each line. Invariant: an entry whose time is over is unused or has been
 * written. */
#include "base/log_repeats.h"
#include <string.h>

static void end(struct kt_log_repeats *r, struct kt_log_repeat *line)
{
    line->passed = 0;
    if (line->held > 0) r->write(r->ctx, line);
    line->held = 0;
}

uint64_t kt_log_repeats_due(struct kt_log_repeats *r, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < KT_REPEATS_LINES; i++) {
        struct kt_log_repeat *line = &r->lines[i];
        if (line->passed == 0) continue;
        const uint64_t until = line->began + KT_REPEATS_US;
        if (now >= until)
            end(r, line);
        else if (line->held > 0 && until < next)
            next = until;
    }
    return next;
}

/* The entry of a line; an unused one, or the oldest, if it has none. */
static struct kt_log_repeat *find(struct kt_log_repeats *r, enum kt_log_level level, const char *text)
{
    struct kt_log_repeat *oldest = &r->lines[0];
    for (size_t i = 0; i < KT_REPEATS_LINES; i++) {
        struct kt_log_repeat *line = &r->lines[i];
        if (line->passed > 0 && line->level == level && strcmp(line->text, text) == 0) return line;
        if (oldest->passed > 0 && (line->passed == 0 || line->began < oldest->began)) oldest = line;
    }
    end(r, oldest);
    return oldest;
}

bool kt_log_repeats_pass(struct kt_log_repeats *r, enum kt_log_level level, const char *text, uint64_t now)
{
    kt_log_repeats_due(r, now);
    struct kt_log_repeat *line = find(r, level, text);
    const size_t len = strlen(text);
    if (len >= sizeof line->text) return true; /* no line of kt_log */
    if (line->passed == 0) {
        line->began = now;
        line->level = level;
        memcpy(line->text, text, len + 1);
    }
    const bool passes = line->passed < KT_REPEATS_PASS;
    if (passes)
        line->passed++;
    else
        line->held++;
    return passes;
}

void kt_log_repeats_flush(struct kt_log_repeats *r)
{
    for (size_t i = 0; i < KT_REPEATS_LINES; i++) end(r, &r->lines[i]);
}
