/* Internal to io/uv: what the files of the libuv backend share.
 *
 * Lifetime: everything a user opens counts in `open` until its close or cancel call (or its only callback), and
 * then in `closing` until the system has let go of its memory. kt_io_free waits for `closing` to reach 0. */
#ifndef KT_IO_UV_INTERNAL_H
#define KT_IO_UV_INTERNAL_H

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <uv.h>
#include "io/system.h"
#include "io/uv/uv.h"

/* Where datagrams and the bytes of conns arrive. Most of it is never touched. */
#define KT_UV_SCRATCH (2048u * 1024)
#define KT_UV_RANDOM 4096u

struct uv_io {
    struct kt_io io;
    uv_loop_t loop;
    uv_prepare_t prepare; /* before the loop sleeps: the end of the turn */
    uv_poll_t grow;       /* see prealloc.c */
    uv_check_t check;     /* after arrivals are handled: due timers */
    struct kt_uv_alarm *alarm;
    struct kt_uv_hangups *hangups;
    struct kt_uv_activated *activated; /* NULL: no sockets came with the process */
    unsigned flags;
    bool has_threads; /* libuv's lookup threads; see prealloc.c */
    bool stale;       /* io.now is from an earlier turn */
    size_t open, closing;
    size_t most_open;                    /* since memory was last given back */
    struct kt_timer shrink;              /* gives it back */
    struct kt_list udp_dirty;            /* of uv_udp: datagrams were committed in this turn */
    struct kt_list conn_closing;         /* of uv_conn: closed by the user, still sending */
    struct kt_list works;                /* work.c's */
    struct kt_list query_channels;       /* query.c's: those with an open question */
    size_t query_channel_count, queries; /* questions held by c-ares */
    uint8_t *scratch;                    /* KT_UV_SCRATCH bytes, or NULL before first use; owned */
    size_t random_left;                  /* unused bytes at the end of random[] */
    uint8_t random[KT_UV_RANDOM];
};

static inline struct uv_io *kt_uv(struct kt_io *io)
{
    return (struct uv_io *)(void *)io;
}

/* ---- handles.c ---- */

/* Monotonic, in µs. On Linux it counts the time for which the machine was suspended, so that what expired meanwhile
 * ends when the machine wakes: a peer has counted that time too. */
#ifdef __linux__
#define KT_UV_CLOCK CLOCK_BOOTTIME
static inline uint64_t kt_uv_clock(void)
{
    struct timespec ts;
    clock_gettime(KT_UV_CLOCK, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}
#else
static inline uint64_t kt_uv_clock(void)
{
    return uv_hrtime() / 1000;
}
#endif

/* Every libuv callback that calls code above starts with this: the first in a turn reads the clock. */
void kt_uv_wake(struct uv_io *u);

/* The shared scratch area, or NULL without memory. Valid until the return to the loop. */
uint8_t *kt_uv_scratch(struct uv_io *u);

/* Counts a handle as opened, as closing (its memory is still in use), and as gone. kt_uv_count_init: once, before. */
void kt_uv_count_init(struct uv_io *u);
void kt_uv_opened(struct uv_io *u);
void kt_uv_close_begun(struct uv_io *u);
void kt_uv_close_done(struct uv_io *u);
/* kt_io_freed. */
void kt_uv_freed(struct kt_io *io);
/* Closing and gone at once, for handles that the system does not hold. */
static inline void kt_uv_ended(struct uv_io *u)
{
    kt_uv_close_begun(u);
    kt_uv_close_done(u);
}

/* KT_E… for a libuv error (on Unix a negative errno, or one of getaddrinfo's). */
int kt_uv_code(int uverr);

/* Sets fd to non-blocking and close-on-exec. 0, or -1 with errno. */
int kt_uv_fd_prepare(int fd);

/* Maps an IPv4 address into IPv6, for an IPv6 socket; kt_addr_unmap is the reverse, for the peers that such sockets
 * show. Leaves others alone. */
void kt_uv_addr_map(struct kt_addr *a);

/* ---- transparent sockets (transparent.c) ---- */

/* Lets a TCP or UDP socket take what TPROXY diverts to it, and bind to addresses of other machines. 0, or a code with a
 * sentence about `name`, the socket's address. */
int kt_uv_transparent(int fd, const char *name, struct kt_err *err);
/* The address that a TCP conn was made to before REDIRECT or DNAT changed it. local: its own now. False: unknown. */
bool kt_uv_original(int fd, const struct kt_addr *local, struct kt_addr *out);
/* Makes a UDP socket tell where each datagram was sent to, and reads that from a message. */
int kt_uv_originals(int fd, const char *name, struct kt_err *err);
bool kt_uv_read_original(const struct cmsghdr *c, struct kt_addr *out);

/* ---- limits of libuv (prealloc.c) ---- */

/* Grows libuv's table of watchers by means of u->grow, which is then closing: 0 or UV_ENOMEM. Then,
 * whether libuv can have its lookup threads: ask before each lookup. */
int kt_uv_prealloc_watchers(struct uv_io *u);
bool kt_uv_prealloc_threads(struct uv_io *u);

/* ---- the wake-up call (alarm.c) ---- */

int kt_uv_alarm_new(struct uv_io *u, struct kt_uv_alarm **out);
/* Makes the loop wake at `at` µs (or once somewhat earlier); KT_TIME_NEVER: lets it sleep. */
void kt_uv_alarm_set(struct kt_uv_alarm *a, uint64_t at);
void kt_uv_alarm_close(struct kt_uv_alarm *a);

/* ---- broken sockets (hangup.c) ---- */

/* A conn's place there. */
struct kt_uv_watched {
    struct kt_list node; /* while it is not read and not in the set */
    int fd;              /* -1: it is not to be watched */
    bool held;           /* in the set, until fd is closed */
};

int kt_uv_hangups_new(struct uv_io *u, struct kt_uv_hangups **out);
/* libuv has stopped reading it. Unless its node is removed first, it soon enters the set: from then until fd is closed,
 * kt_uv_conn_hung_up is called when the socket breaks, or has broken. */
void kt_uv_hangups_unread(struct kt_uv_hangups *h, struct kt_uv_watched *w);
void kt_uv_hangups_close(struct kt_uv_hangups *h);

/* ---- silent peers (mute_peer.c) ---- */

struct kt_uv_mute_peer {
    struct kt_timer timer;          /* armed while bytes may be out */
    uint64_t looked_at, mute_since; /* µs */
};
/* For a TCP conn. due is called when it is time for kt_uv_mute_peer_check. */
void kt_uv_mute_peer_init(struct kt_uv_mute_peer *m, void (*due)(void *ctx), void *ctx);
/* Bytes or FIN are on their way out. timeout_us, here and below: 0: never; it may change meanwhile. */
void kt_uv_mute_peer_expect(struct kt_uv_mute_peer *m, struct kt_io *io, uint64_t timeout_us);
/* Whether the peer has been mute for the timeout. If not, and bytes are still out, due is called again. */
bool kt_uv_mute_peer_check(struct kt_uv_mute_peer *m, struct kt_io *io, int fd, uint64_t timeout_us);
void kt_uv_mute_peer_stop(struct kt_uv_mute_peer *m, struct kt_io *io);

/* ---- sockets from the service manager (activated_sockets.c) ---- */

/* Takes over the sockets that came with the process; *out is NULL if none did. 0 or UV_ENOMEM. */
int kt_uv_activated_new(struct kt_uv_activated **out);
/* A duplicate of the socket of this type that is bound to the address, or the listening one at a path; -1: there is
 * none. */
int kt_uv_activated_addr(struct kt_uv_activated *h, int type, const struct kt_addr *at);
int kt_uv_activated_path(struct kt_uv_activated *h, const char *path);
void kt_uv_activated_free(struct kt_uv_activated *h);

/* ---- UDP (udp.c) ---- */

void kt_uv_udp_limits(struct kt_io *io, size_t *receive, size_t *send);
int kt_uv_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err);
/* Sends what was committed in this turn. */
void kt_uv_udp_flush(struct uv_io *u);

