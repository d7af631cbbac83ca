/* kcptun's settings: the table made of settings.def, modes (spec 6.2), and the rules between settings. */
#include <string.h>
#include <stdio.h>
#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/kcptun/kcptun.h"

_Static_assert(KT_KCP_WND_MAX == 65535 && KT_FEC_MAX_SHARDS == 255, "settings.def writes these out");

enum { FIXED = 0, LIVE = 1, MANUAL = 1 };

static const struct kt_setting rows[] = {
#define KT_NAME(path, member, value, values)                                                                 \
    {path, #member, KT_SETTING_NAME, offsetof(struct kt_kcptun_config, member), sizeof(const char *), 0, 0,  \
        0, 0, value, false},
#define KT_SETTING(path, type, ctype, member, min, max, link, acceptor, who, when)                           \
    {path, #member, KT_SETTING_##type, offsetof(struct kt_kcptun_config, member), sizeof(ctype), min, max,   \
        link, acceptor, NULL, when},
#include "link/kcptun/settings.def"
#undef KT_NAME
#undef KT_SETTING
};

const struct kt_settings_table kt_kcptun_settings = {
    rows, sizeof rows / sizeof rows[0], sizeof(struct kt_kcptun_config)};

void kt_kcptun_defaults(struct kt_settings *s, bool client)
{
    kt_settings_init(&kt_kcptun_settings, s, client);
    s->key = KT_KCPTUN_KEY;
    s->key_len = sizeof KT_KCPTUN_KEY - 1;
    kt_kcptun_mode(s, "fast");
}

bool kt_kcptun_mode(struct kt_settings *s, const char *name)
{
    static const struct {
        const char *name;
        bool nodelay;
        uint32_t interval, resend;
        bool nc;
    } modes[] = {
#define KT_MODE(...) {__VA_ARGS__},
#include "link/kcptun/settings.def"
#undef KT_MODE
    };
    struct kt_kcptun_config *c = (struct kt_kcptun_config *)s;
    bool found = strcmp(name, "manual") == 0;
    for (size_t i = 0; !found && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(name, modes[i].name) != 0) continue;
        c->nodelay = modes[i].nodelay;
        c->interval_ms = modes[i].interval;
        c->resend = modes[i].resend;
        c->nc = modes[i].nc;
        found = true;
    }
    if (found) snprintf(s->mode, sizeof s->mode, "%s", name);
    return found;
}

int kt_kcptun_check(const struct kt_settings *s, struct kt_err *err)
{
    const struct kt_kcptun_config *c = kt_kcptun_config(s);
    int rc = kt_settings_check(&kt_kcptun_settings, s, err);
    if (rc) return rc;
    if (c->datashard && c->parityshard && c->datashard + c->parityshard > KT_FEC_MAX_SHARDS)
        return kt_err_set(err, KT_ECONFIG, "fec.parity: expected data + parity of at most %u, got %u",
            KT_FEC_MAX_SHARDS, c->datashard + c->parityshard);
    if (c->stream_buffer > c->smux_buffer)
        return kt_err_set(err, KT_ECONFIG, "smux.stream_buffer: expected at most smux.buffer (%llu), got %u",
            (unsigned long long)c->smux_buffer, c->stream_buffer);
    return 0;
}
