/* A simulated network in virtual time: the other backend of the I/O seam.
 *
 * A world (kt_sim) has hosts, and links between them. A host is a machine: addresses, ports, files, what a
 * kernel keeps. On it run processes; each is a kt_io that takes everything a kt_io on libuv takes, so the
 * code above the seam runs unmodified. One thread, any number of worlds, any number of processes in each.
 *
 * Time stands still while code runs and jumps from event to event: kt_io_clock and kt_io_now tell the same.
 * Events at one instant come in the order in which they were set; nothing depends on memory addresses.
 * Chance is by seed, in independent streams: each direction of a link has one for each of its ills, each
 * process one for its kt_io_random, so that one more draw here changes nothing there. Same seed, same calls:
 * same run, to the byte.
 *
 * Whenever time goes on, every process is looked at for what was left to do: a world is for tens of
 * processes, not for thousands.
 *
 * Units: times in µs of the world, which begins at 0 (a process' kt_io_now is KT_SIM_EPOCH more);
 * probabilities 0..1; sizes in bytes. Functions return 0 or a KT_E… code with a sentence in err (which may be
 * NULL). Strings and options are copied. What the world makes it frees; a process is freed with kt_io_free,
 * before the world. What is said to be done "by the layer above" may be done between runs, from a
 * kt_sim_event, or from any callback inside a run. */
#ifndef KT_IO_SIM_SIM_H
#define KT_IO_SIM_SIM_H

#include "io/io.h"
#include "io/sim/random.h"

struct kt_sim;
struct kt_sim_host;
struct kt_sim_line;

/* What a process' kt_io_now is at the beginning of the world: a machine that has been up for a while. */
#define KT_SIM_EPOCH 1000000000u

/* ---- the world ---- */

struct kt_sim_opts {
    uint64_t seed;
    uint64_t wall_us;     /* wall clock at the beginning; 0: 2026-01-01 00:00 UTC */
    uint64_t stall_turns; /* turns and events in one instant that make a livelock; 0: 100000 */
    size_t tcp_buffer;    /* receive buffer of a conn, 4096..16 MiB; 0: 256 KiB */
};

int kt_sim_new(struct kt_sim **out, const struct kt_sim_opts *opts);
/* All its processes must have been freed (asserted). NULL is harmless. */
void kt_sim_free(struct kt_sim *sim);

uint64_t kt_sim_now(const struct kt_sim *sim);

/* Something to be done at a time, by the layer above. The memory is the caller's, and must not go while the
 * event is set. */
struct kt_sim_event {
    uint64_t at;
    size_t slot; /* in the queue, from 1; 0: not set */
    void (*fn)(void *ctx);
    void *ctx;
};
void kt_sim_event_init(struct kt_sim_event *e, void (*fn)(void *ctx), void *ctx);
/* A time that has passed means now, KT_TIME_NEVER never. Moves an event that is set. */
void kt_sim_event_set(struct kt_sim *sim, struct kt_sim_event *e, uint64_t at_us);
void kt_sim_event_cancel(struct kt_sim *sim, struct kt_sim_event *e);

enum kt_sim_end {
    KT_SIM_TIME = 1, /* `until` was reached */
    KT_SIM_DONE,     /* `done` said so */
    KT_SIM_QUIET     /* nothing can happen any more */
};

/* Runs the world up to and including `until` (KT_TIME_NEVER: for as long as anything happens), or until
 * done(ctx), which is asked whenever all that happens at an instant has happened; done may be NULL. A world
 * that falls quiet stands at `until`, unless that is KT_TIME_NEVER, and ends the run early.
 *
 * Returns a kt_sim_end, or KT_EINVAL (`until` has passed; the world runs already), KT_ELIMIT (a livelock:
 * time cannot go on; err names the process), KT_ENOMEM. After KT_ELIMIT and KT_ENOMEM the world is good for
 * nothing but being freed. */
int kt_sim_run(struct kt_sim *sim, uint64_t until, bool (*done)(void *ctx), void *ctx, struct kt_err *err);

/* A stream of chance for the layer above, by name and purpose (and the world's seed). */
void kt_sim_stream(const struct kt_sim *sim, const char *name, const char *purpose, struct kt_rng *out);

