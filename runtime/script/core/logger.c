/* Formats log lines on the stack and hands each, whole, to the journal, the file or `out`. */
#include "script/core/logger.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/log_repeats.h"
#include "io/io.h"
#include "io/journal.h"
#include "io/writer.h"

static void to_stderr(void *ctx, const char *text, size_t len)
{
    (void)ctx;
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n <= 0) return; /* nowhere to report it */
        text += n;
        len -= (size_t)n;
    }
}

static void format_date(uint64_t wall_us, char *out, size_t size)
{
    time_t t = (time_t)(wall_us / 1000000u);
    struct tm tm;
    localtime_r(&t, &tm);
    strftime(out, size, "%Y-%m-%d %H:%M:%S ", &tm);
}

static const char *date(struct kt_logger *l)
{
    if (!l->io || l->simulated) return "";
    uint64_t wall = kt_io_wall(l->io), second = wall / 1000000u;
    if (second != l->dated || !l->date[0]) {
        format_date(wall, l->date, sizeof l->date);
        l->dated = second;
    }
    return l->date;
}

/* May be called from any thread, so it reads only fields that do not change. */
static size_t lost_line(const struct kt_logger *l, uint64_t wall_us, uint64_t lines, char *out)
{
    char when[32] = "", text[96];
    if (!l->simulated) format_date(wall_us, when, sizeof when);
    snprintf(
        text, sizeof text, "%" PRIu64 " line%s lost: log output was too slow", lines, lines == 1 ? "" : "s");
    return kt_log_write(l->format,
        &(struct kt_log_line){.date = when,
            .wall_us = l->simulated ? 0 : wall_us,
            .level = KT_LOG_WARN,
            .script = l->name,
            .text = text},
        out);
}

/* text has a NUL after its len bytes. */
static void deliver(struct kt_logger *l, const char *text, size_t len)
{
    if (l->format == KT_LOG_JOURNAL)
        kt_writer_put(l->journal, text, len + 1);
    else if (l->file.to && l->io)
        kt_append(l->file.to, text, len);
    else
        l->out(l->ctx, text, len);
}

static void write_line(struct kt_logger *l, enum kt_log_level level, const struct kt_log_fields *fields,
    const char *text, uint64_t repeated)
{
    char out[KT_LOG_FORMATTED];
    const struct kt_log_line line = {.date = l->format == KT_LOG_TEXT ? date(l) : "",
        .wall_us = l->io && !l->simulated ? kt_io_wall(l->io) : 0,
        .level = level,
        .script = l->name,
        .fields = *fields,
        .text = text,
        .repeated = repeated};
    deliver(l, out, kt_log_write(l->format, &line, out));
}

static void set_timer(struct kt_logger *l, uint64_t at)
{
    if (at != UINT64_MAX) kt_io_timer_set(l->io, &l->held, at);
}

static void on_held(void *ctx)
{
    struct kt_logger *l = ctx;
    set_timer(l, kt_log_repeats_due(l->repeats, kt_io_now(l->io)));
}

static void write_repeat(void *ctx, const struct kt_log_repeat *line)
{
    write_line(ctx, line->level, &(struct kt_log_fields){0}, line->text, line->held);
}

static void sink(void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *text)
{
    struct kt_logger *l = ctx;
    if (!l->repeats || kt_log_repeats_pass(l->repeats, level, text, kt_io_now(l->io)))
        write_line(l, level, fields, text, 0);
    else
        set_timer(l, kt_log_repeats_due(l->repeats, kt_io_now(l->io)));
}

void kt_logger_hold(struct kt_logger *l)
{
    l->repeats = calloc(1, sizeof *l->repeats);
    if (!l->repeats) return;
    l->repeats->write = write_repeat;
    l->repeats->ctx = l;
    kt_timer_init(&l->held, on_held, l);
}

void kt_logger_release(struct kt_logger *l)
{
    if (!l->repeats) return;
    kt_io_timer_cancel(l->io, &l->held);
    kt_log_repeats_flush(l->repeats);
    free(l->repeats);
    l->repeats = NULL;
}

/* A sink that holds nothing back. */
static void write_now(
    void *ctx, enum kt_log_level level, const struct kt_log_fields *fields, const char *text)
{
    write_line(ctx, level, fields, text, 0);
}

