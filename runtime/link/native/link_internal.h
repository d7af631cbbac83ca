/* Shared by the files of the dialling side (docs/wire.md, 4.3 and 4.5); no other file includes it.
 *
 *   link.c         the link as its user sees it
 *   dial.c         getting an association, and what becomes of it
 *   attempt.c      initiations to the peer's addresses
 *   check.c        whether a silent peer still has the association
 *   remotes.c      which addresses those are
 *   dial_socket.c  its sockets
 *   extra_paths.c  its paths beside the first
 *
 * A link has at most one association, and at most one attempt to get one or another one. Calls wait in the link until
 * there is an association and, if they open a stream, until that has room for another; for nothing else: an association
 * whose peer is silent keeps its streams and takes new ones until `survive` ends it. */
#ifndef KT_LINK_NATIVE_LINK_INTERNAL_H
#define KT_LINK_NATIVE_LINK_INTERNAL_H

#include "link/common/calls.h"
#include "link/common/locator.h"
#include "link/common/presence.h"
#include "link/native/association.h"
#include "link/native/flow_handle.h"
#include "link/native/handshake_client.h"

#define KT_NATIVE_CANDIDATES 16u /* that an attempt tries */
#define KT_NATIVE_NAME_ADDRS 4u  /* of one name that are remembered */

struct link;

/* A socket of a link, connected to one address of its peer. */
struct kt_native_socket {
    struct link *l;
    struct kt_udp *udp; /* NULL: it was closed while it was busy */
    struct kt_addr peer;
    size_t local; /* the address it is bound to, in l->locals */
    bool busy;    /* handing over datagrams */
};

/* A pair of addresses that an attempt tries. */
struct candidate {
    struct kt_addr addr;
    size_t local;                    /* in l->locals: the address that it is tried from */
    struct kt_native_socket *socket; /* NULL: not open */
    uint64_t due_us;                 /* the next initiation to it */
    unsigned sent;                   /* initiations to it */
};

/* One of the addresses that the user gave. All belong to the same peer. */
struct remote {
    struct link *l;
    struct kt_endpoint at;
    struct kt_locator locator;
    struct kt_addr addrs[KT_NATIVE_NAME_ADDRS]; /* as found last; the port is one of at's range */
    size_t addr_count, next;                    /* next: of addrs, in turn */
};

/* A handshake in progress. */
struct attempt {
    bool active;
    bool check; /* checks a silent association: logs nothing, and fails no call */
    struct kt_native_client client;
    struct candidate candidates[KT_NATIVE_CANDIDATES];
    size_t count, started; /* the first `started` of them have had an initiation */
    uint64_t began_us;
    uint64_t next_us; /* when the next candidate starts */
    struct kt_timer timer;
    struct kt_err why;   /* no socket could be opened to the latest that has none */
    bool silence_logged; /* that nothing answers */
    bool refused;        /* the system said that nothing listens there */
};

/* Checks of an association whose peer is silent or said not to know it, and its trial. */
struct check {
    unsigned silences; /* seconds for which the peer has been suspect */
    uint64_t began_us; /* the last check; 0: none did */
    /* The peer has answered a handshake. Unless the association is heard now, another takes its place: */
    struct kt_native_socket *socket; /* NULL: no trial */
    struct kt_native_agreed agreed;  /* wiped at the end */
    uint64_t rtt_us, trial_us;       /* trial_us: when it began */
    unsigned asked;                  /* times */
    struct kt_timer timer;
};

struct link {
    struct kt_link link;
    struct kt_native_context *c;
    struct kt_native_association *a; /* NULL: none */
    struct kt_native_socket *socket; /* a's */
    struct kt_native_socket *next;   /* where a tries to go, or NULL */
    struct kt_native_socket *before; /* where a was: datagrams may still arrive there; or NULL */
    uint64_t renewed_us;             /* when a's socket was last renewed because the peer was silent */
    struct attempt attempt;
    struct kt_native_socket *extra_sockets[KT_NATIVE_PATHS]; /* a's paths from 1 on; NULL: not open */
    struct kt_timer extra_timer; /* tries again to open those that could not be opened */
    struct check check;
    struct kt_local locals[KT_LOCALS_MAX]; /* this machine's addresses to use; none: the system chooses */
    size_t local_count, first_local;       /* first_local: of a's first path */
    struct remote *remotes;                /* at least one */
    size_t remote_count, remote_next;
    struct kt_list waiting; /* of kt_call */
    struct kt_list flows;   /* flow_handle.h */
    struct kt_calls calls;
    struct kt_presence presence;
    struct kt_presence_part part;
    struct kt_err refusal;       /* the last one, as logged; code 0: a handshake went through since */
    struct kt_link_totals ended; /* of associations that have ended */
    struct kt_turn turn;         /* ends it */
    const char *const *silence;  /* as in kt_wire_env */
    bool stay;
};

/* ---- dial.c ---- */

/* Dials, unless that is under way or there is an association. */
void kt_native_dial(struct link *l);
/* Whether something needs an association. */
bool kt_native_dial_wanted(const struct link *l);
/* Ends the attempt and the association. */
void kt_native_dial_end(struct link *l);
/* Serves waiting calls, if there is an association, up to an open that it has no room for. */
void kt_native_dial_serve(struct link *l);

/* Starts the association that was agreed on through this socket, which it takes over; the one before, if
 * any, ends. */
void kt_native_dial_begin(
    struct link *l, struct kt_native_socket *s, const struct kt_native_agreed *agreed, uint64_t rtt_us);

