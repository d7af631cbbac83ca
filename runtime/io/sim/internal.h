/* Internal to io/sim: what the files of the simulated backend share.
 *
 * Two sides meet here. The world's side (hosts, lines, sockets as a kernel has them) runs from kt_sim_run and
 * never calls code above the seam. The processes' side does, but only from a process's turn. Until then,
 * whatever the world delivers to a process waits in its `arrivals`.
 *
 * Memory that a callback may still use (a socket closed by its own event) goes to `graves` and is freed when no
 * callback is running. */
#ifndef KT_IO_SIM_INTERNAL_H
#define KT_IO_SIM_INTERNAL_H

#include "base/bufq.h"
#include "base/hmap.h"
#include "base/slab.h"
#include "io/sim/sim.h"

#define SIM_NAME 64u
#define SIM_ADDRS 16u
#define SIM_LOOPBACK_US 10u
/* Default rate at which packets leave a host: what one core can send if it seals every packet, at about 3 us
 * each. */
#define SIM_HOST_BPS UINT64_C(4000000000)

struct sim_nat;

/* The queue of events: a binary heap by (time, order of setting). */
struct sim_entry {
    uint64_t at, order;
    struct kt_sim_event *event;
};
struct sim_heap {
    struct sim_entry *entries;
    size_t n, cap;
    uint64_t order;
};

struct sim_grave {
    struct kt_list node;
    void (*destroy)(struct sim_grave *g);
};

struct kt_sim {
    uint64_t seed, now, wall_us, stall_turns;
    size_t tcp_buffer;
    struct sim_heap heap;
    struct kt_list hosts;                     /* of kt_sim_host, in order of making */
    struct kt_list ios;                       /* of sim_io, in order of making */
    struct kt_list ready;                     /* of sim_io: have something to do at this instant */
    struct kt_list graves;                    /* of sim_grave */
    struct kt_list names;                     /* of sim_name */
    struct kt_hmap addrs;                     /* of sim_addr: the host that gets packets for an address */
    struct kt_hmap named;                     /* of sim_name */
    struct kt_slab *packets, *blocks, *reads; /* packets; kernels' bytes; processes' */
    uint64_t next_packet, next_conn;
    unsigned n_hosts;
    bool running;
    struct kt_err failed; /* code 0: has not failed */
    uint64_t stirred;     /* events and turns at this instant */
    kt_sim_trace trace;
    void *trace_ctx;
    kt_sim_rule rule;
    void *rule_ctx;
};

struct sim_addr {
    struct kt_hnode node; /* in sim->addrs, while it is routed */
    struct kt_sim_host *host;
    struct kt_addr addr;
    bool routed;
};

/* Its fields belong to host.c, but for the lists and maps of sockets, files and lookups, which each kind keeps itself. */
struct kt_sim_host {
    struct kt_sim *sim;
    struct kt_list node;
    char name[SIM_NAME];
    unsigned index; /* from 1 */
    bool up, real_files;
    struct sim_addr addrs[SIM_ADDRS];
    size_t n_addrs;
    struct kt_sim_line *lo;
    struct kt_sim_host *gateway; /* gets what is for hosts without a line to this one; or NULL */
    struct kt_hmap lines;        /* outgoing, by the other host's index */
    struct kt_list files, file_watches, udps, conns, listeners, lookups;
    struct kt_hmap udp_ports, tcp_ports, conn_ids;
    struct sim_nat *nat[2]; /* v4, v6; or NULL */
    uint64_t send_bps;
    size_t descriptors;  /* 0: any number */
    uint64_t busy_until; /* ns: when everything it has sent has left it */
    uint16_t next_port;  /* ephemeral */
    uint64_t read_rate;
    size_t short_max;
    struct kt_sim_random short_rng;
    uint64_t udp_full_until;
    struct kt_sim_event udp_room;
    int64_t wall_jump;
    size_t open;        /* sockets */
    uint64_t processes; /* processes started so far */
};

/* A process. */
struct sim_io {
    struct kt_io io;
    struct kt_sim *sim;
    struct kt_sim_host *host;
    struct kt_list node;      /* in sim->ios */
    struct kt_list ready;     /* in sim->ready */
    struct kt_list arrivals;  /* of kt_turn: what has arrived for it */
    struct kt_list udp_dirty; /* of sim_udp: datagrams were committed in this turn */
    struct kt_list signals;   /* of sim_signal */
    struct kt_sim_event wake; /* the next deadline of its wheel */
    struct kt_sim_random random;
    bool dead, crashed, stopped;
    size_t open;                  /* the user's open handles */
    uint64_t turns;               /* turns so far */
    uint64_t stirred_at, stirred; /* ... at the instant stirred_at */
    char name[SIM_NAME];
};

static inline struct sim_io *kt_sim_io(struct kt_io *io)
{
    return (struct sim_io *)(void *)io;
}

/* ---- the queue of events (heap.c) ---- */

