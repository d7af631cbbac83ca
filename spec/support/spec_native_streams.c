/* Two ends of an association's streams, joined by a channel that loses, reorders and copies packets in virtual time,
 * for spec/link/native_streams*_spec.lua. A plain recovery stands in for the real one: a packet is lost if no
 * acknowledgement came within 1.5 round trips; then its contents are.
 *
 *   w = world{seed, rtt (µs), jitter (µs), ack_delay (µs), loss, copies, probes (shares, 0..1), rate (bytes/ms),
 *             window (packets), mtu, client = {...}, server = {...}}
 *     of an end: max_data, max_stream_data, min_stream_data, max_streams, most_streams, memory, max_window,
 *                send_memory, deaf (refuses streams)
 *   w:run(µs)  w:now()  w:facts(e)  w:lose(e, n)  w:free(e, code)  w:error() -> text of what an end found wrong
 *   w:sent(e) -> packets, bytes   w:blocks()   w:frame(e, bytes) -> feeds frames to an end; nil, error
 *   w:move(e) moves the young streams of an end to a new one in its place
 *   s = w:open(e, {target, client, name, priority, weight})   s or nil = w:accepted(e)
 *
 * e: "client" or "server". A stream: s:write(text) -> n, s:read([max]) -> text, s:eof(), s:gone(), s:young(),
 * s:shutdown(), s:close(), s:reset(code, text), s:cut(code, text), s:why(), s:id(), s:window(), s:set(priority,
 * weight), s:events(), s:opened() -> table; and in C, so that a lot can move:
 *   s:source(n [, stay])  writes n more bytes of its pattern as there is room, then ends its direction unless it is to
 *                         stay (n < 0: never ends)
 *   s:sink()     reads all, checks it against the pattern of the peer's source, and ends when it ends
 *   s:moved() -> bytes read by sink
 *   s:times(size) notes when each further `size` bytes were read, s:times() -> array of µs */
#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "pattern.h"
#include "base/slab.h"
#include "link/native/blocks.h"
#include "link/native/stream.h"

#define WORLD "spec_native_streams.world"
#define STREAM "spec_native_streams.stream"
#define PACKET 1500u

int luaopen_spec_native_streams(lua_State *L);

struct packet {
    uint64_t at; /* arrives, or is decided on */
    uint64_t order;
    size_t len, count;
    int to; /* end */
    enum { ARRIVES, DECIDED, TICK } kind;
    struct sent *sent;
    uint8_t data[PACKET];
};

/* Recovery's record of a packet. */
struct sent {
    struct kt_native_content contents[KT_NATIVE_CONTENTS];
    size_t count;
    int from;
    int refs;
    bool acked, decided;
};

struct stream {
    struct kt_pipe *pipe; /* NULL: closed */
    struct world *w;
    int self;   /* reference while it is open */
    int opened; /* reference to a table, or LUA_NOREF */
    struct stream *next;
    bool readable, writable, sink, source, stays, wrong;
    int closed;   /* code */
    int64_t left; /* of source; below 0: no end */
    uint64_t wrote, got, step, times_cap, times_n;
    uint64_t *times;
};

struct end {
    struct world *w;
    int which;
    struct kt_native_streams *streams;
    struct kt_native_streams_config cfg;
    bool deaf, frozen, ticks;
    size_t allowed; /* streams, by w:allow */
    size_t inflight;
    uint64_t link_free; /* when the line is free again */
    uint64_t packets, bytes;
    unsigned lose;
    struct stream *accepted, **accepted_end;
};

struct world {
    lua_State *L;
    struct kt_slab *pool;
    struct end ends[2];
    uint64_t now, order;
    uint64_t rtt, jitter, ack_delay, rate, window, mtu;
    double loss, copies, probes;
    uint64_t random;
    struct packet **heap;
    size_t heap_n, heap_cap;
    struct kt_err err;
};

static uint64_t next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static double chance(struct world *w)
{
    return (double)(next_random(w) >> 11) / 9007199254740992.0;
}

