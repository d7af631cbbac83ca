/* The I/O seam: everything nondeterministic enters here. Clock, timers, random bytes, batched UDP, TCP and unix
 * sockets, names, signals, files. It has two backends: io/uv (the real world, on libuv) and io/sim (a seeded
 * network in virtual time). Code above the seam cannot tell them apart.
 *
 * Each kt_io belongs to one thread. Callbacks come from the loop, never from inside the call that asked for
 * them. A close or cancel call ends a handle for the caller, and no callback follows it; the backend frees the
 * memory when the system is done with it (two-phase where libuv's close is). kt_io_free runs the loop until all
 * such closings are done. */
#ifndef KT_IO_IO_H
#define KT_IO_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/addr.h"
#include "base/err.h"
#include "base/pipe.h"
#include "base/wheel.h"

struct kt_io;
struct kt_udp;
struct kt_listener;
struct kt_conn;
struct kt_resolve;
struct kt_query;
struct kt_signal;
struct kt_file_watch;
struct kt_work;

/* ---- loop ---- */

/* Runs until kt_io_stop. */
void kt_io_run(struct kt_io *io);
/* Makes kt_io_run return after the current turn. Also works before kt_io_run is called. */
void kt_io_stop(struct kt_io *io);
/* Frees the io. Every handle must have been closed (asserted). */
void kt_io_free(struct kt_io *io);

/* The limit on open descriptors of the process when the io was made; SIZE_MAX: no limit. */
size_t kt_io_descriptors(const struct kt_io *io);

/* The largest buffers that a UDP socket of this process can have, in bytes; 0: unknown. Tries it with a socket. */
void kt_io_udp_limits(struct kt_io *io, size_t *receive, size_t *send);

/* Call when something large that is not a handle of the io was freed, such as a session: the process may return memory
 * to the system some seconds later. */
void kt_io_freed(struct kt_io *io);

/* ---- clock and chance ---- */

/* Monotonic clock, µs, read once per loop turn: cheap, and the same for everything in a turn. On Linux it counts the
 * time for which the machine was suspended. */
uint64_t kt_io_now(const struct kt_io *io);
/* Time from kt_io_now until `at`, µs; 0 if that has passed. */
uint64_t kt_io_left(const struct kt_io *io, uint64_t at);
/* The monotonic clock read again, µs, for measuring within a turn. */
uint64_t kt_io_clock(struct kt_io *io);
/* Wall clock, µs since 1970-01-01 UTC. */
uint64_t kt_io_wall(struct kt_io *io);
/* Text that stands for this machine, and no other, from its installation on; empty: unknown. size: at least 1. Others
 * must not see it: only a hash may leave this process. Blocks, so use it only at startup. */
#define KT_IO_MACHINE 65u
void kt_io_machine(struct kt_io *io, char *out, size_t size);
/* Unpredictable bytes, fit for keys. Buffered, so cheap enough for nonces. Cannot fail. */
void kt_io_random(struct kt_io *io, void *out, size_t n);

/* ---- timers and the end of a turn ---- */

/* Arms a kt_timer (base/wheel.h) for at_us; see kt_wheel_set. */
void kt_io_timer_set(struct kt_io *io, struct kt_timer *t, uint64_t at_us);
void kt_io_timer_cancel(struct kt_io *io, struct kt_timer *t);

/* A hook that runs once at the end of the current turn: after all arrivals of the turn were handled, and before
 * queued datagrams leave and the loop sleeps. Use it to flush what the turn has changed. */
struct kt_turn {
    struct kt_list node;
    void (*fn)(void *ctx);
    void *ctx;
};
void kt_turn_init(struct kt_turn *t, void (*fn)(void *ctx), void *ctx);
/* Queues t for the end of this turn; harmless if it is already queued. A hook may queue t; it then runs at the
 * end of the same turn. */
void kt_io_turn(struct kt_io *io, struct kt_turn *t);
/* Removes t from the queue; harmless if it is not queued. */
void kt_io_turn_cancel(struct kt_turn *t);