int kt_sim_heap_set(struct sim_heap *h, struct kt_sim_event *e, uint64_t at);
void kt_sim_heap_remove(struct sim_heap *h, struct kt_sim_event *e);
static inline struct kt_sim_event *kt_sim_heap_top(const struct sim_heap *h)
{
    return h->n ? h->entries[0].event : NULL;
}

/* ---- what all parts use (event.c) ---- */

/* Ends the run: the world cannot continue. Only the first reason is kept. */
void kt_sim_fail(struct kt_sim *sim, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Gives p a turn at this instant. Harmless if it already has one coming, or is dead. */
void kt_sim_make_ready(struct sim_io *p);
/* Calls t->fn(t->ctx) in p's next turn, at this instant. Harmless if t is already queued. */
void kt_sim_arrive(struct sim_io *p, struct kt_turn *t);
void kt_sim_bury(struct kt_sim *sim, struct sim_grave *g, void (*destroy)(struct sim_grave *g));
/* KT_ECLOSED for a process that is dead, else 0. */
int kt_sim_alive(const struct sim_io *p, struct kt_err *err);
/* Counts the user's handles. */
static inline void kt_sim_opened(struct sim_io *p)
{
    p->open++;
}
void kt_sim_ended(struct sim_io *p);

/* ---- processes (process.c) ---- */

/* Runs p's turn, then sets its wake event to the next deadline of its wheel. */
void kt_sim_turn(struct sim_io *p);
/* Runs hooks and sends datagrams that were queued outside of turns. */
void kt_sim_settle(struct sim_io *p);

/* ---- hosts (host.c) ---- */

bool kt_sim_is_loopback(const struct kt_addr *a);
bool kt_sim_is_any(const struct kt_addr *a);
/* Whether a socket bound to `at` takes what was diverted on its way to `to`: of its family, or of either if `at` is the
 * wildcard of IPv6. */
bool kt_sim_covers(const struct kt_addr *at, const struct kt_addr *to);
/* Whether a host can have the address towards others: not loopback, wildcard, broadcast or multicast. */
bool kt_sim_is_unicast(const struct kt_addr *a);
/* Whether a is one of the host's own, loopback included. */
bool kt_sim_is_own(const struct kt_sim_host *h, const struct kt_addr *a);
/* The host that packets to a go to, or NULL. The sim owns it. */
struct kt_sim_host *kt_sim_owner(const struct kt_sim *sim, const struct kt_addr *a);
/* Puts an address of h, in `slot`, into the index of addresses. 0 or KT_ENOMEM. The slot belongs to h. */
int kt_sim_route_add(struct kt_sim_host *h, struct sim_addr *slot, const struct kt_addr *a);
/* From now on h is behind n, for one family of addresses; its own of that family are routed no more. */
void kt_sim_host_set_nat(struct kt_sim_host *h, struct sim_nat *n, bool v6);
void kt_sim_host_set_up(struct kt_sim_host *h, bool up);
/* Counts its sockets. */
void kt_sim_host_opened(struct kt_sim_host *h);
void kt_sim_host_closed(struct kt_sim_host *h);
/* How many processes h has had; counts one more. */
uint64_t kt_sim_host_spawn(struct kt_sim_host *h);
/* When a packet of this many bytes leaves h, in us: after everything it sent earlier. If a burst left at one instant, the
 * queue would accept its head and drop all the rest. A real burst lasts long enough for part of its tail to find room,
 * and that affects how senders recover. */
uint64_t kt_sim_host_leave(struct kt_sim_host *h, uint64_t bytes);
/* The addresses at which others reach h: its own, or its NAT's. Returns their number. */
size_t kt_sim_host_public(const struct kt_sim_host *h, struct kt_addr out[SIM_ADDRS]);
/* The address, with port 0, that h uses towards `to`; false if it has none of that family. */
bool kt_sim_source(const struct kt_sim_host *h, const struct kt_addr *to, struct kt_addr *out);
/* The address of an interface, "eth0" and so on; false: there is no such. */
bool kt_sim_host_device(const struct kt_sim_host *h, const char *name, struct kt_addr *out);
/* A free ephemeral port, or 0. taken(h, port) says which ports are in use. */
uint16_t kt_sim_port(struct kt_sim_host *h, bool (*taken)(const struct kt_sim_host *h, uint16_t port));
/* 0, or a positive errno for an address that cannot be bound on h. */
int kt_sim_bindable(const struct kt_sim_host *h, const struct kt_addr *a);

/* ---- packets and lines (line.c) ---- */

enum sim_tcp_kind { SIM_SYN, SIM_SYNACK, SIM_DATA, SIM_FIN, SIM_ACK, SIM_RST, SIM_PROBE };

struct sim_packet {
    struct kt_sim_event event; /* its arrival */
    struct kt_list node;       /* while something holds it */
    struct kt_sim_line *line;
    uint64_t id, cut;
    struct kt_addr src, dst; /* on the wire */
    struct kt_addr local;    /* UDP: the address it arrived at, behind a NAT, without a port */
    struct kt_addr original; /* likewise with its port */
    size_t len;
    uint8_t *data; /* in bytes[] */
    uint64_t conn; /* TCP: the conn's number ... */
    uint32_t credit;
    uint8_t proto, kind;
    uint8_t side;  /* ... and the end that the segment is for */
    bool sourced;  /* UDP: src was given by its sender */
    bool fragment; /* UDP: may be fragmented */
    uint8_t bytes[KT_UDP_MAX];
};

/* An empty packet, or NULL, in which case the world has failed. */
struct sim_packet *kt_sim_packet_new(struct kt_sim *sim, enum kt_sim_proto proto);
void kt_sim_packet_free(struct kt_sim *sim, struct sim_packet *k);
/* Removes all events and frees the packets among them. */
void kt_sim_packets_free(struct kt_sim *sim);
/* Sends k from h to its dst; the world then owns k. KT_EUNREACH: no route to that address. */
int kt_sim_send(struct kt_sim_host *h, struct sim_packet *k);
int kt_sim_line_new(struct kt_sim_host *from, struct kt_sim_host *to, const struct kt_sim_line_opts *opts,
    struct kt_sim_line **out);
void kt_sim_line_free(struct kt_sim_line *l);
/* The largest IP packet that passes from h to `to`. */
uint32_t kt_sim_path_mtu(const struct kt_sim_host *h, const struct kt_addr *to);

/* ---- NAT (nat.c) ---- */

/* Rewrites the source of a packet leaving h. False if it has no mapping and none could be made. */
bool kt_sim_nat_out(struct kt_sim_host *h, struct sim_packet *k);
/* Rewrites *dst for a packet that has arrived at h. False if the NAT blocks it. */
bool kt_sim_nat_in(struct kt_sim_host *h, const struct sim_packet *k, struct kt_addr *dst);
void kt_sim_nat_free(struct sim_nat *n);
const struct kt_addr *kt_sim_nat_addr(const struct sim_nat *n);

/* ---- UDP (udp.c) ---- */

int kt_sim_udp_open(struct kt_io *io, const struct kt_udp_opts *opts, const struct kt_udp_events *events,
    void *ctx, struct kt_udp **out, struct kt_err *err);
/* Sends what was committed in p's turn. */
void kt_sim_udp_flush(struct sim_io *p);
/* Takes a packet that has arrived for dst, or returns why it was dropped. */
enum kt_sim_cause kt_sim_udp_input(struct kt_sim_host *h, struct sim_packet *k, const struct kt_addr *dst);
void kt_sim_icmp_input(struct kt_sim_host *h, const struct sim_packet *k, const struct kt_addr *dst);
/* No socket was bound for k: tells its sender by ICMP. */
void kt_sim_udp_refuse(struct kt_sim_host *h, const struct sim_packet *k);
/* Removes the sockets of p (NULL: of all processes on h). */
void kt_sim_udp_vanish(struct kt_sim_host *h, const struct sim_io *p);
void kt_sim_udp_room(void *host);

/* ---- TCP (tcp.c: the kernel's end; conn.c: the pipe) ---- */

struct sim_conn;

/* Takes a segment that has arrived for dst. */
void kt_sim_tcp_input(struct kt_sim_host *h, struct sim_packet *k, const struct kt_addr *dst);
/* Tells the sender that a segment is held up, or lost. */
void kt_sim_tcp_stalled(struct kt_sim_host *from, const struct sim_packet *k, bool lost);
void kt_sim_tcp_vanish(struct kt_sim_host *h, const struct sim_io *p, bool crash);
int kt_sim_listen(struct kt_io *io, const struct kt_endpoint *at, const struct kt_listener_events *events,
    void *ctx, struct kt_listener **out, struct kt_err *err);
void kt_sim_listen_vanish(struct kt_sim_host *h, const struct sim_io *p);
extern const struct kt_dialer kt_sim_dialer;

/* ---- names, signals, files ---- */

int kt_sim_resolve(struct kt_io *io, const char *host, uint16_t port, kt_resolve_cb cb, void *ctx,
    struct kt_resolve **out, struct kt_err *err);
int kt_sim_query(struct kt_io *io, const struct kt_question *question, kt_query_cb cb, void *ctx,
    struct kt_query **out, struct kt_err *err);
void kt_sim_resolve_vanish(struct kt_sim_host *h, const struct sim_io *p);
void kt_sim_names_free(struct kt_sim *sim);
int kt_sim_file_read(
    struct kt_io *io, const char *path, size_t max, char **data, size_t *len, struct kt_err *err);
int kt_sim_file_watch(struct kt_io *io, const char *path, void (*fn)(void *ctx), void *ctx,
    struct kt_file_watch **out, struct kt_err *err);
int kt_sim_file_real(
    struct kt_io *io, const char *path, bool fresh, char *out, size_t size, struct kt_err *err);
int kt_sim_file_append(struct kt_io *io, const char *path, const void *data, size_t len, struct kt_err *err);
void kt_sim_files_free(struct kt_sim_host *h);

#endif
