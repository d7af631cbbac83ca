/* Accepts links of both wires on the same ports. There is an acceptor of each; a datagram is offered to the
 * preferred wire's first (link/common/ports.h). The user sees the streams and links of both. */
#include <stdlib.h>
#include "io/io.h"
#include "link/common/memory_budget.h"
#include "link/both/both.h"

struct acceptor {
    struct kt_acceptor acceptor;
    struct kt_acceptor *each[KT_BOTH_WIRES];
};

static struct acceptor *of(struct kt_acceptor *acceptor)
{
    return KT_CONTAINER(acceptor, struct acceptor, acceptor);
}

static void on_drop(struct kt_acceptor *acceptor)
{
    for (size_t i = 0; i < KT_BOTH_WIRES; i++) kt_acceptor_drop(of(acceptor)->each[i]);
}

static int on_prepare(struct kt_acceptor *acceptor, const struct kt_settings *s, struct kt_err *err)
{
    struct kt_settings *both = kt_both_spread(s);
    int rc = both ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
    for (size_t i = 0; i < KT_BOTH_WIRES && !rc; i++)
        rc = kt_acceptor_prepare(of(acceptor)->each[i], kt_both_part(both, i), err);
    if (rc) on_drop(acceptor);
    free(both);
    return rc;
}

static void on_apply(struct kt_acceptor *acceptor, struct kt_acceptor_change *out)
{
    *out = (struct kt_acceptor_change){.changed = false};
    for (size_t i = 0; i < KT_BOTH_WIRES; i++) {
        struct kt_acceptor_change change;
        kt_acceptor_apply(of(acceptor)->each[i], &change);
        out->changed |= change.changed;
        out->retired |= change.retired;
        if (change.changed) out->sessions += change.sessions;
    }
}

/* Adopts the preferred wire's links last, so that they count as the youngest: a peer that came on both
 * wires stays with that one. */
static void on_adopt(struct kt_acceptor *acceptor)
{
    for (size_t i = KT_BOTH_WIRES; i-- > 0;) kt_acceptor_adopt(of(acceptor)->each[i]);
}

static void on_stats(const struct kt_acceptor *acceptor, struct kt_link_stats *out)
{
    const struct acceptor *a = KT_CONTAINER(acceptor, const struct acceptor, acceptor);
    *out = kt_both_stats();
    for (size_t i = 0; i < KT_BOTH_WIRES; i++) {
        struct kt_link_stats one;
        kt_acceptor_stats(a->each[i], &one);
        kt_both_stats_add(out, &one);
    }
}

static void on_close(struct kt_acceptor *acceptor)
{
    struct acceptor *a = of(acceptor);
    for (size_t i = 0; i < KT_BOTH_WIRES; i++)
        if (a->each[i]) kt_acceptor_close(a->each[i]);
    free(a);
}

int kt_both_accept(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err)
{
    static const struct kt_acceptor_ops ops = {.prepare = on_prepare,
        .apply = on_apply,
        .drop = on_drop,
        .adopt = on_adopt,
        .stats = on_stats,
        .close = on_close};
    struct kt_ports *ports = NULL;
    struct kt_wire_env shared = *env;
    struct kt_settings *both = kt_both_spread(s);
    struct acceptor *a = calloc(1, sizeof *a);
    int rc = both && a ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
    shared.ports = &ports;
    shared.budget = kt_memory_budget_ref(NULL);
    if (!rc && !shared.budget) rc = kt_err_set(err, KT_ENOMEM, "out of memory");
    for (size_t i = 0; i < KT_BOTH_WIRES && !rc; i++)
        rc = self->parts[i]->accept(
            self->parts[i], &shared, kt_both_part(both, i), events, ctx, &a->each[i], err);
    free(both);
    kt_memory_budget_unref(shared.budget);
    if (rc) {
        if (a) on_close(&a->acceptor);
        return rc;
    }
    a->acceptor.ops = &ops;
    *out = &a->acceptor;
    return 0;
}
