/* Listeners: a plain listening socket watched by libuv, with accept called by hand.
 *
 * Not uv_listen: when descriptors run out, it silently accepts and closes every waiting connection. Here
 * accepting pauses for a moment, and a log line says so. Invariants: no waiting connection is dropped; it stays in
 * the kernel's backlog until accepting resumes. A socket file is taken for stale, and removed, only under a lock of its
 * folder that each kt holds from bind to listen; so two never remove each other's. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "base/log.h"
#include "io/uv/internal.h"

#define BACKLOG 1024
#define ACCEPTS 16u /* per event, so that a rush of clients does not starve the rest of the loop */
#define PAUSE_US 100000u
#define LOG_EVERY_US 1000000u
#define LOCK_MS 200 /* most time to wait for another kt that begins to listen in the same folder */

struct uv_listener {
    struct kt_listener listener;
    struct uv_io *u;
    const struct kt_listener_events *events;
    void *ctx;
    int fd;
    uv_poll_t poll;
    struct kt_timer resume;
    uint64_t logged_at; /* 0: never */
    bool is_unix, closed;
    enum kt_diverted diverted;
    dev_t dev; /* of the socket file, to remove only that one */
    ino_t ino;
    unsigned mode; /* of the socket file; 0: as the umask says */
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
};

/* ---- accepting ---- */

static void on_event(uv_poll_t *poll, int status, int events);

static void on_resume(void *ctx)
{
    struct uv_listener *l = ctx;
    uv_poll_start(&l->poll, UV_READABLE, on_event);
}

/* Out of descriptors or memory: wait until some are freed. */
static void pause_accepting(struct uv_listener *l, int errnum)
{
    uint64_t now = l->u->io.now;
    uv_poll_stop(&l->poll);
    kt_io_timer_set(&l->u->io, &l->resume, now + PAUSE_US);
    if (l->logged_at && now - l->logged_at < LOG_EVERY_US) return;
    l->logged_at = now;
    char no_fd[KT_SYSTEM_NO_FD];
    kt_log(l->u->io.log, KT_LOG_WARN, "%s: not accepting connections for now: %s", l->listener.local,
        errnum == EMFILE || errnum == ENFILE ? kt_system_no_fd(errnum, no_fd) : strerror(errnum));
}

/* Uses as few calls as the system allows: Linux takes the flags in accept4, and connections inherit the options
 * of a listening socket. */
#ifdef __linux__
#define INHERITS true
static int accept_from(int listener, union kt_uv_name *peer, socklen_t *len)
{
    return accept4(listener, &peer->sa, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
#else
#define INHERITS false
static int accept_from(int listener, union kt_uv_name *peer, socklen_t *len)
{
    int fd = accept(listener, &peer->sa, len);
    if (fd < 0 || kt_uv_fd_prepare(fd) == 0) return fd;
    close(fd);
    errno = ECONNABORTED;
    return -1;
}
#endif

/* Whether an address is that of the listener: a conn to it was not diverted. */
static bool is_own(const struct uv_listener *l, const struct kt_addr *addr)
{
    struct kt_addr at;
    socklen_t len = sizeof at;
    if (getsockname(l->fd, &at.sa, &len) < 0) return false;
    return kt_addr_is_any(&at) ? kt_addr_port(&at) == kt_addr_port(addr) : kt_addr_equal(&at, addr);
}

/* Fills in where the client of a diverted conn connected to. */
static void find_original(const struct uv_listener *l, int fd, struct kt_conn *conn)
{
    struct kt_addr original, local;
    socklen_t len = sizeof local;
    if (getsockname(fd, &local.sa, &len) < 0) return;
    kt_addr_unmap(&local);
    if (l->diverted == KT_DIVERTED_TPROXY)
        original = local;
    else if (!kt_uv_original(fd, &local, &original) || kt_addr_equal(&original, &local))
        return;
    struct kt_conn_names *names = is_own(l, &original) ? NULL : kt_conn_names(conn);
    if (names) kt_addr_text(&original, names->original);
}

static void hand_over(struct uv_listener *l, int fd, const union kt_uv_name *peer, socklen_t len)
{
    struct uv_conn *c = kt_uv_conn_new(l->u, l->is_unix);
    int code = c ? kt_uv_conn_adopt(c, fd) : KT_ENOMEM;
    if (code) {
        close(fd);
    } else {
        if (!INHERITS && !l->is_unix) kt_uv_tune(fd);
        code = kt_uv_conn_ready(c, peer, len);
    }
    if (code) {
        kt_log(l->u->io.log, KT_LOG_WARN, "%s: connection lost: %s", l->listener.local, kt_strerror(code));
        if (c) kt_uv_conn_abort(c);
        return;
    }
    if (l->diverted) find_original(l, fd, kt_uv_conn(c));
    l->events->conn(l->ctx, kt_uv_conn(c));
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct uv_listener *l = poll->data;
    kt_uv_wake(l->u);
    for (unsigned i = 0; i < ACCEPTS && !l->closed; i++) {
        union kt_uv_name peer;
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof(struct sockaddr_un)); /* a path need not end with a NUL */
        int fd = accept_from(l->fd, &peer, &len);
        if (fd >= 0) {
            hand_over(l, fd, &peer, len);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(l, errno);
            return;
        } /* any other error belongs to a connection that died in the backlog */
    }
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *handle)
{
    struct uv_listener *l = handle->data;
    kt_uv_close_done(l->u);
    free(l);
}

/* Removes the socket file, unless another has taken its place. */
static void unlink_own(const struct uv_listener *l)
{
    struct stat st;
    if (l->ino && stat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) unlink(l->path);
}

static void listener_close(struct kt_listener *listener)
{
    struct uv_listener *l = (struct uv_listener *)(void *)listener;
    assert(!l->closed);
    l->closed = true;
    kt_io_timer_cancel(&l->u->io, &l->resume);
    kt_uv_close_begun(l->u);
    if (l->is_unix) unlink_own(l);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    close(l->fd);
}

/* ---- opening ---- */

/* Whether a process listens at this path. */
static bool unix_is_live(const struct sockaddr_un *un)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || kt_uv_fd_prepare(fd) < 0) {
        if (fd >= 0) close(fd);
        return true; /* unknown: leave it alone */
    }
    bool refused = connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* Locks the folder of a socket file, by a descriptor to be closed. -1: errno says why not. */
