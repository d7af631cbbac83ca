/* The seam between kt and a wire: a protocol that links speak. A wire is one struct kt_wire; what is above
 * finds it by name and names none of its types. Its settings begin with a struct kt_settings; the rest is the
 * wire's own, reached through the table of settings only. */
#ifndef KT_LINK_WIRE_H
#define KT_LINK_WIRE_H

#include "link/link.h"
#include "link/settings.h"

struct kt_counters;
struct kt_io;
struct kt_log;
struct kt_phrases;
struct kt_ports;
struct kt_memory_budget;
struct kt_preferred_peers;
struct kt_session_starts;
struct kt_tap;

/* The environment of links and acceptors; all of it outlives them. */
struct kt_wire_env {
    struct kt_io *io;
    const struct kt_log *log;
    const char *name; /* links: the link that their lines in the log name as subject, copied; NULL: none */
    struct kt_counters *counters;
    /* Replay memory of acceptors, shared by all that a recorded start could be sent to; NULL: each has its own. */
    struct kt_session_starts *starts;
    struct kt_phrases *phrases; /* keys derived from passphrases; NULL: each is derived afresh */
    /* Peers that have spoken the preferred wire; NULL: each link has its own memory. */
    struct kt_preferred_peers *preferred_peers;
    struct kt_tap *tap; /* shows the packets (tap.h); the wire takes references of its own; NULL: none */

    /* ---- for a wire that is one of two (link/both/) ---- */

    /* Acceptors: the max_buffered that they share (link/common/memory_budget.h); NULL: it has its own. */
    struct kt_memory_budget *budget;
    /* Acceptors: where they keep the ports that they share (link/common/ports.h); NULL: this one opens its own. */
    struct kt_ports **ports;
    /* Links: the text that follows "no answer for 5 s" in the log, read at that time; NULL: the wire's own. A text of
     * NULL: the peer has answered on the other wire, and nothing is logged. */
    const char *const *silence;
    bool quiet_log; /* links: if a peer never answers, log that at level debug only */
};

struct kt_wire {
    const char *name;
    const struct kt_settings_table *settings; /* NULL if it has parts */
    /* The wires that it chooses from, up to a NULL (link/both/); NULL: none. */
    const struct kt_wire *const *parts;
    /* Fills in the defaults of a link or an acceptor, all but the address. */
    void (*defaults)(struct kt_settings *s, bool client);
    /* Applies a preset by its name; false for an unknown name. */
    bool (*mode)(struct kt_settings *s, const char *name);
    /* 0, or KT_ECONFIG with a sentence: ranges, and rules between settings. */
    int (*check)(const struct kt_settings *s, struct kt_err *err);
    /* The settings in a line, for the log. */
    void (*summary)(const struct kt_settings *s, char *text, size_t size);
    /* Why the key protects nothing ("empty"), or NULL. */
    const char *(*weak_key)(const struct kt_settings *s);
    /* A sentence about a setting that another one keeps from being reached, or an empty one. client: of a link, not of
     * an acceptor. NULL: there are none. */
    void (*conflict)(const struct kt_settings *s, bool client, char *text, size_t size);
    /* A link to s->at; it dials on first use, or at once if s->stay. Settings are copied. The caller owns it:
     * kt_link_close. */
    int (*link)(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
        struct kt_link **out, struct kt_err *err);
    /* An acceptor on s->at; its sockets are open when this returns. The caller owns it: kt_acceptor_close. */
    int (*accept)(const struct kt_wire *self, const struct kt_wire_env *env, const struct kt_settings *s,
        const struct kt_acceptor_events *events, void *ctx, struct kt_acceptor **out, struct kt_err *err);
    /* Calls each for the statistics in stats->own, with rows of the wire's own table (stat.h). */
    void (*describe)(const struct kt_link_stats *stats, kt_stat_each each, void *ctx);
};

/* NULL: no wire has this name. */
const struct kt_wire *kt_wire_find(const char *name);
/* The size of a wire's settings. */
size_t kt_wire_size(const struct kt_wire *w);
/* The settings of the wire's part i, and in *of (unless `of` is NULL) which wire that is; NULL past the last. A wire
 * without parts is its own and only one. */
struct kt_settings *kt_wire_part(
    const struct kt_wire *w, struct kt_settings *s, size_t i, const struct kt_wire **of);

#endif
