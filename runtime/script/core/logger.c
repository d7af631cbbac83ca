/* Formats log lines on the stack and hands each, whole, to the file or to `out`. */
#include "script/core/logger.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "io/io.h"

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
    if (!l->io || l->undated) return "";
    uint64_t wall = kt_io_wall(l->io), second = wall / 1000000u;
    if (second != l->dated || !l->date[0]) {
        format_date(wall, l->date, sizeof l->date);
        l->dated = second;
    }
    return l->date;
}

/* May be called from any thread, so it reads only fields that do not change. */
static size_t format_line(const struct kt_logger *l, const char *when, enum kt_log_level level,
    const char *line, char *out, size_t size)
{
    int n = snprintf(
        out, size, "%s%-5s %s%s%s\n", when, kt_log_level_name(level), l->name, l->name[0] ? ": " : "", line);
    if (n < 0) return 0;
    size_t len = (size_t)n < size ? (size_t)n : size - 1;
    out[len - 1] = '\n';
    return len;
}

static void sink(void *ctx, enum kt_log_level level, const char *line)
{
    struct kt_logger *l = ctx;
    char text[1280]; /* a line is cut at 1 KiB by kt_log */
    kt_logger_text(l, text, format_line(l, date(l), level, line, text, sizeof text));
}

void kt_logger_text(struct kt_logger *l, const char *text, size_t len)
{
    if (l->file.to && l->io)
        kt_append(l->file.to, text, len);
    else
        l->out(l->ctx, text, len);
}

size_t kt_logger_lost(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size)
{
    const struct kt_logger *l = ctx;
    char when[32] = "", line[96];
    if (!l->undated) format_date(wall_us, when, sizeof when);
    snprintf(
        line, sizeof line, "%" PRIu64 " line%s lost: log output was too slow", lines, lines == 1 ? "" : "s");
    return format_line(l, when, KT_LOG_WARN, line, out, size);
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

void kt_logger_to_stderr(struct kt_logger *l)
{
    l->out = to_stderr;
    l->ctx = NULL;
}

static void close_file(struct kt_log_file *file, bool wait)
{
    kt_append_close(file->to, wait);
    free(file->path);
    *file = (struct kt_log_file){0};
}

void kt_logger_close(struct kt_logger *l)
{
    close_file(&l->file, true);
}

void kt_log_file_close(struct kt_log_file *file)
{
    close_file(file, false);
}

int kt_log_file_open(struct kt_logger *l, const char *path, struct kt_log_file *out, struct kt_err *err)
{
    static const struct kt_append_events events = {.lost = kt_logger_lost, .failed = on_failed};
    *out = (struct kt_log_file){0};
    if (!path) return 0;
    int rc = kt_append_open(l->io, path, false, NULL, &events, l, &out->to, err);
    if (rc) return rc;
    out->path = strdup(path);
    if (out->path) return 0;
    kt_log_file_close(out);
    return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
}

int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err)
{
    struct kt_log_file file;
    int rc = kt_log_file_open(l, path, &file, err);
    if (rc) return rc;
    kt_log_file_close(&l->file);
    l->file = file;
    return 0;
}
