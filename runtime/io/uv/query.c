/* DNS records, looked up with c-ares.
 *
 * Why c-ares: libuv's getaddrinfo returns neither TTLs nor SRV records, and takes a thread per question. c-ares is
 * made for the job: asynchronous on our own loop, no threads, retries, TCP after truncation, ids and ports that
 * are hard to guess; Debian, curl and Node.js keep it well maintained.
 *
 * A channel is c-ares's word for a list of servers and the questions sent to them. Each list of servers in use has
 * one. Invariant: outside calls into c-ares, a channel exists exactly while someone waits for an answer from it.
 * So nothing wakes the loop when no question is open, and cancelling leaves nothing behind. A channel has read
 * resolv.conf and chosen its ports, so it accepts questions only for a few seconds; a new one takes later ones.
 *
 * c-ares cannot cancel one question of several: a cancelled one stays with it, counted, until it is answered or
 * given up, or no other question is waited for. Its callbacks run inside calls into c-ares, where nothing may be
 * destroyed, so they only store the outcome, and the end of the turn reports it. */
#include <ares.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/uv/internal.h"
#include "io/uv/query.h"

#define TRY_MS 1000 /* to wait for a server in the first round; doubled in each further round */
#define TRIES 4     /* rounds over the servers */
#define FRESH_US 5000000u
#define QUERIES_MAX 1024u
#define CHANNELS_MAX 32u /* each has about 80 KiB and its own sockets */

struct channel {
    struct kt_list node; /* u->query_channels */
    struct uv_io *u;
    ares_channel ares;
    struct kt_list sockets; /* of struct socket */
    struct kt_timer timer;  /* c-ares's next deadline, or earlier */
    uint64_t fresh_until;   /* accepts questions until then */
    size_t waited;          /* questions not cancelled */
    bool inside;            /* a call into c-ares is under way */
    size_t server_count;
    struct kt_addr servers[KT_QUERY_SERVERS];
};

/* One of c-ares's sockets, watched. It outlives its channel until libuv has closed it. */
struct socket {
    struct kt_list node;
    struct uv_io *u;
    struct channel *channel;
    ares_socket_t fd;
    uv_poll_t poll;
};

struct uv_query {
    struct kt_query query;
    struct uv_io *u;
    struct channel *channel; /* NULL once c-ares is done with it */
    kt_query_cb cb;          /* NULL after cancel */
    void *ctx;
    enum kt_record_type type;
    struct kt_turn turn; /* reports the outcome */
    struct kt_record *records;
    size_t n;
    struct kt_err err;
    char name[KT_NAME_TEXT];
};

/* ---- calls into c-ares, and the end of a channel ---- */

static void enter(struct channel *c)
{
    assert(!c->inside);
    c->inside = true;
}

/* c-ares searches all its questions to find the next deadline, so it is asked only when the timer is due and not
 * at each packet. Questions asked since then have at least TRY_MS left. */
static void arm(struct channel *c)
{
    struct kt_io *io = &c->u->io;
    const uint64_t first = io->now + TRY_MS * 1000;
    if (c->timer.armed) {
        if (c->timer.at > first) kt_io_timer_set(io, &c->timer, first);
        return;
    }
    struct timeval tv;
    if (!ares_timeout(c->ares, NULL, &tv)) return;
    kt_io_timer_set(io, &c->timer, io->now + (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec + 1000);
}

static void channel_free(struct channel *c)
{
    kt_io_timer_cancel(&c->u->io, &c->timer);
    kt_list_remove(&c->node);
    c->u->query_channel_count--;
    c->inside = true;
    ares_destroy(c->ares); /* ends cancelled questions, and closes the sockets */
    assert(kt_list_empty(&c->sockets));
    free(c);
}

static void leave(struct channel *c)
{
    c->inside = false;
    if (c->waited == 0)
        channel_free(c);
    else
        arm(c);
}

static void on_timer(void *ctx)
{
    struct channel *c = ctx;
    enter(c);
    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    leave(c);
}

/* ---- sockets ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct socket *s = poll->data;
    struct channel *c = s->channel;
    const ares_socket_t fd = s->fd;
    kt_uv_wake(c->u);
    enter(c);
    /* After an error, report both, so that c-ares notices it. */
    ares_process_fd(c->ares, status < 0 || (events & UV_READABLE) ? fd : ARES_SOCKET_BAD,
        status < 0 || (events & UV_WRITABLE) ? fd : ARES_SOCKET_BAD);
    leave(c);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct socket *s = handle->data;
    kt_uv_close_done(s->u);
    free(s);
}