void kt_logger_text(struct kt_logger *l, const char *text, size_t len)
{
    if (l->format == KT_LOG_TEXT) {
        deliver(l, text, len);
        return;
    }
    const struct kt_log log = {.level = KT_LOG_INFO, .sink = write_now, .ctx = l};
    for (const char *end = text + len; text < end;) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        kt_log(&log, KT_LOG_INFO, "%.*s", (int)((nl ? nl : end) - text), text);
        text = nl ? nl + 1 : end;
    }
}

size_t kt_logger_lost(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size)
{
    char text[KT_LOG_FORMATTED];
    const size_t len = lost_line(ctx, wall_us, lines, text);
    if (len > size) return 0;
    memcpy(out, text, len);
    return len;
}

/* Sends lines that could not be written to the file to `out`. */
static void on_failed(void *ctx, const struct kt_err *err, const char *text, size_t len)
{
    const struct kt_logger *l = ctx;
    (void)err;
    l->out(l->ctx, text, len);
}

void kt_logger_init(struct kt_logger *l, const char *name)
{
    *l = (struct kt_logger){.out = to_stderr};
    l->log = (struct kt_log){.level = KT_LOG_INFO, .sink = sink, .ctx = l};
    const char *slash = strrchr(name, '/');
    snprintf(l->name, sizeof l->name, "%s", slash ? slash + 1 : name);
    size_t len = strlen(l->name);
    if (len > 4 && strcmp(l->name + len - 4, ".lua") == 0) l->name[len - 4] = '\0';
}

void kt_logger_to(struct kt_logger *l, void (*out)(void *ctx, const char *text, size_t len), void *ctx)
{
    l->out = out ? out : to_stderr;
    l->ctx = ctx;
}

void kt_logger_set_io(struct kt_logger *l, struct kt_io *io)
{
    l->io = io;
}

void kt_logger_simulate(struct kt_logger *l)
{
    l->simulated = true;
}

void kt_logger_set_level(struct kt_logger *l, enum kt_log_level level)
{
    l->log.level = level;
}

static void close_file(struct kt_logger_file *file, bool wait)
{
    kt_append_close(file->to, wait);
    free(file->path);
    *file = (struct kt_logger_file){0};
}

void kt_logger_close(struct kt_logger *l)
{
    close_file(&l->file, true);
    kt_writer_close(l->journal);
    l->journal = NULL;
}

int kt_logger_format(struct kt_logger *l, enum kt_log_format format, struct kt_err *err)
{
    if (format == KT_LOG_JOURNAL && l->simulated)
        return kt_err_set(err, KT_ENOTSUP, "simulated hosts have no journal");
    static const struct kt_append_events events = {.lost = kt_logger_lost};
    const int rc =
        format == KT_LOG_JOURNAL && !l->journal ? kt_journal_open(&l->journal, &events, l, err) : 0;
    if (rc == 0) l->format = format;
    return rc;
}

/* No file for a path that is NULL. */
static int open_file(struct kt_logger *l, const char *path, struct kt_logger_file *out, struct kt_err *err)
{
    static const struct kt_append_events events = {.lost = kt_logger_lost, .failed = on_failed};
    *out = (struct kt_logger_file){0};
    if (!path) return 0;
    const struct kt_append_options options = {.path = path, .events = &events, .ctx = l};
    int rc = kt_append_open(l->io, &options, &out->to, err);
    if (rc) return rc;
    out->path = strdup(path);
    if (out->path) return 0;
    close_file(out, false);
    return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
}

int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err)
{
    struct kt_logger_file file;
    int rc = open_file(l, path, &file, err);
    if (rc) return rc;
    close_file(&l->file, false);
    l->file = file;
    return 0;
}

const char *kt_logger_path(const struct kt_logger *l)
{
    return l->file.path;
}

int kt_logger_try(struct kt_logger *l, enum kt_log_level level, const char *path,
    struct kt_logger_settings *before, struct kt_err *err)
{
    struct kt_logger_file file;
    int rc = open_file(l, path, &file, err);
    if (rc) return rc;
    *before = (struct kt_logger_settings){l->log.level, l->format, l->file};
    l->log.level = level;
    l->file = file;
    return 0;
}

void kt_logger_tried(struct kt_logger *l, struct kt_logger_settings *before, bool keep)
{
    close_file(keep ? &before->file : &l->file, false);
    if (keep) return;
    l->log.level = before->level;
    l->format = before->format;
    l->file = before->file;
}
