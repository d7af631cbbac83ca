/* A simulated network in virtual time: the other backend of the I/O seam.
 *
 * A world (kt_sim) has hosts, and links between them. A host is a machine: addresses, ports, files, and kernel
 * state. It runs processes; each is a kt_io that accepts everything a kt_io on libuv does, so code above the seam
 * runs unmodified. One thread may run any number of worlds, with any number of processes in each.
 *
 * Time does not pass while code runs; it jumps from event to event. kt_io_clock and kt_io_now are the same. Events
 * at one instant come in the order in which they were set; nothing depends on memory addresses. Chance comes from
 * a seed, in independent streams: one for each fault of each direction of a link, and one for each process's
 * kt_io_random, so that an extra draw in one changes nothing in another. Same seed and same calls give the same
 * run, to the byte.
 *
 * Each time the clock advances, every process is checked for work left to do: a world is for tens of processes,
 * not thousands.
 *
 * Units: times in µs of the world, which begins at 0 (a process's kt_io_now is KT_SIM_EPOCH more); probabilities
 * 0..1; sizes in bytes. Functions return 0 or a KT_E... code with a sentence in err (may be NULL). Strings and
 * options are copied. The world frees what it makes; free a process with kt_io_free, before the world. "The layer
 * above" may call between runs, from a kt_sim_event, or from any callback inside a run. */
#ifndef KT_IO_SIM_SIM_H
#define KT_IO_SIM_SIM_H

#include "io/io.h"
#include "io/sim/random.h"

struct kt_sim;
struct kt_sim_host;
struct kt_sim_line;

/* A process's kt_io_now when the world begins, like a machine that has been up for a while. */
#define KT_SIM_EPOCH 1000000000u

/* ---- the world ---- */

struct kt_sim_opts {
    uint64_t seed;
    uint64_t wall_us;     /* wall clock at the start; 0: 2026-01-01 00:00 UTC */
    uint64_t stall_turns; /* turns and events in one instant that make a livelock; 0: 100000 */
    size_t tcp_buffer;    /* receive buffer of a conn, 4096..16 MiB; 0: 256 KiB */
};

int kt_sim_new(struct kt_sim **out, const struct kt_sim_opts *opts);
/* Every process must have been freed (asserted). NULL is harmless. */
void kt_sim_free(struct kt_sim *sim);

uint64_t kt_sim_now(const struct kt_sim *sim);

/* Work that the layer above schedules. The caller owns the memory, which must stay valid while the event is set. */
struct kt_sim_event {
    uint64_t at;
    size_t slot; /* in the queue, from 1; 0: not set */
    void (*fn)(void *ctx);
    void *ctx;
};
void kt_sim_event_init(struct kt_sim_event *e, void (*fn)(void *ctx), void *ctx);
/* Sets or moves an event. A time in the past means now; KT_TIME_NEVER cancels. */
void kt_sim_event_set(struct kt_sim *sim, struct kt_sim_event *e, uint64_t at_us);
void kt_sim_event_cancel(struct kt_sim *sim, struct kt_sim_event *e);

enum kt_sim_end {
    KT_SIM_TIME = 1, /* `until` was reached */
    KT_SIM_DONE,     /* `done` returned true */
    KT_SIM_QUIET     /* nothing is left to happen */
};

/* Runs the world up to and including `until` (KT_TIME_NEVER: while anything happens), or until done(ctx) is true.
 * done is called after everything at an instant has happened; it may be NULL. If nothing is left to happen, the
 * run ends early, with the clock at `until` unless that is KT_TIME_NEVER.
 *
 * Returns a kt_sim_end, or KT_EINVAL (`until` has passed, or the world is already running), KT_ELIMIT (a livelock;
 * err names the process), KT_ENOMEM. After KT_ELIMIT and KT_ENOMEM the world can only be freed. */
int kt_sim_run(struct kt_sim *sim, uint64_t until, bool (*done)(void *ctx), void *ctx, struct kt_err *err);

/* A random stream for the layer above, by name and purpose (and the world's seed). */
void kt_sim_stream(
    const struct kt_sim *sim, const char *name, const char *purpose, struct kt_sim_random *out);

/* ---- hosts ---- */