/* ---- work that takes long ---- */

/* Work on the processor that would hold up the loop. In a backend with threads it runs on one of them, one piece of an
 * io at a time, in order. */
struct kt_job {
    void (*run)(void *arg);  /* maybe on another thread: it may use nothing but arg */
    void (*free)(void *arg); /* on the loop's thread, once neither run nor done needs it */
    void *arg;
};
/* Runs the job, then calls done(ctx) from the loop, unless kt_work_cancel comes first. 0, or KT_ENOMEM, in which case
 * arg is still the caller's. */
int kt_work(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out);
/* done is not called. A job that has begun still runs to its end. */
void kt_work_cancel(struct kt_work *w);

/* ---- slices ---- */

/* Watches slices of work on the loop's thread that should be short, at the price of two clock reads per slice.
 * During a slice, `tick` is called about every KT_WATCH_TICK_US, on the loop's own thread but from a signal
 * handler, so it may only do what is safe there.
 *
 * wall_us: how long the slice has run, not counting time in which the process was stopped. cpu_us: the processor
 * time it has used since its first tick. On a machine that is busy with other work only wall_us grows. */
#define KT_WATCH_TICK_US 25000u

struct kt_watch;
typedef void (*kt_watch_tick)(void *ctx, uint64_t wall_us, uint64_t cpu_us);

/* 0, or KT_ENOTSUP if the backend has no watch: nothing takes long in virtual time. Call on the loop's thread.
 * Freed with kt_watch_free; NULL is harmless there. */
int kt_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out);
/* Begins (or restarts) a slice. Ending it returns the µs that it took. */
void kt_watch_begin(struct kt_watch *w);
uint64_t kt_watch_end(struct kt_watch *w);
void kt_watch_free(struct kt_watch *w);

/* ---- UDP ---- */

/* The largest datagram that can be sent or received; a larger one is dropped on arrival and counted. */
#define KT_UDP_MAX 2048u
/* Most datagrams in one call of `batch`. */
#define KT_UDP_BATCH 64u

struct kt_dgram {
    uint8_t *data; /* the handler may change it in place (unsealing); valid during the call */
    size_t len;
    const struct kt_addr *from;
    /* This host's address that it was sent to, port 0; NULL: unknown, or the one that the socket is bound to. */
    const struct kt_addr *to;
    /* Of a socket with `diverted`: the address and port that it was sent to; NULL: unknown. */
    const struct kt_addr *original;
};

struct kt_udp_events {
    /* 1..KT_UDP_BATCH datagrams, in order of arrival. The handler may close the socket; it must then ignore the
     * remaining datagrams. */
    void (*batch)(void *ctx, struct kt_dgram *dgrams, size_t n);
    /* Room is available again after kt_udp_reserve returned NULL. */
    void (*writable)(void *ctx);
    /* An asynchronous error, such as an ICMP port unreachable on a connected socket (KT_EREFUSED). The socket
     * stays open. */
    void (*error)(void *ctx, int code);
};

struct kt_udp_opts {
    struct kt_addr local;         /* address to bind; port 0: any; all zero: any of the remote's family */
    const struct kt_addr *remote; /* not NULL: connect, and receive only from this peer */
    /* Network interface that its packets leave by and come in at, of this machine; NULL: any. Linux only; before 5.7 it
     * takes CAP_NET_RAW. In a simulated world eth0, eth1, ... are a host's addresses, in their order. */
    const char *device;
    int dscp;              /* 0..63 */
    size_t sndbuf, rcvbuf; /* socket buffers in bytes; 0: the system's default */
    bool reuse_port;
    /* Takes datagrams that the system diverts to it (TPROXY), with the address that each was sent to. Linux only, with
     * CAP_NET_ADMIN. On a simulated host: those that it gets as the gateway of others. */
    bool diverted;
    /* `local` may be an address of another machine, as which it answers diverted datagrams. Likewise. */
    bool foreign;
    /* Counts the same datagrams as kt_udp_stats.in_oversize; must outlive the socket. May be NULL. */
    uint64_t *oversize;
};

