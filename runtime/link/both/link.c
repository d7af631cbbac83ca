/* A link whose peer speaks one of two wires (both.h).
 *
 * It has a link of each wire, and dials with probes. The preferred wire dials first, the fallback GRACE_US later; then
 * the first to get an answer is chosen. Until then only probes are sent, so no stream can arrive on both wires. Calls
 * wait here for the choice and then go to the chosen link. The fallback may have won only because the path was bad, so
 * the preferred wire can still win for SETTLE_US more. After that the peer is known not to speak the preferred wire,
 * and the next dial starts with both.
 *
 * A peer whose settings of the fallback's wire differ may still speak the preferred one. So calls that wait fail
 * MISMATCH_US after that is known, and the fallback is not asked again until then.
 *
 * Invariants: once the peer has spoken the preferred wire, that choice is final; the fallback's link gets no more calls
 * and is closed when it carries nothing. The fallback stays chosen only while the peer is up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "io/io.h"
#include "link/both/both.h"
#include "link/both/flow.h"
#include "link/common/calls.h"
#include "link/common/presence.h"
#include "link/common/preferred_peers.h"

/* The native wire's second initiation has left by then, so that its answer comes before the fallback's even if the
 * first was lost. Both at once would begin a session of each wire at every server that takes both. */
#define GRACE_US 300000u
#define AGAIN_US 1000000u /* between checks of the probes */
#define KEEP_US 6000000u  /* keeps dialling at least this long, even without calls */
#define SETTLE_US 5000000u
#define MISMATCH_US 3000000u
#define NO_FLOWS "the peer speaks wire %s, which carries no datagrams; only wire %s does"

struct link;

struct part {
    struct kt_link *link; /* NULL: closed */
    struct link *owner;
    struct kt_open *probe; /* NULL: none pending */
    struct kt_presence_part presence;
    bool up;
};

struct link {
    struct kt_link link;
    struct kt_io *io;
    const struct kt_log *log;
    struct kt_endpoint at;
    char name[280]; /* `at` as text */
    struct part parts[KT_BOTH_WIRES];
    struct part *chosen;            /* NULL: no choice yet */
    struct kt_err refusal;          /* the peer's, on the preferred wire; code 0: none */
    struct kt_err mismatch;         /* how the two ends differ on the fallback's wire; code 0: not known */
    uint64_t mismatch_us;           /* µs, when calls fail because of it */
    struct kt_list waiting, passed; /* of kt_call: until the choice; at the chosen link */
    struct kt_list flows;           /* flow.h */
    struct kt_calls calls;
    struct kt_presence presence;
    struct kt_link_totals ended;                /* of a fallback that was closed */
    struct kt_preferred_peers *preferred_peers; /* the process's, or own_preferred_peers */
    struct kt_preferred_peers own_preferred_peers;
    const char *silence; /* kt_wire_env.silence of the preferred wire: one of these, or NULL */
    char silences[KT_BOTH_WIRES][256];
    struct kt_turn turn;   /* acts on what was recorded */
    struct kt_turn ending; /* frees it */
    bool trying;           /* dialling to find out the peer's wire */
    struct kt_timer timer; /* while trying */
    uint64_t grace_us;     /* µs, when the fallback joins in */
    uint64_t keep_us;      /* µs, until when it dials without calls, or after it chose the fallback */
    bool stay;
    bool lacks; /* the peer did not speak the preferred wire when it was asked last; logged */
};

/* A call that waits, or was passed on. */
struct both_call {
    struct kt_call call;   /* first */
    struct kt_open *inner; /* at the chosen link; NULL: not passed on, or answered */
    struct kt_open_options options;
    char texts[];
};

static struct link *of(struct kt_link *link)
{
    return KT_CONTAINER(link, struct link, link);
}

static struct part *preferred(struct link *l)
{
    return &l->parts[KT_PREFERRED];
}

static struct part *fallback(struct link *l)
{
    return &l->parts[KT_FALLBACK];
}

static void record(struct link *l)
{
    if (!l->presence.closing) kt_io_turn(l->io, &l->turn);
}

/* ---- events of the two links: they may only record things ---- */