struct kt_sim_host_opts {
    const char *name;            /* 1..63 characters; also looked up as a name by others */
    const struct kt_addr *addrs; /* its own, besides 127.0.0.0/8 and ::1; ports are ignored */
    size_t n_addrs;              /* at most 16; 0: 10.0.<n>.1 and fd00::<n>, n counting hosts from 1 */
    uint64_t send_bps;           /* the rate at which packets leave it; 0: 4 Gbit/s; at least 1000 */
    size_t descriptors;          /* the value of kt_io_descriptors; 0: SIZE_MAX. Not enforced */
    bool real_files;             /* files that it lacks are read from this machine */
};

/* KT_EINUSE: the name or an address is taken. */
int kt_sim_host_new(
    struct kt_sim *sim, const struct kt_sim_host_opts *opts, struct kt_sim_host **out, struct kt_err *err);
struct kt_sim_host *kt_sim_host_find(struct kt_sim *sim, const char *name); /* or NULL */
const char *kt_sim_host_name(const struct kt_sim_host *h);
/* Its i-th address with port 0; false beyond the last. */
bool kt_sim_host_addr(const struct kt_sim_host *h, size_t i, struct kt_addr *out);
/* Packets for addresses to which it has no line go to this host, where only what takes diverted ones gets them
 * (kt_endpoint.diverted, kt_udp_opts.diverted): no host forwards packets. NULL: they have no route. */
void kt_sim_host_gateway(struct kt_sim_host *h, struct kt_sim_host *gateway);
/* Changes its addresses, as when a machine joins another network: packets to the old ones are lost, and sockets
 * bound to them can no longer send. On an error the old ones stay. KT_EINUSE: an address is taken, or the host is
 * behind a NAT, whose address others see. KT_EINVAL: too many, none, or not a host address. */
int kt_sim_host_move(struct kt_sim_host *h, const struct kt_addr *addrs, size_t n, struct kt_err *err);
/* The number of sockets of any kind that its processes hold, plus closed conns that still deliver. */
size_t kt_sim_host_open(const struct kt_sim_host *h);

/* Starts a process. `name` is used in error messages and for its random stream; log may be NULL and must outlive
 * it. kt_io_run on it runs the whole world until kt_io_stop (or until nothing is left, or a livelock, which is
 * logged). */
int kt_sim_process(struct kt_sim_host *h, const char *name, const struct kt_log *log, struct kt_io **out,
    struct kt_err *err);
/* True after kt_io_stop: it gets no more turns. */
bool kt_sim_stopped(const struct kt_io *io);
/* The number of its turns so far: a measure of its cost that is the same in each run. */
uint64_t kt_sim_turns(const struct kt_io *io);
/* For the layer above, if it finds that the process never lets time advance: ends the run with KT_ELIMIT and "livelock
 * at 3.000000 s: script on host a " before the text. */
void kt_sim_livelock(struct kt_io *io, const char *text);

/* Power failure: all processes are dead (no callback comes, and nothing they do has an effect; each must still be
 * freed as usual, with all it holds), and all sockets vanish without sending anything. Packets to the host are lost.
 * Harmless if it is down. */
void kt_sim_host_crash(struct kt_sim_host *h);
/* Starts the host again, with its files and without processes. Harmless if it is up. */
void kt_sim_host_restart(struct kt_sim_host *h);
bool kt_sim_host_up(const struct kt_sim_host *h);
/* Kills one process: dead as above, but the host's kernel ends its sockets. TCP sends FIN (RST if bytes were left
 * unread), and UDP ports become unreachable. */
void kt_sim_kill(struct kt_io *io);

/* ---- faults of a host ---- */

/* Limits how fast its processes read from each conn, in bytes per second; 0: no limit. */
void kt_sim_slow_reader(struct kt_sim_host *h, uint64_t bytes_per_s);
/* Splits reads and writes of conns into random pieces of 1..max bytes; 0: whole. */
void kt_sim_short_io(struct kt_sim_host *h, size_t max);
/* For this long, kt_udp_reserve returns NULL on all its sockets; then `writable` follows where one was refused. */
void kt_sim_udp_full(struct kt_sim_host *h, uint64_t for_us);
/* Moves the wall clock; the monotonic clock never jumps. */
void kt_sim_wall_jump(struct kt_sim_host *h, int64_t by_us);
/* Delivers a signal to its watchers in their next turn; returns their number. */
size_t kt_sim_signal(struct kt_io *io, int signum);

/* ---- files ---- */

/* Puts or replaces a file. */
int kt_sim_file_put(struct kt_sim_host *h, const char *path, const void *data, size_t len);
/* Its current content; false if the host has no such file of its own. Valid until the file changes. */
bool kt_sim_file_get(const struct kt_sim_host *h, const char *path, const void **data, size_t *len);
/* False if it did not exist. */
bool kt_sim_file_remove(struct kt_sim_host *h, const char *path);

