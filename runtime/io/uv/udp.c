/* UDP on a plain non-blocking socket watched by libuv: opening, events and closing.
 *
 * Invariant: the user is called only from on_event, never from inside its own calls or from the flush at the end
 * of a turn. The result of a send there (an error, room again) is stored, and the socket is polled for
 * "writable", which calls on_event in the next turn. */
#include "io/uv/udp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"

/* ---- events ---- */

void kt_uv_udp_note(struct uv_udp *s, int errnum)
{
    s->error = kt_err_from_errno(errnum);
}

static void on_event(uv_poll_t *poll, int status, int events);

void kt_uv_udp_poll(struct uv_udp *s)
{
    int want = UV_READABLE;
    if (s->out.blocked || s->out.starved || s->error) want |= UV_WRITABLE;
    if (want == s->polled || s->closed) return;
    s->polled = want;
    uv_poll_start(&s->poll, want, on_event); /* fails only for a closed fd */
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct uv_udp *s = poll->data;
    kt_uv_wake(s->u);
    if (status < 0) {
        /* libuv stops polling on an error. For UDP an error only means that an ICMP message arrived; the next
         * receive or send reports which. */
        s->polled = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (events & UV_WRITABLE) {
        s->out.blocked = false;
        kt_uv_udp_send(s);
    }
    if (events & UV_READABLE) kt_uv_udp_receive(s);
    if (s->error && !s->closed) {
        int code = s->error;
        s->error = 0;
        if (s->events->error) s->events->error(s->ctx, code);
    }
    if (s->out.starved && !s->closed && kt_uv_udp_has_room(s)) {
        s->out.starved = false;
        if (s->events->writable) s->events->writable(s->ctx);
    }
    kt_uv_udp_poll(s);
}

void kt_uv_udp_flush(struct uv_io *u)
{
    struct kt_list *node;
    while ((node = kt_list_pop(&u->udp_dirty)) != NULL) {
        struct uv_udp *s = KT_CONTAINER(node, struct uv_udp, dirty);
        kt_uv_udp_send(s);
        kt_uv_udp_poll(s);
    }
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *handle)
{
    struct uv_udp *s = handle->data;
    kt_uv_udp_out_free(s);
    kt_uv_close_done(s->u);
    free(s);
}

static void udp_close(struct kt_udp *udp)
{
    struct uv_udp *s = (struct uv_udp *)(void *)udp;
    assert(!s->closed);
    s->out.blocked = false; /* one more attempt */
    kt_uv_udp_send(s);
    s->closed = true;
    kt_list_remove(&s->dirty);
    kt_uv_close_begun(s->u);
    uv_close((uv_handle_t *)&s->poll, on_closed);
    close(s->fd); /* at once, to free the port; libuv no longer uses it */
}

static void udp_local(const struct kt_udp *udp, struct kt_addr *out)
{
    const struct uv_udp *s = (const struct uv_udp *)(const void *)udp;
    memset(out, 0, sizeof *out);
    socklen_t len = sizeof *out;
    if (getsockname(s->fd, &out->sa, &len) < 0) out->sa.sa_family = AF_INET;
    kt_addr_unmap(out);
}

static bool udp_remote(const struct kt_udp *udp, struct kt_addr *out)
{
    const struct uv_udp *s = (const struct uv_udp *)(const void *)udp;
    memset(out, 0, sizeof *out);
    socklen_t len = sizeof *out;
    if (getpeername(s->fd, &out->sa, &len) < 0) return false;
    kt_addr_unmap(out);
    return true;
}

/* ---- opening ---- */

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

#define BUFFER_MAX (INT32_MAX / 2)
#ifdef SO_SNDBUFFORCE
#define SEND_FORCE SO_SNDBUFFORCE
#define RECEIVE_FORCE SO_RCVBUFFORCE
#else
#define SEND_FORCE (-1)
#define RECEIVE_FORCE (-1)
#endif

/* Exceeds the system's limit if permitted, else goes up to it. Returns the size that it has then, or -1. Linux doubles
 * the size for its own bookkeeping and reports the doubled size. */
static int buffer(int fd, int force, int plain, int want)
{
    int got = 0;
    if (force < 0 || set_int(fd, SOL_SOCKET, force, want) < 0) set_int(fd, SOL_SOCKET, plain, want);
    socklen_t len = sizeof got;
    if (getsockopt(fd, SOL_SOCKET, plain, &got, &len) < 0) return -1;
#ifdef __linux__
    got /= 2;
#endif
    return got;
}

void kt_uv_udp_limits(struct kt_io *io, size_t *receive, size_t *send)
{
    (void)io;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0) return;
    const int in = buffer(fd, RECEIVE_FORCE, SO_RCVBUF, BUFFER_MAX),
              out = buffer(fd, SEND_FORCE, SO_SNDBUF, BUFFER_MAX);
    if (in > 0) *receive = (size_t)in;
    if (out > 0) *send = (size_t)out;
    close(fd);
}

