/* Reads a line's parameters, in the units of kt's scripts: "40ms", "1m30s", "64KiB", "20Mbit", "2%". */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "line.h"

#define TEXT_MAX 1024u

struct unit {
    const char *name;
    double scale;
};

static const struct unit times[] = {
    {"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}, {NULL, 0}};
static const struct unit sizes[] = {{"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
    {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {NULL, 0}};
static const struct unit rates[] = {
    {"bit", 1}, {"kbit", 1e3}, {"Kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};
static const struct unit shares[] = {{"%", 0.01}, {"", 1}, {NULL, 0}};

/* Reads a number with one of the units, and moves *at past both; false if there is none. */
static bool number(const char **at, const struct unit *units, double *out)
{
    size_t digits = strspn(*at, "0123456789."); /* strtod alone would take "inf" and "0x1p3" */
    char *end;
    if (digits == 0) return false;
    double value = strtod(*at, &end);
    if (end != *at + digits || !isfinite(value)) return false;
    size_t len = strcspn(end, "0123456789. ");
    for (const struct unit *u = units; u->name; u++) {
        if (strlen(u->name) != len || strncmp(u->name, end, len) != 0) continue;
        *out = value * u->scale;
        *at = end + len;
        return true;
    }
    return false;
}

/* True if all of `text` was read and the result fits. */
static bool whole(const char *text, const struct unit *units, double *out)
{
    return number(&text, units, out) && *text == '\0' && *out < 1e18;
}

static bool duration(const char *text, double *out)
{
    double part;
    if (strcmp(text, "0") == 0) text = "0s";
    for (*out = 0; *text; *out += part)
        if (!number(&text, times, &part)) return false;
    return *out < 1e15;
}

static bool rate(char *text, double *out)
{
    size_t len = strlen(text);
    if (len > 2 && strcmp(text + len - 2, "/s") == 0) text[len - 2] = '\0';
    if (whole(text, rates, out)) return true;
    if (!whole(text, sizes, out)) return false;
    *out *= 8;
    return true;
}

/* The unit tells which limit it is: packets, bytes or time. */
static bool queue(const char *text, struct kt_sim_line_opts *o)
{
    double value;
    o->queue_packets = o->queue_bytes = o->queue_us = 0;
    if (whole(text, counts, &value))
        o->queue_packets = (uint64_t)value;
    else if (whole(text, sizes, &value))
        o->queue_bytes = (uint64_t)value;
    else if (duration(text, &value))
        o->queue_us = (uint64_t)value;
    else
        return false;
    return value >= 1;
}

/* "10s..13s"; must follow the previous outage. */
static bool outage(char *text, struct line_opts *o)
{
    char *dots = strstr(text, "..");
    double from, to;
    if (!dots || o->n_outages == LINE_OUTAGES) return false;
    *dots = '\0';
    if (!duration(text, &from) || !duration(dots + 2, &to) || to <= from) return false;
    if (o->n_outages && (uint64_t)from <= o->outages[o->n_outages - 1].to) return false;
    o->outages[o->n_outages++] = (struct line_outage){(uint64_t)from, (uint64_t)to};
    return true;
}

static int parameter(const char *name, char *text, struct line_opts *out, struct kt_err *err)
{
    struct kt_sim_line_opts *o = &out->model;
    const struct {
        const char *name;
        uint64_t *us;
    } durations[] = {{"delay", &o->delay_us}, {"jitter", &o->jitter_us}, {"reorder_by", &o->reorder_us}};
    const struct {
        const char *name;
        double *share;
    } chances[] = {{"loss", &o->loss}, {"burst_enter", &o->burst_enter}, {"burst_leave", &o->burst_leave},
        {"burst_loss", &o->burst_loss}, {"duplicate", &o->duplicate}, {"reorder", &o->reorder},
        {"corrupt", &o->corrupt}};
    const char *wanted;
    double value;
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        if (strcmp(name, durations[i].name) != 0) continue;
        if (!duration(text, &value))
            return kt_err_set(err, KT_EINVAL, "%s=%s: expected a time such as 40ms", name, text);
        *durations[i].us = (uint64_t)value;
        return 0;
    }
    for (size_t i = 0; i < sizeof chances / sizeof *chances; i++) {
        if (strcmp(name, chances[i].name) != 0) continue;
        if (!whole(text, shares, chances[i].share))
            return kt_err_set(err, KT_EINVAL, "%s=%s: expected a share such as 2%%", name, text);
        return 0;
    }
    if (strcmp(name, "rate") == 0) {
        wanted = "a rate such as 20Mbit";
        if (rate(text, &value)) {
            o->rate_bps = (uint64_t)value;
            return 0;
        }
    } else if (strcmp(name, "queue") == 0) {
        wanted = "packets, bytes or a time, such as 100, 64KiB or 100ms";
        if (queue(text, o)) return 0;
    } else if (strcmp(name, "police") == 0) {
        wanted = "bytes, such as 64KiB";
        if (whole(text, sizes, &value) && value >= 1500) {
            o->police_bytes = (uint64_t)value;
            return 0;
        }
    } else if (strcmp(name, "mtu") == 0) {
        wanted = "the bytes of an IP packet, such as 1400";
        if (whole(text, counts, &value) && value <= 65535) {
            o->mtu = (uint32_t)value;
            return 0;
        }
    } else if (strcmp(name, "cut") == 0) {
        wanted = "start..end such as 10s..13s, in order, at most 16";
        if (outage(text, out)) return 0;
    } else {
        return kt_err_set(err, KT_EINVAL,
            "%s: unknown; expected delay, jitter, loss, burst_enter, burst_leave, burst_loss, duplicate, "
            "reorder, reorder_by, corrupt, rate, queue, police, mtu, cut",
            name);
    }
    return kt_err_set(err, KT_EINVAL, "%s=%s: expected %s", name, text, wanted);
}

int line_parse(const char *text, struct line_opts *out, struct kt_err *err)
{
    char copy[TEXT_MAX], *save = NULL;
    memset(out, 0, sizeof *out);
    if (strlen(text) >= sizeof copy) return kt_err_set(err, KT_EINVAL, "a line's parameters are too long");
    memcpy(copy, text, strlen(text) + 1);
    for (char *word = strtok_r(copy, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save)) {
        char *is = strchr(word, '=');
        if (!is) return kt_err_set(err, KT_EINVAL, "%s: expected NAME=VALUE", word);
        *is = '\0';
        if (parameter(word, is + 1, out, err) != 0) return KT_EINVAL;
    }
    return kt_sim_line_check(&out->model, err);
}
