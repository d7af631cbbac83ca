/* kcptun's wire as the rest of kt sees it (link/wire.h). */
#include <stdio.h>
#include "link/kcptun/kcptun.h"

static void summary(const struct kt_settings *s, char *text, size_t size)
{
    const struct kt_kcptun_config *c = kt_kcptun_config(s);
    char fec[32] = "no fec";
    if (c->datashard && c->parityshard)
        snprintf(fec, sizeof fec, "fec %u/%u", c->datashard, kt_kcptun_parity(c));
    struct kt_kcptun_config settled = *c;
    kt_kcptun_settle(&settled);
    c = &settled;
    snprintf(text, size, "%s, %s, mtu %u, windows %u/%u, %s, %s, smux %u%s%s", c->crypt, s->mode, c->mtu,
        c->sndwnd, c->rcvwnd, fec, c->compress ? "snappy" : "no compression", c->smux_version,
        c->qpp ? ", qpp" : "", c->tuncrypt ? ", tuncrypt" : "");
}

static const char *weak_key(const struct kt_settings *s)
{
    if (s->key_len == 0) return "empty";
    if (kt_kcptun_has_default_key(s)) return "kcptun's default, which is public";
    return NULL;
}

static void describe(const struct kt_link_stats *stats, kt_stat_each each, void *ctx)
{
    const uint64_t *own = stats->own;
#define KT_STAT_EACH(row, value) each(ctx, row, value)
#include "link/stat_each.h"
#include "link/kcptun/stats.def"
}

const struct kt_wire kt_kcptun_wire = {
    .name = "kcptun",
    .settings = &kt_kcptun_settings,
    .defaults = kt_kcptun_defaults,
    .mode = kt_kcptun_mode,
    .check = kt_kcptun_check,
    .summary = summary,
    .weak_key = weak_key,
    .link = kt_kcptun_link,
    .accept = kt_kcptun_accept,
    .describe = describe,
};
