/* Formats log lines. Invariant: a writer's `at` never passes KT_LOG_FORMATTED - 2, so that the newline and the NUL fit;
 * what does not fit is left out, whole characters at a time. */
#include "base/log_format.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/json.h"

#define FIELD_MAX ((size_t)255)

struct writer {
    char *out;
    size_t at;
};

static void put(struct writer *w, const char *text, size_t n)
{
    if (n > KT_LOG_FORMATTED - 2 - w->at) return;
    memcpy(w->out + w->at, text, n);
    w->at += n;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_number(struct writer *w, const char *before, uint64_t n, const char *after)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, n);
    put_text(w, before);
    put_text(w, text);
    put_text(w, after);
}

static size_t field_length(const char *text)
{
    const size_t n = strlen(text);
    return n < FIELD_MAX ? n : FIELD_MAX;
}

/* ---- JSON ---- */

static void put_escaped(struct writer *w, const char *text, size_t n)
{
    while (n > 0) {
        const unsigned char c = (unsigned char)*text;
        const size_t len = kt_utf8_length(text, n);
        char escape[8];
        if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put_text(w, escape);
        } else if (c == '"' || c == '\\') {
            put(w, (const char[]){'\\', (char)c}, 2);
        } else if (len == 0) {
            put_text(w, "\xef\xbf\xbd");
        } else {
            put(w, text, len);
        }
        text += len ? len : 1;
        n -= len ? len : 1;
    }
}

static void put_key(struct writer *w, const char *key, const char *value, size_t n)
{
    put_text(w, w->at > 1 ? ",\"" : "\"");
    put_text(w, key);
    put_text(w, "\":\"");
    put_escaped(w, value, n);
    put_text(w, "\"");
}

static void put_optional(struct writer *w, const char *key, const char *value)
{
    if (value && value[0]) put_key(w, key, value, field_length(value));
}

static void put_time(struct writer *w, uint64_t wall_us)
{
    const time_t t = (time_t)(wall_us / 1000000u);
    char day[32], text[48];
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03uZ", day, (unsigned)(wall_us / 1000u % 1000u));
    put_key(w, "time", text, strlen(text));
}

static void write_json(struct writer *w, const struct kt_log_line *line)
{
    put_text(w, "{");
    if (line->wall_us) put_time(w, line->wall_us);
    put_optional(w, "level", kt_log_level_name(line->level));
    put_optional(w, "script", line->script);
    put_optional(w, "link", line->fields.link);
    put_optional(w, "pool", line->fields.pool);
    put_optional(w, "conn", line->fields.conn);
    put_optional(w, "peer", line->fields.peer);
    put_key(w, "msg", line->text, strlen(line->text));
    if (line->repeated) put_number(w, ",\"repeated\":", line->repeated, "");
    put_text(w, "}");
}

/* ---- the journal ---- */

/* A newline would begin another field. */
static void put_field(struct writer *w, const char *name, const char *value, size_t n)
{
    put_text(w, name);
    put_text(w, "=");
    for (size_t i = 0; i < n; i++) put(w, value[i] == '\n' ? " " : value + i, 1);
    put_text(w, "\n");
}

static void put_optional_field(struct writer *w, const char *name, const char *value)
{
    if (value && value[0]) put_field(w, name, value, field_length(value));
}

static void write_journal(struct writer *w, const struct kt_log_line *line)
{
    static const char *const priorities[] = {
        [KT_LOG_DEBUG] = "7", [KT_LOG_INFO] = "6", [KT_LOG_WARN] = "4", [KT_LOG_ERROR] = "3"};
    put_field(w, "PRIORITY", priorities[line->level], 1);
    put_text(w, "SYSLOG_IDENTIFIER=kt\n");
    put_optional_field(w, "KT_SCRIPT", line->script);
    put_optional_field(w, "KT_LINK", line->fields.link);
    put_optional_field(w, "KT_POOL", line->fields.pool);
    put_optional_field(w, "KT_CONN", line->fields.conn);
    put_optional_field(w, "KT_PEER", line->fields.peer);
    if (line->repeated) put_number(w, "KT_REPEATED=", line->repeated, "\n");
    put_field(w, "MESSAGE", line->text, strlen(line->text));
    w->at--; /* the last newline is written below */
}

/* ---- text ---- */

static void write_text(struct writer *w, const struct kt_log_line *line)
{
    char level[8];
    snprintf(level, sizeof level, "%-5s ", kt_log_level_name(line->level));
    put_text(w, line->date);
    put_text(w, level);
    put_text(w, line->script);
    put_text(w, line->script[0] ? ": " : "");
    put_text(w, line->text);
    if (line->repeated)
        put_number(w, " (repeated ", line->repeated, line->repeated == 1 ? " time)" : " times)");
}

size_t kt_log_write(enum kt_log_format format, const struct kt_log_line *line, char out[KT_LOG_FORMATTED])
{
    struct writer w = {.out = out};
    if (format == KT_LOG_JSON)
        write_json(&w, line);
    else if (format == KT_LOG_JOURNAL)
        write_journal(&w, line);
    else
        write_text(&w, line);
    out[w.at++] = '\n';
    out[w.at] = '\0';
    return w.at;
}

bool kt_log_format_parse(const char *name, enum kt_log_format *out)
{
    static const char *const names[] = {
        [KT_LOG_TEXT] = "text", [KT_LOG_JSON] = "json", [KT_LOG_JOURNAL] = "journald"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum kt_log_format)i;
        return true;
    }
    return false;
}