/* ---- hosts ---- */

struct kt_sim_host_opts {
    const char *name;            /* 1..63 characters; also looked up as a name by others */
    const struct kt_addr *addrs; /* its own, besides 127.0.0.0/8 and ::1; ports are ignored */
    size_t n_addrs;              /* at most 16; 0: 10.0.<n>.1 and fd00::<n>, n counting hosts from 1 */
    uint64_t send_bps;           /* how fast packets come out of it; 0: 4 Gbit/s; at least 1000 */
    size_t descriptors; /* what kt_io_descriptors says there; 0: SIZE_MAX. Nothing runs out of them */
    bool real_files;    /* files that it does not have are read from this machine */
};

/* KT_EINUSE: the name or an address is taken. */
int kt_sim_host_new(
    struct kt_sim *sim, const struct kt_sim_host_opts *opts, struct kt_sim_host **out, struct kt_err *err);
struct kt_sim_host *kt_sim_host_find(struct kt_sim *sim, const char *name); /* or NULL */
const char *kt_sim_host_name(const struct kt_sim_host *h);
/* Its i-th address with port 0; false beyond the last. */
bool kt_sim_host_addr(const struct kt_sim_host *h, size_t i, struct kt_addr *out);
/* Its addresses change, as for a machine that joins another network: packets to the old ones are lost, and
 * what is bound to one of them can send nothing. KT_EINUSE: an address is taken, or the host is behind a NAT,
 * whose address is the one that others see; KT_EINVAL: too many, none, or not a host's address. The old ones
 * stay. */
int kt_sim_host_move(struct kt_sim_host *h, const struct kt_addr *addrs, size_t n, struct kt_err *err);
/* Sockets of any kind that its processes hold open, and conns that still deliver after their close. */
size_t kt_sim_host_open(const struct kt_sim_host *h);

/* A process. `name` is for error sentences and for its stream of chance; log may be NULL, else outlives it.
 * kt_io_run on it runs the whole world until kt_io_stop (or quiet, or livelock, which the log tells). */
int kt_sim_process(struct kt_sim_host *h, const char *name, const struct kt_log *log, struct kt_io **out,
    struct kt_err *err);
/* True when kt_io_stop was called on it: it gets no more turns. */
bool kt_sim_stopped(const struct kt_io *io);
/* Turns that it has had: what it costs, as far as that is told in numbers that are the same in each run. */
uint64_t kt_sim_turns(const struct kt_io *io);
/* For the layer above, when it finds that the process can never let time go on: ends the run with KT_ELIMIT
 * and "livelock at 3.000000 s: script on host a " before the text. */
void kt_sim_livelock(struct kt_io *io, const char *text);

/* The power goes: all processes are dead (no callback comes, nothing that they do has an effect; each is
 * still to be freed, with all that it holds, in the ordinary way) and all sockets vanish without a word.
 * Packets to it are lost. Harmless if it is down. */
void kt_sim_host_crash(struct kt_sim_host *h);
/* Comes up again, with its files, without processes. Harmless if it is up. */
void kt_sim_host_restart(struct kt_sim_host *h);
bool kt_sim_host_up(const struct kt_sim_host *h);
/* One process is killed: dead as above, but the host's kernel ends its sockets: TCP by FIN (RST where bytes
 * were left unread), UDP ports are unreachable. */
void kt_sim_kill(struct kt_io *io);

/* ---- faults of a host ---- */

/* Its processes read at most so many bytes a second from each conn; 0: as fast as they like. */
void kt_sim_slow_reader(struct kt_sim_host *h, uint64_t bytes_per_s);
/* Reads and writes of conns come in random pieces of 1..max bytes; 0: whole. */
void kt_sim_short_io(struct kt_sim_host *h, size_t max);
/* For so long, kt_udp_reserve gives NULL on all its sockets; then `writable` comes where one was asked. */
void kt_sim_udp_full(struct kt_sim_host *h, uint64_t for_us);
/* The wall clock jumps. The monotonic one never does. */
void kt_sim_wall_jump(struct kt_sim_host *h, int64_t by_us);
/* Delivers a signal to those that watch it, in their next turn; how many did. */
size_t kt_sim_signal(struct kt_io *io, int signum);