static struct socket *socket_of(struct channel *c, ares_socket_t fd)
{
    for (struct kt_list *n = c->sockets.next; n != &c->sockets; n = n->next) {
        struct socket *s = KT_CONTAINER(n, struct socket, node);
        if (s->fd == fd) return s;
    }
    return NULL;
}

/* NULL without memory: c-ares then hears nothing on that socket and gives the server up after its timeout. */
static struct socket *socket_new(struct channel *c, ares_socket_t fd)
{
    struct socket *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    if (uv_poll_init(&c->u->loop, &s->poll, fd) < 0) {
        free(s);
        return NULL;
    }
    s->u = c->u;
    s->channel = c;
    s->fd = fd;
    s->poll.data = s;
    kt_list_push(&c->sockets, &s->node);
    kt_uv_opened(c->u);
    return s;
}

/* c-ares says what it waits for on a socket; nothing means that it is about to close the socket. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = ctx;
    struct socket *s = socket_of(c, fd);
    if (readable || writable) {
        if (!s) s = socket_new(c, fd);
        if (s) uv_poll_start(&s->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
    } else if (s) {
        kt_list_remove(&s->node);
        kt_uv_close_begun(c->u);
        uv_close((uv_handle_t *)&s->poll, on_socket_closed);
    }
}

/* ---- channels ---- */

static struct channel *channel_find(const struct uv_io *u, const struct kt_question *question)
{
    for (struct kt_list *n = u->query_channels.next; n != &u->query_channels; n = n->next) {
        struct channel *c = KT_CONTAINER(n, struct channel, node);
        size_t i = 0;
        if (c->server_count != question->server_count || u->io.now >= c->fresh_until) continue;
        while (i < c->server_count && kt_addr_equal(&c->servers[i], &question->servers[i])) i++;
        if (i == c->server_count) return c;
    }
    return NULL;
}

static int set_servers(struct channel *c)
{
    struct ares_addr_port_node nodes[KT_QUERY_SERVERS];
    memset(nodes, 0, sizeof nodes);
    for (size_t i = 0; i < c->server_count; i++) {
        const struct kt_addr *a = &c->servers[i];
        struct ares_addr_port_node *node = &nodes[i];
        node->next = i + 1 < c->server_count ? node + 1 : NULL;
        node->family = a->sa.sa_family;
        node->udp_port = node->tcp_port = kt_addr_port(a);
        if (node->family == AF_INET)
            node->addr.addr4 = a->in4.sin_addr;
        else
            memcpy(&node->addr.addr6, &a->in6.sin6_addr, sizeof node->addr.addr6);
    }
    return ares_set_servers_ports(c->ares, nodes);
}

static int channel_new(
    struct uv_io *u, const struct kt_question *question, struct channel **out, struct kt_err *err)
{
    if (u->query_channel_count >= CHANNELS_MAX)
        return kt_err_set(err, KT_ELIMIT,
            "%s: too many different lists of name servers in use; try again later", question->name);
    struct channel *c = calloc(1, sizeof *c);
    if (!c) return kt_err_set(err, KT_ENOMEM, "%s: out of memory", question->name);
    c->u = u;
    kt_list_init(&c->node);
    kt_list_init(&c->sockets);
    kt_timer_init(&c->timer, on_timer, c);
    c->fresh_until = u->io.now + FRESH_US;
    c->server_count = question->server_count;
    for (size_t i = 0; i < c->server_count; i++) c->servers[i] = question->servers[i];

    char lookups[] = "b"; /* DNS, not the hosts file */
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = c,
    };
    int status = ares_init_options(&c->ares, &options,
        ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS && c->server_count > 0) {
        status = set_servers(c);
        if (status != ARES_SUCCESS) ares_destroy(c->ares);
    }
    if (status != ARES_SUCCESS) {
        free(c);
        return kt_err_set(err, status == ARES_ENOMEM ? KT_ENOMEM : KT_EIO,
            "%s: cannot query name servers: %s", question->name, ares_strerror(status));
    }
    kt_list_push(&u->query_channels, &c->node);
    u->query_channel_count++;
    *out = c;
    return 0;
}

