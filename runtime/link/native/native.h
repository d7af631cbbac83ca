/* kt's own wire (docs/wire.md): its settings and constructors. Outside this folder only specs and benchmarks
 * include this; other rooms go through link/wire.h. */
#ifndef KT_LINK_NATIVE_NATIVE_H
#define KT_LINK_NATIVE_NATIVE_H

#include "link/wire.h"

/* Members, ranges and defaults: settings.def. */
struct kt_native_config {
    struct kt_settings common;
#define KT_SETTING(path, type, ctype, member, min, max, link, acceptor, who, when) ctype member;
#include "link/native/settings.def"
#undef KT_SETTING
};

static inline const struct kt_native_config *kt_native_config(const struct kt_settings *s)
{
    return (const struct kt_native_config *)s;
}

extern const struct kt_settings_table kt_native_settings;
extern const struct kt_wire kt_native_wire;

int kt_native_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err);
int kt_native_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err);

/* The figures of this wire in kt_link_stats.own. */
enum { KT_NATIVE_MIN_RTT_US, KT_NATIVE_PACING, KT_NATIVE_MTU, KT_NATIVE_USABLE };

#endif
