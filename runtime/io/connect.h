/* Connecting on any backend: looks the name up, then dials its addresses one after another. A backend provides
 * single attempts. For the files of io/ only. */
#ifndef KT_IO_CONNECT_H
#define KT_IO_CONNECT_H

#include "io/io.h"

/* How a backend makes one attempt of a kt_connect. */
struct kt_dialer {
    /* Called when a kt_connect begins and when it has ended, so that the backend can count what keeps its loop
     * alive. begin: 0, or a code and a sentence. */
    int (*begin)(struct kt_io *io, struct kt_err *err);
    void (*end)(struct kt_io *io);
    /* Dials `to`, or the unix socket at `path` (NULL: none). 0: one kt_connect_done follows from the loop, unless
     * hang_up comes first. Otherwise a code, with a sentence in `why`. *attempt is passed to hang_up, also after
     * a failure; NULL if there is nothing to hang up. */
    int (*dial)(struct kt_io *io, struct kt_connect *c, const struct kt_addr *to, const char *path,
        void **attempt, struct kt_err *why);
    void (*hang_up)(void *attempt);
};

/* Reports the end of an attempt. conn: the attempt's connection, which now belongs to the caller of kt_connect.
 * NULL: the attempt failed for the reason in `why`, and hang_up follows. */
void kt_connect_done(struct kt_connect *c, struct kt_conn *conn, const struct kt_err *why);

/* The current attempt, and the address that it dials (NULL for a unix socket). */
void *kt_connect_attempt(const struct kt_connect *c);
const struct kt_addr *kt_connect_dialled(const struct kt_connect *c);

#endif