static void on_up(void *ctx)
{
    struct part *p = ctx;
    p->up = true;
    kt_presence_up(&p->owner->presence, &p->presence);
    record(p->owner);
}

static void on_down(void *ctx, const struct kt_err *why)
{
    struct part *p = ctx;
    struct link *l = p->owner;
    p->up = false;
    if (p == fallback(l) && why->code == KT_EPROTO) {
        kt_err_set(&l->mismatch, why->code, "%s: %s", l->name, why->text);
        l->mismatch_us = kt_io_now(l->io) + MISMATCH_US;
        l->silence = NULL;
    }
    kt_presence_down(&l->presence, &p->presence, why->code, why->text);
    record(l);
}

static void on_stream(void *ctx, struct kt_pipe *stream, const struct kt_peer_info *peer)
{
    const struct link *l = ((struct part *)ctx)->owner;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->stream)
        kt_pipe_reset(stream, KT_ENOTSUP);
    else
        events->stream(l->presence.ctx, stream, peer);
}

static void on_flow(void *ctx, struct kt_flow *flow, const struct kt_peer_info *peer)
{
    const struct link *l = ((struct part *)ctx)->owner;
    const struct kt_link_events *events = l->presence.events;
    if (l->presence.closing || !events || !events->flow)
        kt_flow_close(flow, KT_ENOTSUP);
    else
        events->flow(l->presence.ctx, flow, peer);
}

static void on_carries(void *ctx, bool anything)
{
    struct part *p = ctx;
    kt_presence_carries(&p->owner->presence, &p->presence, anything);
    record(p->owner);
}

static void hear(struct part *p)
{
    static const struct kt_link_events plain = {
        .up = on_up, .down = on_down, .flow = on_flow, .carries = on_carries};
    static const struct kt_link_events serving = {
        .up = on_up, .down = on_down, .stream = on_stream, .flow = on_flow, .carries = on_carries};
    const struct kt_link_events *events = p->owner->presence.events;
    if (p->link) kt_link_listen(p->link, events && events->stream ? &serving : &plain, p);
}

/* ---- probes ---- */

static void on_probed(void *ctx, uint64_t rtt_us, const struct kt_err *err)
{
    struct part *p = ctx;
    (void)rtt_us;
    p->probe = NULL;
    if (err && p == preferred(p->owner)) p->owner->refusal = *err; /* only the peer can end it */
    record(p->owner);
}

static void probe(struct part *p)
{
    struct kt_err err;
    if (p->link && !p->probe && kt_link_probe(p->link, on_probed, p, &p->probe, &err)) p->probe = NULL;
}

static void end_probe(struct part *p)
{
    if (p->probe) kt_open_cancel(p->probe);
    p->probe = NULL;
}

/* ---- calls ---- */

static struct both_call *call_of(struct kt_call *call)
{
    return KT_CONTAINER(call, struct both_call, call);
}

static void withdraw(struct kt_call *call)
{
    if (call_of(call)->inner) kt_open_cancel(call_of(call)->inner);
}

static void on_opened(void *ctx, struct kt_pipe *stream, const struct kt_err *err)
{
    struct both_call *c = ctx;
    c->inner = NULL;
    if (stream)
        kt_call_opened(&c->call, stream);
    else
        kt_call_fail(&c->call, err);
}

static void on_answer(void *ctx, uint64_t rtt_us, const struct kt_err *err)
{
    struct both_call *c = ctx;
    c->inner = NULL;
    if (err)
        kt_call_fail(&c->call, err);
    else
        kt_call_probed(&c->call, rtt_us);
}

static void pass_on(struct link *l, struct both_call *c)
{
    struct kt_err err;
    struct kt_link *to = l->chosen->link;
    kt_list_remove(&c->call.node);
    kt_list_push(&l->passed, &c->call.node);
    const int rc = c->call.opened ? kt_link_open(to, &c->options, on_opened, c, &c->inner, &err)
                                  : kt_link_probe(to, on_answer, c, &c->inner, &err);
    if (rc) {
        c->inner = NULL;
        kt_call_fail(&c->call, &err);
    } else {
        c->call.open.why = c->inner->why;
    }
}

