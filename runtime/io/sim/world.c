/* The world: its clock, its events, and the order in which processes have their turns.
 *
 * At an instant, all due events run in order; they put what the network delivers to processes into their
 * arrivals. Then the processes with something to do have their turns, in the order in which they got it;
 * these may set more events for the same instant. Time advances to the next event only when nothing is left
 * to do.
 *
 * Invariant: while time advances, no process has work that it could do now: no arrival, no queued hook, no unsent
 * datagram, no deadline passed. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/sim/internal.h"

#define STALL_TURNS 100000u
#define WALL_US 1767225600000000u /* 2026-01-01 00:00 UTC */
#define TCP_BUFFER (256u * 1024)
#define BLOCK 16384u /* of the kernels' queues of bytes */

/* ---- making and ending ---- */

int kt_sim_new(struct kt_sim **out, const struct kt_sim_opts *opts)
{
    *out = NULL;
    if (opts->tcp_buffer && (opts->tcp_buffer < 4096 || opts->tcp_buffer > (16u << 20))) return KT_EINVAL;
    struct kt_sim *sim = calloc(1, sizeof *sim);
    if (!sim) return KT_ENOMEM;
    sim->seed = opts->seed;
    sim->wall_us = opts->wall_us ? opts->wall_us : WALL_US;
    sim->stall_turns = opts->stall_turns ? opts->stall_turns : STALL_TURNS;
    sim->tcp_buffer = opts->tcp_buffer ? opts->tcp_buffer : TCP_BUFFER;
    kt_list_init(&sim->hosts);
    kt_list_init(&sim->ios);
    kt_list_init(&sim->ready);
    kt_list_init(&sim->graves);
    kt_list_init(&sim->names);
    kt_hmap_init(&sim->addrs);
    kt_hmap_init(&sim->named);
    if (kt_slab_new(&sim->packets, sizeof(struct sim_packet), 0) != 0 ||
        kt_slab_new(&sim->blocks, BLOCK, 0) != 0 || kt_slab_new(&sim->reads, KT_CONN_READ, 0) != 0) {
        kt_slab_free(sim->packets);
        kt_slab_free(sim->blocks);
        free(sim);
        return KT_ENOMEM;
    }
    *out = sim;
    return 0;
}

static void free_graves(struct kt_sim *sim)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&sim->graves)) != NULL) {
        struct sim_grave *g = KT_CONTAINER(node, struct sim_grave, node);
        g->destroy(g);
    }
}

static void free_host(struct kt_sim_host *h)
{
    struct kt_hnode *node, *next;
    for (node = kt_hmap_next(&h->lines, NULL); node; node = next) {
        next = kt_hmap_next(&h->lines, node);
        /* A line begins with its node (line.c). */
        kt_sim_line_free((struct kt_sim_line *)(void *)node);
    }
    kt_sim_line_free(h->lo);
    kt_sim_nat_free(h->nat[0]);
    kt_sim_nat_free(h->nat[1]);
    kt_sim_files_free(h);
    kt_hmap_free(&h->lines);
    kt_hmap_free(&h->udp_ports);
    kt_hmap_free(&h->tcp_ports);
    kt_hmap_free(&h->conn_ids);
    free(h);
}

void kt_sim_free(struct kt_sim *sim)
{
    if (!sim) return;
    assert(kt_list_empty(&sim->ios) && !sim->running);
    struct kt_list *node;
    for (node = sim->hosts.next; node != &sim->hosts; node = node->next)
        kt_sim_host_crash(KT_CONTAINER(node, struct kt_sim_host, node)); /* conns that still deliver */
    free_graves(sim);
    kt_sim_packets_free(sim);
    while ((node = kt_list_pop(&sim->hosts)) != NULL) free_host(KT_CONTAINER(node, struct kt_sim_host, node));
    kt_sim_names_free(sim);
    kt_hmap_free(&sim->addrs);
    kt_hmap_free(&sim->named);
    free(sim->heap.entries);
    kt_slab_free(sim->packets);
    kt_slab_free(sim->blocks);
    kt_slab_free(sim->reads);
    free(sim);
}

/* ---- turns ---- */

/* The process with the most turns in this instant. */
static const struct sim_io *busiest(const struct kt_sim *sim)
{
    const struct sim_io *most = NULL;
    for (const struct kt_list *n = sim->ios.next; n != &sim->ios; n = n->next) {
        const struct sim_io *p = KT_CONTAINER(n, const struct sim_io, node);
        if (p->stirred_at == sim->now && (!most || p->stirred > most->stirred)) most = p;
    }
    return most;
}

