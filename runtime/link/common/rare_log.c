/* Limits log lines that strangers cause (rare_log.h). */
#include "link/common/rare_log.h"

#define LOG_EVERY_US 60000000u

bool kt_rare_log_due(struct kt_io *io, uint64_t *logged_us)
{
    const uint64_t now = kt_io_now(io);
    if (*logged_us && now - *logged_us < LOG_EVERY_US) return false;
    *logged_us = now;
    return true;
}

void kt_rare_log_forged(struct kt_io *io, const struct kt_log *log, uint64_t *logged_us,
    const struct kt_addr *from, const char *ask)
{
    char text[KT_ADDR_TEXT];
    if (!kt_rare_log_due(io, logged_us)) return;
    kt_log_with(log, KT_LOG_WARN, kt_log_peer(kt_addr_text(from, text)),
        "%s: a datagram does not authenticate (dropped; logged at most once a minute): %s", text, ask);
}