/* ---- files ---- */

/* Puts or replaces a file. */
int kt_sim_file_put(struct kt_sim_host *h, const char *path, const void *data, size_t len);
/* What is in it now; false if the host has no such file of its own. Valid until it changes. */
bool kt_sim_file_get(const struct kt_sim_host *h, const char *path, const void **data, size_t *len);
/* False if there was none. */
bool kt_sim_file_remove(struct kt_sim_host *h, const char *path);

/* ---- links ---- */

/* One direction of a link. What is sent goes, in this order, through: MTU, chance of loss (uniform, then
 * bursts), the queue of a line of limited rate, duplication, corruption, delay. Sizes are those of IP packets
 * (for UDP over IPv4, 28 bytes more than the datagram; over IPv6, 48). Before all that, packets come out of
 * their host one after another, as fast as that sends.
 *
 * TCP is a service here, not a subject: its segments share delay, jitter and rate, but none of the ills; an
 * outage holds them up instead of losing them. */
struct kt_sim_line_opts {
    uint64_t delay_us;      /* at least 1 is taken */
    uint64_t jitter_us;     /* delay ± so much, uniformly; packets keep their order */
    double loss;            /* of each packet */
    double burst_enter;     /* Gilbert-Elliott, a step a packet: good to bad; 0: none */
    double burst_leave;     /* … and back; must be > 0 if burst_enter is */
    double burst_loss;      /* of a packet in the bad state; 0: 1.0 */
    double duplicate;       /* a copy comes right behind */
    double reorder;         /* the packet takes reorder_us longer, others overtake it */
    uint64_t reorder_us;    /* 0: 10 ms */
    double corrupt;         /* 1..3 bits of the datagram are turned over, and the checksum did not notice */
    uint64_t rate_bps;      /* bits a second, at least 1000; 0: no limit */
    uint64_t queue_packets; /* before a line of limited rate: what finds so much ahead of it is lost; */
    uint64_t queue_bytes;   /* 0: no such limit; without any limit, 1000 packets */
    uint64_t queue_us;
    uint32_t mtu; /* 68..65535; 0: 1500. What is larger is lost without a word, unless it may be fragmented */
};

/* 0, or KT_EINVAL with a sentence naming the field, its value and its range. */
int kt_sim_line_check(const struct kt_sim_line_opts *opts, struct kt_err *err);

/* Links two hosts; each pair once (KT_EINUSE). NULL options: a delay of 1 µs and nothing else. */
int kt_sim_link(struct kt_sim_host *a, struct kt_sim_host *b, const struct kt_sim_line_opts *a_to_b,
    const struct kt_sim_line_opts *b_to_a, struct kt_err *err);
/* The direction from one host to another; NULL if they are not linked. */
struct kt_sim_line *kt_sim_line(struct kt_sim_host *from, struct kt_sim_host *to);
struct kt_sim_host *kt_sim_line_from(const struct kt_sim_line *l);

/* Changes a line; packets that are on it already keep their times. */
int kt_sim_line_set(struct kt_sim_line *l, const struct kt_sim_line_opts *opts, struct kt_err *err);

/* The cable is cut: what is on the line and what is sent is lost (TCP: waits). */
void kt_sim_line_cut(struct kt_sim_line *l);
/* Packets wait at the far end, in order, at most 10000; more are lost. */
void kt_sim_line_hold(struct kt_sim_line *l);
/* The end of either; what waited comes at once. */
void kt_sim_line_heal(struct kt_sim_line *l);

enum kt_sim_cause {
    KT_SIM_NOT_LOST,
    KT_SIM_LOSS,    /* chance */
    KT_SIM_BURST,   /* chance, in the bad state */
    KT_SIM_QUEUE,   /* no room in the queue */
    KT_SIM_MTU,     /* too large */
    KT_SIM_CUT,     /* the line was cut, or too much was held */
    KT_SIM_RULE,    /* by kt_sim_rule */
    KT_SIM_DOWN,    /* the host is down */
    KT_SIM_NAT,     /* there was no mapping for it, or no permission */
    KT_SIM_NO_PORT, /* nobody has a socket there */
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
    struct kt_addr public_addr; /* port ignored; must not be anyone's */
    uint64_t timeout_us;        /* a UDP mapping goes after so long without an outgoing packet; 0: never */
    bool open;                  /* anyone may answer to a mapping, not only whom it was made for */
};

