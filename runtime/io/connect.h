/* Connecting on any backend: looks the name up, then dials its addresses one after another. The backends
 * provide one attempt at a time. For the files of io/ only. */
#ifndef KT_IO_CONNECT_H
#define KT_IO_CONNECT_H

#include "io/io.h"

/* One attempt of a kt_connect, as a backend makes it. */
struct kt_dialer {
    /* A kt_connect begins, or has ended: the backend counts what keeps its loop alive. begin: 0, or a code and
     * a sentence. */
    int (*begin)(struct kt_io *io, struct kt_err *err);
    void (*end)(struct kt_io *io);
    /* Dials `to`, or the unix socket at `path` (NULL: none). 0: one kt_connect_done follows from the loop,
     * unless hang_up comes first. Otherwise a code, with a sentence in `why`. *attempt is handed to hang_up,
     * also after a failure; NULL: nothing to hang up. */
    int (*dial)(struct kt_io *io, struct kt_connect *c, const struct kt_addr *to, const char *path,
        void **attempt, struct kt_err *why);
    void (*hang_up)(void *attempt);
};

/* The attempt succeeded: conn is the attempt's, and the caller's of kt_connect from now on. conn NULL: it
 * failed, `why` says how, and hang_up follows. */
void kt_connect_done(struct kt_connect *c, struct kt_conn *conn, const struct kt_err *why);

/* The attempt under way, and the address that it dials; NULL for a unix socket. */
void *kt_connect_attempt(const struct kt_connect *c);
const struct kt_addr *kt_connect_dialled(const struct kt_connect *c);

#endif