struct kt_udp_stats {
    uint64_t in_pkts, in_bytes, out_pkts, out_bytes;
    uint64_t in_calls, out_calls; /* system calls */
    uint64_t out_dropped, in_oversize;
};

/* 0, or a code with a sentence that says what to do (address in use, permission, ...). Close *out with
 * kt_udp_close. */
int kt_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err);

/* A transmit buffer of KT_UDP_MAX bytes, or NULL if the queue is full and the system takes no more at the moment
 * (`writable` follows). Give it back with kt_udp_commit or kt_udp_cancel before the turn ends. Any number may be
 * held, in any order. Reserving may send what was committed before. */
uint8_t *kt_udp_reserve(struct kt_udp *udp);

/* Queues bytes data..data+len, which must lie within the reserved buffer `buf`, for `to` (NULL on a connected
 * socket). from: the source address, as in kt_dgram.to, so that the peer accepts the datagram as an answer. If
 * it is NULL, or an address that the host no longer has, the system chooses. The queue is sent at the end of the
 * turn in few system calls (GSO, sendmmsg); runs of equal lengths to one peer are cheapest. A datagram that the
 * system refuses for good is dropped and counted. */
void kt_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from);
void kt_udp_cancel(struct kt_udp *udp, uint8_t *buf);
/* Lets the datagram in this reserved buffer, to be committed next, be fragmented on its way: over IPv4 it leaves
 * without DF. No effect over IPv6, where only the sender fragments, and Linux (6.18, IPV6_MTU) never does so for
 * a datagram that fits the interface. */
void kt_udp_fragment(struct kt_udp *udp, uint8_t *buf);

void kt_udp_local(const struct kt_udp *udp, struct kt_addr *out);
/* The peer of a connected socket; false: it is not connected. */
bool kt_udp_remote(const struct kt_udp *udp, struct kt_addr *out);
/* The socket's own; valid until it is closed. */
const struct kt_udp_stats *kt_udp_stats(const struct kt_udp *udp);
/* Tries once to send what is queued, then closes. NULL is harmless. */
void kt_udp_close(struct kt_udp *udp);

/* ---- TCP and unix sockets ---- */

/* A conn is a kt_pipe (the first member of every backend's struct): peek, consume, write, shutdown, reset, close.
 * It reads only what its listener has room for (kt_pipe_events.room), at most KT_CONN_READ bytes, so a reader that has
 * stopped costs no memory; without a listener it reads KT_CONN_AHEAD bytes. It holds at most KT_CONN_WRITE written
 * bytes that the system has not taken. */
#define KT_CONN_READ (64u * 1024)
#define KT_CONN_AHEAD (16u * 1024)
#define KT_CONN_WRITE 64u

/* The conn itself as a pipe; closing that frees the conn. */
struct kt_pipe *kt_conn_pipe(struct kt_conn *conn);
/* "127.0.0.1:4711", "unix:/path", "unix:@abstract", or "unix:" for an unnamed end of a unix socket; "?" if
 * unknown. kt_conn_peer returns `out`; the local name is made on first use and valid as long as the conn. */
#define KT_CONN_NAME 128 /* bytes */
const char *kt_conn_peer(const struct kt_conn *conn, char out[KT_CONN_NAME]);
const char *kt_conn_local(struct kt_conn *conn);
/* NULL: it has none, as on a unix socket, or it is unknown. Valid as long as the conn. */
const struct kt_addr *kt_conn_peer_addr(const struct kt_conn *conn);
/* Gives the conn other names: those of the connection that a proxy passes on. */
void kt_conn_rename(struct kt_conn *conn, const struct kt_addr *peer, const struct kt_addr *local);

/* The user who opened the other end of a unix socket. 0; KT_ENOTSUP if that is unknown. */
int kt_conn_user(const struct kt_conn *conn, uint32_t *uid);