/* ---- links ---- */

/* One direction of a link. A packet goes, in this order, through: MTU, random loss (uniform, then bursts), the queue
 * of a line of limited rate, duplication, corruption, delay. Sizes are of IP packets (a UDP datagram plus 28 bytes
 * over IPv4, 48 over IPv6). Before that, packets leave their host one after another, at the host's send rate.
 *
 * TCP is a service here, not a test subject: its segments share delay, jitter and rate but none of the faults, and an
 * outage holds them instead of losing them. */
struct kt_sim_line_opts {
    uint64_t delay_us;      /* at least 1 is used */
    uint64_t jitter_us;     /* uniform, delay ± jitter; packets keep their order */
    double loss;            /* per packet */
    double burst_enter;     /* Gilbert-Elliott, one step per packet: good to bad; 0: none */
    double burst_leave;     /* bad to good; must be > 0 if burst_enter is */
    double burst_loss;      /* of a packet in the bad state; 0: 1.0 */
    double duplicate;       /* a copy follows at once */
    double reorder;         /* the packet takes reorder_us longer, so others overtake it */
    uint64_t reorder_us;    /* 0: 10 ms */
    double corrupt;         /* 1..3 bits of the datagram flip, and the checksum misses it */
    uint64_t rate_bps;      /* bits per second, at least 1000; 0: no limit */
    uint64_t queue_packets; /* limits of the queue before a line of limited rate; */
    uint64_t queue_bytes;   /* 0: no limit of this kind; with none at all, 1000 packets */
    uint64_t queue_us;
    uint64_t police_bytes; /* instead of a queue, a token bucket of this size; needs a rate; 0: a queue */
    uint32_t mtu; /* 68..65535; 0: 1500. Larger packets are lost silently, unless they may be fragmented */
};

/* 0, or KT_EINVAL with a sentence naming the field, its value and its range. */
int kt_sim_line_check(const struct kt_sim_line_opts *opts, struct kt_err *err);

/* Links two hosts, once per pair (KT_EINUSE). NULL options: 1 µs of delay and no faults. */
int kt_sim_link(struct kt_sim_host *a, struct kt_sim_host *b, const struct kt_sim_line_opts *a_to_b,
    const struct kt_sim_line_opts *b_to_a, struct kt_err *err);
/* The direction from one host to another; NULL if they are not linked. */
struct kt_sim_line *kt_sim_line(struct kt_sim_host *from, struct kt_sim_host *to);
struct kt_sim_host *kt_sim_line_from(const struct kt_sim_line *l);

/* Changes a line; packets already on it keep their times. */
int kt_sim_line_set(struct kt_sim_line *l, const struct kt_sim_line_opts *opts, struct kt_err *err);

/* Cuts the cable: what is on the line or sent is lost (TCP: waits). */
void kt_sim_line_cut(struct kt_sim_line *l);
/* Holds packets at the far end, in order, at most 10000; more are lost. */
void kt_sim_line_hold(struct kt_sim_line *l);
/* Ends either; held packets arrive at once. */
void kt_sim_line_heal(struct kt_sim_line *l);

enum kt_sim_cause {
    KT_SIM_NOT_LOST,
    KT_SIM_LOSS,    /* chance */
    KT_SIM_BURST,   /* chance, in the bad state */
    KT_SIM_QUEUE,   /* no room in the queue */
    KT_SIM_POLICE,  /* more than the policer's bucket held */
    KT_SIM_MTU,     /* too large */
    KT_SIM_CUT,     /* the line was cut, or too much was held */
    KT_SIM_RULE,    /* by kt_sim_rule */
    KT_SIM_DOWN,    /* the host is down */
    KT_SIM_NAT,     /* no mapping for it, or filtered */
    KT_SIM_NO_PORT, /* no socket there */
    KT_SIM_SOCKET,  /* the socket's receive buffer was full */
    KT_SIM_CAUSES
};
/* "loss", "burst", …: static storage. */
const char *kt_sim_cause_name(enum kt_sim_cause cause);

/* Counted per line, in packets and in bytes of IP packets; TCP and ICMP included. */
struct kt_sim_line_stats {
    uint64_t sent_pkts, sent_bytes, delivered_pkts, delivered_bytes;
    uint64_t lost[KT_SIM_CAUSES], lost_pkts;
    uint64_t duplicated, corrupted, reordered;
    uint64_t queue_peak_pkts, queue_peak_bytes, queue_peak_us; /* of a line of limited rate */
};
const struct kt_sim_line_stats *kt_sim_line_stats(const struct kt_sim_line *l);