static void livelock(struct kt_sim *sim, const struct sim_io *p, const char *text)
{
    const unsigned long long s = sim->now / 1000000, us = sim->now % 1000000;
    if (p)
        kt_sim_fail(sim, KT_ELIMIT, "livelock at %llu.%06llu s: %s on host %s %s", s, us, p->name,
            p->host->name, text);
    else
        kt_sim_fail(sim, KT_ELIMIT, "livelock at %llu.%06llu s: %s", s, us, text);
}

void kt_sim_livelock(struct kt_io *io, const char *text)
{
    const struct sim_io *p = kt_sim_io(io);
    livelock(p->sim, p, text);
}

static void stir(struct kt_sim *sim)
{
    if (++sim->stirred <= sim->stall_turns) return;
    const struct sim_io *p = busiest(sim);
    char text[160] = "an event of the world keeps setting itself again at the same time";
    if (p)
        snprintf(text, sizeof text,
            "had %llu turns without time advancing; something there keeps waking itself",
            (unsigned long long)p->stirred);
    livelock(sim, p, text);
}

static void turns(struct kt_sim *sim)
{
    struct kt_list *node;
    while (!sim->failed.code && (node = kt_list_pop(&sim->ready)) != NULL) {
        struct sim_io *p = KT_CONTAINER(node, struct sim_io, ready);
        if (p->stirred_at != sim->now) p->stirred = 0;
        p->stirred_at = sim->now;
        p->stirred++;
        stir(sim);
        kt_sim_turn(p);
        free_graves(sim);
    }
}

/* Code may have used another process's handles, and events of the layer above may use any. */
static void settle(struct kt_sim *sim)
{
    for (struct kt_list *n = sim->ios.next; n != &sim->ios; n = n->next)
        kt_sim_settle(KT_CONTAINER(n, struct sim_io, node));
}

/* Runs everything that can happen at this instant. */
static void finish_instant(struct kt_sim *sim)
{
    do {
        struct kt_sim_event *e;
        while (!sim->failed.code && (e = kt_sim_heap_top(&sim->heap)) != NULL && e->at <= sim->now) {
            kt_sim_heap_remove(&sim->heap, e);
            stir(sim);
            e->fn(e->ctx);
        }
        turns(sim);
        settle(sim);
        free_graves(sim);
    } while (!sim->failed.code &&
             (!kt_list_empty(&sim->ready) || (sim->heap.n && sim->heap.entries[0].at <= sim->now)));
}

static void advance(struct kt_sim *sim, uint64_t to)
{
    if (to == sim->now) return;
    sim->now = to;
    sim->stirred = 0;
    for (struct kt_list *n = sim->ios.next; n != &sim->ios; n = n->next)
        KT_CONTAINER(n, struct sim_io, node)->io.now = to + KT_SIM_EPOCH;
}

static int go(struct kt_sim *sim, uint64_t until, bool (*done)(void *ctx), void *ctx)
{
    for (;;) {
        finish_instant(sim);
        if (sim->failed.code) return sim->failed.code;
        if (done && done(ctx)) return KT_SIM_DONE;
        if (done) settle(sim); /* done may have caused new work */
        if (!kt_list_empty(&sim->ready)) continue;
        const struct kt_sim_event *next = kt_sim_heap_top(&sim->heap);
        if (next && next->at <= until) {
            if (next->at > sim->now) advance(sim, next->at);
            continue;
        }
        if (until != KT_TIME_NEVER) advance(sim, until);
        return next ? KT_SIM_TIME : KT_SIM_QUIET;
    }
}

int kt_sim_run(struct kt_sim *sim, uint64_t until, bool (*done)(void *ctx), void *ctx, struct kt_err *err)
{
    if (sim->running)
        return kt_err_set(
            err, KT_EINVAL, "the world is already running; it cannot be run from inside itself");
    if (until < sim->now)
        return kt_err_set(err, KT_EINVAL, "time cannot go back: it is already %llu us, not %llu us",
            (unsigned long long)sim->now, (unsigned long long)until);
    sim->running = true;
    int end = go(sim, until, done, ctx);
    sim->running = false;
    if (end < 0 && err) *err = sim->failed;
    return end;
}

/* ---- watching ---- */

void kt_sim_trace_set(struct kt_sim *sim, kt_sim_trace fn, void *ctx)
{
    sim->trace = fn;
    sim->trace_ctx = ctx;
}

void kt_sim_rule_set(struct kt_sim *sim, kt_sim_rule fn, void *ctx)
{
    sim->rule = fn;
    sim->rule_ctx = ctx;
}
