/* kcptun's settings: the table made of settings.def, modes (wire-kcptun.md 6.2), and the rules between settings. */
#include <string.h>
#include <stdio.h>
#include "kcp/fec.h"
#include "kcp/kcp.h"
#include "link/kcptun/kcptun.h"

_Static_assert(KT_KCP_WND_MAX == 65535 && KT_FEC_MAX_SHARDS == 255, "settings.def writes these out");

#define WINDOW_LEAST 128u /* however little memory there is */

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

static const char default_key[] =
#define KT_KEY(text) text
#include "link/kcptun/settings.def"
#undef KT_KEY
    ;

void kt_kcptun_defaults(struct kt_settings *s, bool client)
{
    kt_settings_init(&kt_kcptun_settings, s, client);
    s->key = default_key;
    s->key_len = sizeof default_key - 1;
    kt_kcptun_mode(s, "fast");
}

bool kt_kcptun_has_default_key(const struct kt_settings *s)
{
    return s->key_len == sizeof default_key - 1 && memcmp(s->key, default_key, s->key_len) == 0;
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

bool kt_kcptun_automatic(const struct kt_kcptun_config *c)
{
    return strcmp(c->common.mode, "auto") == 0;
}

/* sndwnd_given and so on: whether the user gave what mode "auto" chooses otherwise. */
#define KT_SIZED(path, member)                                                                               \
    static bool member##_given(const struct kt_kcptun_config *c)                                             \
    {                                                                                                        \
        return c->common.given & kt_setting_bit(&kt_kcptun_settings, path);                                  \
    }
#include "link/kcptun/settings.def"
#undef KT_SIZED

/* A session alone may take half of the memory for what it holds: a quarter for a full window of KCP in either
 * direction (session_limits.c stores no more). Bytes that are held reduce the windows of smux as they change. */
void kt_kcptun_settle(struct kt_kcptun_config *c)
{
    if (!kt_kcptun_automatic(c)) return;
    const uint64_t half = c->max_buffered / 2, segments = half / 2 / kt_kcp_block_size(c->mtu);
    const uint32_t window = (uint32_t)(segments < WINDOW_LEAST     ? WINDOW_LEAST
                                       : segments > KT_KCP_WND_MAX ? KT_KCP_WND_MAX
                                                                   : segments);
    if (!sndwnd_given(c)) c->sndwnd = window;
    if (c->smux_version < 2) return; /* streams have no windows: what one does not read holds up the others */
    if (!rcvwnd_given(c)) c->rcvwnd = window;
    if (!smux_buffer_given(c) && c->smux_buffer < half) c->smux_buffer = half;
    if (!stream_buffer_given(c) && c->stream_buffer < c->smux_buffer)
        c->stream_buffer = c->smux_buffer < INT32_MAX ? (uint32_t)c->smux_buffer : INT32_MAX;
}

uint32_t kt_kcptun_parity(const struct kt_kcptun_config *c)
{
    return kt_kcptun_automatic(c) && !datashard_given(c) && !parityshard_given(c) ? 0 : c->parityshard;
}

/* "parity" of "fec.parity". */
static const char *last(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

int kt_kcptun_check(const struct kt_settings *s, struct kt_err *err)
{
    const struct kt_kcptun_config *c = kt_kcptun_config(s);
    int rc = kt_settings_check(&kt_kcptun_settings, s, err);
    if (rc) return rc;
#define KT_SUM(path, member, other_path, other, most)                                                        \
    if (c->member && c->other && c->member + c->other > (most))                                              \
        return kt_err_set(err, KT_ECONFIG, "%s: expected %s + %s of at most %u, got %u", other_path,         \
            last(path), last(other_path), (most), c->member + c->other);
#define KT_WITHIN(path, member, other_path, other)                                                           \
    if (c->member > c->other)                                                                                \
        return kt_err_set(err, KT_ECONFIG, "%s: expected at most %s (%llu), got %llu", path, other_path,     \
            (unsigned long long)c->other, (unsigned long long)c->member);
#include "link/kcptun/settings.def"
#undef KT_SUM
#undef KT_WITHIN
    return 0;
}
