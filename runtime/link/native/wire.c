/* kt's own wire as the rest of kt sees it (link/wire.h): the table of its settings, and its constructors. */
#include <inttypes.h>
#include <stdio.h>
#include "link/native/context.h"
#include "link/native/native.h"

#define MIB 1048576u

enum { FIXED = 0, LIVE = 1 };

static const struct kt_setting rows[] = {
#define KT_SETTING(path, type, ctype, member, min, max, link, acceptor, who, when)                           \
    {path, #member, KT_SETTING_##type, offsetof(struct kt_native_config, member), sizeof(ctype), min, max,   \
        link, acceptor, NULL, when},
#include "link/native/settings.def"
#undef KT_SETTING
};

const struct kt_settings_table kt_native_settings = {
    rows, sizeof rows / sizeof rows[0], sizeof(struct kt_native_config)};

static void defaults(struct kt_settings *s, bool client)
{
    kt_settings_init(&kt_native_settings, s, client);
}

/* This wire has no presets. */
static bool mode(struct kt_settings *s, const char *name)
{
    (void)s;
    (void)name;
    return false;
}

static int check(const struct kt_settings *s, struct kt_err *err)
{
    return kt_settings_check(&kt_native_settings, s, err);
}

static void summary(const struct kt_settings *s, char *text, size_t size)
{
    const struct kt_native_config *c = kt_native_config(s);
    char bandwidth[48] = "bandwidth measured";
    if (c->bandwidth > 0)
        snprintf(bandwidth, sizeof bandwidth, "%.6g Mbit/s", (double)c->bandwidth * 8 / 1e6);
    snprintf(text, size, "kt's wire, %s, %s, mtu up to %u, survives %.6g s",
        s->private_key ? "key pairs" : "shared key", bandwidth, c->mtu, (double)c->survive_us / 1e6);
}

static const char *weak_key(const struct kt_settings *s)
{
    return s->key_len == 0 && !s->private_key ? "empty" : NULL;
}

/* A max_streams that max_buffered does not pay for. The default is a bound that nobody asked to reach. */
static void conflict(const struct kt_settings *s, bool client, char *text, size_t size)
{
    const struct kt_native_config *c = kt_native_config(s);
    struct kt_native_config usual;
    defaults(&usual.common, client);
    const uint64_t needs = kt_native_context_needs(c->max_streams, client);
    text[0] = '\0';
    if (c->max_streams <= usual.max_streams || needs <= c->max_buffered) return;
    snprintf(text, size,
        "max_streams of %u cannot be reached on kt's wire; raise max_buffered (--maxbuffered) to %" PRIu64
        "MiB",
        c->max_streams, (needs + MIB - 1) / MIB);
}

static void describe(const struct kt_link_stats *stats, kt_stat_each each, void *ctx)
{
    const uint64_t *own = stats->own;
#define KT_STAT_EACH(row, value) each(ctx, row, value)
#include "link/stat_each.h"
#include "link/native/stats.def"
}

const struct kt_wire kt_native_wire = {
    .name = "kt",
    .settings = &kt_native_settings,
    .defaults = defaults,
    .mode = mode,
    .check = check,
    .summary = summary,
    .weak_key = weak_key,
    .conflict = conflict,
    .link = kt_native_link,
    .accept = kt_native_accept,
    .describe = describe,
};