static void set_buffer(struct uv_udp *s, int force, int plain, const char *what, size_t bytes)
{
    if (bytes == 0) return;
    const int want = bytes > BUFFER_MAX ? BUFFER_MAX : (int)bytes, got = buffer(s->fd, force, plain, want);
    if (got >= 0 && got < want)
        kt_log(s->u->io.log, KT_LOG_WARN,
            "udp: the system limits the %s buffer to %d bytes, %d were requested; raise net.core.%cmem_max",
            what, got, want, plain == SO_RCVBUF ? 'r' : 'w');
}

static void set_dscp(struct uv_udp *s, int dscp)
{
    if (dscp <= 0) return;
    int tos = (dscp & 63) << 2; /* the low two bits are ECN's */
    int r = set_int(s->fd, IPPROTO_IP, IP_TOS, tos);
    if (s->is_v6)
        r = set_int(s->fd, IPPROTO_IPV6, IPV6_TCLASS, tos); /* IP_TOS affects only v4-mapped peers */
    if (r < 0) kt_log(s->u->io.log, KT_LOG_WARN, "udp: cannot set dscp %d: %s", dscp, strerror(errno));
}

static void set_gro(struct uv_udp *s)
{
#ifdef UDP_GRO
    s->gro = !(s->u->flags & KT_UV_NO_GRO) && set_int(s->fd, IPPROTO_UDP, UDP_GRO, 1) == 0;
#endif
}

/* A socket bound to a wildcard on a host with several addresses must answer from the address that the peer used;
 * the peer ignores answers from others. IPV6_PKTINFO also covers IPv4 addresses (v4-mapped). */
static void set_pktinfo(struct uv_udp *s, const struct kt_addr *local)
{
    if (!kt_addr_is_any(local) || s->connected) return;
#if defined IPV6_RECVPKTINFO && defined IP_PKTINFO
    s->pktinfo = (s->is_v6 ? set_int(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                           : set_int(s->fd, IPPROTO_IP, IP_PKTINFO, 1)) == 0;
#endif
}

/* The route then goes by this interface, whatever others offer, and the source address is one of its own. */
static int set_device(struct uv_udp *s, const char *device, struct kt_err *err)
{
#ifdef SO_BINDTODEVICE
    if (setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device) + 1) == 0) return 0;
    const int errnum = errno;
    if (errnum == ENODEV)
        return kt_err_set(err, KT_EUNREACH, "%s: this machine has no such network interface", device);
    if (errnum == EPERM)
        return kt_err_set(
            err, KT_EACCES, "%s: binding to an interface needs Linux 5.7 or CAP_NET_RAW", device);
    return kt_err_set(err, kt_err_from_errno(errnum), "%s: %s", device, strerror(errnum));
#else
    (void)s;
    return kt_err_set(
        err, KT_ENOTSUP, "%s: only Linux can use an interface by its name; give its address", device);
#endif
}

