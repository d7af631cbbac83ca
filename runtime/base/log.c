/* Logging: formats a line on the stack and passes it to the sink. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/text.h"

#define LINE_MAX_BYTES 1024
#define CUT_MARK "..."

static const char *const level_names[] = {
    [KT_LOG_DEBUG] = "debug",
    [KT_LOG_INFO] = "info",
    [KT_LOG_WARN] = "warn",
    [KT_LOG_ERROR] = "error",
    [KT_LOG_QUIET] = "quiet",
};
#define LEVELS (sizeof level_names / sizeof level_names[0])

static void write_line(const struct kt_log *log, enum kt_log_level level, const struct kt_log_fields *fields,
    const char *fmt, va_list ap)
{
    /* QUIET is a threshold, not a level for a line. */
    if (!kt_log_on(log, level) || level >= KT_LOG_QUIET) return;

    char line[LINE_MAX_BYTES + 1];
    int n = vsnprintf(line, sizeof line, fmt, ap);
    if (n < 0) {
        snprintf(line, sizeof line, "(a line that could not be formatted)");
    } else if ((size_t)n >= sizeof line) {
        size_t keep = kt_text_cut(line, LINE_MAX_BYTES - strlen(CUT_MARK));
        memcpy(line + keep, CUT_MARK, sizeof CUT_MARK);
    }
    kt_text_clean(line);
    struct kt_log_fields all = *fields;
    if (log->to) {
        if (!all.link) all.link = log->link;
        log = log->to;
    }
    log->sink(log->ctx, level, &all, line);
}

const struct kt_log *kt_log_of_link(struct kt_log_of_link *of, const struct kt_log *log, const char *link)
{
    if (!link || !log) return log;
    snprintf(of->link, sizeof of->link, "%s", link);
    of->log = (struct kt_log){.to = log, .link = of->link};
    return &of->log;
}

void kt_log(const struct kt_log *log, enum kt_log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    write_line(log, level, &(struct kt_log_fields){0}, fmt, ap);
    va_end(ap);
}

void kt_log_with(
    const struct kt_log *log, enum kt_log_level level, struct kt_log_fields fields, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    write_line(log, level, &fields, fmt, ap);
    va_end(ap);
}

const char *kt_log_level_name(enum kt_log_level level)
{
    return (size_t)level < LEVELS ? level_names[level] : "unknown";
}

bool kt_log_level_parse(const char *name, enum kt_log_level *out)
{
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum kt_log_level)i;
            return true;
        }
    }
    return false;
}