/* Of a conn that was diverted to a listener (kt_endpoint.diverted): the address that its client connected to. NULL: it
 * was not diverted, or the system does not know. Valid as long as the conn. */
const char *kt_conn_original(const struct kt_conn *conn);

/* The user timeout (RFC 793, 3.8): a TCP conn that has sent something breaks with KT_ETIMEOUT after hearing
 * nothing from its peer for this long, or up to a quarter longer. A peer that answers but does not read is left
 * alone. 0: as long as the system tries, about 15 minutes. Unix sockets have no timeout. */
#define KT_CONN_USER_TIMEOUT_US 60000000u
void kt_conn_set_user_timeout(struct kt_conn *conn, uint64_t us);

struct kt_listener_events {
    /* A new conn, owned by the callee, which ends it with kt_pipe_close or kt_pipe_reset. It reads ahead at once,
     * up to KT_CONN_AHEAD. */
    void (*conn)(void *ctx, struct kt_conn *conn);
};

/* Listens on "ip:port", ":port" (all addresses, IPv6 and IPv4), or a unix socket path. A stale socket file is
 * replaced; a live one is KT_EINUSE. The address in `at` must be numeric. Accepting pauses while the process has
 * no descriptors left, and says so in the log. */
int kt_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err);
/* The address it listens on ("127.0.0.1:12948"); after port 0, the port that the system chose. */
const char *kt_listener_local(const struct kt_listener *l);
void kt_listener_close(struct kt_listener *l);

/* Connects to an endpoint: looks up its name and tries the addresses in turn. cb is called exactly once, with 0
 * and a conn that the callee owns, or with a code and a sentence; never after kt_connect_cancel. The caller sets
 * its own deadline. */
struct kt_connect;
typedef void (*kt_connect_cb)(void *ctx, struct kt_conn *conn, const struct kt_err *err);
int kt_connect(struct kt_io *io, const struct kt_endpoint *to, kt_connect_cb cb, void *ctx,
    struct kt_connect **out, struct kt_err *err);
void kt_connect_cancel(struct kt_connect *c);

/* ---- names ---- */

/* Looks up a name (or numeric address). cb is called exactly once, with n > 0 addresses (valid during the call,
 * ports set) or with n = 0 and err; never after kt_resolve_cancel. */
typedef void (*kt_resolve_cb)(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err);
int kt_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err);
void kt_resolve_cancel(struct kt_resolve *r);

/* ---- records of names ----
 *
 * TTLs and SRV records, which kt_resolve cannot give. Asks only DNS: no hosts file, no search domains. */

enum kt_record_type { KT_RECORD_A = 1, KT_RECORD_AAAA = 28, KT_RECORD_SRV = 33 }; /* as on the wire */

/* Most records in an answer. Of more, the first are kept (of SRV, those with the best priorities). */
#define KT_QUERY_RECORDS 64u
/* Most name servers for a question. */
#define KT_QUERY_SERVERS 8u
/* Bounds of a TTL in seconds, so that asking again on expiry neither spins nor waits forever. */
#define KT_TTL_MIN 1u
#define KT_TTL_MAX 86400u
/* Longest name without its final dot, longest label (RFC 1035, 2.3.4), in bytes; and a buffer size for a name. */
#define KT_NAME_MAX 253u
#define KT_LABEL_MAX 63u
#define KT_NAME_TEXT 256u

struct kt_record {
    uint32_t ttl;              /* KT_TTL_MIN..KT_TTL_MAX, the same for all records of an answer */
    struct kt_addr addr;       /* A, AAAA; port 0 */
    char target[KT_NAME_TEXT]; /* SRV, as are the rest: a name valid for kt_query; no final dot */
    uint16_t port;             /* never 0 */
    uint16_t priority, weight; /* RFC 2782 */
};

struct kt_question {
    const char *name; /* hostile input, like everything derived from it */
    enum kt_record_type type;
    const struct kt_addr *servers; /* servers to ask, in this order; copied */
    size_t server_count;           /* 0: the system's */
};