/* Puts a host behind a NAT: others see it at public_addr, one port for each of its sockets
 * (endpoint-independent mapping), and its own addresses can no longer be reached. Only outgoing packets make
 * mappings. Once for each address family, of which the host must have an address. */
int kt_sim_nat(struct kt_sim_host *h, const struct kt_sim_nat_opts *opts, struct kt_err *err);
/* Forgets all mappings: what goes out next comes from other ports, and TCP conns through it break. */
void kt_sim_nat_rebind(struct kt_sim_host *h);

/* Sends a UDP datagram from a host as if from src, which may be anybody's address, past the host's own NAT.
 * KT_EINVAL: larger than KT_UDP_MAX; KT_EUNREACH: the host is down, or there is no way from it to dst. */
int kt_sim_inject(struct kt_sim_host *h, const struct kt_addr *src, const struct kt_addr *dst,
    const void *data, size_t len, struct kt_err *err);

/* ---- names ---- */

/* What a name has: addresses (ports are ignored; none: no such name). `delay_us`: how long a lookup takes.
 * Hosts are found by their names without being told; "localhost" is ::1 and 127.0.0.1; a name nobody knows
 * does not exist (after 1 ms). */
int kt_sim_name_set(
    struct kt_sim *sim, const char *name, const struct kt_addr *addrs, size_t n, uint64_t delay_us);
#define KT_SIM_TTL 60u /* seconds, of the records of a name that has not been given another */
/* What kt_query finds of a name's SRV records, and how long what it finds of the name holds (1..86400 s; its
 * addresses, too). n 0: it has none. Their ttl and addr are not looked at. KT_EINVAL: more than
 * KT_QUERY_RECORDS. */
int kt_sim_srv_set(
    struct kt_sim *sim, const char *name, const struct kt_record *records, size_t n, uint32_t ttl);
/* Lookups of the name fail, after delay_us, with "the name server does not answer". Until set anew. */
int kt_sim_name_fail(struct kt_sim *sim, const char *name, uint64_t delay_us);

/* ---- watching packets ---- */

enum kt_sim_proto { KT_SIM_UDP = 17, KT_SIM_TCP = 6, KT_SIM_ICMP = 1 };
enum kt_sim_happened { KT_SIM_SENT, KT_SIM_DELIVERED, KT_SIM_DROPPED, KT_SIM_CORRUPTED, KT_SIM_DUPLICATED };

struct kt_sim_packet {
    uint64_t at, id; /* a copy has an id of its own */
    enum kt_sim_happened what;
    enum kt_sim_cause cause; /* of KT_SIM_DROPPED */
    enum kt_sim_proto proto;
    const char *from, *to;           /* hosts; equal for what stays on one */
    const struct kt_addr *src, *dst; /* as seen on the line (after the sender's NAT, before the receiver's) */
    const uint8_t *data;             /* the datagram, or the TCP segment's bytes */
    size_t len, wire_len;            /* of data; of the IP packet */
    const char *flags;               /* TCP: "SYN", "FIN", …; else "" */
};

/* One call for each thing that happens to a packet. It may come from inside any call, so it only looks: it
 * must not touch the world. NULL: none. */
typedef void (*kt_sim_trace)(void *ctx, const struct kt_sim_packet *p);
void kt_sim_trace_set(struct kt_sim *sim, kt_sim_trace fn, void *ctx);

/* What a rule says about a packet that is about to go onto a line (UDP only). */
struct kt_sim_verdict {
    bool drop;
    unsigned copies;   /* besides the packet itself, at most 16 */
    uint64_t delay_us; /* more than the line's; others overtake it */
};
/* Asked for each UDP packet between hosts, before all else; only looks, as a trace does. NULL: none. `out`
 * comes zeroed. */
typedef void (*kt_sim_rule)(void *ctx, const struct kt_sim_packet *p, struct kt_sim_verdict *out);
void kt_sim_rule_set(struct kt_sim *sim, kt_sim_rule fn, void *ctx);

#endif