/* ---- the choice ---- */

static void stop_trying(struct link *l)
{
    l->trying = false;
    kt_io_timer_cancel(l->io, &l->timer);
    end_probe(preferred(l));
    end_probe(fallback(l));
}

static void dial(struct link *l)
{
    if (l->trying) return;
    l->trying = true;
    l->grace_us = kt_io_now(l->io) + (l->lacks ? 0 : GRACE_US);
    l->keep_us = kt_io_now(l->io) + KEEP_US;
    if (!l->mismatch.code) l->silence = l->silences[KT_FALLBACK];
    kt_io_timer_set(l->io, &l->timer, l->lacks ? l->grace_us + AGAIN_US : l->grace_us);
    probe(preferred(l));
    if (l->lacks) probe(fallback(l));
}

static bool in_grace(const struct link *l)
{
    return l->trying && kt_io_now(l->io) < l->grace_us;
}

static void choose(struct link *l, struct part *p)
{
    l->chosen = p;
    l->mismatch.code = 0;
    if (p == preferred(l)) {
        stop_trying(l);
        l->lacks = false;
        kt_preferred_peers_add(l->preferred_peers, &l->at);
        l->silence = l->silences[KT_PREFERRED];
    } else {
        end_probe(p);
        l->silence = NULL;
        l->keep_us = kt_io_now(l->io) + SETTLE_US;
    }
    if (l->stay) kt_link_stay(p->link, NULL);
    while (!kt_list_empty(&l->waiting))
        pass_on(l, call_of(KT_CONTAINER(l->waiting.next, struct kt_call, node)));
}

/* The peer does not speak the preferred wire. */
static void settle(struct link *l)
{
    stop_trying(l);
    if (!kt_list_empty(&l->flows))
        kt_log_with(l->log, KT_LOG_WARN, (struct kt_log_fields){.link = l->name}, "%s: " NO_FLOWS, l->name,
            kt_both_wire.parts[KT_FALLBACK]->name, kt_both_wire.parts[KT_PREFERRED]->name);
    kt_both_flows_end(&l->flows, KT_ENOTSUP);
    if (l->lacks) return;
    l->lacks = true;
    kt_log_with(l->log, KT_LOG_INFO, (struct kt_log_fields){.link = l->name},
        "%s does not answer on wire %s; using wire %s from now on", l->name,
        kt_both_wire.parts[KT_PREFERRED]->name, kt_both_wire.parts[KT_FALLBACK]->name);
}

static bool wanted(const struct link *l)
{
    return l->stay || !kt_list_empty(&l->waiting) || !kt_list_empty(&l->flows);
}

/* The peer has spoken the preferred wire. */
static void shed_fallback(struct link *l)
{
    struct part *p = fallback(l);
    if (!p->link || p->presence.carries) return;
    struct kt_link_stats stats;
    kt_link_stats(p->link, &stats);
    l->ended = stats.total;
    end_probe(p);
    kt_presence_down(&l->presence, &p->presence, KT_ECLOSED, "its session is not needed any more");
    kt_link_close(p->link);
    p->link = NULL;
    p->up = false;
}

static void on_turn(void *ctx)
{
    struct link *l = ctx;
    const bool refused = l->refusal.code != 0;
    if (refused) kt_calls_fail(&l->waiting, &l->refusal);
    l->refusal.code = 0;
    if (l->chosen != preferred(l) && (preferred(l)->up || refused)) choose(l, preferred(l));
    if (l->chosen == fallback(l) && !fallback(l)->up) {
        stop_trying(l);
        l->chosen = NULL;
    }
    /* The fallback may come up again by itself, at a server that has since learned the preferred wire. */
    if (!l->chosen && (wanted(l) || fallback(l)->up)) dial(l);
    if (!l->chosen && fallback(l)->up && !in_grace(l)) choose(l, fallback(l));
    if (l->chosen == preferred(l)) shed_fallback(l);
}

/* Whether the name does not resolve, or no socket can be opened. Then the fallback need not wait either. */
static bool stuck(const struct part *p)
{
    const struct kt_err *why = p->probe ? p->probe->why : NULL;
    return why && why->code && why->code != KT_ETIMEOUT;
}

