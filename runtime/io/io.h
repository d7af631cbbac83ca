/* The I/O seam: everything nondeterministic enters here. Clock, timers, random bytes, UDP in batches, TCP and
 * unix sockets, names, signals, files. Two backends: io/uv (the world, on libuv) and io/sim (a seeded network
 * in virtual time). Nothing above can tell them apart.
 *
 * One thread per kt_io. All callbacks come from the loop, never from inside the call that asked for them.
 * Handles are freed by their close/cancel call as far as the caller is concerned: no callback comes after it;
 * the backend releases the memory when the system is done with it (two-phase where libuv's close is).
 * kt_io_free runs the loop until all such closings are through. */
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

/* ---- loop ---- */

/* Runs until kt_io_stop. */
void kt_io_run(struct kt_io *io);
/* Lets kt_io_run return after the current turn; remembered if called before it. */
void kt_io_stop(struct kt_io *io);
/* Frees the io; every handle must have been closed (asserted: a leak is a bug). */
void kt_io_free(struct kt_io *io);

/* Descriptors that the process may have open at once, as it was when the io was made; SIZE_MAX: any number.
 */
size_t kt_io_descriptors(const struct kt_io *io);

/* ---- clock and chance ---- */

/* Monotonic µs, read once per loop turn: cheap, and equal for all that happens in a turn. */
uint64_t kt_io_now(const struct kt_io *io);
/* The monotonic clock read afresh, µs (for measuring within a turn). */
uint64_t kt_io_clock(struct kt_io *io);
/* Wall clock, µs since 1970-01-01 UTC. */
uint64_t kt_io_wall(struct kt_io *io);
/* Unpredictable bytes, good enough for keys; buffered, so cheap for nonces. Cannot fail. */
void kt_io_random(struct kt_io *io, void *out, size_t n);

/* ---- timers and the end of a turn ---- */

/* Arms a kt_timer (base/wheel.h) for at_us; see kt_wheel_set. */
void kt_io_timer_set(struct kt_io *io, struct kt_timer *t, uint64_t at_us);
void kt_io_timer_cancel(struct kt_io *io, struct kt_timer *t);

/* A hook that runs once at the end of the current turn (before the loop sleeps), after all arrivals of the
 * turn were handled and before queued datagrams leave: the place to flush what the turn made dirty. */
struct kt_turn {
    struct kt_list node;
    void (*fn)(void *ctx);
    void *ctx;
};
void kt_turn_init(struct kt_turn *t, void (*fn)(void *ctx), void *ctx);
/* Queues t for the end of this turn; harmless if it is queued. Called from a hook, it runs in the same turn
 * end. */
void kt_io_turn(struct kt_io *io, struct kt_turn *t);
/* Takes it back; harmless if it is not queued. */
void kt_io_turn_cancel(struct kt_turn *t);

/* ---- slices ---- */

/* Watches work on the loop's thread that ought to be short, at the price of two clock reads a slice. While a
 * slice goes on, `tick` is called in its midst about every KT_WATCH_TICK_US: on the loop's own thread, but
 * from a signal handler, so it may only do what is safe there.
 *
 * wall_us: how long the slice has run, without the time in which the process itself was stopped. cpu_us: the
 * processor time it used since its first tick; a machine that is busy elsewhere makes only the former grow.
 */
#define KT_WATCH_TICK_US 25000u

struct kt_watch;
typedef void (*kt_watch_tick)(void *ctx, uint64_t wall_us, uint64_t cpu_us);

/* 0, or KT_ENOTSUP where the backend has none: in virtual time nothing takes long. To be called on the loop's
 * thread. Freed with kt_watch_free, which NULL does not harm. */
int kt_watch_new(struct kt_io *io, kt_watch_tick tick, void *ctx, struct kt_watch **out);
/* A slice begins, or begins anew; it ends, after so many µs. */
void kt_watch_begin(struct kt_watch *w);
uint64_t kt_watch_end(struct kt_watch *w);
void kt_watch_free(struct kt_watch *w);