/* Looks up records. cb is called exactly once, with n > 0 records (valid during the call; SRV by rising
 * priority) or with n = 0 and err; never after kt_query_cancel. The caller sets its own deadline, though an
 * unanswered question eventually ends by itself. KT_ENAME: the name does not exist, has no such record, or is
 * invalid (reported at once). All other codes say nothing about the name: KT_ETIMEOUT, KT_EIO (the servers
 * cannot be reached, fail or refuse), KT_EPROTO (an answer that makes no sense), KT_ELIMIT, KT_ENOTSUP (not in
 * this backend). */
typedef void (*kt_query_cb)(void *ctx, const struct kt_record *records, size_t n, const struct kt_err *err);
int kt_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err);
void kt_query_cancel(struct kt_query *q);

/* 0, or KT_ENAME and what is wrong with the name. A valid name has labels of 1 to 63 letters, digits, '-' and '_'
 * between dots, at most 253 bytes in all, and is not an address. A final dot does not count. */
int kt_name_check(const char *name, struct kt_err *err);
/* Parses "9.9.9.9", "127.0.0.1:5353", "::1" or "[::1]:53". 0, or KT_ECONFIG and what was expected. */
int kt_name_server(struct kt_addr *out, const char *text, struct kt_err *err);
/* "A", "AAAA", "SRV". Static storage. */
const char *kt_record_type_name(enum kt_record_type type);

/* ---- signals and files ---- */

int kt_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err);
void kt_signal_close(struct kt_signal *s);

/* Reads a whole file of at most `max` bytes. *data is malloc'd, has a NUL after its len bytes, and is freed by
 * the caller. Errors name the file and what is wrong. Blocks, so use it only at startup. */
int kt_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err);
/* The same for a real path (kt_file_real): symbolic links are not followed, so that one that has since taken the place
 * of the file, or of a folder on the way, leads nowhere: KT_EACCES. */
int kt_file_read_real(
    struct kt_io *io, const char *real, size_t max, char **data, size_t *len, struct kt_err *err);
/* Writes the real path of a file or folder to out, at most size bytes: absolute, without ".." and symbolic links; on a
 * simulated host, which has none, the path without "." and "..". fresh: the last part need not exist, but may not be a
 * dangling link. 0, or a code and a sentence. */
int kt_file_real(struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err);
/* Creates a file with the mode that the umask gives, whole or not at all. If it already exists, leaves it alone:
 * KT_EINVAL. Blocks. */
int kt_file_create(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);

/* Calls fn, from the loop, when a file may have changed: written, replaced, made or removed. Several changes may come
 * as one. The file need not exist, but its folder. 0, or a code and a sentence. */
int kt_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err);
void kt_file_watch_close(struct kt_file_watch *w);

/* The process's standard input. keys: it must be a terminal, which shows another screen, empty and without a cursor,
 * and passes on each key at once, until the input is closed. fn gets what has arrived, or n = 0 at the end; nothing is
 * read before kt_input_read. 0; KT_ENOTSUP: no terminal, or the backend has no input. */
struct kt_input;
int kt_input_open(struct kt_io *io, bool keys, void (*fn)(void *ctx, const char *data, size_t n), void *ctx,
    struct kt_input **out, struct kt_err *err);
/* Reads on, or pauses. */
void kt_input_read(struct kt_input *input, bool on);
/* The size of the terminal, in characters; false if it is unknown, or there is none. */
bool kt_input_size(const struct kt_input *input, unsigned *columns, unsigned *rows);
void kt_input_close(struct kt_input *input);

/* A log file that takes lines without ever making the caller wait. It is opened for each write, so it may be
 * renamed (logrotate). If the file system stalls, lines that do not fit in the buffer are dropped and counted.
 *
 * Events may come from another thread while the appender is locked, so they must not touch the appender or
 * anything that belongs to the loop. Either may be NULL. */