/* Sets up the socket. Fails for what it cannot work without, but not for buffers or DSCP. */
static int set_up(
    struct uv_udp *s, const struct kt_udp_opts *opts, const struct kt_addr *local, struct kt_err *err)
{
    char text[KT_ADDR_TEXT];
    int scope = kt_addr_check_scope(local, err);
    if (!scope && opts->remote) scope = kt_addr_check_scope(opts->remote, err);
    if (scope) return scope;
    kt_addr_text(local, text);
    if (kt_uv_fd_prepare(s->fd) < 0) return kt_system_bind_error(err, text, 0, errno);
    if (!s->activated && s->is_v6 && IN6_IS_ADDR_UNSPECIFIED(&local->in6.sin6_addr))
        set_int(s->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); /* [::] is also the IPv4 wildcard */
    if (opts->reuse_port && set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
        return kt_err_set(err, KT_ENOTSUP, "%s: cannot share the port: %s", text, strerror(errno));
    if (opts->diverted || opts->foreign) {
        const int rc = kt_uv_transparent(s->fd, text, err);
        if (rc) return rc;
    }
    if (opts->foreign)
        set_int(s->fd, SOL_SOCKET, SO_REUSEADDR, 1); /* the address may be in use for something else */
    if (opts->diverted) {
        const int rc = kt_uv_originals(s->fd, text, err);
        if (rc) return rc;
        s->diverted = true;
    }
    if (opts->device) {
        const int rc = set_device(s, opts->device, err);
        if (rc) return rc;
    }
    if (!s->activated && bind(s->fd, &local->sa, kt_addr_len(local)) < 0)
        return kt_system_bind_error(err, text, kt_addr_port(local), errno);
    if (opts->remote) {
        struct kt_addr remote = *opts->remote;
        if (s->is_v6) kt_uv_addr_map(&remote);
        if (connect(s->fd, &remote.sa, kt_addr_len(&remote)) < 0) {
            int errnum = errno;
            kt_addr_text(opts->remote, text);
            return kt_err_set(err, kt_err_from_errno(errnum), "%s: %s", text, strerror(errnum));
        }
        s->connected = true;
    }
    set_buffer(s, SEND_FORCE, SO_SNDBUF, "send", opts->sndbuf);
    set_buffer(s, RECEIVE_FORCE, SO_RCVBUF, "receive", opts->rcvbuf);
    set_dscp(s, opts->dscp);
    set_gro(s);
    set_pktinfo(s, local);
    kt_uv_udp_out_init(s);
    return 0;
}

static const struct kt_udp_ops udp_ops = {
    .reserve = kt_uv_udp_reserve,
    .commit = kt_uv_udp_commit,
    .cancel = kt_uv_udp_cancel,
    .fragment = kt_uv_udp_fragment,
    .local = udp_local,
    .remote = udp_remote,
    .close = udp_close,
};

int kt_uv_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err)
{
    *out = NULL;
    struct uv_udp *s = calloc(1, sizeof *s);
    if (!s) return kt_err_set(err, KT_ENOMEM, "out of memory");
    s->udp.ops = &udp_ops;
    s->u = kt_uv(io);
    s->events = events;
    s->ctx = ctx;
    s->oversize = opts->oversize;
    struct kt_addr local = opts->local;
    if (local.sa.sa_family == AF_UNSPEC && opts->remote) local.sa.sa_family = opts->remote->sa.sa_family;
    s->is_v6 = local.sa.sa_family == AF_INET6;
    kt_list_init(&s->dirty);

    char text[KT_ADDR_TEXT];
    int code = 0;
    s->fd = opts->remote ? -1 : kt_uv_activated_addr(s->u->activated, SOCK_DGRAM, &local);
    s->activated = s->fd >= 0;
    if (!s->activated) s->fd = socket(local.sa.sa_family, SOCK_DGRAM, 0);
    if (s->fd < 0) {
        code = kt_system_bind_error(err, kt_addr_text(&local, text), 0, errno);
    } else if ((code = set_up(s, opts, &local, err)) == 0) {
        int r = uv_poll_init(&s->u->loop, &s->poll, s->fd);
        if (r < 0) code = kt_err_set(err, kt_uv_code(r), "udp: %s", uv_strerror(r));
    }
    if (code) {
        if (s->fd >= 0) close(s->fd);
        free(s);
        return code;
    }
    s->poll.data = s;
    kt_uv_udp_poll(s);
    kt_uv_opened(s->u);
    *out = &s->udp;
    return 0;
}