/* ---- the heap of things to come ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_push(struct world *w, struct packet *p)
{
    if (w->heap_n == w->heap_cap) {
        w->heap_cap = w->heap_cap ? 2 * w->heap_cap : 64;
        w->heap = realloc(w->heap, w->heap_cap * sizeof(struct packet *));
        if (!w->heap) abort();
    }
    p->order = w->order++;
    size_t i = w->heap_n++;
    while (i > 0 && before(p, w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = p;
}

static struct packet *heap_pop(struct world *w)
{
    struct packet *top = w->heap[0], *p = w->heap[--w->heap_n];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= w->heap_n) break;
        if (c + 1 < w->heap_n && before(w->heap[c + 1], w->heap[c])) c++;
        if (before(p, w->heap[c])) break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    if (w->heap_n > 0) w->heap[i] = p;
    return top;
}

static struct packet *packet_new(int kind, uint64_t at, int to, struct sent *sent)
{
    struct packet *p = malloc(sizeof *p);
    if (!p) abort();
    p->kind = kind;
    p->at = at;
    p->to = to;
    p->len = 0;
    p->sent = sent;
    if (sent) sent->refs++;
    return p;
}

static void sent_put(struct sent *s)
{
    if (s && --s->refs == 0) free(s);
}

static void packet_free(struct packet *p)
{
    sent_put(p->sent);
    free(p);
}

/* ---- streams ---- */

static void pump_stream(struct stream *s)
{
    while (s->source && s->pipe && s->left != 0) {
        uint8_t bytes[4096];
        size_t n = sizeof bytes;
        if (s->left > 0 && (int64_t)n > s->left) n = (size_t)s->left;
        for (size_t i = 0; i < n; i++) bytes[i] = pattern(s->wrote + i);
        const size_t took = kt_pipe_write(s->pipe, bytes, n);
        s->wrote += took;
        if (s->left > 0) s->left -= (int64_t)took;
        if (s->left == 0 && !s->stays) kt_pipe_shutdown(s->pipe);
        if (took < n) return;
    }
}

static void drink_stream(struct stream *s)
{
    struct kt_iov iov[4];
    size_t pieces;
    while (s->sink && s->pipe && (pieces = kt_pipe_peek(s->pipe, iov, 4)) > 0) {
        size_t n = 0;
        for (size_t i = 0; i < pieces; i++)
            for (size_t j = 0; j < iov[i].len; j++, n++)
                if (iov[i].data[j] != pattern(s->got + n)) s->wrong = true;
        s->got += n;
        while (s->step && s->got >= (s->times_n + 1) * s->step) {
            if (s->times_n == s->times_cap) {
                s->times_cap = s->times_cap ? 2 * s->times_cap : 64;
                s->times = realloc(s->times, s->times_cap * sizeof *s->times);
                if (!s->times) abort();
            }
            s->times[s->times_n++] = s->w->now;
        }
        kt_pipe_consume(s->pipe, n);
    }
}

static void on_readable(void *ctx)
{
    struct stream *s = ctx;
    s->readable = true;
    drink_stream(s);
}

static void on_writable(void *ctx)
{
    struct stream *s = ctx;
    s->writable = true;
    pump_stream(s);
}

static void on_closed(void *ctx, int code)
{
    struct stream *s = ctx;
    s->closed = code;
}

static const struct kt_pipe_events stream_events = {
    .readable = on_readable, .writable = on_writable, .closed = on_closed};

static struct stream *push_stream(struct end *e, struct kt_pipe *pipe)
{
    lua_State *L = e->w->L;
    struct stream *s = lua_newuserdatauv(L, sizeof *s, 1);
    *s = (struct stream){.pipe = pipe, .w = e->w, .opened = LUA_NOREF, .self = LUA_NOREF};
    luaL_setmetatable(L, STREAM);
    lua_rawgetp(L, LUA_REGISTRYINDEX, e->w); /* keeps the world */
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    s->self = luaL_ref(L, LUA_REGISTRYINDEX);
    kt_pipe_listen(pipe, &stream_events, s);
    return s;
}