static int lock_folder(const char *path)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    kt_system_folder(path, folder, sizeof folder);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int ms = 0; fd >= 0; ms++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
        if (errno != EWOULDBLOCK || ms == LOCK_MS) break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    const int errnum = errno;
    if (fd >= 0) close(fd);
    errno = errnum;
    return -1;
}

/* Linux gives the file the mode of the socket, so nobody else can open it even for a moment. Elsewhere the mode
 * is set before anyone can connect, as the socket does not listen yet. */
static int bind_path(const struct uv_listener *l, const struct sockaddr_un *un)
{
    if (l->mode) (void)!fchmod(l->fd, l->mode);
    if (bind(l->fd, (const struct sockaddr *)un, sizeof *un) < 0) return -1;
    return l->mode ? chmod(l->path, l->mode) : 0;
}

/* Leaves l->fd bound. unlocked: 0, or why the folder is not locked. */
static int bind_unix(struct uv_listener *l, int unlocked, struct kt_err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    memcpy(un.sun_path, l->path, sizeof un.sun_path);
    l->fd = kt_uv_activated_path(l->u->activated, l->path);
    if (l->fd >= 0) return 0; /* its file belongs to the service manager: dev and ino stay 0 */
    l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (l->fd < 0) return kt_system_bind_error(err, l->listener.local, 0, errno);
    if (bind_path(l, &un) < 0) {
        if (errno != EADDRINUSE) return kt_system_bind_error(err, l->listener.local, 0, errno);
        if (lstat(l->path, &st) == 0 && !S_ISSOCK(st.st_mode))
            return kt_err_set(
                err, KT_EINUSE, "%s: a file of this name exists and is not a socket", l->listener.local);
        if (unix_is_live(&un)) return kt_system_bind_error(err, l->listener.local, 0, EADDRINUSE);
        /* Left behind by a process that did not exit cleanly, or not listening yet. */
        if (unlocked)
            return kt_err_set(err, KT_EINUSE,
                "%s: nothing listens there, but its folder cannot be locked (%s); remove it",
                l->listener.local, strerror(unlocked));
        if ((unlink(l->path) < 0 && errno != ENOENT) || bind_path(l, &un) < 0)
            return kt_system_bind_error(err, l->listener.local, 0, errno);
    }
    if (stat(l->path, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    return 0;
}

/* Leaves l->fd bound; 0 or a positive errno. */
static int bind_addr(struct uv_listener *l, const struct kt_addr *at)
{
    int on = 1, off = 0;
    l->fd = kt_uv_activated_addr(l->u->activated, SOCK_STREAM, at);
    if (l->fd >= 0) return 0;
    l->fd = socket(at->sa.sa_family, SOCK_STREAM, 0);
    if (l->fd < 0) return errno;
    /* Lets a restarted process bind while old connections are in TIME_WAIT. */
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->sa.sa_family == AF_INET6) setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(l->fd, &at->sa, kt_addr_len(at)) == 0) return 0;
    int errnum = errno;
    close(l->fd);
    l->fd = -1;
    return errnum;
}