/* ---- UDP ---- */

/* The largest datagram that can be sent or received; a larger one that arrives is dropped and counted. */
#define KT_UDP_MAX 2048u
/* Most datagrams in one on_batch call. */
#define KT_UDP_BATCH 64u

struct kt_dgram {
    uint8_t *data; /* may be changed in place by the handler (unsealing); valid during the call */
    size_t len;
    const struct kt_addr *from;
    const struct kt_addr *to; /* this host's address that it was sent to, port 0; NULL: not known, or the one
                                 that the socket is bound to */
};

struct kt_udp_events {
    /* 1..KT_UDP_BATCH datagrams, in order of arrival. May close the socket; then it must not look at later
     * ones. */
    void (*batch)(void *ctx, struct kt_dgram *dgrams, size_t n);
    /* kt_udp_reserve gave NULL earlier and there is room again. */
    void (*writable)(void *ctx);
    /* An asynchronous error, such as an ICMP port unreachable on a connected socket (KT_EREFUSED). The socket
     * lives on. */
    void (*error)(void *ctx, int code);
};

struct kt_udp_opts {
    struct kt_addr local;         /* address to bind; port 0: any; all zero: any of the remote's family */
    const struct kt_addr *remote; /* not NULL: connect, so that only this peer is heard */
    int dscp;                     /* 0..63 */
    size_t sndbuf, rcvbuf;        /* socket buffers in bytes; 0: leave */
    bool reuse_port;
};

struct kt_udp_stats {
    uint64_t in_pkts, in_bytes, out_pkts, out_bytes;
    uint64_t in_calls, out_calls; /* system calls */
    uint64_t out_dropped, in_oversize;
};

/* 0, or a code with a sentence that says what to do (address in use, permission, …). *out is closed with
 * kt_udp_close. */
int kt_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err);

/* A transmit buffer of KT_UDP_MAX bytes, or NULL when the queue is full and the system takes no more at the
 * moment (events->writable follows). It must go back by kt_udp_commit or kt_udp_cancel before the turn ends.
 * Any number may be held, in any order; reserving may send what was committed before. */
uint8_t *kt_udp_reserve(struct kt_udp *udp);

/* Queues bytes data..data+len, which must lie within the reserved buffer `buf`, for `to` (NULL on a connected
 * socket). from: the address of this host that it is to come from, as kt_dgram.to says it, so that the peer
 * takes it for an answer; NULL, or an address that the host does not have (any more): the system chooses.
 * Sent at the end of the turn in few system calls (GSO, sendmmsg); equal lengths in a row to one peer go
 * cheapest. A datagram that the system refuses for good is dropped and counted: UDP promises nothing.
 */
void kt_udp_commit(struct kt_udp *udp, uint8_t *buf, const uint8_t *data, size_t len,
    const struct kt_addr *to, const struct kt_addr *from);
void kt_udp_cancel(struct kt_udp *udp, uint8_t *buf);
/* The datagram in this reserved buffer, to be committed next, may be fragmented on its
 * way: over IPv4, it leaves without DF. Over IPv6 this has no effect, as there only the sender fragments, and
 * Linux (6.18, IPV6_MTU) does it for nothing that fits the interface. */
void kt_udp_fragment(struct kt_udp *udp, uint8_t *buf);

void kt_udp_local(const struct kt_udp *udp, struct kt_addr *out);
const struct kt_udp_stats *kt_udp_stats(const struct kt_udp *udp);
/* Sends what is queued (one attempt), then closes. NULL is harmless. */
void kt_udp_close(struct kt_udp *udp);

/* ---- TCP and unix sockets ---- */

/* A conn is a kt_pipe (first member of every backend's struct): peek, consume, write, shutdown, reset, close.
 * It reads at most KT_CONN_READ bytes ahead of its consumer and queues at most KT_CONN_WRITE bytes that the
 * system has not taken. */