static struct stream *check_stream(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    luaL_argcheck(L, s->pipe, 1, "the stream was closed");
    return s;
}

static void let_go(lua_State *L, struct stream *s)
{
    s->pipe = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, s->self);
    s->self = LUA_NOREF;
}

static int code_of(lua_State *L, int idx)
{
    const char *name = luaL_optstring(L, idx, "canceled");
    for (int code = -1; code > -64; code--)
        if (strcmp(kt_errname(code), name) == 0) return code;
    return luaL_error(L, "no such code");
}

static int stream_write(lua_State *L)
{
    struct stream *s = check_stream(L);
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);
    lua_pushinteger(L, (lua_Integer)kt_pipe_write(s->pipe, text, n));
    return 1;
}

static int stream_read(lua_State *L)
{
    struct stream *s = check_stream(L);
    size_t most = (size_t)luaL_optinteger(L, 2, 1 << 30), total = 0;
    struct kt_iov iov[4];
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t pieces; total < most && (pieces = kt_pipe_peek(s->pipe, iov, 4)) > 0;) {
        size_t n = 0;
        for (size_t i = 0; i < pieces && total + n < most; i++) {
            const size_t len = iov[i].len < most - total - n ? iov[i].len : most - total - n;
            luaL_addlstring(&b, (const char *)iov[i].data, len);
            n += len;
        }
        kt_pipe_consume(s->pipe, n);
        total += n;
    }
    luaL_pushresult(&b);
    return 1;
}

#define FLAG(name)                                                                                           \
    static int stream_##name(lua_State *L)                                                                   \
    {                                                                                                        \
        lua_pushboolean(L, kt_pipe_##name(check_stream(L)->pipe));                                           \
        return 1;                                                                                            \
    }
FLAG(eof)
FLAG(gone)
FLAG(young)
FLAG(half_close)

static int stream_shutdown(lua_State *L)
{
    kt_pipe_shutdown(check_stream(L)->pipe);
    return 0;
}

static int stream_close(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    let_go(L, s);
    kt_pipe_close(p);
    return 0;
}

static int stream_reset(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    const int code = code_of(L, 2);
    let_go(L, s);
    kt_pipe_abort(p, code, luaL_optstring(L, 3, NULL));
    return 0;
}

static int stream_cut(lua_State *L)
{
    struct stream *s = check_stream(L);
    struct kt_pipe *p = s->pipe;
    const int code = code_of(L, 2);
    let_go(L, s);
    kt_pipe_cut(p, code, luaL_optstring(L, 3, NULL));
    return 0;
}

static int stream_why(lua_State *L)
{
    struct kt_err err;
    if (!kt_pipe_why(check_stream(L)->pipe, &err)) return 0;
    lua_pushstring(L, kt_errname(err.code));
    lua_pushstring(L, err.text);
    return 2;
}

static int stream_id(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_native_stream_of_const(check_stream(L)->pipe)->id);
    return 1;
}

static int stream_window(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)kt_native_stream_of_const(check_stream(L)->pipe)->in_window);
    return 1;
}

static int stream_set(lua_State *L)
{
    const struct kt_stream_policy policy = {
        (uint32_t)luaL_checkinteger(L, 2), (uint32_t)luaL_checkinteger(L, 3)};
    struct stream *s = check_stream(L);
    if (kt_stream_set(s->pipe, &policy) < 0) return luaL_error(L, "refused");
    return 0;
}

static int stream_queued(lua_State *L)
{
    struct kt_stream_facts facts;
    kt_stream_facts(check_stream(L)->pipe, &facts);
    lua_pushinteger(L, (lua_Integer)facts.queued);
    return 1;
}

/* The events since the last call, in words. */
static int stream_events_of(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    if (s->readable) luaL_addstring(&b, "readable ");
    if (s->writable) luaL_addstring(&b, "writable ");
    if (s->closed) {
        luaL_addstring(&b, "closed:");
        luaL_addstring(&b, kt_errname(s->closed));
    }
    luaL_pushresult(&b);
    s->readable = s->writable = false;
    s->closed = 0;
    return 1;
}