/* ---- conns (conn.c) ---- */

/* A conn without a socket, counted as open. NULL without memory. It frees itself after kt_pipe_close or
 * kt_uv_conn_abort, once libuv has closed its handle. */
struct uv_conn *kt_uv_conn_new(struct uv_io *u, bool is_unix);
/* Takes over an accepted socket. 0, or a code, in which case fd still belongs to the caller. */
int kt_uv_conn_adopt(struct uv_conn *c, int fd);
/* Starts connecting. cb is called exactly once, from the loop, unless this call fails or kt_uv_conn_abort comes
 * first. status: 0 or libuv's error. */
int kt_uv_conn_dial(struct uv_conn *c, const struct kt_addr *to, const char *path,
    void (*cb)(void *ctx, int status), void *ctx);
/* The name of one end of a socket, as the system reports it. */
union kt_uv_name {
    struct sockaddr sa;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
};
/* As text: "127.0.0.1:4711", "unix:/path", or "?". Returns out. */
const char *kt_uv_name_text(char out[KT_CONN_NAME], const union kt_uv_name *name, socklen_t len);
/* Sets the options of our TCP sockets: no delay, keepalive. */
void kt_uv_tune(int fd);
/* The socket's error, an errno or 0; the system reports it only once. */
int kt_uv_socket_error(int fd);
/* Lets close send RST. Unlike uv_tcp_close_reset it works while a shutdown is under way. */
void kt_uv_reset_on_close(int fd);
/* Writes what the system takes at once, of up to KT_PIPE_PIECES pieces: how many bytes, or a negative libuv code if
 * the socket has failed. */
ssize_t kt_uv_try_write(uv_stream_t *stream, const struct kt_iov *iov, size_t pieces);
/* The socket is connected: sets it up, names its ends and starts reading. peer: NULL, or the name from accept;
 * then the socket already has its options. */
int kt_uv_conn_ready(struct uv_conn *c, const union kt_uv_name *peer, socklen_t len);
/* For a conn that the peer accepted and reset before it was ready. Bytes that arrived before can be read. */
void kt_uv_conn_was_reset(struct uv_conn *c, const struct kt_addr *peer);
/* Ends a conn that was never handed to a user. */
void kt_uv_conn_abort(struct uv_conn *c);
/* The same conn as its user sees it. */
struct kt_conn *kt_uv_conn(struct uv_conn *c);
/* The system has reported a socket error, or that both directions have ended. */
void kt_uv_conn_hung_up(struct kt_uv_watched *w);
/* The io is about to be freed: gives closing conns only a moment more. */
void kt_uv_conn_hurry(struct uv_io *u);

/* ---- the rest ---- */

int kt_uv_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err);
extern const struct kt_dialer kt_uv_dialer;
int kt_uv_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err);
int kt_uv_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err);
int kt_uv_input_open(struct kt_io *io, bool keys, void (*fn)(void *ctx, const char *data, size_t n),
    void *ctx, struct kt_input **out, struct kt_err *err);
int kt_uv_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err);
int kt_uv_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err);
int kt_uv_work(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out);
int kt_uv_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out);

#endif