#define KT_CONN_READ (64u * 1024)
#define KT_CONN_WRITE (64u * 1024)

struct kt_pipe *kt_conn_pipe(struct kt_conn *conn);
/* "127.0.0.1:4711", "unix:/path", "unix:@abstract", "unix:" for an end of a unix socket that has no name; "?"
 * if unknown. Valid as long as the conn. The local one is looked up when it is first asked for: few want it.
 */
const char *kt_conn_peer(const struct kt_conn *conn);
const char *kt_conn_local(struct kt_conn *conn);

/* The user timeout (RFC 793, 3.8): a TCP conn that has sent something breaks with KT_ETIMEOUT when nothing at
 * all has come from its peer for this long, and up to a quarter more. A peer that answers but does not read
 * is left alone. 0: as long as the system tries, about 15 minutes. Unix sockets have none. */
#define KT_CONN_USER_TIMEOUT_US 60000000u
void kt_conn_set_user_timeout(struct kt_conn *conn, uint64_t us);

struct kt_listener_events {
    /* The conn is the callee's, to end with kt_pipe_close or kt_pipe_reset. It reads at once, but no further
     * ahead than any conn does (KT_CONN_READ). */
    void (*conn)(void *ctx, struct kt_conn *conn);
};

/* Listens on "ip:port", ":port" (all addresses, v6 and v4), or a unix socket path (a stale socket file is
 * replaced; a live one is KT_EINUSE). `at` must be numeric. Accept pauses while the process has no
 * descriptors left and says so in the log. */
int kt_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err);
/* Address it listens on ("127.0.0.1:12948"), after port 0 was resolved. */
const char *kt_listener_local(const struct kt_listener *l);
void kt_listener_close(struct kt_listener *l);

/* Connects to an endpoint; names are looked up and their addresses tried in turn. cb comes exactly once with
 * 0 and the conn (the callee's), or a code and a sentence; not at all after kt_connect_cancel. Deadlines are
 * the caller's business. */
struct kt_connect;
typedef void (*kt_connect_cb)(void *ctx, struct kt_conn *conn, const struct kt_err *err);
int kt_connect(struct kt_io *io, const struct kt_endpoint *to, kt_connect_cb cb, void *ctx,
    struct kt_connect **out, struct kt_err *err);
void kt_connect_cancel(struct kt_connect *c);

/* ---- names ---- */

/* Looks a name (or numeric address) up. cb comes exactly once with n > 0 addresses (valid during the call,
 * ports set), or n = 0 and err; not at all after kt_resolve_cancel. */
typedef void (*kt_resolve_cb)(void *ctx, const struct kt_addr *addrs, size_t n, const struct kt_err *err);
int kt_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err);
void kt_resolve_cancel(struct kt_resolve *r);

/* ---- records of names ----
 *
 * What kt_resolve cannot say: for how long an answer holds, and SRV. DNS alone is asked: no hosts file, no
 * search domains. */

enum kt_record_type { KT_RECORD_A = 1, KT_RECORD_AAAA = 28, KT_RECORD_SRV = 33 }; /* as on the wire */

/* Most records of an answer; of more, the first (of SRV, the best priorities) are taken. */
#define KT_QUERY_RECORDS 64u
/* Most name servers of a question. */
#define KT_QUERY_SERVERS 8u
/* Seconds: whoever asks again when an answer is over neither spins nor waits for ever. */
#define KT_TTL_MIN 1u
#define KT_TTL_MAX 86400u
/* Bytes of a name without its last dot (RFC 1035, 2.3.4), of one of its labels, and the room for one. */
#define KT_NAME_MAX 253u
#define KT_LABEL_MAX 63u
#define KT_NAME_TEXT 256u