static int stream_opened(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->opened);
    return 1;
}

static int stream_source(lua_State *L)
{
    struct stream *s = check_stream(L);
    s->source = true;
    s->left = luaL_checkinteger(L, 2);
    s->stays = lua_toboolean(L, 3);
    if (s->left == 0) kt_pipe_shutdown(s->pipe);
    pump_stream(s);
    return 0;
}

static int stream_sink(lua_State *L)
{
    struct stream *s = check_stream(L);
    s->sink = true;
    drink_stream(s);
    return 0;
}

static int stream_moved(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    if (s->wrong) return luaL_error(L, "wrong bytes");
    lua_pushinteger(L, (lua_Integer)s->got);
    return 1;
}

static int stream_wrote(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)((struct stream *)luaL_checkudata(L, 1, STREAM))->wrote);
    return 1;
}

static int stream_times(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    if (lua_gettop(L) > 1) {
        s->step = (uint64_t)luaL_checkinteger(L, 2);
        return 0;
    }
    lua_createtable(L, (int)s->times_n, 0);
    for (uint64_t i = 0; i < s->times_n; i++) {
        lua_pushinteger(L, (lua_Integer)s->times[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int stream_gc(lua_State *L)
{
    struct stream *s = luaL_checkudata(L, 1, STREAM);
    free(s->times);
    s->times = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, s->opened);
    s->opened = LUA_NOREF;
    return 0;
}

/* ---- ends ---- */

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void set_text(lua_State *L, const char *key, const char *value)
{
    if (!value) return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void on_stream(void *ctx, struct kt_pipe *pipe, const struct kt_open_options *o)
{
    struct end *e = ctx;
    lua_State *L = e->w->L;
    luaL_checkstack(L, 8, "streams");
    struct stream *s = push_stream(e, pipe);
    lua_newtable(L);
    set_text(L, "target", o->target);
    set_text(L, "client", o->client);
    set_text(L, "name", o->name);
    lua_pushinteger(L, o->policy.priority);
    lua_setfield(L, -2, "priority");
    lua_pushinteger(L, o->policy.weight);
    lua_setfield(L, -2, "weight");
    s->opened = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    *e->accepted_end = s;
    e->accepted_end = &s->next;
}

static bool is_lost(struct world *w, struct end *e)
{
    if (e->lose > 0) {
        e->lose--;
        return true;
    }
    return chance(w) < w->loss;
}

static uint64_t travel(struct world *w)
{
    return w->rtt / 2 + (w->jitter ? next_random(w) % w->jitter : 0);
}

static void send_packet(struct world *w, struct end *e, struct packet *p)
{
    uint64_t at = w->now > e->link_free ? w->now : e->link_free;
    if (w->rate) at += p->len * 1000 / w->rate;
    e->link_free = w->rate ? at : 0;
    e->packets++;
    e->bytes += p->len;
    e->inflight++;
    heap_push(w, packet_new(DECIDED, at + w->rtt * 3 / 2 + 2 * w->jitter, e->which, p->sent));
    if (chance(w) < w->copies) {
        struct packet *copy = packet_new(ARRIVES, at + travel(w), !e->which, p->sent);
        memcpy(copy->data, p->data, copy->len = p->len);
        heap_push(w, copy);
    }
    p->at = at + travel(w);
    p->to = !e->which;
    if (is_lost(w, e))
        packet_free(p);
    else
        heap_push(w, p);
}

/* A packet of other frames that copies what an earlier one carried, as a probe does. */
static bool write_copy(struct world *w, struct end *e, const struct sent *old)
{
    struct sent *sent = calloc(1, sizeof *sent);
    if (!sent) abort();
    struct packet *p = packet_new(ARRIVES, 0, 0, sent);
    sent->from = e->which;
    for (size_t i = 0; i < old->count; i++) {
        const size_t n =
            kt_native_streams_copy(e->streams, &old->contents[i], p->data + p->len, w->mtu - p->len);
        if (n > 0) sent->contents[sent->count++] = old->contents[i];
        p->len += n;
    }
    if (p->len > 0) {
        send_packet(w, e, p);
        return true;
    }
    packet_free(p);
    return false;
}

static void send_all(struct world *w, struct end *e)
{
    while (e->streams && !e->frozen && e->inflight < w->window && kt_native_streams_pending(e->streams) &&
           (w->rate == 0 || e->link_free <= w->now + 2000)) {
        struct sent *sent = calloc(1, sizeof *sent);
        if (!sent) abort();
        struct packet *p = packet_new(ARRIVES, 0, 0, sent);
        sent->from = e->which;
        p->len = kt_native_streams_write(e->streams, p->data, w->mtu, sent->contents, &sent->count);
        if (p->len == 0) {
            packet_free(p);
            return;
        }
        if (p->len > w->mtu || sent->count > KT_NATIVE_CONTENTS || sent->count == 0) abort();
        send_packet(w, e, p);
    }
    if (!e->streams || e->ticks || !w->rate || e->link_free <= w->now + 2000) return;
    if (!kt_native_streams_pending(e->streams)) return;
    e->ticks = true;
    heap_push(w, packet_new(TICK, e->link_free - 1000, e->which, NULL));
}

static int feed(struct end *e, const uint8_t *data, size_t len, struct kt_err *err)
{
    while (len > 0) {
        struct kt_native_frame f;
        const long n = kt_native_frame_read(&f, data, len, err);
        if (n < 0) return (int)n;
        if (kt_native_streams_takes(f.type)) {
            const int rc = kt_native_streams_input(e->streams, &f, err);
            if (rc < 0) return rc;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static void arrive(struct world *w, struct packet *p)
{
    struct end *e = &w->ends[p->to];
    if (!e->streams || w->err.code) return;
    uint8_t *copy = malloc(p->len); /* of this length, for the sanitizer */
    if (!copy) abort();
    memcpy(copy, p->data, p->len);
    feed(e, copy, p->len, &w->err);
    free(copy);
    if (p->sent->acked || chance(w) < w->loss) return;
    p->sent->acked = true;
    heap_push(w, packet_new(DECIDED, w->now + w->rtt / 2 + w->ack_delay, p->sent->from, p->sent));
}

static void decide(struct world *w, struct packet *p)
{
    struct end *e = &w->ends[p->to];
    struct sent *sent = p->sent;
    if (sent->decided) return;
    sent->decided = true;
    e->inflight--;
    if (!e->streams) return;
    for (size_t i = 0; i < sent->count; i++) {
        if (sent->acked)
            kt_native_streams_acked(e->streams, &sent->contents[i]);
        else
            kt_native_streams_lost(e->streams, &sent->contents[i]);
    }
}

static void turn(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        struct end *e = &w->ends[i];
        if (!e->streams) continue;
        kt_native_streams_clock(e->streams, w->now, (uint32_t)w->rtt);
        if (kt_native_streams_due(e->streams) <= w->now) kt_native_streams_timer(e->streams, true);
        kt_native_streams_dispatch(e->streams);
        if (e->streams) send_all(w, e);
    }
}

static struct world *check_world(lua_State *L)
{
    struct world *w = luaL_checkudata(L, 1, WORLD);
    w->L = L;
    return w;
}

static struct end *check_end(lua_State *L, struct world *w, int idx)
{
    static const char *const names[] = {"client", "server", NULL};
    return &w->ends[luaL_checkoption(L, idx, NULL, names)];
}

static int world_run(lua_State *L)
{
    struct world *w = check_world(L);
    const uint64_t until = w->now + (uint64_t)luaL_checkinteger(L, 2);
    turn(w);
    while (w->heap_n > 0 && w->heap[0]->at <= until) {
        struct packet *p = heap_pop(w);
        w->now = p->at > w->now ? p->at : w->now;
        for (int i = 0; i < 2; i++)
            if (w->ends[i].streams) kt_native_streams_clock(w->ends[i].streams, w->now, (uint32_t)w->rtt);
        if (p->kind == ARRIVES) {
            arrive(w, p);
            if (chance(w) < w->probes && w->ends[p->sent->from].streams)
                write_copy(w, &w->ends[p->sent->from], p->sent);
        } else if (p->kind == DECIDED) {
            decide(w, p);
        } else {
            w->ends[p->to].ticks = false;
        }
        packet_free(p);
        turn(w);
    }
    w->now = until;
    turn(w);
    return 0;
}

static int world_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_world(L)->now);
    return 1;
}

static void set_number(lua_State *L, const char *key, uint64_t v)
{
    lua_pushinteger(L, (lua_Integer)v);
    lua_setfield(L, -2, key);
}

static int world_facts(lua_State *L)
{
    struct world *w = check_world(L);
    struct kt_native_streams_facts f;
    kt_native_streams_facts(check_end(L, w, 2)->streams, &f);
    lua_newtable(L);
    set_number(L, "streams", f.streams);
    set_number(L, "queued", f.queued);
    set_number(L, "unread", f.unread);
    set_number(L, "charged_in", f.charged_in);
    set_number(L, "max_data_in", f.max_data_in);
    set_number(L, "charged_out", f.charged_out);
    set_number(L, "max_data_out", f.max_data_out);
    set_number(L, "resent", f.resent);
    return 1;
}

static int world_sent(lua_State *L)
{
    struct world *w = check_world(L);
    const struct end *e = check_end(L, w, 2);
    lua_pushinteger(L, (lua_Integer)e->packets);
    lua_pushinteger(L, (lua_Integer)e->bytes);
    return 2;
}

static int world_lose(lua_State *L)
{
    struct world *w = check_world(L);
    check_end(L, w, 2)->lose = (unsigned)luaL_checkinteger(L, 3);
    return 0;
}

static int world_set_loss(lua_State *L)
{
    check_world(L)->loss = luaL_checknumber(L, 2);
    return 0;
}

static int world_freeze(lua_State *L)
{
    struct world *w = check_world(L);
    check_end(L, w, 2)->frozen = lua_toboolean(L, 3);
    return 0;
}

static int world_error(lua_State *L)
{
    const struct world *w = check_world(L);
    lua_pushstring(L, w->err.code ? w->err.text : NULL);
    return 1;
}

static int world_blocks(lua_State *L)
{
    struct world *w = check_world(L);
    kt_slab_trim(w->pool);
    lua_pushinteger(L, (lua_Integer)kt_slab_in_use(w->pool));
    return 1;
}

static int world_pending(lua_State *L)
{
    struct world *w = check_world(L);
    lua_pushboolean(L, kt_native_streams_pending(check_end(L, w, 2)->streams));
    return 1;
}

static int world_frame(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    size_t n;
    const char *bytes = luaL_checklstring(L, 3, &n);
    struct kt_err err = {0};
    const int rc = feed(e, (const uint8_t *)bytes, n, &err);
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        lua_pushstring(L, kt_errname(rc));
        return 3;
    }
    kt_native_streams_dispatch(e->streams);
    lua_pushboolean(L, true);
    return 1;
}

static int world_open(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    struct kt_open_options o = KT_OPEN_OPTIONS_DEFAULT;
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "target");
        o.target = luaL_optstring(L, -1, NULL);
        lua_getfield(L, 3, "client");
        o.client = luaL_optstring(L, -1, NULL);
        lua_getfield(L, 3, "name");
        o.name = luaL_optstring(L, -1, NULL);
        lua_getfield(L, 3, "priority");
        o.policy.priority = (uint32_t)luaL_optinteger(L, -1, KT_PRIORITY_DEFAULT);
        lua_getfield(L, 3, "weight");
        o.policy.weight = (uint32_t)luaL_optinteger(L, -1, KT_WEIGHT_DEFAULT);
    }
    struct kt_pipe *pipe;
    const int rc = kt_native_streams_open(e->streams, &o, &pipe);
    if (rc < 0) {
        lua_pushnil(L);
        lua_pushstring(L, kt_errname(rc));
        return 2;
    }
    push_stream(e, pipe);
    return 1;
}

/* w:accept_most(end, n): returns whether streams wait. */
static int world_accept_most(lua_State *L)
{
    struct world *w = check_world(L);
    const struct end *e = check_end(L, w, 2);
    kt_native_streams_accept_most(e->streams, (uint32_t)luaL_checkinteger(L, 3));
    lua_pushboolean(L, kt_native_streams_waiting(e->streams));
    return 1;
}

/* w:allow(end, n): it allows n streams, of both ends, from now on. */
static int world_allow(lua_State *L)
{
    struct world *w = check_world(L);
    check_end(L, w, 2)->allowed = (size_t)luaL_checkinteger(L, 3);
    return 0;
}

static size_t on_allows(void *ctx)
{
    return ((const struct end *)ctx)->allowed;
}

static int world_accepted(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    struct stream *s = e->accepted;
    if (!s) return 0;
    e->accepted = s->next;
    if (!e->accepted) e->accepted_end = &e->accepted;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->self);
    return 1;
}

