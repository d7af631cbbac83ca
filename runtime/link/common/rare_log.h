/* Log lines that a stranger's datagrams cause, at most one a minute of each kind: anybody could fill the log
 * otherwise. */
#ifndef KT_LINK_COMMON_RARE_LOG_H
#define KT_LINK_COMMON_RARE_LOG_H

#include "base/log.h"
#include "io/io.h"

/* Whether to log what was last logged at *logged_us (0: never). Sets it if so. */
bool kt_rare_log_due(struct kt_io *io, uint64_t *logged_us);
/* Logs, if it is due, that a datagram from there does not authenticate. ask: a question about the likely
 * cause. */
void kt_rare_log_forged(struct kt_io *io, const struct kt_log *log, uint64_t *logged_us,
    const struct kt_addr *from, const char *ask);

#endif