struct kt_appender;
struct kt_append_events {
    /* Writes a line that reports the dropped lines into out, newline included; returns its length. wall_us: as
     * kt_io_wall. */
    size_t (*lost)(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size);
    /* This text could not be written to the file. */
    void (*failed)(void *ctx, const struct kt_err *err, const char *text, size_t len);
};
struct kt_append_options {
    const char *path;
    bool real; /* the path is real; as for kt_file_read_real, at each write */
    /* Written first whenever the file is empty, as it is again after a rename. NULL: nothing. */
    const char *head;
    /* Must outlive the appender, which may outlive the io. */
    const struct kt_append_events *events;
    void *ctx;
};
/* Creates the file with mode 0600 if it does not exist. */
int kt_append_open(
    struct kt_io *io, const struct kt_append_options *options, struct kt_appender **out, struct kt_err *err);
void kt_append(struct kt_appender *a, const char *text, size_t len);
/* wait: return once everything is written, but do not wait for a stalled file system; use it when the process
 * ends. Otherwise the rest is written later. No event follows. NULL is harmless. */
void kt_append_close(struct kt_appender *a, bool wait);

/* ---- the backend's side ---- */

struct kt_dialer;

struct kt_io_ops {
    void (*run)(struct kt_io *);
    void (*stop)(struct kt_io *);
    void (*free)(struct kt_io *);
    void (*freed)(struct kt_io *); /* may be NULL */
    uint64_t (*clock)(struct kt_io *);
    uint64_t (*wall)(struct kt_io *);
    void (*machine)(struct kt_io *, char *, size_t); /* may be NULL: unknown */
    void (*random)(struct kt_io *, void *, size_t);
    int (*udp_open)(struct kt_io *, const struct kt_udp_opts *, const struct kt_udp_events *, void *,
        struct kt_udp **, struct kt_err *);
    void (*udp_limits)(struct kt_io *, size_t *receive, size_t *send); /* may be NULL: unknown */
    int (*listen)(struct kt_io *, const struct kt_endpoint *, const struct kt_listener_events *, void *,
        struct kt_listener **, struct kt_err *);
    const struct kt_dialer *dialer; /* io/connect.h */
    int (*resolve)(
        struct kt_io *, const char *, uint16_t, kt_resolve_cb, void *, struct kt_resolve **, struct kt_err *);
    /* May be NULL. The question has been checked. */
    int (*query)(
        struct kt_io *, const struct kt_question *, kt_query_cb, void *, struct kt_query **, struct kt_err *);
    int (*signal_watch)(
        struct kt_io *, int, void (*)(void *, int), void *, struct kt_signal **, struct kt_err *);
    int (*file_read)(struct kt_io *, const char *, size_t, char **, size_t *, struct kt_err *);
    /* NULL if the backend has no symbolic links: file_read is used instead. */
    int (*file_read_real)(struct kt_io *, const char *, size_t, char **, size_t *, struct kt_err *);
    int (*file_real)(struct kt_io *, const char *, bool, char *, size_t, struct kt_err *);
    /* Appends to a file, creating it, without blocking; not used if there is append_open. */
    int (*file_append)(struct kt_io *, const char *, const void *, size_t, struct kt_err *);
    int (*file_create)(struct kt_io *, const char *, const void *, size_t, struct kt_err *); /* may be NULL */
    int (*file_watch)(
        struct kt_io *, const char *, void (*)(void *), void *, struct kt_file_watch **, struct kt_err *);
    int (*work)(struct kt_io *, const struct kt_job *, void (*)(void *), void *, struct kt_work **);
    /* May be NULL. */
    int (*input_open)(struct kt_io *, bool, void (*)(void *, const char *, size_t), void *,
        struct kt_input **, struct kt_err *);
    int (*watch_new)(struct kt_io *, kt_watch_tick, void *, struct kt_watch **); /* may be NULL */
    /* May be NULL: file_append is used instead. */
    int (*append_open)(
        struct kt_io *, const struct kt_append_options *, struct kt_appender **, struct kt_err *);
};