static int end_new(struct world *w, int i)
{
    static const struct kt_native_streams_owner owner = {
        .wake = on_wake, .stream = on_stream, .allows = on_allows};
    static const struct kt_native_streams_owner deaf = {.wake = on_wake};
    struct end *e = &w->ends[i];
    return kt_native_streams_new(
        &e->streams, &e->cfg, e->deaf ? &deaf : &owner, e, &(struct kt_native_slabs){w->pool, w->pool});
}

static int world_move(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    struct kt_native_streams *old = e->streams;
    if (end_new(w, e->which) < 0) return luaL_error(L, "no memory");
    lua_pushinteger(L, (lua_Integer)kt_native_streams_move_young(old, e->streams));
    kt_native_streams_free(old, KT_EDEAD);
    for (size_t i = 0; i < w->heap_n; i++) /* what is under way belongs to the old one */
        if (w->heap[i]->sent) w->heap[i]->sent->count = 0, w->heap[i]->len = 0;
    return 1;
}

/* A new end in place of one whose process restarted. */
static int world_restart(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    kt_native_streams_free(e->streams, KT_ERESTART);
    if (end_new(w, e->which) < 0) return luaL_error(L, "no memory");
    return 0;
}

static int world_free(lua_State *L)
{
    struct world *w = check_world(L);
    struct end *e = check_end(L, w, 2);
    struct kt_native_streams *s = e->streams;
    const int code = code_of(L, 3);
    e->streams = NULL;
    kt_native_streams_free(s, code);
    return 0;
}

