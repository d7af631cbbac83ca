/* Log lines: see logger.h. A line is written whole, by one call, so that several kts may share a file. */
#include "script/logger.h"
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
        if (n <= 0) return; /* nobody to tell it to */
        text += n;
        len -= (size_t)n;
    }
}

static const char *date(struct kt_logger *l)
{
    if (!l->io || l->undated) return "";
    uint64_t second = kt_io_wall(l->io) / 1000000u;
    if (second != l->dated || !l->date[0]) {
        time_t t = (time_t)second;
        struct tm tm;
        localtime_r(&t, &tm);
        strftime(l->date, sizeof l->date, "%Y-%m-%d %H:%M:%S ", &tm);
        l->dated = second;
    }
    return l->date;
}

static void sink(void *ctx, enum kt_log_level level, const char *line)
{
    struct kt_logger *l = ctx;
    char text[1280]; /* a line is cut at 1 KiB by kt_log */
    int n = snprintf(text, sizeof text, "%s%-5s %s%s%s\n", date(l), kt_log_level_name(level), l->name,
        l->name[0] ? ": " : "", line);
    if (n < 0) return;
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    text[len - 1] = '\n';
    if (l->file && l->io && kt_file_append(l->io, l->file, text, len, NULL) == 0) return;
    l->out(l->ctx, text, len); /* also when the file takes no more: better there than nowhere */
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

void kt_logger_close(struct kt_logger *l)
{
    free(l->file);
    l->file = NULL;
}

int kt_logger_file(struct kt_logger *l, const char *path, struct kt_err *err)
{
    char *copy = NULL;
    if (path) {
        int rc = kt_file_append(l->io, path, "", 0, err);
        if (rc) return rc;
        copy = strdup(path);
        if (!copy) return kt_err_set(err, KT_ENOMEM, "%s", kt_strerror(KT_ENOMEM));
    }
    free(l->file);
    l->file = copy;
    return 0;
}
