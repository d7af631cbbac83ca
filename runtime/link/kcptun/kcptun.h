/* kcptun's wire (docs/wire-kcptun.md): its settings, and the constructors of its links and acceptors. Outside
 * this folder only specs and benchmarks include this; all other code uses link/wire.h. */
#ifndef KT_LINK_KCPTUN_KCPTUN_H
#define KT_LINK_KCPTUN_KCPTUN_H

#include "link/wire.h"

/* Members, ranges and defaults: settings.def. */
struct kt_kcptun_config {
    struct kt_settings common;
#define KT_NAME(path, member, value, values) const char *member; /* lives as long as common.key */
#define KT_SETTING(path, type, ctype, member, min, max, link, acceptor, who, when) ctype member;
#include "link/kcptun/settings.def"
#undef KT_NAME
#undef KT_SETTING
};

static inline const struct kt_kcptun_config *kt_kcptun_config(const struct kt_settings *s)
{
    return (const struct kt_kcptun_config *)s;
}

extern const struct kt_settings_table kt_kcptun_settings;
extern const struct kt_wire kt_kcptun_wire;

/* kcptun's defaults, key included. */
void kt_kcptun_defaults(struct kt_settings *s, bool client);
bool kt_kcptun_has_default_key(const struct kt_settings *s);
/* Sets nodelay, interval, resend and nc (wire-kcptun.md 6.2, and "default"). "manual" changes no value. */
bool kt_kcptun_mode(struct kt_settings *s, const char *name);
/* Mode "auto": the congestion controller finds the path's bandwidth (kcp/cc.h), and kt_kcptun_settle chooses
 * what the user did not give. */
bool kt_kcptun_automatic(const struct kt_kcptun_config *c);
/* In mode "auto", sizes the windows and buffers that were not given, within max_buffered. In other modes, and
 * for what receives on smux 1, it changes nothing. */
void kt_kcptun_settle(struct kt_kcptun_config *c);
/* Parity packets that a session sends per group: in mode "auto" none at first unless they were given, as recovery
 * costs less of the bandwidth (session.c). */
uint32_t kt_kcptun_parity(const struct kt_kcptun_config *c);
int kt_kcptun_check(const struct kt_settings *s, struct kt_err *err);

int kt_kcptun_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err);
int kt_kcptun_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err);

/* The statistics of kcptun's sessions in kt_link_stats.own; stats.def describes them. */
enum { KT_KCPTUN_RMT_WND };

#endif