/* The silent peer has answered a handshake at this socket, so its address and this host's are good: the association
 * continues between them, on a socket of its own. */
void kt_native_dial_follow(struct link *l, const struct kt_native_socket *s);

/* A datagram has arrived, which may close the socket. */
void kt_native_dial_take(struct kt_native_socket *s, struct kt_dgram *dgram);

/* Addresses of the peer were found. */
void kt_native_dial_found(struct link *l, const struct kt_addr *addrs, size_t n);
/* Call when it is time to look addresses up again. */
void kt_native_dial_retry(struct link *l, struct remote *r);

/* ---- remotes.c ---- */

/* 0 or KT_ENOMEM. Settings are copied. */
int kt_native_remotes_init(struct link *l, const struct kt_settings *s);
void kt_native_remotes_free(struct link *l);
/* Looks all of them up. */
void kt_native_remotes_start(struct link *l);
void kt_native_remotes_later(struct link *l);
void kt_native_remotes_fail(struct link *l, const struct kt_err *err);
void kt_native_remotes_settled(struct link *l);
void kt_native_remotes_stop(struct link *l);
/* Why nothing was reached lately; code 0: something was. */
struct kt_err *kt_native_remotes_why(struct link *l);
/* How many addresses of the peer are known; of a range of ports, three count. */
size_t kt_native_remotes_count(const struct link *l);
/* An address of this family; false: none is known. */
bool kt_native_remotes_family(struct link *l, int family, struct kt_addr *out);
/* All known addresses but `but`, one port of a range each; returns how many, at most `most`. */
size_t kt_native_remotes_others(
    const struct link *l, const struct kt_addr *but, struct kt_addr *out, size_t most);
/* Another address or port to use than `now`, in turn; false: there is none. silent: `now` seems to be dead, so that
 * one of the other family may be better. */
bool kt_native_remotes_other(struct link *l, const struct kt_addr *now, bool silent, struct kt_addr *out);
/* ---- check.c ---- */

void kt_native_check_init(struct link *l);
/* The peer says that it does not know the association, which may be forged. */
void kt_native_check_hint(struct link *l);
/* Once a second while the peer is suspect. */
void kt_native_check_silent(struct link *l);
/* Call when a name of the peer has these addresses, at least one, that it did not have before. */
void kt_native_check_moved(struct link *l, const struct kt_addr *addrs, size_t n);
/* A check found the same peer: tries whether it knows the association. Takes over the socket. */
void kt_native_check_try(
    struct link *l, struct kt_native_socket *s, const struct kt_native_agreed *agreed, uint64_t rtt_us);
/* The association was heard, or is over. */
void kt_native_check_end(struct link *l);

/* ---- attempt.c ---- */

void kt_native_attempt_init(struct link *l);
/* Sends initiations to these addresses, at least one: begins, or adds them to those under way. If none can be reached,
 * that ends it, and it fails. */
void kt_native_attempt_start(struct link *l, const struct kt_addr *addrs, size_t n);
void kt_native_attempt_end(struct link *l);
/* Whether there is one that uses this socket. */
bool kt_native_attempt_has(const struct link *l, const struct kt_native_socket *s);
/* Ends it, except for one of its sockets, which is the caller's now. */
void kt_native_attempt_keep(struct link *l, const struct kt_native_socket *s);
/* Sends another initiation to the socket's address at once. */
void kt_native_attempt_again(struct link *l, const struct kt_native_socket *s);
/* Nothing listens at the socket's address; that can be forged. */
void kt_native_attempt_refused(struct link *l, const struct kt_native_socket *s);

/* ---- extra_paths.c ---- */

void kt_native_extra_paths_init(struct link *l);
/* Opens a path from each further address of this machine, while there is an association. */
void kt_native_extra_paths_open(struct link *l);
/* As kt_native_socket_renew. */
void kt_native_extra_paths_renew(struct link *l, unsigned path, bool always);
/* Moves the path from this socket's address to the socket's peer, with a socket of its own. */
void kt_native_extra_paths_follow(struct link *l, const struct kt_native_socket *s);
/* True if this is the socket of one of these paths. */
bool kt_native_extra_paths_has(const struct link *l, const struct kt_native_socket *s);
/* After the association has ended. */
void kt_native_extra_paths_close(struct link *l);
/* True if a socket of the peer's family can be bound to this address, or to an interface. */
bool kt_native_local_fits(const struct link *l, size_t local, const struct kt_addr *peer);

/* ---- dial_socket.c ---- */

/* local: in l->locals, if there are any. The caller owns the socket. 0 or a code with a sentence. */
int kt_native_socket_open(struct link *l, const struct kt_addr *peer, size_t local,
    struct kt_native_socket **out, struct kt_err *err);
/* NULL is harmless. */
void kt_native_socket_close(struct kt_native_socket *s);
/* A path of the association continues on `fresh`, which replaces its socket *at. */
void kt_native_socket_replace(struct kt_native_socket **at, unsigned path, struct kt_native_socket *fresh);
/* Whether both have the same address of this host. */
bool kt_native_socket_same_host(const struct kt_native_socket *x, const struct kt_native_socket *y);
/* Replaces the socket of a path by another to the same address of the peer: a socket keeps the address that this host
 * had when it was opened, and its port, which a NAT on the way may have forgotten. Unless `always`, it does so only if
 * the system gives the fresh one another address. True if it has; false also while the peer is unreachable. */
bool kt_native_socket_renew(struct kt_native_socket **at, unsigned path, bool always);

#endif