static uint64_t number(lua_State *L, int idx, const char *key, uint64_t otherwise)
{
    lua_getfield(L, idx, key);
    const uint64_t v = (uint64_t)luaL_optinteger(L, -1, (lua_Integer)otherwise);
    lua_pop(L, 1);
    return v;
}

static double share(lua_State *L, const char *key)
{
    lua_getfield(L, 1, key);
    const double v = luaL_optnumber(L, -1, 0);
    lua_pop(L, 1);
    return v;
}

static void read_end(lua_State *L, struct end *e, const char *key)
{
    if (lua_getfield(L, 1, key) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    const int idx = lua_gettop(L);
    e->cfg = (struct kt_native_streams_config){.client = e->which == 0,
        .memory = number(L, idx, "memory", 32 << 20),
        .max_window = number(L, idx, "max_window", 16 << 20),
        .send_memory = number(L, idx, "send_memory", 32 << 20),
        .hash_seed = 42 + e->w->random,
        .ours = {.max_data = number(L, idx, "max_data", 2 << 20),
            .max_stream_data = number(L, idx, "max_stream_data", 256 << 10),
            .min_stream_data = number(L, idx, "min_stream_data", 16 << 10),
            .max_streams = number(L, idx, "max_streams", 1024)},
        .most_streams = number(L, idx, "most_streams", 0)};
    e->allowed = SIZE_MAX;
    lua_getfield(L, idx, "deaf");
    e->deaf = lua_toboolean(L, -1);
    lua_settop(L, idx - 1);
    e->accepted_end = &e->accepted;
}

static int world_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct world *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    luaL_setmetatable(L, WORLD);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, w);
    w->L = L;
    w->rtt = number(L, 1, "rtt", 100000);
    w->jitter = number(L, 1, "jitter", 0);
    w->ack_delay = number(L, 1, "ack_delay", 0);
    w->rate = number(L, 1, "rate", 0);
    w->window = number(L, 1, "window", 4096);
    w->mtu = number(L, 1, "mtu", 1300);
    w->random = number(L, 1, "seed", 1) * 0x9e3779b97f4a7c15u + 1;
    w->loss = share(L, "loss");
    w->copies = share(L, "copies");
    w->probes = share(L, "probes");
    for (int i = 0; i < 2; i++) {
        w->ends[i].w = w;
        w->ends[i].which = i;
        read_end(L, &w->ends[i], i ? "server" : "client");
    }
    w->ends[0].cfg.peers = w->ends[1].cfg.ours;
    w->ends[1].cfg.peers = w->ends[0].cfg.ours;
    if (kt_slab_new(&w->pool, sizeof(struct kt_native_block), 0) < 0 || end_new(w, 0) < 0 ||
        end_new(w, 1) < 0)
        return luaL_error(L, "no memory");
    return 1;
}