static void on_timer(void *ctx)
{
    struct link *l = ctx;
    const uint64_t now = kt_io_now(l->io);
    if (l->chosen && now >= l->keep_us) {
        settle(l);
        return;
    }
    const bool mismatched = l->mismatch.code && now >= l->mismatch_us;
    if (mismatched) {
        kt_calls_fail(&l->waiting, &l->mismatch);
        l->mismatch.code = 0;
    }
    if (!l->chosen && !wanted(l) && (mismatched || now >= l->keep_us)) {
        stop_trying(l);
        return;
    }
    kt_io_timer_set(l->io, &l->timer, now + AGAIN_US);
    probe(preferred(l));
    if (stuck(preferred(l)))
        l->grace_us = now + AGAIN_US;
    else if (!l->chosen && !l->mismatch.code)
        probe(fallback(l));
    record(l);
}

/* ---- the link ---- */

static int on_request(
    struct kt_link *link, const struct kt_request *r, struct kt_open **out, struct kt_err *err)
{
    struct link *l = of(link);
    struct kt_call *made = kt_call_new(&l->calls, sizeof(struct both_call) + kt_call_texts(&r->options), r);
    if (!made) return kt_err_set(err, KT_ENOMEM, "out of memory");
    struct both_call *c = call_of(made);
    kt_call_keep(&c->options, &r->options, c->texts);
    *out = &made->open;
    if (l->chosen) {
        pass_on(l, c);
        return 0;
    }
    kt_list_push(&l->waiting, &made->node);
    dial(l);
    if (preferred(l)->probe) made->open.why = preferred(l)->probe->why;
    return 0;
}

static int on_open_flow(
    struct kt_link *link, const struct kt_flow_options *options, struct kt_flow **out, struct kt_err *err)
{
    struct link *l = of(link);
    if (l->chosen == fallback(l) && !l->trying)
        return kt_err_set(err, KT_ENOTSUP, NO_FLOWS, kt_both_wire.parts[KT_FALLBACK]->name,
            kt_both_wire.parts[KT_PREFERRED]->name);
    const int rc = kt_both_flow(&l->flows, preferred(l)->link, options, out, err);
    if (!rc && !l->chosen) dial(l);
    return rc;
}

static void on_listen(struct kt_link *link, const struct kt_link_events *events, void *ctx)
{
    struct link *l = of(link);
    l->presence.events = events;
    l->presence.ctx = ctx;
    for (size_t i = 0; i < KT_BOTH_WIRES; i++) hear(&l->parts[i]);
}

static int on_stay(struct kt_link *link, struct kt_err *err)
{
    struct link *l = of(link);
    l->stay = true;
    if (l->chosen) return kt_link_stay(l->chosen->link, err);
    dial(l);
    return 0;
}

static int on_set(struct kt_link *link, const struct kt_settings *s, struct kt_err *err)
{
    struct link *l = of(link);
    int rc = kt_both_wire.check(s, err);
    for (size_t i = 0; i < KT_BOTH_WIRES && !rc; i++)
        if (l->parts[i].link) rc = kt_link_set(l->parts[i].link, kt_both_part(s, i), err);
    return rc;
}

static void on_stats(const struct kt_link *link, struct kt_link_stats *out)
{
    const struct link *l = KT_CONTAINER(link, const struct link, link);
    *out = kt_both_stats();
    out->total = l->ended;
    for (size_t i = 0; i < KT_BOTH_WIRES; i++) {
        struct kt_link_stats one;
        if (!l->parts[i].link) continue;
        kt_link_stats(l->parts[i].link, &one);
        kt_both_stats_add(out, &one);
    }
}

static void on_ending(void *ctx)
{
    struct link *l = ctx;
    kt_both_flows_end(&l->flows, KT_ECLOSED);
    kt_calls_cancel(&l->waiting);
    kt_calls_cancel(&l->passed);
    kt_io_turn_cancel(&l->turn);
    free(l);
}