struct kt_record {
    uint32_t ttl;              /* KT_TTL_MIN..KT_TTL_MAX, the same in all records of an answer */
    struct kt_addr addr;       /* A, AAAA; port 0 */
    char target[KT_NAME_TEXT]; /* SRV, with the rest: a name that kt_query would take; no last dot */
    uint16_t port;             /* never 0 */
    uint16_t priority, weight; /* RFC 2782 */
};

struct kt_question {
    const char *name; /* hostile, like all that follows from it */
    enum kt_record_type type;
    const struct kt_addr *servers; /* whom to ask, in this order; copied */
    size_t server_count;           /* 0: those of the system */
};

/* Asks for records. cb comes exactly once with n > 0 records (valid during the call; SRV by rising priority),
 * or n = 0 and err; not at all after kt_query_cancel. Deadlines are the caller's business, though a question
 * that nobody answers ends by itself at last. Codes: KT_ENAME: there is no such name, it has no such record,
 * or it is no name at all (then at once); all others say nothing about the name: KT_ETIMEOUT, KT_EIO (the
 * servers cannot be reached, fail, or will not answer), KT_EPROTO (an answer that makes no sense), KT_ELIMIT,
 * KT_ENOTSUP (not in this backend). */
typedef void (*kt_query_cb)(void *ctx, const struct kt_record *records, size_t n, const struct kt_err *err);
int kt_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err);
void kt_query_cancel(struct kt_query *q);

/* 0, or KT_ENAME and what is wrong with the name: 1 to 63 letters, digits, '-' and '_' between dots, at most
 * 253 in all, not an address; a dot at its end does not count. */
int kt_name_check(const char *name, struct kt_err *err);
/* "9.9.9.9", "127.0.0.1:5353", "::1", "[::1]:53". 0, or KT_ECONFIG and what is wanted. */
int kt_name_server(struct kt_addr *out, const char *text, struct kt_err *err);
/* "A", "AAAA", "SRV". Static storage. */
const char *kt_record_type_name(enum kt_record_type type);

/* ---- signals and files ---- */

int kt_signal_watch(struct kt_io *io, int signum, void (*fn)(void *ctx, int signum), void *ctx,
    struct kt_signal **out, struct kt_err *err);
void kt_signal_close(struct kt_signal *s);

/* Reads a whole file of at most `max` bytes. *data is malloc'd, NUL-terminated beyond its len, freed by the
 * caller. Errors name the file and what is wrong with it. For start-up only: it blocks. */
int kt_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err);
/* Appends to a file, creating it with mode 0600. Small writes only: it blocks. */
int kt_file_append(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);
/* Writes a new file, with the mode that the umask gives; one that is there is left alone: KT_EINVAL. Blocks.
 */
int kt_file_create(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);

/* A file that grows by lines and takes them without ever making the caller wait: a log. It is opened for
 * each write, so that it may be renamed (logrotate). When the file system stalls, lines that find
 * no more room are dropped, and counted.
 *
 * Events may come from another thread, while the appender is locked: they may not touch it, or what belongs
 * to the loop. Either may be NULL. */
struct kt_appender;
struct kt_append_events {
    /* Writes the line that stands for dropped ones into out, newline included; returns its length. wall_us:
     * as kt_io_wall. */
    size_t (*lost)(void *ctx, uint64_t wall_us, uint64_t lines, char *out, size_t size);
    /* The file did not take this. */
    void (*failed)(void *ctx, const struct kt_err *err, const char *text, size_t len);
};
/* Creates the file with mode 0600 if need be. head (may be NULL) is written first into a file that is empty,
 * which one that was moved away is again. The events outlive the appender, which may outlive the io. */
int kt_append_open(struct kt_io *io, const char *path, const char *head,
    const struct kt_append_events *events, void *ctx, struct kt_appender **out, struct kt_err *err);
void kt_append(struct kt_appender *a, const char *text, size_t len);
/* wait: until it is all written, though not for a file system that has stalled; for when the process ends.
 * Otherwise the rest is written later. No event comes afterwards. NULL is harmless. */