static int bind_tcp(struct uv_listener *l, const struct kt_endpoint *at, struct kt_err *err)
{
    struct kt_addr addr;
    bool any = at->host[0] == '\0';
    if (!kt_addr_from_ip(&addr, any ? "::" : at->host, at->port_min))
        return kt_err_set(
            err, KT_EINVAL, "%s: expected an IP address to listen on, got a name", l->listener.local);
    int scope = kt_addr_check_scope(&addr, err);
    if (scope) return scope;
    int errnum = bind_addr(l, &addr);
    if (any && (errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL)) { /* a machine without IPv6 */
        kt_addr_from_ip(&addr, "0.0.0.0", at->port_min);
        errnum = bind_addr(l, &addr);
    }
    return errnum ? kt_system_bind_error(err, l->listener.local, at->port_min, errnum) : 0;
}

/* Leaves l->fd listening. */
static int listen_unix(struct uv_listener *l, struct kt_err *err)
{
    const int lock = lock_folder(l->path);
    int code = bind_unix(l, lock < 0 ? errno : 0, err);
    if (code == 0 && listen(l->fd, BACKLOG) < 0)
        code = kt_system_bind_error(err, l->listener.local, 0, errno);
    if (lock >= 0) close(lock);
    return code;
}

/* The same. */
static int listen_tcp(struct uv_listener *l, const struct kt_endpoint *at, struct kt_err *err)
{
    int code = bind_tcp(l, at, err);
    if (code == 0 && l->diverted == KT_DIVERTED_TPROXY)
        code = kt_uv_transparent(l->fd, l->listener.local, err);
    if (code) return code;
    if (INHERITS) kt_uv_tune(l->fd);
    return listen(l->fd, BACKLOG) < 0 ? kt_system_bind_error(err, l->listener.local, at->port_min, errno) : 0;
}

static int open_socket(struct uv_listener *l, const struct kt_endpoint *at, struct kt_err *err)
{
    const int code = l->is_unix ? listen_unix(l, err) : listen_tcp(l, at, err);
    if (code) return code;
    if (kt_uv_fd_prepare(l->fd) < 0) return kt_system_bind_error(err, l->listener.local, at->port_min, errno);
    int r = uv_poll_init(&l->u->loop, &l->poll, l->fd);
    return r < 0 ? kt_err_set(err, kt_uv_code(r), "%s: %s", l->listener.local, uv_strerror(r)) : 0;
}

static void name_local(struct uv_listener *l)
{
    struct kt_addr addr;
    socklen_t len = sizeof addr;
    if (!l->is_unix && getsockname(l->fd, &addr.sa, &len) == 0) kt_addr_text(&addr, l->listener.local);
}

int kt_uv_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err)
{
    *out = NULL;
    struct uv_listener *l = calloc(1, sizeof *l);
    if (!l) return kt_err_set(err, KT_ENOMEM, "out of memory");
    l->listener.close = listener_close;
    l->u = kt_uv(io);
    l->events = events;
    l->ctx = ctx;
    l->fd = -1;
    l->is_unix = at->is_unix;
    l->mode = at->mode;
    l->diverted = at->diverted;
    kt_timer_init(&l->resume, on_resume, l);
    /* The requested address, for error messages. */
    if (at->is_unix) {
        snprintf(l->listener.local, sizeof l->listener.local, "unix:%.120s", at->host);
        snprintf(l->path, sizeof l->path, "%.107s", at->host);
    } else {
        bool v6 = strchr(at->host, ':') != NULL;
        snprintf(l->listener.local, sizeof l->listener.local, v6 ? "[%.100s]:%u" : "%.100s:%u", at->host,
            (unsigned)at->port_min);
    }

    int code = open_socket(l, at, err);
    if (code) {
        if (l->is_unix && l->ino) unlink_own(l);
        if (l->fd >= 0) close(l->fd);
        free(l);
        return code;
    }
    name_local(l);
    l->poll.data = l;
    uv_poll_start(&l->poll, UV_READABLE, on_event);
    kt_uv_opened(l->u);
    *out = &l->listener;
    return 0;
}