/* ---- questions ---- */

static void query_free(struct uv_query *q)
{
    free(q->records);
    free(q);
}

static void tell(void *ctx)
{
    struct uv_query *q = ctx;
    kt_uv_ended(q->u);
    q->cb(q->ctx, q->records, q->n, q->n ? NULL : &q->err);
    query_free(q);
}

static void describe(struct uv_query *q, int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
        kt_err_set(&q->err, KT_ENAME, "%s: no such name", q->name);
        break;
    case ARES_ENODATA:
        kt_err_set(
            &q->err, KT_ENAME, "%s: the name has no %s records", q->name, kt_record_type_name(q->type));
        break;
    case ARES_ESERVFAIL:
        kt_err_set(&q->err, KT_EIO, "%s: the name server failed to resolve it", q->name);
        break;
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
        kt_err_set(&q->err, KT_EIO, "%s: the name server does not understand the query", q->name);
        break;
    case ARES_EREFUSED:
        kt_err_set(&q->err, KT_EIO, "%s: the name server refuses to answer", q->name);
        break;
    case ARES_ETIMEOUT:
        kt_err_set(&q->err, KT_ETIMEOUT, "%s: no name server answers", q->name);
        break;
    case ARES_ECONNREFUSED: /* Debian 12's c-ares also reports this when every server has failed or refused to
                               answer */
        kt_err_set(
            &q->err, KT_EIO, "%s: no name server can be reached, or none of them would answer", q->name);
        break;
    case ARES_EBADRESP:
    case ARES_EBADNAME:
        kt_err_set(&q->err, KT_EPROTO, "%s: the name server's answer cannot be read", q->name);
        break;
    case ARES_ENOMEM:
        kt_err_set(&q->err, KT_ENOMEM, "%s: out of memory", q->name);
        break;
    default:
        kt_err_set(&q->err, KT_EIO, "%s: %s", q->name, ares_strerror(status));
    }
}

static void read_answer(struct uv_query *q, const uint8_t *msg, size_t len)
{
    q->records = calloc(KT_QUERY_RECORDS, sizeof *q->records);
    if (q->records)
        kt_uv_answer_read(q->name, q->type, msg, len, q->records, &q->n, &q->err);
    else
        describe(q, ARES_ENOMEM);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    (void)timeouts;
    struct uv_query *q = arg;
    q->u->queries--;
    if (!q->cb) {
        query_free(q);
        return;
    }
    q->channel->waited--;
    q->channel = NULL;
    if (status == ARES_SUCCESS)
        read_answer(q, msg, (size_t)len);
    else
        describe(q, status);
    kt_io_turn(&q->u->io, &q->turn);
}

static void query_cancel(struct kt_query *query)
{
    struct uv_query *q = (struct uv_query *)(void *)query;
    struct channel *c = q->channel;
    assert(q->cb);
    q->cb = NULL;
    kt_uv_ended(q->u);
    if (!c) {
        kt_io_turn_cancel(&q->turn);
        query_free(q);
        return;
    }
    q->channel = NULL;
    c->waited--;
    if (c->waited == 0 && !c->inside) channel_free(c);
}

int kt_uv_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err)
{
    struct uv_io *u = kt_uv(io);
    if (u->queries >= QUERIES_MAX)
        return kt_err_set(err, KT_ELIMIT, "%s: %u names are already being looked up; try again later",
            question->name, QUERIES_MAX);
    struct channel *c = channel_find(u, question);
    if (!c) {
        int rc = channel_new(u, question, &c, err);
        if (rc) return rc;
    }
    struct uv_query *q = calloc(1, sizeof *q);
    if (!q) {
        if (c->waited == 0) channel_free(c);
        return kt_err_set(err, KT_ENOMEM, "%s: out of memory", question->name);
    }
    q->query.cancel = query_cancel;
    q->u = u;
    q->channel = c;
    q->cb = cb;
    q->ctx = ctx;
    q->type = question->type;
    kt_turn_init(&q->turn, tell, q);
    snprintf(q->name, sizeof q->name, "%s", question->name);
    kt_uv_opened(u);
    u->queries++;
    c->waited++;
    *out = &q->query;
    enter(c);
    ares_query(c->ares, q->name, 1 /* IN */, (int)q->type, on_answer, q); /* may answer at once */
    leave(c);
    return 0;
}