void kt_append_close(struct kt_appender *a, bool wait);

/* ---- the backend's side ---- */

struct kt_dialer;

struct kt_io_ops {
    void (*run)(struct kt_io *);
    void (*stop)(struct kt_io *);
    void (*free)(struct kt_io *);
    uint64_t (*clock)(struct kt_io *);
    uint64_t (*wall)(struct kt_io *);
    void (*random)(struct kt_io *, void *, size_t);
    int (*udp_open)(struct kt_io *, const struct kt_udp_opts *, const struct kt_udp_events *, void *,
        struct kt_udp **, struct kt_err *);
    int (*listen)(struct kt_io *, const struct kt_endpoint *, const struct kt_listener_events *, void *,
        struct kt_listener **, struct kt_err *);
    const struct kt_dialer *dialer; /* io/connect.h */
    int (*resolve)(
        struct kt_io *, const char *, uint16_t, kt_resolve_cb, void *, struct kt_resolve **, struct kt_err *);
    /* May be NULL. The question was checked. */
    int (*query)(
        struct kt_io *, const struct kt_question *, kt_query_cb, void *, struct kt_query **, struct kt_err *);
    int (*signal_watch)(
        struct kt_io *, int, void (*)(void *, int), void *, struct kt_signal **, struct kt_err *);
    int (*file_read)(struct kt_io *, const char *, size_t, char **, size_t *, struct kt_err *);
    int (*file_append)(struct kt_io *, const char *, const void *, size_t, struct kt_err *);
    int (*file_create)(struct kt_io *, const char *, const void *, size_t, struct kt_err *); /* may be NULL */
    int (*watch_new)(struct kt_io *, kt_watch_tick, void *, struct kt_watch **);             /* may be NULL */
    /* NULL: file_append never waits, and serves. */
    int (*append_open)(struct kt_io *, const char *, const char *, const struct kt_append_events *, void *,
        struct kt_appender **, struct kt_err *);
};

struct kt_udp_ops {
    uint8_t *(*reserve)(struct kt_udp *);
    void (*commit)(
        struct kt_udp *, uint8_t *, const uint8_t *, size_t, const struct kt_addr *, const struct kt_addr *);
    void (*cancel)(struct kt_udp *, uint8_t *);
    void (*fragment)(struct kt_udp *, uint8_t *);
    void (*local)(const struct kt_udp *, struct kt_addr *);
    void (*close)(struct kt_udp *);
};

/* The heads of the backends' structs. */
struct kt_io {
    const struct kt_io_ops *ops;
    const struct kt_log *log; /* where the io says what it has to say; may be NULL */
    uint64_t now;             /* µs, this turn */
    size_t descriptors;       /* kt_io_descriptors */
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
    void (*name_local)(struct kt_conn *); /* fills `local` if it is empty; NULL: it is filled */
    uint64_t user_timeout_us;             /* read when it is next needed */
    char peer[128], local[128];
};

struct kt_resolve {
    void (*cancel)(struct kt_resolve *);
};

struct kt_query {
    void (*cancel)(struct kt_query *);
};

struct kt_signal {
    void (*close)(struct kt_signal *);
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

/* For backends: common set-up; and the turn hooks, run until none is left (those that hooks queue included).
 */
void kt_io_init(struct kt_io *io, const struct kt_io_ops *ops, const struct kt_log *log, uint64_t now_us);
void kt_io_turn_end(struct kt_io *io);

/* Keeps `records` (room for KT_QUERY_RECORDS, *n of them in use) in order of priority, and among equals as
 * they came; of too many the last goes. */
void kt_records_insert(struct kt_record *records, size_t *n, const struct kt_record *record);
/* A TTL as it came, within its bounds (RFC 2181, 8: with the highest bit set it is 0). */
uint32_t kt_ttl(uint32_t wire);

#endif