struct kt_udp_ops {
    uint8_t *(*reserve)(struct kt_udp *);
    void (*commit)(
        struct kt_udp *, uint8_t *, const uint8_t *, size_t, const struct kt_addr *, const struct kt_addr *);
    void (*cancel)(struct kt_udp *, uint8_t *);
    void (*fragment)(struct kt_udp *, uint8_t *);
    void (*local)(const struct kt_udp *, struct kt_addr *);
    bool (*remote)(const struct kt_udp *, struct kt_addr *);
    void (*close)(struct kt_udp *);
};

/* The first member of each backend's struct. */
struct kt_io {
    const struct kt_io_ops *ops;
    const struct kt_log *log; /* may be NULL */
    uint64_t now;             /* µs, time of this turn */
    bool portable;      /* only what every processor has may be used, so that all machines do the same */
    size_t descriptors; /* kt_io_descriptors */
    struct kt_wheel wheel;
    struct kt_list turn; /* of kt_turn */
};

struct kt_udp {
    const struct kt_udp_ops *ops;
    struct kt_udp_stats stats;
};

struct kt_listener {
    void (*close)(struct kt_listener *);
    char local[128];
};

struct kt_conn {
    struct kt_pipe pipe;
    int (*user)(const struct kt_conn *, uint32_t *);              /* may be NULL: unknown */
    void (*name_local)(struct kt_conn *, char out[KT_CONN_NAME]); /* NULL: names->local is set */
    uint64_t user_timeout_us;                                     /* read each time it is needed */
    struct kt_addr peer;         /* AF_UNSPEC: it has none, as on a unix socket, or is unknown */
    char *unix_peer;             /* its name on a unix socket; NULL: none, or unknown */
    struct kt_conn_names *names; /* NULL: none of them was needed */
};

/* Names that few conns need. */
struct kt_conn_names {
    char local[KT_CONN_NAME];
    char original[KT_ADDR_TEXT]; /* "": none */
};
/* A conn's, made if it has none. NULL: out of memory. */
struct kt_conn_names *kt_conn_names(struct kt_conn *conn);
/* Frees the names, with the conn. */
void kt_conn_forget_names(struct kt_conn *conn);

struct kt_resolve {
    void (*cancel)(struct kt_resolve *);
};

struct kt_query {
    void (*cancel)(struct kt_query *);
};

struct kt_signal {
    void (*close)(struct kt_signal *);
};

struct kt_work {
    void (*cancel)(struct kt_work *);
};

struct kt_file_watch {
    void (*close)(struct kt_file_watch *);
};

struct kt_input {
    void (*read)(struct kt_input *, bool);
    bool (*size)(const struct kt_input *, unsigned *, unsigned *);
    void (*close)(struct kt_input *);
};

struct kt_appender {
    void (*put)(struct kt_appender *, const char *, size_t);
    void (*close)(struct kt_appender *, bool wait);
};

struct kt_watch {
    void (*begin)(struct kt_watch *);
    uint64_t (*end)(struct kt_watch *);
    void (*free)(struct kt_watch *);
};

/* For backends: common setup; and running turn hooks until none is left, including those that hooks queue. */
void kt_io_init(struct kt_io *io, const struct kt_io_ops *ops, const struct kt_log *log, uint64_t now_us);
/* `work` for a backend without threads: the job runs at the end of the turn. */
int kt_work_later(
    struct kt_io *io, const struct kt_job *job, void (*done)(void *ctx), void *ctx, struct kt_work **out);
void kt_io_turn_end(struct kt_io *io);

/* Inserts into `records` (room for KT_QUERY_RECORDS, *n of them used) by priority, and among equals in order of
 * arrival. If there are too many, the last is dropped. */
void kt_records_insert(struct kt_record *records, size_t *n, const struct kt_record *record);
/* A TTL from the wire, forced into its bounds (RFC 2181, 8: with the highest bit set it counts as 0). */
uint32_t kt_ttl(uint32_t wire);

#endif