/* Closes what the spec left open; a block that is left then is a fault (kt_slab_free asserts). */
static int world_close(lua_State *L)
{
    struct world *w = check_world(L);
    if (!w->pool) return 0;
    for (int i = 0; i < 2; i++) {
        kt_native_streams_free(w->ends[i].streams, KT_ECLOSED);
        w->ends[i].streams = NULL;
    }
    while (w->heap_n > 0) packet_free(w->heap[--w->heap_n]);
    free(w->heap);
    w->heap = NULL;
    /* every stream that is open has a reference in the registry */
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX)) {
        struct stream *s = luaL_testudata(L, -1, STREAM);
        lua_pop(L, 1);
        if (!s || s->w != w || !s->pipe) continue;
        struct kt_pipe *p = s->pipe;
        let_go(L, s);
        kt_pipe_close(p);
    }
    kt_slab_free(w->pool);
    w->pool = NULL;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, w);
    return 0;
}

/* Bytes that malloc has given out; 0 if it does not say. */
static int heap(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT);
    lua_pushinteger(L, (lua_Integer)mallinfo2().uordblks);
    return 1;
}

int luaopen_spec_native_streams(lua_State *L)
{
    static const luaL_Reg stream_methods[] = {{"write", stream_write}, {"read", stream_read},
        {"eof", stream_eof}, {"gone", stream_gone}, {"young", stream_young},
        {"half_close", stream_half_close}, {"shutdown", stream_shutdown}, {"close", stream_close},
        {"reset", stream_reset}, {"cut", stream_cut}, {"why", stream_why}, {"id", stream_id},
        {"window", stream_window}, {"set", stream_set}, {"queued", stream_queued},
        {"events", stream_events_of}, {"opened", stream_opened}, {"source", stream_source},
        {"sink", stream_sink}, {"moved", stream_moved}, {"wrote", stream_wrote}, {"times", stream_times},
        {NULL, NULL}};
    static const luaL_Reg world_methods[] = {{"run", world_run}, {"now", world_now}, {"facts", world_facts},
        {"sent", world_sent}, {"lose", world_lose}, {"set_loss", world_set_loss}, {"freeze", world_freeze},
        {"error", world_error}, {"blocks", world_blocks}, {"pending", world_pending}, {"frame", world_frame},
        {"open", world_open}, {"accepted", world_accepted}, {"accept_most", world_accept_most},
        {"allow", world_allow}, {"move", world_move}, {"restart", world_restart}, {"free", world_free},
        {"close", world_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"world", world_new}, {"heap", heap}, {NULL, NULL}};
    luaL_newmetatable(L, STREAM);
    luaL_newlib(L, stream_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, stream_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newmetatable(L, WORLD);
    luaL_newlib(L, world_methods);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}