/* Frees it in a turn hook that runs after those of the two links, which may read it until then. */
static void on_close(struct kt_link *link)
{
    struct link *l = of(link);
    l->presence.closing = true;
    kt_calls_end(&l->calls);
    kt_io_timer_cancel(l->io, &l->timer);
    for (struct kt_list *n = l->passed.next; n != &l->passed; n = n->next)
        call_of(KT_CONTAINER(n, struct kt_call, node))->inner = NULL; /* it ends with its link */
    for (size_t i = 0; i < KT_BOTH_WIRES; i++)
        if (l->parts[i].link) kt_link_close(l->parts[i].link);
    kt_io_turn(l->io, &l->ending);
}

static void write_texts(struct link *l)
{
    const struct kt_endpoint *at = &l->at;
    const char *const better = kt_both_wire.parts[KT_PREFERRED]->name, *const other =
                                                                           kt_both_wire.parts[KT_FALLBACK]
                                                                               ->name;
    const bool colons = strchr(at->host, ':') != NULL;
    int n = snprintf(l->name, sizeof l->name, colons ? "[%s]:%u" : "%s:%u", at->host, at->port_min);
    if (at->port_max > at->port_min) snprintf(l->name + n, sizeof l->name - (size_t)n, "-%u", at->port_max);
    snprintf(l->silences[KT_FALLBACK], sizeof l->silences[0],
        " on wire %s or %s: is a server running there, does UDP get through, and are the key and the settings of "
        "the wire the same on both ends?",
        better, other);
    snprintf(l->silences[KT_PREFERRED], sizeof l->silences[0],
        " on wire %s: is it running, does UDP get through, and is the key the same on both ends? (wire %s is not "
        "tried, as it has spoken %s)",
        better, other, better);
}

/* Makes the links of the two wires; of the fallback only if it may be used. */
static int make_parts(struct link *l, const struct kt_wire *self, const struct kt_wire_env *env,
    const struct kt_settings *s, struct kt_err *err)
{
    struct kt_settings *both = kt_both_spread(s);
    int rc = both ? 0 : kt_err_set(err, KT_ENOMEM, "out of memory");
    for (size_t i = 0; i < KT_BOTH_WIRES && !rc; i++) {
        const struct kt_wire *wire = self->parts[i];
        struct part *p = &l->parts[i];
        struct kt_wire_env own = *env;
        own.quiet_log = i == KT_FALLBACK;
        own.silence = i == KT_PREFERRED ? &l->silence : NULL;
        p->owner = l;
        if (p == fallback(l) && l->chosen) break;
        kt_wire_part(&kt_both_wire, both, i, NULL)->stay = false; /* it dials when this link says so */
        rc = wire->link(wire, &own, kt_both_part(both, i), &p->link, err);
        hear(p);
    }
    free(both);
    return rc;
}

static const struct kt_link_ops ops = {.request = on_request,
    .flow = on_open_flow,
    .listen = on_listen,
    .stay = on_stay,
    .set = on_set,
    .stats = on_stats,
    .close = on_close};

int kt_both_link(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
    struct kt_link **out, struct kt_err *err)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    l->link.ops = &ops;
    l->io = env->io;
    l->log = env->log;
    l->at = s->at;
    kt_list_init(&l->waiting);
    kt_list_init(&l->passed);
    kt_list_init(&l->flows);
    kt_calls_init(&l->calls, env->io, withdraw);
    kt_turn_init(&l->turn, on_turn, l);
    kt_turn_init(&l->ending, on_ending, l);
    kt_timer_init(&l->timer, on_timer, l);
    kt_preferred_peers_init(&l->own_preferred_peers, 0);
    l->preferred_peers = env->preferred_peers ? env->preferred_peers : &l->own_preferred_peers;
    const bool spoken = kt_preferred_peers_has(l->preferred_peers, &l->at);
    if (spoken) l->chosen = preferred(l);
    write_texts(l);
    l->silence = l->silences[spoken ? KT_PREFERRED : KT_FALLBACK];
    const int rc = make_parts(l, self, env, s, err);
    if (rc) {
        on_close(&l->link);
        return rc;
    }
    if (s->stay) on_stay(&l->link, NULL);
    *out = &l->link;
    return 0;
}