/* ---- NAT ---- */

struct kt_sim_nat_opts {
    struct kt_addr public_addr; /* port ignored; must not belong to a host */
    uint64_t timeout_us;        /* a UDP mapping expires this long after its last outgoing packet; 0: never */
    bool open;                  /* anyone may send to a mapping, not only peers it has sent to */
    bool symmetric;             /* a mapping of its own for each peer */
};

/* Puts a host behind a NAT: others see it at public_addr, with one port per socket, or with `symmetric` per socket and
 * peer, and can no longer reach its own addresses. Only outgoing packets create mappings. Once per address family, of
 * which the host must have an address. */
int kt_sim_nat(struct kt_sim_host *h, const struct kt_sim_nat_opts *opts, struct kt_err *err);
/* Forgets all mappings: later packets come from other ports, and TCP conns through it break. */
void kt_sim_nat_rebind(struct kt_sim_host *h);

/* Sends a UDP datagram from a host as if from src, which may be any address, bypassing the host's own NAT.
 * KT_EINVAL: larger than KT_UDP_MAX; KT_EUNREACH: the host is down, or has no route to dst. */
int kt_sim_inject(struct kt_sim_host *h, const struct kt_addr *src, const struct kt_addr *dst,
    const void *data, size_t len, struct kt_err *err);

/* ---- names ---- */

/* Sets a name's addresses (ports are ignored; none: the name does not exist). `delay_us`: how long a lookup takes.
 * Hosts are always found by their names; "localhost" is ::1 and 127.0.0.1; an unknown name does not exist (after
 * 1 ms). */
int kt_sim_name_set(
    struct kt_sim *sim, const char *name, const struct kt_addr *addrs, size_t n, uint64_t delay_us);
#define KT_SIM_TTL 60u /* seconds, the default TTL of a name's records */
/* Sets a name's SRV records, and the TTL of all its records including addresses (1..86400 s). n 0: no SRV records.
 * The records' own ttl and addr are ignored. KT_EINVAL: more than KT_QUERY_RECORDS. */
int kt_sim_srv_set(
    struct kt_sim *sim, const char *name, const struct kt_record *records, size_t n, uint32_t ttl);
/* Makes lookups of the name fail after delay_us, with "the name server does not answer", until it is set again. */
int kt_sim_name_fail(struct kt_sim *sim, const char *name, uint64_t delay_us);

/* ---- watching packets ---- */

enum kt_sim_proto { KT_SIM_UDP = 17, KT_SIM_TCP = 6, KT_SIM_ICMP = 1 };
enum kt_sim_happened { KT_SIM_SENT, KT_SIM_DELIVERED, KT_SIM_DROPPED, KT_SIM_CORRUPTED, KT_SIM_DUPLICATED };

struct kt_sim_packet {
    uint64_t at, id; /* a copy has its own id */
    enum kt_sim_happened what;
    enum kt_sim_cause cause; /* of KT_SIM_DROPPED */
    enum kt_sim_proto proto;
    const char *from, *to;           /* hosts; equal if it stays on one host */
    const struct kt_addr *src, *dst; /* as seen on the line (after the sender's NAT, before the receiver's) */
    const uint8_t *data;             /* the datagram, or the TCP segment's bytes */
    size_t len, wire_len;            /* of data; of the IP packet */
    const char *flags;               /* TCP: "SYN", "FIN", …; else "" */
};

/* Called for each thing that happens to a packet, possibly from inside any call, so it must not change the world.
 * NULL: none. */
typedef void (*kt_sim_trace)(void *ctx, const struct kt_sim_packet *p);
void kt_sim_trace_set(struct kt_sim *sim, kt_sim_trace fn, void *ctx);

/* A rule's decision about a UDP packet that is about to enter a line. */
struct kt_sim_verdict {
    bool drop;
    unsigned copies;   /* besides the packet itself, at most 16 */
    uint64_t delay_us; /* extra delay; others overtake it */
};
/* Called for each UDP packet between hosts, before anything else; like a trace, it must not change the world. NULL:
 * none. `out` is zeroed. */
typedef void (*kt_sim_rule)(void *ctx, const struct kt_sim_packet *p, struct kt_sim_verdict *out);
void kt_sim_rule_set(struct kt_sim *sim, kt_sim_rule fn, void *ctx);

#endif
